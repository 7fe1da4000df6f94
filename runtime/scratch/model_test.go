package scratch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/experimental/sys"
)

// modelFile is a file of the model; two names may share it.
type modelFile struct {
	data []byte
}

// model is a tree as a map from clean paths to files; a nil file is a folder.
type model map[string]*modelFile

// run is a file system, its model and the files that are open in both.
type run struct {
	t     testing.TB
	fs    *FS
	model model
	open  []sys.File
	files []*modelFile
}

// source gives the choices of a run.
type source func(n int) int

var modelNames = []string{"a", "b", "c", "longer-name"}

// path picks a path of one to three elements.
func (pick source) path() string {
	p := ""
	for range 1 + pick(3) {
		p += "/" + modelNames[pick(len(modelNames))]
	}
	return p
}

// parent is the error of a path whose folder is missing or is a file.
func (m model) parent(p string) sys.Errno {
	for _, dir := range folders(p) {
		f, ok := m[dir]
		switch {
		case !ok:
			return sys.ENOENT
		case f != nil:
			return sys.ENOTDIR
		}
	}
	return 0
}

// folders lists the folders on the way to p, outermost first.
func folders(p string) (list []string) {
	for i := 1; i < len(p); i++ {
		if p[i] == '/' {
			list = append(list, p[:i])
		}
	}
	return list
}

func (m model) isDir(p string) bool { f, ok := m[p]; return ok && f == nil }
func (m model) exists(p string) bool {
	_, ok := m[p]
	return ok
}

func (m model) empty(p string) bool {
	for q := range m {
		if strings.HasPrefix(q, p+"/") {
			return false
		}
	}
	return true
}

// vacant is the error of making p.
func (m model) vacant(p string) sys.Errno {
	if errno := m.parent(p); errno != 0 {
		return errno
	}
	if m.exists(p) {
		return sys.EEXIST
	}
	return 0
}

// present is the error of using p.
func (m model) present(p string) sys.Errno {
	if errno := m.parent(p); errno != 0 {
		return errno
	}
	if !m.exists(p) {
		return sys.ENOENT
	}
	return 0
}

// rename is the error of moving from to to.
func (m model) rename(from, to string) sys.Errno {
	if errno := m.present(from); errno != 0 {
		return errno
	}
	if errno := m.parent(to); errno != 0 {
		return errno
	}
	switch {
	case from == to:
		return 0
	case m.isDir(from) && strings.HasPrefix(to, from+"/"):
		return sys.EINVAL
	case !m.exists(to):
		return 0
	case !m.isDir(from) && m.isDir(to):
		return sys.EISDIR
	case m.isDir(from) && !m.isDir(to):
		return sys.ENOTDIR
	case m.isDir(to) && !m.empty(to):
		return sys.ENOTEMPTY
	}
	return 0
}

// agree reports whether the operation is to be done in the model, and fails
// the test if the file system's answer is not the model's. Running into a
// limit is always allowed and must change nothing.
func (r *run) agree(op string, got, want sys.Errno) bool {
	r.t.Helper()
	if want == 0 && (got == ENOSPC || got == EMFILE) {
		return false
	}
	if got != want {
		r.t.Fatalf("%s = %s, the model says %s", op, errnoName(got), errnoName(want))
	}
	return want == 0
}

// step does one operation on both sides.
func (r *run) step(pick source) {
	r.t.Helper()
	p, q, m := pick.path(), pick.path(), r.model
	switch pick(10) {
	case 0:
		if r.agree("mkdir "+p, r.fs.Mkdir(p, 0o755), m.vacant(p)) {
			m[p] = nil
		}
	case 1:
		want := m.present(p)
		if want == 0 && !m.isDir(p) {
			want = sys.ENOTDIR
		} else if want == 0 && !m.empty(p) {
			want = sys.ENOTEMPTY
		}
		if r.agree("rmdir "+p, r.fs.Rmdir(p), want) {
			delete(m, p)
		}
	case 2:
		want := m.present(p)
		if want == 0 && m.isDir(p) {
			want = sys.EISDIR
		}
		if r.agree("unlink "+p, r.fs.Unlink(p), want) {
			delete(m, p)
		}
	case 3:
		if r.agree("rename "+p+" "+q, r.fs.Rename(p, q), m.rename(p, q)) {
			m.move(p, q)
		}
	case 4:
		want := m.present(p)
		if want == 0 {
			if want = m.vacant(q); want == 0 && m.isDir(p) {
				want = sys.EPERM
			}
		}
		if r.agree("link "+p+" "+q, r.fs.Link(p, q), want) {
			m[q] = m[p]
		}
	case 5, 6:
		r.openFile(p, pick)
	default:
		r.useFile(pick)
	}
}

