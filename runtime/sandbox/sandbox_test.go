package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/task"
)

func TestGoHello(t *testing.T) {
	m := load(t, open(t, nil), metered(t, goGuest(t, "hello")))
	o, out, errs := capture(context.Background(), m, task.Spec{Args: []string{"hello"}}, Streams{})
	if o.Kind != task.Exited || o.ExitCode != 0 || out != "hello\n" || errs != "" {
		t.Fatalf("got %+v, stdout %q, stderr %q", o, out, errs)
	}
}

// program is a module whose _start has the given code.
func program(code ...[]byte) *asm {
	a := newAsm()
	a.fn("_start", nil, nil, code...)
	return a
}

var (
	loopForever = []byte{0x03, 0x40, 0x0c, 0, 0x0b}
	drop        = []byte{0x1a}
	unreachable = []byte{0x00}
)

func TestTraps(t *testing.T) {
	cases := map[string]struct {
		module *asm
		trap   task.TrapKind
	}{
		"unreachable":   {program(unreachable), task.TrapUnreachable},
		"memory":        {program(i32Const(-1), []byte{0x28, 2, 0}, drop).memory(1, 1), task.TrapMemory},
		"data":          {program().memory(1, 1).data(65536, "x"), task.TrapMemory},
		"table":         {program(i32Const(5), []byte{0x11, 0, 0}).table(1, 1), task.TrapTable},
		"null":          {program(i32Const(0), []byte{0x11, 0, 0}).table(1, 1), task.TrapTable},
		"divide":        {program(i32Const(1), i32Const(0), []byte{0x6d}, drop), task.TrapDivideByZero},
		"overflow":      {program(i32Const(-1<<31), i32Const(-1), []byte{0x6d}, drop), task.TrapIntegerOverflow},
		"conversion":    {program([]byte{0x43, 0, 0, 0xc0, 0x7f, 0xa8}, drop), task.TrapConversion},
		"endless calls": {program(call(0)), task.TrapStack},
	}
	for name, c := range cases {
		for _, interpreter := range []bool{false, true} {
			e := open(t, func(c *Config) { c.Interpreter = interpreter })
			m := load(t, e, metered(t, c.module.bytes()))
			o, _, _ := capture(context.Background(), m, task.Spec{Limits: task.Limits{StackBytes: 64 << 10}}, Streams{})
			if o.Kind != task.Trapped || o.Trap.Kind != c.trap || o.Message == "" {
				t.Errorf("%s: got %+v, trap %+v", name, o, o.Trap)
			}
			if name == "endless calls" && hits(o) != "stack" {
				t.Errorf("%s: limits hit: %q", name, hits(o))
			}
			if name != "data" && (len(o.Stack) == 0 || o.Stack[len(o.Stack)-1].Function != "$0") && name != "endless calls" {
				t.Errorf("%s: stack %v", name, o.Stack)
			}
		}
	}
}

func TestStackNames(t *testing.T) {
	a := newAsm()
	inner := a.fn("", []byte{i32, i64}, []byte{i32}, unreachable)
	middle := a.fn("", nil, nil, i32Const(1), []byte{0x42, 1}, call(inner), drop)
	a.fn("_start", nil, nil, call(middle))
	a.names("mod", map[byte]string{inner: "pkg.(*T).f(x)"})
	m := load(t, open(t, nil), metered(t, a.bytes()))
	o, _, _ := capture(context.Background(), m, task.Spec{}, Streams{})
	var names []string
	for _, f := range o.Stack {
		names = append(names, f.Function)
	}
	if got := strings.Join(names, " "); got != "pkg.(*T).f(x) $1 $2" {
		t.Errorf("stack %q", got)
	}
}

