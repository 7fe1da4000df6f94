package sandbox

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/task"
)

// priceProgram is a guest that does one thing for ever, or until it ends.
type priceProgram struct {
	name string
	// before runs once, body again and again. A guest without a body ends
	// after before, and what is measured is its whole attempt.
	before, body string
	// module holds further lines of the module, before its functions or
	// behind them.
	module, behind string
	spec           task.Spec
	// start has the module's start function do it, and _start nothing.
	start bool
	// stdin is "silent" for one that neither says anything nor ends, "endless" for
	// one that always has more; otherwise it is at its end.
	stdin string
}

// wasiTypes are the signatures of the WASI functions that the programs call.
var wasiTypes = []struct{ name, params string }{
	{"args_get", "i32 i32"},
	{"environ_get", "i32 i32"},
	{"environ_sizes_get", "i32 i32"},
	{"clock_time_get", "i32 i64 i32"},
	{"random_get", "i32 i32"},
	{"sched_yield", ""},
	{"fd_write", "i32 i32 i32 i32"},
	{"fd_read", "i32 i32 i32 i32"},
	{"fd_pwrite", "i32 i32 i32 i64 i32"},
	{"fd_pread", "i32 i32 i32 i64 i32"},
	{"fd_readdir", "i32 i32 i32 i64 i32"},
	{"fd_close", "i32"},
	{"fd_fdstat_get", "i32 i32"},
	{"fd_filestat_set_size", "i32 i64"},
	{"fd_allocate", "i32 i64 i64"},
	{"fd_renumber", "i32 i32"},
	{"fd_seek", "i32 i64 i32 i32"},
	{"fd_filestat_get", "i32 i32"},
	{"fd_prestat_dir_name", "i32 i32 i32"},
	{"poll_oneoff", "i32 i32 i32 i32"},
	{"path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"},
	{"path_filestat_get", "i32 i32 i32 i32 i32"},
	{"path_unlink_file", "i32 i32 i32"},
	{"path_create_directory", "i32 i32 i32"},
	{"path_remove_directory", "i32 i32 i32"},
	{"path_symlink", "i32 i32 i32 i32 i32"},
	{"path_rename", "i32 i32 i32 i32 i32 i32"},
	{"path_readlink", "i32 i32 i32 i32 i32 i32"},
	{"path_link", "i32 i32 i32 i32 i32 i32 i32"},
	{"path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"},
	{"fd_sync", "i32"},
}

// wasi writes a call of a WASI function whose result is dropped. A word of
// args is a number or the name of a local: $0 is local 0.
func wasi(name string, args ...any) string {
	var b strings.Builder
	i := wasiIndex(name)
	for k, typ := range strings.Fields(wasiTypes[i].params) {
		if s, ok := args[k].(string); ok {
			fmt.Fprintf(&b, "local.get %s\n", s[1:])
		} else {
			fmt.Fprintf(&b, "%s.const %d\n", typ, args[k])
		}
	}
	fmt.Fprintf(&b, "call %d\ndrop\n", i)
	return b.String()
}

// wasiIndex returns the number of a WASI function.
func wasiIndex(name string) int {
	for i, t := range wasiTypes {
		if t.name == name {
			return i
		}
	}
	panic("no WASI function " + name)
}

func (p *priceProgram) bytes() []byte {
	var b strings.Builder
	b.WriteString("type () -> ()\ntype () -> (i32)\n")
	for _, t := range wasiTypes {
		fmt.Fprintf(&b, "import \"wasi_snapshot_preview1\" %q (%s) -> (i32)\n", t.name, t.params)
	}
	module := p.module
	if !strings.Contains(module, "memory ") {
		module += "\nmemory 64\n"
	}
	b.WriteString(module)
	name := " \"_start\""
	if p.start {
		b.WriteString("\nfunc \"_start\" () -> ()\nend\n" + fmt.Sprintf("start %d\n", len(wasiTypes)+1))
		name = ""
	}
	b.WriteString("\nfunc" + name + " () -> () local i32 i32 i64 i64 f64 f64 f32 v128 v128 i32\n" + p.before + "\n")
	if p.body != "" {
		b.WriteString("loop\n" + p.body + "\nbr 0\nend\n")
	}
	b.WriteString("end\n" + p.behind)
	return wasmtest.Assemble(b.String())
}

func repeat(n int, lines string) string { return strings.Repeat(lines+"\n", n) }

// counted writes a loop of n turns over local 0.
func counted(n int, body string) string {
	return fmt.Sprintf("i32.const 0\nlocal.set 0\nloop\n%s\nlocal.get 0\ni32.const 1\ni32.add\nlocal.tee 0\ni32.const %d\ni32.lt_u\nbr_if 0\nend", body, n)
}

// numbered writes a path of 8 bytes at 64 from local 0, in letters.
func numbered() string {
	var b strings.Builder
	for i := range 8 {
		fmt.Fprintf(&b, "i32.const %d\nlocal.get 0\ni32.const %d\ni32.shr_u\ni32.const 15\ni32.and\ni32.const 97\ni32.add\ni32.store8 align=1\n", 64+i, 4*i)
	}
	return b.String()
}