func (m model) move(from, to string) {
	if from == to || m[from] != nil && m[from] == m[to] {
		return
	}
	delete(m, to)
	for q, f := range m {
		if q == from || strings.HasPrefix(q, from+"/") {
			delete(m, q)
			m[to+q[len(from):]] = f
		}
	}
}

func (r *run) openFile(p string, pick source) {
	r.t.Helper()
	flag := sys.O_RDWR
	for _, o := range []sys.Oflag{sys.O_CREAT, sys.O_CREAT | sys.O_EXCL, sys.O_TRUNC} {
		if pick(2) == 0 {
			flag |= o
		}
	}
	want := r.model.parent(p)
	switch {
	case want != 0:
	case !r.model.exists(p) && flag&sys.O_CREAT == 0:
		want = sys.ENOENT
	case r.model.exists(p) && flag&sys.O_EXCL != 0:
		want = sys.EEXIST
	case r.model.isDir(p):
		want = sys.EISDIR
	}
	h, errno := r.fs.OpenFile(p, flag, 0o600)
	if errno == EMFILE || !r.agree(fmt.Sprintf("open %s %x", p, flag), errno, want) {
		return
	}
	if !r.model.exists(p) {
		r.model[p] = &modelFile{}
	}
	f := r.model[p]
	if flag&sys.O_TRUNC != 0 {
		f.data = nil
	}
	r.open, r.files = append(r.open, h), append(r.files, f)
}

func (r *run) useFile(pick source) {
	r.t.Helper()
	if len(r.open) == 0 {
		return
	}
	i := pick(len(r.open))
	h, f := r.open[i], r.files[i]
	size := pick(5 * ChunkBytes)
	switch pick(4) {
	case 0:
		must(r.t, "Close", h.Close())
		r.open = append(r.open[:i:i], r.open[i+1:]...)
		r.files = append(r.files[:i:i], r.files[i+1:]...)
	case 1:
		must(r.t, "Truncate", h.Truncate(int64(size)))
		f.data = append(f.data[:min(size, len(f.data)):min(size, len(f.data))], make([]byte, max(0, size-len(f.data)))...)
	default:
		data := bytes.Repeat([]byte{byte(1 + pick(255))}, 1+pick(3*ChunkBytes))
		n, errno := h.Pwrite(data, int64(size))
		if errno != 0 && errno != ENOSPC || errno != 0 && n != 0 || errno == 0 && n == 0 {
			r.t.Fatalf("Pwrite = %d, %s", n, errnoName(errno))
		}
		if n > 0 {
			if grow := size + n - len(f.data); grow > 0 {
				f.data = append(f.data, make([]byte, grow)...)
			}
			copy(f.data[size:], data[:n])
		}
	}
}

// compare fails the test if the tree is not the model.
func (r *run) compare() {
	r.t.Helper()
	checkTree(r.t, r.fs, r.open)
	found := 0
	var walk func(dir string, n *node)
	walk = func(dir string, n *node) {
		n.entries.after("", func(e entry) bool {
			if e.node.fixed {
				return true
			}
			p := path.Join(dir, e.name)
			f, ok := r.model[p]
			if !ok || (f == nil) != e.node.isDir() {
				r.t.Fatalf("%s is not in the model, or of another kind", p)
			}
			found++
			if f == nil {
				walk(p, e.node)
				return true
			}
			r.sameContent(p, e.node, f)
			return true
		})
	}
	walk("/", r.fs.root)
	if found != len(r.model) {
		r.t.Fatalf("the tree has %d names, the model %d", found, len(r.model))
	}
	for i, h := range r.open {
		r.sameContent("an open file", h.(*file).node, r.files[i])
	}
}

