package sandbox

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

const (
	// iovecsMax is IOV_MAX of Linux.
	iovecsMax = 1024
	// transferMax bounds what one call moves, so that none holds a core for
	// more than a few milliseconds. WASI allows short reads and writes.
	transferMax = 16 << 20
	// pathBytesMax is PATH_MAX of Linux.
	pathBytesMax = 4096
)

// vector wraps functions that move bytes through a vector of buffers, whose
// address is argument 1 and whose length is argument 2.
func vector(next hostFunc) hostFunc {
	return func(r *run, m api.Module, stack []uint64) {
		iovecs, errno := readVector(m.Memory(), uint32(stack[1]), uint32(stack[2]))
		if errno != errnoSuccess {
			stack[0] = uint64(errno)
			return
		}
		total := uint64(0)
		for i := 0; i < len(iovecs); i += 8 {
			n := le.Uint32(iovecs[i+4:])
			if total+uint64(n) >= transferMax {
				// Only this call sees the shorter buffer.
				defer le.PutUint32(iovecs[i+4:], n)
				le.PutUint32(iovecs[i+4:], uint32(transferMax-total))
				stack[2] = uint64(i/8 + 1)
				total = transferMax
				break
			}
			total += uint64(n)
		}
		r.charge(uint64(len(iovecs)/8)*priceIovec + r.priceTransfer(int32(stack[0]), total))
		r.stdout.hold, r.stderr.hold = true, true
		next(r, m, stack)
		if err := errors.Join(r.stdout.release(), r.stderr.release()); err != nil {
			stack[0] = errnoIO
		}
	}
}

// priceTransfer is the price of moving n bytes to or from a descriptor.
func (r *run) priceTransfer(fd int32, n uint64) uint64 {
	if r.files[fd].first {
		return priceStreamed(n)
	}
	return priceBytes(n)
}

// readVector returns a vector whose buffers all lie in memory.
func readVector(mem api.Memory, at, count uint32) (iovecs []byte, errno uint32) {
	if count > iovecsMax {
		return nil, errnoInval
	}
	iovecs, ok := mem.Read(at, count*8)
	if !ok {
		return nil, errnoFault
	}
	total, size := uint64(0), uint64(mem.Size())
	for i := 0; i < len(iovecs); i += 8 {
		n := uint64(le.Uint32(iovecs[i+4:]))
		if uint64(le.Uint32(iovecs[i:]))+n > size {
			return nil, errnoFault
		}
		if total += n; total > 1<<31-1 {
			return nil, errnoInval
		}
	}
	return iovecs, errnoSuccess
}

func fdClose(next hostFunc) hostFunc {
	return func(r *run, m api.Module, stack []uint64) {
		fd := int32(stack[0])
		next(r, m, stack)
		if uint32(stack[0]) == errnoSuccess {
			delete(r.files, fd)
		}
	}
}

// fdRenumber refuses numbers that the open-files limit does not allow: the
// engine's table is as long as its highest number.
func fdRenumber(next hostFunc) hostFunc {
	return func(r *run, m api.Module, stack []uint64) {
		from, to := int32(stack[0]), int32(stack[1])
		if to < 0 || uint64(to) >= r.limits.OpenFiles {
			stack[0] = errnoBadf
			return
		}
		if _, open := r.files[from]; open && from == to {
			// The engine would close the file.
			stack[0] = errnoSuccess
			return
		}
		next(r, m, stack)
		if uint32(stack[0]) == errnoSuccess {
			r.files[to] = r.files[from]
			delete(r.files, from)
		}
	}
}

func fdReaddir(next hostFunc) hostFunc {
	return func(r *run, m api.Module, stack []uint64) {
		if _, ok := m.Memory().Read(uint32(stack[1]), uint32(stack[2])); !ok {
			stack[0] = errnoFault
			return
		}
		r.charge(uint64(uint32(stack[2])) * priceDirentByte)
		next(r, m, stack)
	}
}

// pathArg says in which arguments a path stands: the folder that it starts
// from, its address and its length.
type pathArg struct{ fd, at, size int }

// span is memory that a function writes: its address is argument at, its size
// is fixed or argument sizeArg.
type span struct {
	at      int
	size    uint32
	sizeArg int
}

