package sandbox

import (
	"encoding/binary"
	"io"
	"runtime"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// The WASI error numbers that the sandbox gives itself.
const (
	errnoSuccess     = 0
	errnoBadf        = 8
	errnoFault       = 21
	errnoInval       = 28
	errnoIO          = 29
	errnoMfile       = 33
	errnoNametoolong = 37
	errnoNotsup      = 58
	errnoPipe        = 64
)

var le = binary.LittleEndian

// mended replaces or wraps functions of wazero's WASI that are missing
// something. Each gets wazero's own function.
var mended = map[string]func(hostFunc) hostFunc{
	"args_get":          always(argsGet),
	"args_sizes_get":    always(argsSizesGet),
	"environ_get":       always(environGet),
	"environ_sizes_get": always(environSizesGet),
	"clock_res_get":     always(clockResGet),
	"clock_time_get":    always(clockTimeGet),
	"poll_oneoff":       always(pollOneoff),
	"proc_exit":         always(procExit),
	"random_get":        always(randomGet),
	"sched_yield":       always(schedYield),

	"fd_close":    fdClose,
	"fd_pread":    vector,
	"fd_pwrite":   vector,
	"fd_read":     vector,
	"fd_readdir":  fdReaddir,
	"fd_renumber": fdRenumber,
	"fd_write":    vector,
	"sock_recv":   vector,
	"sock_send":   vector,

	"path_create_directory":   paths(nil, pathArg{0, 1, 2}),
	"path_filestat_get":       paths([]span{{4, 64, 0}}, pathArg{0, 2, 3}),
	"path_filestat_set_times": paths(nil, pathArg{0, 2, 3}),
	"path_link":               paths(nil, pathArg{0, 2, 3}, pathArg{4, 5, 6}),
	"path_open":               pathOpen,
	"path_readlink":           paths([]span{{3, 0, 4}, {5, 4, 0}}, pathArg{0, 1, 2}),
	"path_remove_directory":   paths(nil, pathArg{0, 1, 2}),
	"path_rename":             paths(nil, pathArg{0, 1, 2}, pathArg{3, 4, 5}),
	"path_symlink":            pathSymlink,
	"path_unlink_file":        paths(nil, pathArg{0, 1, 2}),
}

func always(f hostFunc) func(hostFunc) hostFunc {
	return func(hostFunc) hostFunc { return f }
}

func argsGet(r *run, m api.Module, stack []uint64) { putStrings(r, m, stack, r.spec.Args) }

func argsSizesGet(r *run, m api.Module, stack []uint64) { putSizes(r, m, stack, r.spec.Args) }

func environGet(r *run, m api.Module, stack []uint64) { putStrings(r, m, stack, r.spec.Env) }

func environSizesGet(r *run, m api.Module, stack []uint64) { putSizes(r, m, stack, r.spec.Env) }

// putSizes writes the number of strings and the bytes that they take with a
// zero byte each.
func putSizes(r *run, m api.Module, stack []uint64, list []string) {
	r.charge(uint64(len(list)) * priceStringSize)
	size := 0
	for _, s := range list {
		size += len(s) + 1
	}
	mem := m.Memory()
	if !mem.WriteUint32Le(uint32(stack[0]), uint32(len(list))) || !mem.WriteUint32Le(uint32(stack[1]), uint32(size)) {
		stack[0] = errnoFault
		return
	}
	stack[0] = errnoSuccess
}

// putStrings writes pointers to strings, and the strings.
func putStrings(r *run, m api.Module, stack []uint64, list []string) {
	mem, table, at := m.Memory(), uint32(stack[0]), uint32(stack[1])
	for _, s := range list {
		r.charge(priceString + priceBytes(uint64(len(s))))
		if !mem.WriteUint32Le(table, at) || !mem.WriteString(at, s) || !mem.WriteByte(at+uint32(len(s)), 0) {
			stack[0] = errnoFault
			return
		}
		table += 4
		at += uint32(len(s)) + 1
	}
	stack[0] = errnoSuccess
}

func clockResGet(_ *run, m api.Module, stack []uint64) {
	switch {
	case uint32(stack[0]) >= clockCount:
		stack[0] = errnoInval
	case !m.Memory().WriteUint64Le(uint32(stack[1]), 1):
		stack[0] = errnoFault
	default:
		stack[0] = errnoSuccess
	}
}

func clockTimeGet(r *run, m api.Module, stack []uint64) {
	switch {
	case uint32(stack[0]) >= clockCount:
		stack[0] = errnoInval
	case !m.Memory().WriteUint64Le(uint32(stack[2]), r.read(uint32(stack[0]))):
		stack[0] = errnoFault
	default:
		stack[0] = errnoSuccess
	}
}

func procExit(_ *run, _ api.Module, stack []uint64) {
	panic(sys.NewExitError(uint32(stack[0])))
}

func schedYield(r *run, _ api.Module, stack []uint64) {
	r.check()
	r.wait(runtime.Gosched)
	stack[0] = errnoSuccess
}

// randomChunk bounds the random bytes made between two looks at the deadline.
const randomChunk = 256 << 10

func randomGet(r *run, m api.Module, stack []uint64) {
	at, n := uint32(stack[0]), uint32(stack[1])
	if _, ok := m.Memory().Read(at, n); !ok {
		stack[0] = errnoFault
		return
	}
	stack[0] = errnoSuccess
	for n > 0 {
		k := min(n, randomChunk)
		r.charge(uint64(k) * priceRandom)
		buf, _ := m.Memory().Read(at, k)
		if _, err := io.ReadFull(r.random, buf); err != nil {
			stack[0] = errnoIO
			return
		}
		at, n = at+k, n-k
	}
}