func (r *run) sameContent(p string, n *node, f *modelFile) {
	r.t.Helper()
	got := make([]byte, n.size)
	if n.readAt(got, 0) != len(got) || !bytes.Equal(got, f.data) {
		r.t.Fatalf("%s has other content than in the model: %d and %d bytes", p, len(got), len(f.data))
	}
}

// end closes and removes everything; nothing may stay booked.
func (r *run) end() {
	r.t.Helper()
	for _, h := range r.open {
		must(r.t, "Close", h.Close())
	}
	for len(r.model) > 0 {
		for p, f := range r.model {
			if f != nil {
				must(r.t, "Unlink", r.fs.Unlink(p))
				delete(r.model, p)
			} else if r.model.empty(p) {
				must(r.t, "Rmdir", r.fs.Rmdir(p))
				delete(r.model, p)
			}
		}
	}
	if r.fs.BytesUsed() != 0 || r.fs.FilesUsed() != 0 {
		r.t.Fatalf("everything is removed, but %d bytes and %d files are booked", r.fs.BytesUsed(), r.fs.FilesUsed())
	}
}

func newRun(t testing.TB, small bool) *run {
	c := Config{BytesMax: 1 << 30, FilesMax: 1 << 20}
	if small {
		c = Config{BytesMax: 10 * ChunkBytes, FilesMax: 6, HandlesMax: 4}
	}
	return &run{t: t, fs: open(t, c), model: model{}}
}

func TestModel(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			r := newRun(t, seed%2 == 1)
			for range 400 {
				r.step(random.IntN)
				r.compare()
			}
			r.end()
		})
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07"))
	f.Add(bytes.Repeat([]byte{5, 0, 9, 1, 7, 3, 200}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRun(t, len(data)%2 == 1)
		pick := func(n int) int {
			if len(data) < 2 {
				data = nil
				return 0
			}
			v := int(data[0])<<8 | int(data[1])
			data = data[2:]
			return v % n
		}
		for len(data) > 0 {
			r.step(pick)
		}
		r.compare()
		r.end()
	})
}

// FuzzPath: no path makes a look-up fail in another way than by an errno.
func FuzzPath(f *testing.F) {
	for _, p := range []string{"", "/", ".", "a/../b", "//a//", "l/l/l", "\x00", "a/./..//tmp/"} {
		f.Add(p, p)
	}
	f.Fuzz(func(t *testing.T, p, q string) {
		s := open(t, Config{BytesMax: 1 << 16, FilesMax: 20})
		_ = s.Mkdir("a", 0o755)
		_ = s.Symlink(q, "l")
		_ = s.Symlink(p, q)
		_ = s.Mkdir(p, 0o755)
		_ = s.Rename(p, q)
		_ = s.Link(p, q)
		_, _ = readFile(s, q)
		_ = writeFile(s, p, q)
		_, _ = s.Stat(p)
		_ = s.Unlink(q)
		_ = s.Rmdir(p)
		checkTree(t, s, nil)
	})
}

func TestChunks(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		var c chunks
		want := map[int64]bool{}
		for range 300 {
			i := random.Int64N(1 << (1 + random.IntN(35)))
			if random.IntN(20) == 0 {
				cut := uint64(0)
				for k := range want {
					if k >= i {
						delete(want, k)
						cut++
					}
				}
				if got := c.cut(i); got != cut {
					t.Fatalf("cut(%d) = %d, want %d", i, got, cut)
				}
				continue
			}
			if (c.get(i) != nil) != want[i] {
				t.Fatalf("get(%d) = %v, want %v", i, c.get(i) != nil, want[i])
			}
			if !want[i] {
				if added := c.add(i); c.get(i) != added {
					t.Fatalf("get(%d) is not what was added", i)
				}
				want[i] = true
			}
		}
		if countChunks(t, &node{data: c}) != uint64(len(want)) {
			t.Fatal("wrong count")
		}
		c.cut(0)
		if c.count != 0 || c.root != nil || c.first != nil {
			t.Fatal("something is left after cut(0)")
		}
	}
}