// openAt writes a call of path_open for a path in memory; the descriptor goes
// to address 32.
func openAt(at, size any, oflags int) string {
	return wasi("path_open", 3, 0, at, size, oflags, 0x1fffffff, 0x1fffffff, 0, 32)
}

// sleeps is one subscription, to a clock that fires after so many nanoseconds,
// and behind it one to stdin.
func sleeps(nanos uint64) string {
	var sub [96]byte
	le.PutUint32(sub[16:], clockMonotonic)
	le.PutUint64(sub[24:], nanos)
	sub[48+8] = eventRead
	return fmt.Sprintf("data 1048576 %q\n", string(sub[:]))
}

func polls(n int, kind byte) string {
	return fmt.Sprintf("data 1048576 %q\n", strings.Repeat("\x00\x00\x00\x00\x00\x00\x00\x00"+string(rune(kind))+"\x00\x00\x00\x00\x00\x00\x00\x01"+strings.Repeat("\x00", 31), n))
}

// unary writes a chain of operations on a value, whose result is kept so that
// the compiler cannot leave it out.
func unary(push, op string) string {
	store := map[string]string{"f64": "f64.store", "i64": "i64.store", "loc": "v128.store"}[push[:3]]
	if push == "local.get 0" {
		store = "i32.store"
	}
	return "i32.const 64\n" + push + "\n" + repeat(200, op) + store
}