func TestGrowth(t *testing.T) {
	// A loop that grows by one until -1, then exits.
	until := func(grow ...[]byte) []byte {
		return cat([]byte{0x03, 0x40}, cat(grow...), i32Const(-1), []byte{0x47, 0x0d, 0, 0x0b})
	}
	growMemory := until(i32Const(1), []byte{0x40, 0})
	growTable := until([]byte{0xd0, 0x70}, i32Const(1000), []byte{0xfc, 15, 0})
	const limit = 1 << 20
	cases := map[string]struct {
		module *asm
		peak   uint64
		hit    string
	}{
		"memory":            {program(growMemory).memory(1, -1), limit, "memory"},
		"memory to its max": {program(growMemory).memory(1, 3), 3 * PageBytes, ""},
		"table":             {program(growTable).table(0, -1), limit / 8000 * 8000, "memory"},
		"table to its max":  {program(growTable).table(0, 2500), 16000, ""},
		"both":              {program(growMemory).memory(1, -1).table(1000, -1), limit - PageBytes, "memory"},
	}
	e := open(t, nil)
	for name, c := range cases {
		m := load(t, e, metered(t, c.module.bytes()))
		o, _, _ := capture(context.Background(), m, task.Spec{Limits: task.Limits{MemoryBytes: limit}}, Streams{})
		if name == "both" {
			c.peak += 8000
		}
		if o.Kind != task.Exited || o.Usage.MemoryPeakBytes != c.peak || hits(o) != c.hit {
			t.Errorf("%s: got %+v, want peak %d", name, o, c.peak)
		}
	}
	many := load(t, e, metered(t, program(growTable).table(0, -1).bytes()))
	o, _, _ := capture(context.Background(), many, task.Spec{}, Streams{})
	if o.Kind != task.Exited || hits(o) != "table-entries" || o.Usage.MemoryPeakBytes > tableEntriesMax*TableEntryBytes {
		t.Errorf("table without end: got %+v", o)
	}
	m := load(t, e, metered(t, program().memory(1, -1).table(200_000, -1).bytes()))
	o, _, _ = capture(context.Background(), m, task.Spec{Limits: task.Limits{MemoryBytes: limit}}, Streams{})
	if o.Kind != task.MemoryLimit || !strings.Contains(o.Message, "1665536") {
		t.Errorf("got %+v", o)
	}
}

func TestEntries(t *testing.T) {
	e := open(t, nil)
	run := func(a *asm) task.Outcome {
		o, _, _ := capture(context.Background(), load(t, e, metered(t, a.bytes())), task.Spec{Limits: task.Limits{Fuel: 1e6}}, Streams{})
		return o
	}
	reactor := newAsm()
	reactor.fn("_initialize", nil, nil)
	if o := run(reactor); o.Kind != task.Exited {
		t.Errorf("got %+v", o)
	}
	library := newAsm()
	library.fn("add", nil, nil)
	if o := run(library); o.Kind != task.Refused || !strings.Contains(o.Message, "only add") {
		t.Errorf("got %+v", o)
	}
	starts := program()
	starts.start = int(starts.fn("", nil, nil, loopForever))
	if o := run(starts); o.Kind != task.OutOfFuel || o.Usage.Fuel != 1e6 {
		t.Errorf("got %+v", o)
	}
	double := newAsm()
	double.fn("double", []byte{i32}, []byte{i32}, []byte{0x20, 0, 0x20, 0, 0x6a})
	m := load(t, e, metered(t, double.bytes()))
	results, o := m.RunExport(context.Background(), task.Spec{}, Streams{}, "double", 21)
	if o.Kind != task.Exited || len(results) != 1 || results[0] != 42 {
		t.Errorf("got %v %+v", results, o)
	}
}

