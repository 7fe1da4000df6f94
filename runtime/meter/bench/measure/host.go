package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/sandbox"
)

// Bare is wazero with as little around it as possible: libraries run on it in
// all of wazero's columns, and commands where Dugnad's sandbox has no such
// column.
type Bare struct {
	Column string
	// Metered puts fuel in, Interruptible is wazero's own switch.
	Metered, Interruptible bool
	// CodeDir keeps machine code from one process to the next; "" means not.
	CodeDir string
}

// Variant is the name of the column.
func (b *Bare) Variant() string { return b.Column }

// bareStack is what calls may nest into, in bytes: the sandbox's default.
const bareStack = 16 << 20

// instance is one runtime with one compiled module.
type instance struct {
	engine   *Bare
	workload *Ready
	ctx      context.Context
	cancel   context.CancelFunc
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	dir      string

	module api.Module
	step   Step

	state   api.MutableGlobal
	granted int64
	// ticks is the time that the guest is told.
	ticks uint64
}

// Open compiles a workload and, when it is a library, makes an instance.
func (b *Bare) Open(w *Ready) (Job, error) {
	i := &instance{engine: b, workload: w}
	// A context that can end is what makes the engine look at it.
	i.ctx, i.cancel = context.WithCancel(context.Background())
	if err := i.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", w.Name, err), i.Close())
	}
	return i, nil
}

func (i *instance) open() error {
	var err error
	if i.dir, err = os.MkdirTemp("", "guest"); err != nil {
		return err
	}
	module := i.workload.Module
	if i.engine.Metered {
		r, err := meter.Rewrite(module)
		if err != nil {
			return err
		}
		module = r.Module
	}
	config := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(sandbox.Features).WithDebugInfoEnabled(false)
	if i.engine.CodeDir != "" {
		if i.cache, err = wazero.NewCompilationCacheWithDir(i.engine.CodeDir); err != nil {
			return err
		}
		config = config.WithCompilationCache(i.cache)
	}
	i.runtime = wazero.NewRuntimeWithConfig(i.ctx, config.WithCloseOnContextDone(i.engine.Interruptible))
	if i.compiled, err = i.runtime.CompileModule(i.ctx, module); err != nil {
		return err
	}
	if err := i.link(); err != nil {
		return err
	}
	if i.workload.Begin == nil {
		return nil
	}
	if err := i.instantiate(wazero.NewModuleConfig()); err != nil {
		return err
	}
	if i.module.ExportedFunction("_initialize") != nil {
		if _, err := i.Call("_initialize"); err != nil {
			return err
		}
	}
	i.step, err = i.workload.Begin(i)
	return err
}

// Close frees code and memory.
func (i *instance) Close() error {
	defer i.cancel()
	var errs []error
	if i.runtime != nil {
		errs = append(errs, i.runtime.Close(i.ctx))
	}
	if i.cache != nil {
		errs = append(errs, i.cache.Close(i.ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(i.dir))...)
}

// link offers WASI, the meter's functions, and stand-ins for the rest.
func (i *instance) link() error {
	if err := i.linkWASI(); err != nil {
		return err
	}
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range i.compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == wasi_snapshot_preview1.ModuleName {
			continue
		}
		if builders[module] == nil {
			builders[module] = i.runtime.NewHostModuleBuilder(module)
		}
		builders[module].NewFunctionBuilder().
			WithGoFunction(i.hostFunc(module, name, f), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(i.ctx); err != nil {
			return err
		}
	}
	return nil
}

// hostFunc is an import that is not WASI's.
func (i *instance) hostFunc(module, name string, f api.FunctionDefinition) api.GoFunc {
	switch {
	case module == meter.ImportModule && name == meter.RefillFunc:
		return i.refill
	case module == meter.ImportModule && name == meter.TableGrowFunc:
		return func(context.Context, []uint64) {}
	}
	params, results, own := len(f.ParamTypes()), len(f.ResultTypes()), i.workload.Host[module+"."+name]
	return func(_ context.Context, stack []uint64) {
		r := uint64(0)
		if own != nil {
			r = own(i, stack[:params])
		}
		clear(stack[:results])
		if results > 0 {
			stack[0] = r
		}
	}
}

// linkWASI offers wazero's WASI with the clocks of processor time, which C's
// clock() asks for and wazero refuses.
func (i *instance) linkWASI() error {
	b := i.runtime.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	clock := func(_ context.Context, m api.Module, stack []uint64) {
		const inval = 28
		errno := uint64(0)
		i.ticks += 1000 // Some number that grows: no result depends on it.
		if !m.Memory().WriteUint64Le(uint32(stack[2]), i.ticks) {
			errno = inval
		}
		stack[0] = errno
	}
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(clock), []api.ValueType{i32, i64, i32}, []api.ValueType{i32}).Export("clock_time_get")
	_, err := b.Instantiate(i.ctx)
	return err
}

