package meter_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// The bounds of one differential run.
const (
	differentialFuel  = 300_000
	differentialPages = 300
	differentialCalls = 200
	// differentialStack keeps the calls below the 2,000 that the interpreter
	// allows.
	differentialStack = 150_000
)

// smallLimits are lint's, with little time to compile.
func smallLimits() lint.Limits {
	l := lint.Default()
	l.MemoryPages = differentialPages
	return l
}

// errSkip says that a module cannot be compared: it is not valid, imports
// something, or asks for more than the bounds.
var errSkip = errors.New("skip")

// differential checks a module that lint accepts: its rewriting validates, and
// its exports behave as before, on the compiler and on the interpreter, with
// the same fuel, which is also that of counting one by one. It returns the
// number of calls compared.
func differential(module []byte) (int, error) {
	report, err := lint.Check(module, smallLimits())
	if err != nil || report.CompileCost.Seconds() > 1 {
		return 0, errSkip
	}
	// The engine refuses a damaged name section, which the specification
	// ignores; the rewritten module has a sound one.
	if err := compiles(module); err != nil && !strings.Contains(err.Error(), "custom section") {
		return 0, fmt.Errorf("accepted by lint, refused by the engine: %w", err)
	}
	r, err := meter.Rewrite(module)
	if err != nil {
		return 0, fmt.Errorf("accepted by lint: %w", err)
	}
	for _, b := range [][]byte{r.Module, r.Skeleton} {
		if err := compiles(b); err != nil {
			return 0, fmt.Errorf("result does not validate: %w", err)
		}
	}
	a, err := openHost(compiler().WithMemoryLimitPages(differentialPages), module)
	if err != nil {
		return 0, errSkip
	}
	defer a.close()
	b, err := openHost(interpreter().WithMemoryLimitPages(differentialPages), module)
	if err != nil {
		return 0, errSkip
	}
	defer b.close()
	return compare(module, a, b)
}

// compare calls every export on both metered instances, and on a plain one as
// long as all calls ended by themselves.
func compare(module []byte, a, b *host) (int, error) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, compiler().WithCoreFeatures(features).WithMemoryLimitPages(differentialPages))
	defer rt.Close(ctx)
	compiled, err := rt.CompileModule(ctx, module)
	if err != nil {
		return 0, errSkip
	}
	if err := stubs(ctx, rt, compiled); err != nil {
		return 0, errSkip
	}
	a.budget, b.budget, a.stack, b.stack = 0, 0, differentialStack, differentialStack
	calls := 0
	plain, counting := &plainInstance{compiled: compiled}, naiveInstance(ctx, rt, module)
	for _, name := range exports(a.module, compiled) {
		if calls++; calls > differentialCalls {
			break
		}
		got, fuel, err := a.bounded(name)
		got2, fuel2, err2 := b.bounded(name)
		if fuel != fuel2 || ending(err) != ending(err2) || !same(got, got2, a.module.ExportedFunction(name).Definition().ResultTypes()) {
			return calls, fmt.Errorf("%s: compiler %v %q fuel %d, interpreter %v %q fuel %d", name, got, ending(err), fuel, got2, ending(err2), fuel2)
		}
		if errors.Is(err, errFuel) || errors.Is(err, errStack) {
			return calls, nil // memory may differ from here on
		}
		if name == meter.StartExport {
			continue
		}
		want, wantErr := plain.call(ctx, rt, name)
		if errors.Is(wantErr, errSkip) {
			return calls, nil
		}
		if ending(err) != ending(wantErr) || !same(got, want, a.module.ExportedFunction(name).Definition().ResultTypes()) {
			return calls, fmt.Errorf("%s: metered %v %q, plain %v %q", name, got, ending(err), want, ending(wantErr))
		}
		if counting != nil && counting.open(ctx, rt) == nil {
			before := counting.count()
			_, countErr := counting.call(ctx, rt, name)
			if count := counting.count() - before; err == nil && countErr == nil && count != fuel {
				return calls, fmt.Errorf("%s: fuel %d, counted one by one %d", name, fuel, count)
			}
		}
		// A module without a memory gives a nil pointer in an interface.
		if m := a.module.Memory(); !reflect.ValueOf(m).IsNil() {
			x, _ := m.Read(0, m.Size())
			y, _ := plain.module.Memory().Read(0, plain.module.Memory().Size())
			if string(x) != string(y) {
				return calls, fmt.Errorf("%s: memory differs", name)
			}
		}
	}
	return calls, nil
}

// plainInstance is made at its first call, because that runs the start
// function without a bound.
type plainInstance struct {
	compiled wazero.CompiledModule
	module   api.Module
}

func (p *plainInstance) open(ctx context.Context, rt wazero.Runtime) (err error) {
	if p.module == nil {
		p.module, err = rt.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err == nil {
			err = p.start(ctx)
		}
	}
	if err != nil {
		p.module = nil
		return errSkip
	}
	return nil
}