func TestLoadRefuses(t *testing.T) {
	a := newAsm()
	a.imp("env", "strange", nil, nil)
	a.imp(previewOne, "fd_write", []byte{i32}, []byte{i32})
	a.imp(previewOne, "fd_close", []byte{i32}, []byte{i32})
	a.fn("_start", nil, nil)
	e := open(t, nil)
	_, err := e.Load(context.Background(), metered(t, a.bytes()))
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"env.strange", "fd_write is (i32, i32, i32, i32) -> (i32), not (i32) -> (i32)", "wasi_snapshot_preview1 and wasi_unstable"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	for _, bad := range []string{"", "text", "\x00asm\x01\x00\x00\x00\x02\x05\xff\xff\xff\xff\x0f"} {
		if _, err := e.Load(context.Background(), Image{Wasm: []byte(bad)}); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if _, err := e.Load(context.Background(), Image{Wasm: program().bytes()}); !errors.Is(err, ErrRefused) {
		t.Errorf("unmetered: got %v", err)
	}
}

func TestCodeOnly(t *testing.T) {
	dir := t.TempDir()
	image := metered(t, program().bytes())
	codeOnly := func(c *Config) { c.CodeDir, c.CodeOnly = dir, true }
	if _, err := open(t, codeOnly).Load(context.Background(), image); !errors.Is(err, ErrNoCode) {
		t.Fatalf("got %v, want %v", err, ErrNoCode)
	}
	load(t, open(t, func(c *Config) { c.CodeDir = dir }), image)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chmod(dir+"/"+e.Name(), 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir+"/"+e.Name(), 0o700)
	}
	m := load(t, open(t, codeOnly), image)
	if o, _, _ := capture(context.Background(), m, task.Spec{}, Streams{}); o.Kind != task.Exited {
		t.Errorf("got %+v", o)
	}
}

// compileInto returns the path of the one file that loading the module leaves
// in a code folder.
func compileInto(t *testing.T, dir string, module []byte) string {
	t.Helper()
	load(t, open(t, func(c *Config) { c.CodeDir = dir }), Image{Wasm: module})
	files, err := filepath.Glob(dir + "/*/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("code folder has %v, %v", files, err)
	}
	return files[0]
}

func TestSkeleton(t *testing.T) {
	r, err := meter.Rewrite(goGuest(t, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	whole, skeleton := compileInto(t, t.TempDir(), r.Module), compileInto(t, dir, r.Skeleton)
	if err := os.Rename(whole, skeleton); err != nil {
		t.Fatal(err)
	}
	e := open(t, func(c *Config) { c.CodeDir, c.CodeOnly = dir, true })
	m := load(t, e, Image{Wasm: r.Skeleton, FunctionShift: r.FunctionShift, StartFuel: r.StartFuel})
	if o, out, _ := capture(context.Background(), m, task.Spec{}, Streams{}); o.Kind != task.Exited || out != "hello\n" {
		t.Errorf("got %+v %q", o, out)
	}
}

func TestNoMemory(t *testing.T) {
	a := newAsm()
	get := a.imp(previewOne, "random_get", []byte{i32, i32}, []byte{i32})
	a.fn("_start", nil, nil, i32Const(0), i32Const(8), call(get), drop)
	o, _, _ := capture(context.Background(), load(t, open(t, nil), metered(t, a.bytes())), task.Spec{}, Streams{})
	if o.Kind != task.Trapped || !strings.Contains(o.Message, "has no memory") {
		t.Errorf("got %+v", o)
	}
}

func TestMemoryIsNotHandedOn(t *testing.T) {
	// _start exits with the byte at 100, having set it.
	a := newAsm()
	exit := a.imp(previewOne, "proc_exit", []byte{i32}, nil)
	a.fn("_start", nil, nil, i32Const(100), []byte{0x28, 0, 0}, i32Const(100), i32Const(7), []byte{0x36, 0, 0}, call(exit))
	a.memory(1, -1)
	m := load(t, open(t, nil), metered(t, a.bytes()))
	for range 20 {
		if o, _, _ := capture(context.Background(), m, task.Spec{}, Streams{}); o.Kind != task.Exited || o.ExitCode != 0 {
			t.Fatalf("got %+v", o)
		}
	}
}

func TestClosed(t *testing.T) {
	e, err := Open(context.Background(), Default())
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Load(context.Background(), metered(t, program().bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Close(), m.Close(), e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	if o := m.Run(context.Background(), task.Spec{}, Streams{}); o.Kind != task.Refused {
		t.Errorf("got %+v", o)
	}
	if _, err := e.Load(context.Background(), Image{}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}