// paths wraps functions that take paths: it bounds their length, charges them,
// and resolves those that lead out of the folder that they start from. Such a
// path stays below the root, as in a process whose root is "/".
func paths(writes []span, args ...pathArg) func(hostFunc) hostFunc {
	return func(next hostFunc) hostFunc {
		return func(r *run, m api.Module, stack []uint64) {
			var lent []loan
			for _, a := range args {
				p, errno := r.readPath(m, stack, a)
				if errno != errnoSuccess {
					stack[0] = uint64(errno)
					return
				}
				r.charge(uint64(len(p)) * pricePathByte)
				if resolved, ok := r.resolve(int32(stack[a.fd]), p); ok {
					l, ok := lend(m.Memory(), resolved, occupied(stack, writes, args), lent)
					if !ok {
						continue
					}
					lent = append(lent, l)
					stack[a.fd], stack[a.at], stack[a.size] = fdRoot, uint64(l.at), uint64(len(resolved))
				}
			}
			next(r, m, stack)
			for _, l := range slices.Backward(lent) {
				l.giveBack(m.Memory())
			}
		}
	}
}

func (r *run) readPath(m api.Module, stack []uint64, a pathArg) (string, uint32) {
	size := uint32(stack[a.size])
	if size > pathBytesMax {
		return "", errnoNametoolong
	}
	b, ok := m.Memory().Read(uint32(stack[a.at]), size)
	if !ok {
		return "", errnoFault
	}
	return string(b), errnoSuccess
}

// resolve returns the path from the root for a relative path that leaves the
// folder fd. It knows no symbolic links.
func (r *run) resolve(fd int32, p string) (string, bool) {
	clean := path.Clean(p)
	if clean != ".." && !strings.HasPrefix(clean, "../") {
		return "", false
	}
	folder, open := r.files[fd]
	if !open || !r.files[fdRoot].first || (folder.first && fd != fdRoot) {
		return "", false
	}
	resolved := path.Join("/", folder.path, clean)[1:]
	if resolved == "" {
		resolved = "."
	}
	if strings.HasSuffix(p, "/") {
		resolved += "/"
	}
	return resolved, true
}

// loan is guest memory that holds a path of the host's during one call.
type loan struct {
	at    uint32
	saved []byte
}

// lend writes s into guest memory where neither taken nor earlier loans are.
func lend(mem api.Memory, s string, taken [][2]uint64, earlier []loan) (loan, bool) {
	for _, l := range earlier {
		taken = append(taken, [2]uint64{uint64(l.at), uint64(l.at) + uint64(len(l.saved))})
	}
	for at, size := uint64(0), uint64(len(s)); at+size <= uint64(mem.Size()); {
		i := slices.IndexFunc(taken, func(t [2]uint64) bool { return at < t[1] && t[0] < at+size })
		if i < 0 {
			b, _ := mem.Read(uint32(at), uint32(size))
			l := loan{uint32(at), slices.Clone(b)}
			copy(b, s)
			return l, true
		}
		at = taken[i][1]
	}
	return loan{}, false
}

func (l loan) giveBack(mem api.Memory) { mem.Write(l.at, l.saved) }

// occupied returns the memory that a call's arguments refer to.
func occupied(stack []uint64, writes []span, args []pathArg) [][2]uint64 {
	var taken [][2]uint64
	add := func(at, size uint64) { taken = append(taken, [2]uint64{at, at + size}) }
	for _, w := range writes {
		size := uint64(w.size)
		if w.sizeArg > 0 {
			size = uint64(uint32(stack[w.sizeArg]))
		}
		add(uint64(uint32(stack[w.at])), size)
	}
	for _, a := range args {
		add(uint64(uint32(stack[a.at])), uint64(uint32(stack[a.size])))
	}
	return taken
}

// pathOpen also bounds the open descriptors and notes where the new one lies.
func pathOpen(next hostFunc) hostFunc {
	arg, writes := pathArg{0, 2, 3}, []span{{8, 4, 0}}
	open := paths(writes, arg)(next)
	return func(r *run, m api.Module, stack []uint64) {
		if uint64(len(r.files)) >= r.limits.OpenFiles {
			r.hit("open-files", r.limits.OpenFiles)
			stack[0] = errnoMfile
			return
		}
		p, errno := r.readPath(m, stack, arg)
		if errno != errnoSuccess {
			stack[0] = uint64(errno)
			return
		}
		folder, result := r.files[int32(stack[0])], uint32(stack[8])
		open(r, m, stack)
		if uint32(stack[0]) != errnoSuccess {
			return
		}
		if fd, ok := m.Memory().ReadUint32Le(result); ok {
			r.files[int32(fd)] = descriptor{path: path.Join("/", folder.path, p)}
		}
	}
}

// pathSymlink takes its target as it is: only the link's own path is resolved.
func pathSymlink(next hostFunc) hostFunc {
	link := paths([]span{{0, 0, 1}}, pathArg{2, 3, 4})(next)
	return func(r *run, m api.Module, stack []uint64) {
		if uint32(stack[1]) > pathBytesMax {
			stack[0] = errnoNametoolong
			return
		}
		r.charge(priceBytes(uint64(uint32(stack[1]))))
		link(r, m, stack)
	}
}