// start runs what naive has made of the start function.
func (p *plainInstance) start(ctx context.Context) error {
	f := p.module.ExportedFunction(naiveStart)
	if f == nil {
		return nil
	}
	_, err := f.Call(ctx)
	return err
}

func (p *plainInstance) call(ctx context.Context, rt wazero.Runtime, name string) ([]uint64, error) {
	if err := p.open(ctx, rt); err != nil {
		return nil, err
	}
	f := p.module.ExportedFunction(name)
	return f.Call(ctx, make([]uint64, len(f.Definition().ParamTypes()))...)
}

// count is what an open instance made by naiveInstance has counted.
func (p *plainInstance) count() int64 {
	return int64(p.module.ExportedGlobal(countExport).Get())
}

// exports lists the functions to call, the start function first.
func exports(m api.Module, c wazero.CompiledModule) []string {
	var names []string
	if m.ExportedFunction(meter.StartExport) != nil {
		names = append(names, meter.StartExport)
	}
	for name := range c.ExportedFunctions() {
		names = append(names, name)
	}
	if len(names) > 1 {
		rest := names[1:]
		if names[0] != meter.StartExport {
			rest = names
		}
		slices.Sort(rest)
	}
	return names
}

// bounded calls an export with zeros and a fixed amount of fuel.
func (h *host) bounded(name string) ([]uint64, int64, error) {
	h.granted, h.budget, h.slice = 0, differentialFuel, 10_000
	h.state.Set(meter.Pack(0, h.stack))
	f := h.module.ExportedFunction(name)
	results, err := f.Call(h.ctx, make([]uint64, len(f.Definition().ParamTypes()))...)
	return results, h.used(), err
}

// ending names how a call ended, the same on both engines.
func ending(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errFuel):
		return "fuel"
	case errors.Is(err, errStack):
		return "stack"
	}
	return trap(err)
}

// same compares results; any NaN is as good as another.
func same(a, b []uint64, types []api.ValueType) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range min(len(a), len(types)) {
		switch types[i] {
		case api.ValueTypeF32:
			x, y := api.DecodeF32(a[i]), api.DecodeF32(b[i])
			if x != y && !(x != x && y != y) {
				return false
			}
		case api.ValueTypeF64:
			x, y := math.Float64frombits(a[i]), math.Float64frombits(b[i])
			if x != y && !(x != x && y != y) {
				return false
			}
		case api.ValueTypeI32:
			if uint32(a[i]) != uint32(b[i]) {
				return false
			}
		case api.ValueTypeI64:
			if a[i] != b[i] {
				return false
			}
		}
	}
	return true
}

// specFiles lists the modules of the WebAssembly core test suite that come
// with the engine's own source in the module cache.
func specFiles(t testing.TB) []string {
	t.Helper()
	root, err := wasmtest.SuiteDir()
	if err != nil {
		t.Skip(err)
	}
	var files []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".wasm") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 1000 {
		t.Fatalf("%d modules of the test suite below %s: %v", len(files), root, err)
	}
	return files
}

// compareFiles runs the differential check on files and returns how many could
// be compared.
func compareFiles(t *testing.T, files []string) (modules int) {
	t.Helper()
	calls := 0
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := differential(b)
		if errors.Is(err, errSkip) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		modules++
		calls += n
	}
	t.Logf("%d of %d modules, %d calls compared", modules, len(files), calls)
	return modules
}

func TestSpecModulesBehave(t *testing.T) {
	files := specFiles(t)
	if os.Getenv("DUGNAD_SUITE") != "whole" {
		n := 0
		files = slices.DeleteFunc(files, func(string) bool { n++; return n%8 != 0 })
	}
	if n := compareFiles(t, files); n < len(files)/10 {
		t.Errorf("only %d modules compared", n)
	}
}

// TestModulesOfAFolder compares the modules of the folder that the environment
// variable DUGNAD_MODULES names, such as ones that a generator made.
func TestModulesOfAFolder(t *testing.T) {
	dir := os.Getenv("DUGNAD_MODULES")
	if dir == "" {
		t.Skip("DUGNAD_MODULES names no folder")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	compareFiles(t, files)
}

func FuzzRewrite(f *testing.F) {
	for name := range kernels {
		f.Add(kernel(f, name))
	}
	for _, path := range generatedFiles(f) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	data, err := os.ReadFile("testdata/shapes.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range strings.Split(string(data), "\n\n#") {
		head, _, _ := strings.Cut(strings.TrimPrefix(c, "#"), "----")
		_, text, _ := strings.Cut(head, "\n")
		var kept []string
		for _, line := range strings.Split(text, "\n") {
			if !strings.HasPrefix(line, "#") {
				kept = append(kept, line)
			}
		}
		f.Add(wasmtest.Assemble(strings.Join(kept, "\n")))
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		if _, err := differential(module); err != nil && !errors.Is(err, errSkip) {
			t.Fatal(err)
		}
	})
}
