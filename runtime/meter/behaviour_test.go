package meter_test

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// kernels are small C programs that export run(n i32) → i32, with an n that
// keeps a test short.
var kernels = map[string]uint64{
	"bulk": 20, "byteloop": 1, "compress": 1, "fib": 15, "indirect": 500, "interp": 20, "mandelbrot": 24,
	"matrix": 1, "nbody": 50, "nqueens": 8, "quicksort": 300, "sha256": 3, "sieve": 5000, "tree": 100,
}

func kernel(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "kernels", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plain instantiates a module as it is.
func plain(t testing.TB, module []byte) api.Module {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, compiler().WithCoreFeatures(features))
	t.Cleanup(func() { r.Close(ctx) })
	m, err := r.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestKernelsBehaveAndCount(t *testing.T) {
	for name, n := range kernels {
		t.Run(name, func(t *testing.T) {
			module := kernel(t, name)
			want, err := plain(t, module).ExportedFunction("run").Call(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			var fuel [3]int64
			for i, config := range []wazero.RuntimeConfig{compiler(), interpreter(), compiler()} {
				h := newHost(t, config, module)
				h.slice = []int64{1 << 20, 1000, 1}[i]
				got, used, err := h.call("run", n)
				if err != nil || got[0] != want[0] {
					t.Fatalf("run(%d) = %v, %v; unmetered %v", n, got, err, want)
				}
				if _, stack := meter.Unpack(h.state.Get()); stack != h.stack {
					t.Errorf("%d bytes of stack left, %d given", stack, h.stack)
				}
				fuel[i] = used
			}
			if fuel[0] != fuel[1] || fuel[0] != fuel[2] {
				t.Errorf("fuel differs between engines or slices: %v", fuel)
			}
			if count := naiveCount(t, module, n); count != fuel[0] {
				t.Errorf("fuel %d, counted one by one %d", fuel[0], count)
			}
		})
	}
}

func naiveCount(t testing.TB, module []byte, args ...uint64) int64 {
	t.Helper()
	counting, err := naive(module)
	if err != nil {
		t.Fatal(err)
	}
	m := plain(t, counting)
	if _, err := m.ExportedFunction("run").Call(context.Background(), args...); err != nil {
		t.Fatal(err)
	}
	return int64(m.ExportedGlobal(countExport).Get())
}

func TestTrapsKeepKindAndNames(t *testing.T) {
	module := wasmtest.Assemble(`
		memory 1 1
		table 2
		elem 0 4
		func "unreachable" () -> (i32)
		  unreachable
		end
		func "divide" () -> (i32)
		  i32.const 1
		  i32.const 0
		  i32.div_u
		end
		func "memory" () -> (i32)
		  i32.const -4
		  i32.load
		end
		func "table" () -> (i32)
		  i32.const 7
		  call_indirect 0 0
		end
		func "fill" () -> (i32)
		  i32.const 65000
		  i32.const 1
		  i32.const 1000000
		  memory.fill
		  i32.const 0
		end
		func "copy" () -> (i32)
		  i32.const 0
		  i32.const 65000
		  i32.const 1000000
		  memory.copy
		  i32.const 0
		end
		func "fill wraps" () -> (i32)
		  i32.const -1
		  i32.const 1
		  i32.const -1
		  memory.fill
		  i32.const 0
		end`)
	m := plain(t, module)
	h := newHost(t, compiler(), module)
	for name := range m.ExportedFunctionDefinitions() {
		_, want := m.ExportedFunction(name).Call(context.Background())
		_, _, got := h.call(name)
		if trap(got) != trap(want) || want == nil {
			t.Errorf("%s: %q, unmetered %q", name, trap(got), trap(want))
		}
	}
	if sum, _ := h.module.Memory().Read(0, 65536); sha256.Sum256(sum) != sha256.Sum256(make([]byte, 65536)) {
		t.Error("an operation that trapped wrote to memory")
	}
}

func TestLongBulkOperationsAreSplit(t *testing.T) {
	const pages = 64
	module := wasmtest.Assemble(`
		memory 64
		func "fill" (i32 i32 i32) -> ()
		  local.get 0
		  local.get 1
		  local.get 2
		  memory.fill
		end
		func "copy" (i32 i32 i32) -> ()
		  local.get 0
		  local.get 1
		  local.get 2
		  memory.copy
		end`)
	m := plain(t, module)
	h := newHost(t, compiler(), module)
	h.slice = 1000
	for i := range uint32(pages << 16) {
		b := byte(i*i>>7 + i)
		m.Memory().WriteByte(i, b)
		h.module.Memory().WriteByte(i, b)
	}
	for _, c := range []struct {
		name string
		args []uint64
	}{
		{"fill", []uint64{3, 9, 1_500_001}},
		{"copy", []uint64{100, 7, 2_000_003}},
		{"copy", []uint64{7, 100, 2_000_003}},
		{"copy", []uint64{7, 7, 1_000_000}},
		{"copy", []uint64{2 << 20, 0, 2 << 20}},
		{"fill", []uint64{0, 1, 256 << 10}},
		{"fill", []uint64{0, 2, 256<<10 + 1}},
		{"copy", []uint64{1 << 20, 1<<20 - 1, 1<<20 + 1}},
		{"copy", []uint64{pages << 16, 0, 0}},
	} {
		if _, err := m.ExportedFunction(c.name).Call(context.Background(), c.args...); err != nil {
			t.Fatal(err)
		}
		before := h.refills
		_, fuel, err := h.call(c.name, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		if least := int64(c.args[2] / meter.BytesPerFuel); fuel < least-8 || fuel > least+100 {
			t.Errorf("%s %v: fuel %d, about %d expected", c.name, c.args, fuel, least)
		}
		if chunks := int(c.args[2] >> 18); h.refills-before < chunks {
			t.Errorf("%s %v: %d checks in %d chunks", c.name, c.args, h.refills-before, chunks)
		}
		a, _ := m.Memory().Read(0, pages<<16)
		b, _ := h.module.Memory().Read(0, pages<<16)
		if string(a) != string(b) {
			t.Fatalf("%s %v: memory differs", c.name, c.args)
		}
	}
}

func TestGrowth(t *testing.T) {
	h := newHost(t, compiler(), wasmtest.Assemble(`
		memory 1 10
		table 3 5000
		func "memory" (i32) -> (i32)
		  local.get 0
		  memory.grow
		end
		func "table" (i32) -> (i32)
		  ref.null funcref
		  local.get 0
		  table.grow 0
		end`))
	for _, c := range []struct {
		name      string
		n         uint64
		want      int32
		fuelLeast int64
	}{
		{"memory", 4, 1, 4 * meter.PageFuel},
		{"memory", 6, -1, 0},
		{"memory", 0xffffffff, -1, 0},
		{"memory", 0, 5, 0},
		{"table", 5, 3, 0},
		{"table", 2000, -1, 0},
		{"table", 992, 8, 0},
		{"table", 1, -1, 0},
		{"table", 0xffffffff, -1, 0},
	} {
		got, fuel, err := h.call(c.name, c.n)
		if err != nil || int32(got[0]) != c.want || fuel < c.fuelLeast || fuel > c.fuelLeast+500 {
			t.Errorf("%s.grow(%d) = %v, %v with fuel %d; want %d with %d", c.name, c.n, got, err, fuel, c.want, c.fuelLeast)
		}
	}
}

// TestNothingRunsForFree lists ways to work without a loop of the obvious
// kind; each has to end out of fuel or out of stack.
func TestNothingRunsForFree(t *testing.T) {
	var tree strings.Builder
	tree.WriteString("func () -> ()\nend\n")
	for i := range 60 {
		tree.WriteString("func \"run\" () -> ()\n" + strings.Repeat("call "+strconv.Itoa(i)+"\n", 2) + "end\n")
	}
	exponential := strings.Replace(tree.String(), `"run"`, "", 59)
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"call tree without a loop": {exponential, errFuel},
		"recursion":                {"func \"run\" () -> ()\ncall 0\nend", errStack},
		"mutual recursion through a table": {`
			table 2
			elem 0 0 1
			func "run" () -> ()
			  i32.const 1
			  call_indirect 0 0
			end
			func () -> ()
			  i32.const 0
			  call_indirect 0 0
			end`, errStack},
		"empty loop":                {"func \"run\" () -> ()\nloop\nbr 0\nend\nend", errFuel},
		"loop with a parameter":     {"type (i32) -> ()\nfunc \"run\" () -> ()\ni32.const 1\nloop type 0\nbr 0\nend\nunreachable\nend", errFuel},
		"bulk of nothing in a loop": {"memory 1\nfunc \"run\" () -> ()\nloop\ni32.const 0\ni32.const 0\ni32.const 0\nmemory.fill\nbr 0\nend\nend", errFuel},
		"br_table back":             {"func \"run\" () -> ()\nloop\ni32.const 3\nbr_table 0 0 0\nend\nend", errFuel},
	} {
		h := newHost(t, compiler(), wasmtest.Assemble(c.text))
		h.budget = 50_000_000
		_, _, err := h.call("run")
		if err == nil || !strings.Contains(err.Error(), c.want.Error()) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestStartFunctionIsLeftToTheHost(t *testing.T) {
	h := newHost(t, compiler(), wasmtest.Assemble(`
		global mut i32 5
		func () -> ()
		  i32.const 6
		  global.set 0
		end
		func "get" () -> (i32)
		  global.get 0
		end
		start 0`))
	for i, want := range []uint64{5, 6} {
		if got, _, err := h.call("get"); err != nil || got[0] != want {
			t.Fatalf("%d: %v, %v; want %d", i, got, err, want)
		}
		if _, _, err := h.call(meter.StartExport); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStatePassesThroughTablesAndHost calls functions of the module and of the
// host through a table and through references that code makes; what the host
// takes from the state must arrive, whichever way it was called.
func TestStatePassesThroughTablesAndHost(t *testing.T) {
	module := wasmtest.Assemble(`
		import "env" "burn fuel" (i32 i32) -> (i32)
		table 3
		elem 0 0 1
		func "own" (i32 i32) -> (i32)
		  local.get 0
		  local.get 1
		  i32.sub
		end
		func "run" (i32) -> (i32)
		  i32.const 50
		  i32.const 8
		  local.get 0
		  call_indirect 0 0
		end
		func "refer" (i32) -> (i32)
		  i32.const 2
		  ref.func 2
		  table.set 0
		  local.get 0
		  i32.const 2
		  call_indirect 1 0
		end
		func "refer to host" () -> (i32)
		  i32.const 2
		  ref.func 0
		  table.set 0
		  i32.const 1
		  i32.const 2
		  i32.const 2
		  call_indirect 0 0
		end
		func "direct" () -> (i32)
		  i32.const 1
		  i32.const 2
		  call 0
		end`)
	for _, config := range []wazero.RuntimeConfig{compiler(), interpreter()} {
		h := newHost(t, config, module)
		for _, c := range []struct {
			name string
			args []uint64
			want uint64
			fuel int64
		}{
			{"run", []uint64{0}, 0, burnFuel},
			{"run", []uint64{1}, 42, 0},
			{"refer", []uint64{0}, 0, burnFuel},
			{"refer", []uint64{1}, 42, 0},
			{"direct", nil, 0, burnFuel},
			{"refer to host", nil, 0, burnFuel},
			{"run", []uint64{2}, 0, burnFuel},
		} {
			got, fuel, err := h.call(c.name, c.args...)
			if err != nil || got[0] != c.want || fuel/burnFuel != c.fuel/burnFuel {
				t.Errorf("%s%v = %v with fuel %d, %v; want %d with %d", c.name, c.args, got, fuel, err, c.want, c.fuel)
			}
		}
		if _, _, err := h.call("refer", 2); trap(err) != "wasm error: indirect call type mismatch" {
			t.Errorf("a function of another type: %v", err)
		}
	}
}

// TestWidestSignature has as many parameters and results as lint allows, and
// the state besides.
func TestWidestSignature(t *testing.T) {
	params, results := strings.Repeat(" i64", 255), strings.Repeat(" i64", 64)
	var pushed strings.Builder
	for i := range 255 {
		pushed.WriteString("local.get " + strconv.Itoa(i) + "\n")
	}
	module := wasmtest.Assemble("func (" + params + ") -> (" + results + ")\n" +
		strings.Repeat("local.get 254\n", 64) + "end\n" +
		"func \"run\" (" + params + ") -> (" + results + ")\n" + pushed.String() + "call 0\nend\n")
	if _, err := lint.Check(module, lint.Default()); err != nil {
		t.Fatal(err)
	}
	args := make([]uint64, 255)
	args[254] = 7
	for _, config := range []wazero.RuntimeConfig{compiler(), interpreter()} {
		got, _, err := newHost(t, config, module).call("run", args...)
		if err != nil || len(got) != 64 || got[0] != 7 || got[63] != 7 {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// TestNamesFollow checks the name section through a stack trace.
func TestNamesFollow(t *testing.T) {
	module := wasmtest.Assemble(`
		func () -> ()
		  unreachable
		end
		func "run" () -> ()
		  call 0
		end`)
	module = append(module, "\x00\x14\x04name\x01\x0d\x02\x00\x05inner\x01\x03run"...)
	h := newHost(t, compiler(), module)
	_, _, err := h.call("run")
	if err == nil || !strings.Contains(err.Error(), ".inner(") || !strings.Contains(err.Error(), ".run(") {
		t.Errorf("stack does not name inner and run: %v", err)
	}
	if !meter.IsHelper("dugnad_meter.memory_fill") || meter.IsHelper("inner") {
		t.Error("IsHelper takes one kind of name for the other")
	}
}

// TestSkeletonKeepsTheData compares the memory of a module and its skeleton.
func TestSkeletonKeepsTheData(t *testing.T) {
	module := wasmtest.Assemble(`
		memory 2
		data 10 "one"
		data 13 "two"
		data 100 "three"
		data 90 "back"
		data 99 "overlap"
		data 70000 "far"
		data 70003 ""
		func "run" () -> ()
		end`)
	r, err := meter.Rewrite(module)
	if err != nil {
		t.Fatal(err)
	}
	want := plain(t, module)
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, interpreter().WithCoreFeatures(features))
	defer rt.Close(ctx)
	unused := api.GoFunc(func(context.Context, []uint64) {})
	i32 := api.ValueTypeI32
	if _, err := rt.NewHostModuleBuilder(meter.ImportModule).
		NewFunctionBuilder().WithGoFunction(unused, nil, nil).Export(meter.RefillFunc).
		NewFunctionBuilder().WithGoFunction(unused, []api.ValueType{i32, i32, i32}, []api.ValueType{i32}).Export(meter.TableGrowFunc).
		Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := rt.Instantiate(ctx, r.Skeleton)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := want.Memory().Read(0, 2<<16)
	b, _ := got.Memory().Read(0, 2<<16)
	if string(a) != string(b) {
		t.Error("memory differs")
	}
}