func pricePrograms() []priceProgram {
	const v = "local.get 7"
	binary := func(push, op string) string { return unary(push, push+"\n"+op) }
	iovecs := func(n, size int) string {
		return fmt.Sprintf("data 2097152 %q\n", strings.Repeat("\x00\x00\x30\x00"+string([]byte{byte(size), byte(size >> 8), byte(size >> 16), 0}), n))
	}
	bigEnv, manyEnv := task.Spec{}, task.Spec{}
	bigEnv.Env = []string{"A=" + strings.Repeat("x", 1<<20-8)}
	for i := range 100_000 {
		manyEnv.Env = append(manyEnv.Env, fmt.Sprintf("%x=", 0x10000+i))
	}
	// The time that a guest sleeps is not the host's, but ends with its timeout.
	asleep := task.Spec{Limits: task.Limits{Timeout: 500 * time.Millisecond}}
	deep := strings.Repeat("./", 2047)
	// The first link's target leads through 39 more, each by a long way.
	links := func() string {
		var data, calls strings.Builder
		for i := range 40 {
			target := strings.Repeat("./", 2040) + string(rune('A'+i))
			fmt.Fprintf(&data, "data %d %q\n", 1<<20+i*8192, target)
			fmt.Fprintf(&data, "data %d %q\n", 128+i, string(rune('@'+i)))
			calls.WriteString(wasi("path_symlink", 1<<20+i*8192, len(target), 3, 128+i, 1))
		}
		return data.String() + "|" + calls.String()
	}()
	linkData, linkCalls, _ := strings.Cut(links, "|")
	files := counted(9_000, numbered()+openAt(64, 8, 1)+"i32.const 32\ni32.load\nlocal.set 1\n"+wasi("fd_close", "$1"))
	big := task.Spec{Limits: task.Limits{MemoryBytes: 1 << 30, ScratchBytes: 1 << 30}}
	deepDirs := strings.Repeat("d/", 2000)
	mkdirs := counted(2000, "local.get 0\ni32.const 2\ni32.mul\ni32.const 1\ni32.add\nlocal.set 1\n"+wasi("path_create_directory", 3, 1<<20, "$1"))

	list := []priceProgram{
		{name: "arithmetic", body: "local.get 0\n" + repeat(200, "i32.const 7\ni32.add") + "local.set 0"},
		{name: "arithmetic/dependent xor mul", body: "local.get 2\n" + repeat(200, "local.get 3\ni64.mul\ni64.const 5\ni64.xor") + "local.set 2"},
		{name: "div i32", body: unary("local.get 0", "i32.const 3\ni32.or\ni32.const 7\ni32.div_u")},
		{name: "rem i64", before: "i64.const -1\nlocal.set 2\ni64.const 3\nlocal.set 3", body: unary("i64.const -1234567", "local.get 2\ni64.xor\nlocal.get 3\ni64.rem_s")},
		{name: "div i64", before: "i64.const -1\nlocal.set 2\ni64.const 3\nlocal.set 3", body: unary("i64.const -1234567", "local.get 2\ni64.or\nlocal.get 3\ni64.div_u")},
		{name: "f64.sqrt and add", before: "f64.const 1.5\nlocal.set 4", body: unary("f64.const 1.7", "f64.sqrt\nlocal.get 4\nf64.add")},
		{name: "f64.div", before: "f64.const 1.0000001\nlocal.set 4", body: unary("f64.const 1e300", "local.get 4\nf64.div")},
		{name: "f64.div subnormal", before: "f64.const 1.0000001\nlocal.set 4", body: unary("f64.const 3e-310", "local.get 4\nf64.div")},
		{name: "f64.mul subnormal", before: "f64.const 0.99999\nlocal.set 4", body: unary("f64.const 3e-310", "local.get 4\nf64.mul")},
		{name: "f64.add subnormal", before: "f64.const 3e-310\nlocal.set 4", body: unary("f64.const 3e-310", "local.get 4\nf64.add")},
		{name: "f64.min", before: "f64.const 1\nlocal.set 4", body: unary("f64.const 2", "local.get 4\nf64.min")},
		{name: "f64.nearest", body: unary("f64.const 2.5", "f64.nearest")},
		{name: "f64.copysign", before: "f64.const 1\nlocal.set 4", body: unary("f64.const 2", "local.get 4\nf64.copysign")},
		{name: "f64 trunc and convert", body: unary("f64.const 2", "i32.trunc_f64_s\nf64.convert_i32_u")},
		{name: "f64 convert u64", body: unary("i64.const 2", "f64.convert_i64_u\ni64.trunc_sat_f64_u")},
		{name: "i64.popcnt", body: unary("i64.const 77", "i64.popcnt\ni64.clz\ni64.ctz")},
		{name: "i64.rotl", body: unary("i64.const 77", "local.get 2\ni64.rotl")},
		{name: "select", body: unary("i64.const 77", "local.get 2\nlocal.get 0\nselect")},
		{name: "br_table", body: repeat(40, "block\nblock\nblock\nlocal.get 0\nbr_table "+strings.Repeat("0 1 2 ", 30)+"0\nend\nend\nend") +
			"local.get 0\ni32.const 1103515245\ni32.mul\ni32.const 12345\ni32.add\nlocal.set 0"},
		{name: "br_if random", body: repeat(40, "local.get 0\ni32.const 1103515245\ni32.mul\ni32.const 12345\ni32.add\nlocal.tee 0\ni32.const 16\ni32.shr_u\ni32.const 1\ni32.and\nif\nlocal.get 1\ni32.const 3\ni32.add\nlocal.set 1\nend")},
		{name: "empty loop", body: ""}, // Replaced below.
		{
			name: "memory: miss every load", module: "memory 8192\n", spec: big,
			body: repeat(20, "local.get 0\ni32.const 1103515245\ni32.mul\ni32.const 12345\ni32.add\nlocal.tee 0\ni32.const 0x1fffffc0\ni32.and\ni32.load\nlocal.get 0\ni32.add\nlocal.set 0"),
		},
		{
			name: "memory: miss every store", module: "memory 8192\n", spec: big,
			body: repeat(20, "local.get 0\ni32.const 1103515245\ni32.mul\ni32.const 12345\ni32.add\nlocal.tee 0\ni32.const 0x1fffffc0\ni32.and\nlocal.get 0\ni32.store"),
		},
		{
			name: "memory: stride of a page", module: "memory 8192\n", spec: big,
			body: repeat(20, "local.get 0\ni32.const 4160\ni32.add\ni32.const 0x1fffffff\ni32.and\nlocal.tee 0\ni32.load\nlocal.get 1\ni32.add\nlocal.set 1"),
		},
		{name: "memory: unaligned, across lines", body: repeat(100, "i32.const 4093\ni64.const 7\ni64.store align=1\ni32.const 4093\ni64.load align=1\nlocal.set 2")},
		{name: "memory: store narrow, load wide", body: repeat(100, "i32.const 4096\nlocal.get 0\ni32.store8\ni32.const 4096\ni64.load\ni32.wrap_i64\nlocal.set 0")},
		{name: "memory.fill 1", body: repeat(50, "i32.const 0\ni32.const 0\ni32.const 1\nmemory.fill")},
		{name: "memory.fill 0", body: repeat(50, "i32.const 0\ni32.const 0\ni32.const 0\nmemory.fill")},
		{name: "memory.fill 1 MiB", body: "i32.const 0\ni32.const 0\ni32.const 1048576\nmemory.fill"},
		{name: "memory.copy 63", body: repeat(50, "i32.const 3\ni32.const 0\ni32.const 63\nmemory.copy")},
		{name: "memory.copy 1 MiB overlapping", body: "i32.const 3\ni32.const 0\ni32.const 1048576\nmemory.copy"},
		{name: "memory.copy 256 MiB", module: "memory 8192\n", spec: big, body: "i32.const 0\ni32.const 0x10000000\ni32.const 0x10000000\nmemory.copy"},
		{name: "memory.grow 0", body: repeat(50, "i32.const 0\nmemory.grow\ndrop")},
		{name: "memory.grow fails", body: repeat(50, "i32.const -1\nmemory.grow\ndrop")},
		{
			name: "memory.grow 1, touch, ends", module: "memory 1\n", spec: big,
			before: counted(8000, "local.get 0\ni32.const 16\ni32.shl\nlocal.set 1\ni32.const 1\nmemory.grow\ndrop\n"+func() string {
				var b strings.Builder
				for i := range 16 {
					fmt.Fprintf(&b, "local.get 1\ni32.const 1\ni32.store offset=%d\n", i*4096)
				}
				return b.String()
			}()),
		},
		{name: "memory.grow 8000, ends", module: "memory 1\n", spec: big, before: "i32.const 8000\nmemory.grow\ndrop"},
		{name: "memory.grow 1 x 8000, ends", module: "memory 1\n", spec: big, before: counted(8000, "i32.const 1\nmemory.grow\ndrop")},
		{name: "table.grow 0", module: "table 10", body: repeat(20, "ref.null funcref\ni32.const 0\ntable.grow 0\ndrop")},
		{name: "table.grow fails", module: "table 10", body: repeat(20, "ref.null funcref\ni32.const -1\ntable.grow 0\ndrop")},
		{name: "table.grow 1, ends", module: "table 10", before: counted(100_000, "ref.null funcref\ni32.const 1\ntable.grow 0\ndrop")},
		{name: "table.grow 1000, ends", module: "table 10", before: counted(10_000, "ref.null funcref\ni32.const 1000\ntable.grow 0\ndrop")},
		{name: "table.get and set", module: "table 10", body: repeat(100, "i32.const 1\ni32.const 2\ntable.get 0\ntable.set 0")},
		{name: "table.fill 100,000", module: "table 100000", body: "i32.const 0\nref.null funcref\ni32.const 100000\ntable.fill 0"},
		{name: "table.fill 0", module: "table 100000", body: repeat(20, "i32.const 0\nref.null funcref\ni32.const 0\ntable.fill 0")},
		{name: "table.copy 100,000", module: "table 100001", body: "i32.const 1\ni32.const 0\ni32.const 100000\ntable.copy 0 0"},
		{name: "table.init 0", module: "table 10\nelem 0 0", body: repeat(20, "i32.const 0\ni32.const 0\ni32.const 0\ntable.init 0 0")},
		{name: "memory.init 0", module: "memory 64\ndata 0 \"x\"", body: repeat(20, "i32.const 0\ni32.const 0\ni32.const 0\nmemory.init 0 0\ndata.drop 0")},
		{name: "ref.func", module: "table 10\nelem 0 0", body: repeat(100, "ref.func 0\nref.is_null\ndrop")},
		{name: "call", body: repeat(50, fmt.Sprintf("call %d", len(wasiTypes)+1)), behind: "func () -> ()\nend\n"},
		{name: "call, 20 locals zeroed", body: repeat(50, fmt.Sprintf("i32.const 0\ncall %d", len(wasiTypes)+1)), behind: "func (i32) -> () local" + strings.Repeat(" v128", 20) +
			"\nlocal.get 0\nif\n" + func() string {
			var b strings.Builder
			for i := range 20 {
				fmt.Fprintf(&b, "local.get 0\nlocal.get %d\nv128.store\n", i+1)
			}
			return b.String()
		}() + fmt.Sprintf("call %d\nend\nend\n", len(wasiTypes))},
		{name: "call, 5,000 locals kept", body: repeat(5, fmt.Sprintf("i32.const 0\ncall %d", len(wasiTypes)+1)), behind: "func (i32) -> () local" + strings.Repeat(" i64", 5000) +
			"\nblock\nlocal.get 0\nbr_if 0\ni32.const 0\nlocal.set 0\nend\nlocal.get 0\nif\n" + func() string {
			var b strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&b, "local.get 0\nlocal.get %d\ni64.store\n", i+1)
			}
			return b.String()
		}() + "end\nend\n"},
		{name: "call, 100 parameters", body: repeat(5, repeat(100, "local.get 2")+fmt.Sprintf("call %d", len(wasiTypes)+1)), behind: "func (" + strings.TrimSpace(strings.Repeat("i64 ", 100)) + ") -> ()\nend\n"},
		{name: "call_indirect", module: "table 10\nelem 0 " + fmt.Sprint(len(wasiTypes)+1), body: repeat(50, "i32.const 0\ncall_indirect 0 0"), behind: "func () -> ()\nend\n"},
		{name: "call tree", body: "i32.const 20\n" + fmt.Sprintf("call %d", len(wasiTypes)+1), behind: fmt.Sprintf("func (i32) -> ()\nlocal.get 0\nif\nlocal.get 0\ni32.const 1\ni32.sub\ncall %[1]d\nlocal.get 0\ni32.const 1\ni32.sub\ncall %[1]d\nend\nend\n", len(wasiTypes)+1)},
		{name: "deep recursion, trap", before: fmt.Sprintf("call %d", len(wasiTypes)+1), behind: fmt.Sprintf("func () -> ()\ncall %d\nend\n", len(wasiTypes)+1)},
		{name: "export calls itself, trap", before: fmt.Sprintf("call %d", len(wasiTypes))},
		{name: "export calls itself by a table, trap", module: fmt.Sprintf("table 10\nelem 0 %d", len(wasiTypes)), before: "i32.const 0\ncall_indirect 0 0"},
		{name: "trap at once", before: "unreachable"},
		{name: "start function: arithmetic", start: true, body: "local.get 0\n" + repeat(200, "i32.const 7\ni32.add") + "local.set 0"},
		{name: "start function: empty loop", start: true, body: "nop"},
		{name: "start function: calls", start: true, body: repeat(50, fmt.Sprintf("call %d", len(wasiTypes)))},
		{name: "start function: memory.fill 1 MiB", start: true, body: "i32.const 0\ni32.const 0\ni32.const 1048576\nmemory.fill"},
		{name: "start function: host: clock_time_get", start: true, body: wasi("clock_time_get", 1, 0, 0)},
		{name: "start function: calls itself, trap", start: true, before: fmt.Sprintf("call %d", len(wasiTypes)+1)},
		{name: "v128 add", body: unary(v, v+"\ni32x4.add")},
		{name: "start and end", before: "nop"},
		{name: "start: 20,000 functions", before: "nop", behind: strings.Repeat("func () -> ()\nend\n", 20_000)},
		{name: "start: 40,000 globals", before: "nop", module: strings.Repeat("global mut i64 5\n", 40_000)},
		{name: "start: 100,000 exports", before: "nop", behind: func() string {
			var b strings.Builder
			for i := range 90_000 {
				fmt.Fprintf(&b, "export \"e%d\" func 0\n", i)
			}
			return b.String()
		}()},
		{name: "start: 1,000,000 table entries", before: "nop", module: "table 1000000"},
		{name: "start: 1,000,000 elements", before: "nop", module: "table 1000000\nelem 0" + strings.Repeat(" 0", 1_000_000)},
		{name: "start: 50,000 data segments", before: "nop", module: "memory 1\n" + strings.Repeat("data 0 \"x\"\n", 50_000)},
		{name: "start: 32 MiB of data", before: "nop", spec: big, module: "memory 1000\ndata 0 \"" + strings.Repeat("xyzw", 8<<20) + "\"\n"},
		{name: "start: 1 GiB of memory", before: "nop", spec: big, module: "memory 16384\n"},
		{name: "start: 100 tables", before: "nop", module: strings.Repeat("table 1000\n", 100)},

		{name: "host: clock_time_get", body: wasi("clock_time_get", 1, 0, 0)},
		{name: "host: clock_time_get real", body: wasi("clock_time_get", 1, 0, 0), spec: task.Spec{RealClock: true}},
		{name: "host: clock_time_get real, of the process", body: wasi("clock_time_get", 2, 0, 0), spec: task.Spec{RealClock: true}},
		{name: "host: sched_yield", body: wasi("sched_yield")},
		{
			name: "host: sched_yield by a table", module: fmt.Sprintf("table 10\nelem 0 %d", wasiIndex("sched_yield")),
			body: "i32.const 0\ncall_indirect 1 0\ndrop",
		},
		{name: "host: random_get 0", body: wasi("random_get", 0, 0)},
		{name: "host: random_get 1", body: wasi("random_get", 0, 1)},
		{name: "host: random_get 1 real", body: wasi("random_get", 0, 1), spec: task.Spec{RealRandom: true}},
		{name: "host: random_get 1 MiB", body: wasi("random_get", 0, 1<<20)},
		{name: "host: random_get 1 MiB real", body: wasi("random_get", 0, 1<<20), spec: task.Spec{RealRandom: true}},
		{name: "host: args_get", body: wasi("args_get", 0, 100), spec: task.Spec{Args: []string{"a", "b"}}},
		{name: "host: environ_get 1 MiB", body: wasi("environ_get", 0, 1024), spec: bigEnv},
		{name: "host: environ_get 100,000", body: wasi("environ_get", 0, 1<<20), spec: manyEnv},
		{name: "host: environ_sizes_get 100,000", body: wasi("environ_sizes_get", 0, 8), spec: manyEnv},
		{name: "host: fd_write 0 iovecs", body: wasi("fd_write", 1, 0, 0, 8)},
		{name: "host: fd_write bad fd", body: wasi("fd_write", 99, 0, 0, 8)},
		{name: "host: fd_write 1 byte", body: wasi("fd_write", 1, 2<<20, 1, 8), module: iovecs(1, 1), spec: task.Spec{Limits: task.Limits{OutputBytes: 1 << 40}}},
		{name: "host: fd_write 1024 × 0", body: wasi("fd_write", 1, 2<<20, 1024, 8), module: iovecs(1024, 0)},
		{name: "host: fd_write 1024 × 1", body: wasi("fd_write", 1, 2<<20, 1024, 8), module: iovecs(1024, 1), spec: task.Spec{Limits: task.Limits{OutputBytes: 1 << 40}}},
		{name: "host: fd_write 1 MiB", body: wasi("fd_write", 1, 2<<20, 1, 8), module: iovecs(1, 1<<20-1), spec: task.Spec{Limits: task.Limits{OutputBytes: 1 << 40}}},
		{name: "host: fd_read stdin at its end", body: wasi("fd_read", 0, 2<<20, 1, 8), module: iovecs(1, 100)},
		{name: "host: fd_read stdin 1 byte", body: wasi("fd_read", 0, 2<<20, 1, 8), module: iovecs(1, 1), stdin: "endless"},
		{name: "host: fd_read stdin 64 KiB", body: wasi("fd_read", 0, 2<<20, 1, 8), module: iovecs(1, 1<<16), stdin: "endless"},
		{name: "host: fd_read stdin, 1024 × 1", body: wasi("fd_read", 0, 2<<20, 1024, 8), module: iovecs(1024, 1), stdin: "endless"},
		{name: "host: poll stdin, then read 1 byte", body: wasi("poll_oneoff", 1<<20, 0, 2, 1<<19) + wasi("fd_read", 0, 2<<20, 1, 8), module: sleeps(1_000_000) + iovecs(1, 1), stdin: "endless"},
		{name: "host: fd_read stdin, 1024 × 0", body: wasi("fd_read", 0, 2<<20, 1024, 8), module: iovecs(1024, 0)},
		{name: "host: fd_pwrite file 1 MiB", before: openAt(64, 1, 1), body: wasi("fd_pwrite", 4, 2<<20, 1, 0, 8), module: iovecs(1, 1<<20-1) + "data 64 \"f\"\n"},
		{name: "host: fd_pwrite file 1024 × 1", before: openAt(64, 1, 1), body: wasi("fd_pwrite", 4, 2<<20, 1024, 0, 8), module: iovecs(1024, 1) + "data 64 \"f\"\n"},
		{name: "host: fd_pwrite file far, cut", before: openAt(64, 1, 1), body: wasi("fd_pwrite", 4, 2<<20, 1, 1<<47, 8) + wasi("fd_filestat_set_size", 4, 0), module: iovecs(1, 1) + "data 64 \"f\"\n"},
		{name: "host: fd_pwrite file 16 MiB, cut", before: openAt(64, 1, 1), body: wasi("fd_pwrite", 4, 2<<20, 16, 0, 8) + wasi("fd_filestat_set_size", 4, 0), module: iovecs(16, 1<<20-1) + "data 64 \"f\"\n"},
		{name: "host: fd_pread file 1 MiB hole", before: openAt(64, 1, 1) + wasi("fd_filestat_set_size", 4, 1<<40), body: wasi("fd_pread", 4, 2<<20, 1, 1<<30, 8), module: iovecs(1, 1<<20-1) + "data 64 \"f\"\n"},
		{name: "host: fd_allocate 16 MiB, cut", before: openAt(64, 1, 1), body: wasi("fd_allocate", 4, 0, 16<<20) + wasi("fd_filestat_set_size", 4, 0), module: "data 64 \"f\"\n"},
		{name: "host: fd_allocate 1 TiB", before: openAt(64, 1, 1), body: wasi("fd_allocate", 4, 0, 1<<40) + wasi("fd_filestat_set_size", 4, 0), module: "data 64 \"f\"\n"},
		{name: "host: fd_filestat_set_size 1 TiB", before: openAt(64, 1, 1), body: wasi("fd_filestat_set_size", 4, 1<<40) + wasi("fd_filestat_set_size", 4, 0), module: "data 64 \"f\"\n"},
		{name: "host: fd_fdstat_get", body: wasi("fd_fdstat_get", 3, 64)},
		{name: "host: fd_filestat_get", body: wasi("fd_filestat_get", 3, 64)},
		{name: "host: fd_prestat_dir_name", body: wasi("fd_prestat_dir_name", 3, 64, 1)},
		{name: "host: fd_sync", body: wasi("fd_sync", 3)},
		{name: "host: fd_seek", before: openAt(64, 1, 1), body: wasi("fd_seek", 4, 0, 0, 8), module: "data 64 \"f\"\n"},
		{name: "host: fd_renumber", before: openAt(64, 1, 1), body: wasi("fd_renumber", 4, 200) + wasi("fd_renumber", 200, 4), module: "data 64 \"f\"\n"},
		{name: "host: poll 1 clock", body: wasi("poll_oneoff", 1<<20, 0, 1, 1<<19), module: polls(1, 0)},
		{name: "host: poll 4096 clocks", body: wasi("poll_oneoff", 1<<20, 0, 4096, 1<<19), module: polls(4096, 0)},
		{name: "host: poll 4096 writes", body: wasi("poll_oneoff", 1<<20, 0, 4096, 1<<19), module: polls(4096, 2)},
		{name: "host: poll asleep for 1 ns", body: wasi("poll_oneoff", 1<<20, 0, 1, 1<<19), module: sleeps(1), spec: asleep},
		{name: "host: poll asleep for 10 µs", body: wasi("poll_oneoff", 1<<20, 0, 1, 1<<19), module: sleeps(10_000), spec: asleep},
		{name: "host: poll asleep for 1 ms", body: wasi("poll_oneoff", 1<<20, 0, 1, 1<<19), module: sleeps(1_000_000), spec: asleep},
		{name: "host: poll asleep for 100 ms", body: wasi("poll_oneoff", 1<<20, 0, 1, 1<<19), module: sleeps(100_000_000), spec: asleep},
		{name: "host: poll silent stdin for 0 ns", body: wasi("poll_oneoff", 1<<20, 0, 2, 1<<19), module: sleeps(0), spec: asleep, stdin: "silent"},
		{name: "host: poll silent stdin for 10 µs", body: wasi("poll_oneoff", 1<<20, 0, 2, 1<<19), module: sleeps(10_000), spec: asleep, stdin: "silent"},
		{name: "host: fd_readdir 9,000 from 0", before: files, body: wasi("fd_readdir", 3, 1<<20, 65536, 0, 8)},
		{name: "host: fd_readdir 9,000 whole", before: files, body: wasi("fd_readdir", 3, 1<<20, 1<<20, 0, 8)},
		{name: "host: fd_readdir 9,000 small", before: files, body: wasi("fd_readdir", 3, 1<<20, 24, 0, 8)},
		{name: "host: fd_readdir 9,000 at 8,000, small", before: files, body: wasi("fd_readdir", 3, 1<<20, 24, 0, 8) + wasi("fd_readdir", 3, 1<<20, 24, 1, 8)},
		{name: "host: fd_readdir reopened", before: files, body: openAt(64, 1, 2) + wasi("fd_readdir", 4, 1<<20, 24, 0, 8) + wasi("fd_close", 4), module: "data 64 \".\"\n"},
		{name: "host: fd_readdir whole, empty folder", body: wasi("fd_readdir", 3, 1<<20, 1<<20, 0, 8)},
		{name: "host: path_open, close", before: "nop", body: openAt(64, 1, 1) + wasi("fd_close", 4), module: "data 64 \"f\"\n"},
		{name: "host: path_open, close, unlink", body: openAt(64, 1, 1) + wasi("fd_close", 4) + wasi("path_unlink_file", 3, 64, 1), module: "data 64 \"f\"\n"},
		{name: "host: create, open, unlink in 9,000", before: files, body: openAt(64, 1, 1) + wasi("fd_close", 4) + wasi("path_unlink_file", 3, 64, 1), module: "data 64 \"f\"\n"},
		{name: "host: path_open fails", body: openAt(64, 1, 0), module: "data 64 \"f\"\n"},
		{name: "host: path_filestat_get", body: wasi("path_filestat_get", 3, 0, 64, 1, 128), module: "data 64 \".\"\n"},
		{name: "host: path_filestat_get ././…", body: wasi("path_filestat_get", 3, 0, 1<<20, 4094, 128), module: fmt.Sprintf("data %d %q\n", 1<<20, deep)},
		{name: "host: path_filestat_get //////…", body: wasi("path_filestat_get", 3, 0, 1<<20, 4094, 128), module: fmt.Sprintf("data %d %q\n", 1<<20, "."+strings.Repeat("/", 4093))},
		{name: "host: path_filestat_get ../../…", body: wasi("path_filestat_get", 3, 0, 1<<20, 4094, 128), module: fmt.Sprintf("data %d %q\n", 1<<20, strings.Repeat("../", 1366))},
		{name: "host: path_filestat_get d/d/d/…", before: mkdirs, body: wasi("path_filestat_get", 3, 0, 1<<20, 3999, 128), module: fmt.Sprintf("data %d %q\n", 1<<20, deepDirs)},
		{name: "host: path_filestat_get 38 long links", before: linkCalls, body: wasi("path_filestat_get", 3, 1, 129, 1, 1024), module: linkData},
		{name: "host: path_open 38 long links", before: linkCalls, body: wasi("path_open", 3, 1, 129, 1, 2, 0x1fffffff, 0x1fffffff, 0, 32) + wasi("fd_close", 4), module: linkData},
		{name: "host: path_symlink, readlink, unlink", body: wasi("path_symlink", 1<<20, 4000, 3, 64, 1) + wasi("path_readlink", 3, 64, 1, 2<<20, 4096, 8) + wasi("path_unlink_file", 3, 64, 1), module: "data 64 \"f\"\n" + fmt.Sprintf("data %d %q\n", 1<<20, deep)},
		{name: "host: path_rename", before: openAt(64, 1, 1), body: wasi("path_rename", 3, 64, 1, 3, 65, 1) + wasi("path_rename", 3, 65, 1, 3, 64, 1), module: "data 64 \"fg\"\n"},
		{name: "host: path_rename deep", before: mkdirs, body: wasi("path_rename", 3, 1<<20, 3999, 3, 64, 1) + wasi("path_rename", 3, 64, 1, 3, 1<<20, 3999), module: fmt.Sprintf("data %d %q\ndata 64 \"g\"\n", 1<<20, deepDirs)},
		{name: "host: path_rename deep, onto below", before: mkdirs, body: wasi("path_rename", 3, 1<<20, 1, 3, 1<<20, 3999), module: fmt.Sprintf("data %d %q\ndata 64 \"g\"\n", 1<<20, deepDirs)},
		{name: "host: path_link, unlink", before: openAt(64, 1, 1), body: wasi("path_link", 3, 0, 64, 1, 3, 65, 1) + wasi("path_unlink_file", 3, 65, 1), module: "data 64 \"fg\"\n"},
		{name: "host: path_create and remove_directory", body: wasi("path_create_directory", 3, 64, 1) + wasi("path_remove_directory", 3, 64, 1), module: "data 64 \"f\"\n"},
		{name: "host: path_filestat_set_times", body: wasi("path_filestat_set_times", 3, 0, 64, 1, 0, 0, 10), module: "data 64 \".\"\n"},
	}
	for _, op := range []string{
		"i8x16.shl", "i8x16.shr_s", "i64x2.shr_s", "i16x8.shl",
	} {
		list = append(list, priceProgram{name: "v128 " + op, body: unary(v, "local.get 0\n"+op)})
	}
	for _, op := range []string{
		"i64x2.mul", "i8x16.swizzle", "f64x2.div", "f32x4.min", "f64x2.max", "i32x4.mul", "i16x8.q15mulr_sat_s", "i32x4.dot_i16x8_s",
		"i8x16.narrow_i16x8_u", "i64x2.gt_s", "i64x2.ge_s", "i8x16.gt_u", "i8x16.ge_u", "i16x8.gt_u", "i32x4.ge_u", "i32x4.lt_u",
		"i16x8.extmul_low_i8x16_s", "i16x8.extmul_high_i8x16_u", "i64x2.extmul_low_i32x4_u", "f32x4.pmin", "i8x16.avgr_u", "v128.andnot",
		"i8x16.add_sat_s", "f64x2.ne",
	} {
		list = append(list, priceProgram{name: "v128 " + op, body: binary(v, op)})
	}
	for _, op := range []string{
		"f64x2.sqrt", "f32x4.sqrt", "i8x16.popcnt", "i64x2.abs", "i32x4.trunc_sat_f32x4_u", "i32x4.trunc_sat_f64x2_u_zero", "f32x4.convert_i32x4_u",
		"f64x2.convert_low_i32x4_u", "f64x2.nearest", "i16x8.extadd_pairwise_i8x16_s", "i32x4.extadd_pairwise_i16x8_u", "f64x2.promote_low_f32x4", "v128.not",
		"i8x16.bitmask\ni8x16.splat", "i16x8.bitmask\ni16x8.splat", "v128.any_true\ni8x16.splat", "i64x2.all_true\ni32x4.splat", "f32x4.neg", "f64x2.abs", "i64x2.extend_high_i32x4_s",
	} {
		list = append(list, priceProgram{name: "v128 " + op, body: unary(v, op)})
	}
	for i := range list {
		if list[i].name == "empty loop" {
			list[i].body = "nop"
		}
		list[i].name = strings.ReplaceAll(strings.ReplaceAll(list[i].name, "\n", "+"), "/", "-")
	}
	return list
}