// refill ends a slice, as the sandbox does without its looks around.
func (i *instance) refill(context.Context, []uint64) {
	fuel, stack := meter.Unpack(i.state.Get())
	for fuel < 0 {
		i.granted += sandbox.SliceFuelDefault
		fuel += sandbox.SliceFuelDefault
	}
	i.state.Set(meter.Pack(fuel, stack))
}

func (i *instance) instantiate(config wazero.ModuleConfig) (err error) {
	fs := wazero.NewFSConfig().WithDirMount(i.dir, "/")
	i.module, err = i.runtime.InstantiateModule(i.ctx, i.compiled, config.WithName("").WithStartFunctions().WithFSConfig(fs))
	if err != nil {
		return err
	}
	if i.engine.Metered {
		i.state = i.module.ExportedGlobal(meter.StateExport).(api.MutableGlobal)
		i.state.Set(meter.Pack(0, bareStack))
		if f := i.module.ExportedFunction(meter.StartExport); f != nil {
			_, err = f.Call(i.ctx)
		}
	}
	return err
}

// used is the fuel burnt since the instance was made.
func (i *instance) used() int64 {
	if i.state == nil {
		return 0
	}
	fuel, _ := meter.Unpack(i.state.Get())
	return i.granted - int64(fuel)
}

// Do repeats a library's step, or runs a command in a fresh instance.
func (i *instance) Do() (string, uint64, error) {
	if i.step != nil {
		before := i.used()
		result, err := i.step()
		return result, uint64(i.used() - before), err
	}
	var out, complaint bytes.Buffer
	config := wazero.NewModuleConfig().WithArgs(i.workload.Args...).
		WithStdin(bytes.NewReader(i.workload.Input)).WithStdout(&out).WithStderr(&complaint)
	if err := i.instantiate(config); err != nil {
		return "", 0, err
	}
	_, err := i.module.ExportedFunction("_start").Call(i.ctx)
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if err = errors.Join(err, i.module.Close(i.ctx)); err != nil {
		return "", 0, fmt.Errorf("%w: %s", err, complaint.String())
	}
	return i.workload.result(out.String()), 0, nil
}

// Call calls an exported function.
func (i *instance) Call(name string, args ...uint64) (uint64, error) {
	f := i.module.ExportedFunction(name)
	if f == nil {
		return 0, fmt.Errorf("the module exports no function %q", name)
	}
	results, err := f.Call(i.ctx, args...)
	if err != nil || len(results) == 0 {
		return 0, err
	}
	return results[0], nil
}

func (i *instance) Write(at uint32, data []byte) error {
	if !i.module.Memory().Write(at, data) {
		return fmt.Errorf("%d bytes at %d are not in linear memory", len(data), at)
	}
	return nil
}

func (i *instance) Read(at, size uint32) ([]byte, error) {
	b, ok := i.module.Memory().Read(at, size)
	if !ok {
		return nil, fmt.Errorf("%d bytes at %d are not in linear memory", size, at)
	}
	return bytes.Clone(b), nil
}
