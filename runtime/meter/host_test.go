package meter_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dugnad/dugnad/runtime/meter"
)

const features = api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst

var (
	errFuel  = errors.New("out of fuel")
	errStack = errors.New("out of stack")
)

// mustCompile checks that wazero accepts a module.
func mustCompile(t testing.TB, module []byte) {
	t.Helper()
	if err := compiles(module); err != nil {
		t.Fatalf("module does not validate: %v", err)
	}
}

func compiles(module []byte) error {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features))
	defer r.Close(ctx)
	_, err := r.CompileModule(ctx, module)
	return err
}

// host runs one metered module as a sandbox would.
type host struct {
	ctx     context.Context
	runtime wazero.Runtime
	module  api.Module
	state   api.MutableGlobal
	result  meter.Result

	slice, granted, budget int64
	stack                  int32
	refills                int
	// tableEntriesMax is what table_grow allows a table to grow to.
	tableEntriesMax uint32
}

func compiler() wazero.RuntimeConfig    { return wazero.NewRuntimeConfigCompiler() }
func interpreter() wazero.RuntimeConfig { return wazero.NewRuntimeConfigInterpreter() }

// newHost rewrites and instantiates a module with ample fuel.
func newHost(t testing.TB, config wazero.RuntimeConfig, module []byte) *host {
	t.Helper()
	h, err := openHost(config, module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

func openHost(config wazero.RuntimeConfig, module []byte) (*host, error) {
	r, err := meter.Rewrite(module)
	if err != nil {
		return nil, err
	}
	h := &host{ctx: context.Background(), result: r, slice: 1 << 20, budget: math.MaxInt64, stack: 8 << 20, tableEntriesMax: 1000}
	h.runtime = wazero.NewRuntimeWithConfig(h.ctx, config.WithCoreFeatures(features))
	i32 := api.ValueTypeI32
	_, err = h.runtime.NewHostModuleBuilder(meter.ImportModule).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(h.refill), nil, nil).Export(meter.RefillFunc).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(h.growTable), []api.ValueType{i32, i32, i32}, []api.ValueType{i32}).Export(meter.TableGrowFunc).
		Instantiate(h.ctx)
	if err != nil {
		h.close()
		return nil, err
	}
	compiled, err := h.runtime.CompileModule(h.ctx, r.Module)
	if err == nil {
		err = stubs(h.ctx, h.runtime, compiled)
	}
	if err == nil {
		h.module, err = h.runtime.InstantiateModule(h.ctx, compiled, wazero.NewModuleConfig().WithStartFunctions())
	}
	if err != nil {
		h.close()
		return nil, err
	}
	h.state = h.module.ExportedGlobal(meter.StateExport).(api.MutableGlobal)
	h.state.Set(meter.Pack(0, h.stack))
	return h, nil
}

// burnImport is the name of an imported function that takes burnFuel from the
// guest's state, as host functions of the sandbox do.
const (
	burnImport = "burn fuel"
	burnFuel   = 1_000_000
)

// stubs satisfies every import of a function that is not the meter's with one
// that returns zeros.
func stubs(ctx context.Context, rt wazero.Runtime, c wazero.CompiledModule) error {
	builders := map[string]wazero.HostModuleBuilder{}
	seen := map[[2]string]bool{}
	for _, f := range c.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.ImportModule || seen[[2]string{module, name}] {
			continue
		}
		seen[[2]string{module, name}] = true
		if builders[module] == nil {
			builders[module] = rt.NewHostModuleBuilder(module)
		}
		results := len(f.ResultTypes())
		zero := api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
			clear(stack[:results])
			if name == burnImport {
				state := m.ExportedGlobal(meter.StateExport).(api.MutableGlobal)
				fuel, stack := meter.Unpack(state.Get())
				state.Set(meter.Pack(fuel-burnFuel, stack))
			}
		})
		builders[module].NewFunctionBuilder().WithGoModuleFunction(zero, f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (h *host) close() { h.runtime.Close(h.ctx) }

func (h *host) refill(context.Context, []uint64) {
	fuel, stack := meter.Unpack(h.state.Get())
	if stack < 0 {
		panic(errStack)
	}
	h.refills++
	for fuel < 0 {
		n := min(h.slice, h.budget-h.granted)
		if n <= 0 {
			panic(errFuel)
		}
		h.granted += n
		fuel += int32(n)
	}
	h.state.Set(meter.Pack(fuel, stack))
}

func (h *host) growTable(_ context.Context, s []uint64) {
	delta, size := uint32(s[0]), uint32(s[1])
	if uint64(delta)+uint64(size) > uint64(h.tableEntriesMax) {
		s[0] = 0xffffffff
	}
}

// used is the fuel burnt so far; exact unless the last call trapped.
func (h *host) used() int64 {
	fuel, _ := meter.Unpack(h.state.Get())
	return h.granted - int64(fuel)
}

// call calls an export and returns its results and the fuel that it took.
func (h *host) call(name string, args ...uint64) ([]uint64, int64, error) {
	before := h.used()
	results, err := h.module.ExportedFunction(name).Call(h.ctx, args...)
	return results, h.used() - before, err
}

// trap is the first line of an error of a guest.
func trap(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