// TestHostCallsPayForTheirArguments checks that what makes a host call long is
// paid for: each pair differs in the size of an argument alone.
func TestHostCallsPayForTheirArguments(t *testing.T) {
	var many task.Spec
	for i := range 1000 {
		many.Env = append(many.Env, fmt.Sprintf("V%d=", i))
	}
	path := func(size int) priceProgram {
		return priceProgram{before: wasi("path_filestat_get", 3, 1, 1<<20, size, 128), module: fmt.Sprintf("data %d %q\n", 1<<20, strings.Repeat("./", 2000))}
	}
	write := func(fd, n int) priceProgram {
		iovec := string([]byte{0, 0, 0, 0, byte(n), byte(n >> 8), byte(n >> 16), 0})
		return priceProgram{before: openAt(64, 10, 0) + wasi("fd_write", fd, 2<<20, 1, 8), module: fmt.Sprintf("data 64 \"dev/stdout\"\ndata %d %q\n", 2<<20, iovec)}
	}
	poll := func(nanos uint64) priceProgram {
		return priceProgram{before: wasi("poll_oneoff", 1<<20, 0, 1, 1<<19), module: sleeps(nanos)}
	}
	grow := func(n int) priceProgram {
		return priceProgram{before: fmt.Sprintf("ref.null funcref\ni32.const %d\ntable.grow 0\ndrop", n), module: "table 0\n"}
	}
	for _, tt := range []struct {
		name         string
		small, large priceProgram
		atLeast      uint64
	}{
		{"path", path(2), path(4000), 3998 * pricePathByte},
		{"environ_get", priceProgram{before: wasi("environ_get", 0, 1<<16)}, priceProgram{before: wasi("environ_get", 0, 1<<16), spec: many}, 1000 * priceString},
		{"environ_sizes_get", priceProgram{before: wasi("environ_sizes_get", 0, 8)}, priceProgram{before: wasi("environ_sizes_get", 0, 8), spec: many}, 1000 * priceStringSize},
		{"fd_readdir", priceProgram{before: wasi("fd_readdir", 3, 0, 100, 0, 1<<20)}, priceProgram{before: wasi("fd_readdir", 3, 0, 65536, 0, 1<<20)}, 65436 * priceDirentByte},
		{"table.grow", grow(1), grow(1000), 999 * priceTableEntry},
		{"fd_write to stdout", write(1, 8), write(1, 1<<20), (1<<20 - 8) / bytesPerFuelStreamed},
		{"fd_write to a device", write(4, 8), write(4, 1<<20), (1<<20 - 8) / bytesPerFuelStreamed},
		{"poll_oneoff", poll(0), poll(1), priceSleep},
	} {
		fuel := func(p priceProgram) uint64 {
			o := load(t, open(t, nil), metered(t, p.bytes())).Run(context.Background(), p.spec, Streams{})
			if o.Kind != task.Exited {
				t.Errorf("%s: got %+v", tt.name, o)
			}
			return o.Usage.Fuel
		}
		if more := fuel(tt.large) - fuel(tt.small); more < tt.atLeast {
			t.Errorf("%s: the large one costs %d more, want at least %d", tt.name, more, tt.atLeast)
		}
	}
}
