package sandbox

import (
	"context"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/task"
)

// previewOne and previewZero are the two module names under which guests
// import WASI.
const (
	previewOne  = wasi_snapshot_preview1.ModuleName
	previewZero = "wasi_unstable"
)

// hostFunc is a host function with its run: it reads its arguments from stack
// and leaves its result in stack[0].
type hostFunc func(r *run, m api.Module, stack []uint64)

// entry is one host function, before it is exported.
type entry struct {
	params, results []api.ValueType
	fn              hostFunc
}

// link instantiates the host modules and notes what they offer.
func (e *Engine) link(ctx context.Context) error {
	e.offered = offers{}
	wasi, err := e.wasi(ctx)
	if err != nil {
		return err
	}
	for name, f := range mended {
		w, ok := wasi[name]
		if !ok {
			return fmt.Errorf("wazero has no %s", name)
		}
		wasi[name] = entry{w.params, w.results, f(w.fn)}
	}
	for name, w := range wasi {
		wasi[name] = entry{w.params, w.results, charged(name, exact(w.fn))}
	}
	if err := e.export(ctx, previewOne, wasi); err != nil {
		return err
	}
	for name, f := range mendedZero {
		w := wasi[name]
		wasi[name] = entry{w.params, w.results, f(w.fn)}
	}
	if err := e.export(ctx, previewZero, wasi); err != nil {
		return err
	}
	if err := e.export(ctx, abi.Module, outboundEntries()); err != nil {
		return err
	}
	i32 := api.ValueTypeI32
	return e.export(ctx, meter.ImportModule, map[string]entry{
		meter.RefillFunc:    {nil, nil, func(r *run, _ api.Module, _ []uint64) { r.refill() }},
		meter.TableGrowFunc: {[]api.ValueType{i32, i32, i32}, []api.ValueType{i32}, tableGrow},
	})
}

// wasi returns wazero's own WASI functions.
func (e *Engine) wasi(ctx context.Context) (map[string]entry, error) {
	builder := e.runtime.NewHostModuleBuilder(previewOne)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(builder)
	compiled, err := builder.Compile(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = compiled.Close(ctx) }()
	all := map[string]entry{}
	for name, def := range compiled.ExportedFunctions() {
		fn, ok := def.GoFunction().(api.GoModuleFunction)
		if !ok {
			return nil, fmt.Errorf("wazero's %s is no Go function", name)
		}
		all[name] = entry{def.ParamTypes(), def.ResultTypes(), func(r *run, m api.Module, stack []uint64) {
			fn.Call(r.ctx, m, stack)
		}}
	}
	return all, nil
}

// export instantiates one host module.
func (e *Engine) export(ctx context.Context, module string, functions map[string]entry) error {
	builder := e.runtime.NewHostModuleBuilder(module)
	offered := map[string]string{}
	for name, f := range functions {
		builder.NewFunctionBuilder().WithGoModuleFunction(withRun(f.fn), f.params, f.results).WithName(name).Export(name)
		offered[name] = signature(f.params) + " -> " + signature(f.results)
	}
	e.offered[module] = offered
	_, err := builder.Instantiate(ctx)
	return err
}

func signature(types []api.ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = api.ValueTypeName(t)
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// runKey finds the run in the context of a host call.
type runKey struct{}

func withRun(f hostFunc) api.GoModuleFunc {
	return func(ctx context.Context, m api.Module, stack []uint64) {
		f(ctx.Value(runKey{}).(*run), m, stack)
	}
}

// charged takes the function's base price before it runs, and stops a guest
// that has no memory for its arguments and results.
func charged(name string, f hostFunc) hostFunc {
	price, scalar := priceOf(name), name == "proc_exit" || name == "sched_yield"
	return func(r *run, m api.Module, stack []uint64) {
		r.charge(price)
		if !r.module.plan.hasMemory && !scalar {
			panic(&stop{kind: task.Trapped, trap: task.TrapOther, message: "the module calls " + name + " but has no memory"})
		}
		f(r, m, stack)
	}
}

// exact gives the guest the error numbers for which wazero has no code.
func exact(f hostFunc) hostFunc {
	return func(r *run, m api.Module, stack []uint64) {
		f(r, m, stack)
		if len(stack) > 0 && uint32(stack[0]) == errnoIO {
			if errno := r.takeErrno(); errno != 0 {
				stack[0] = uint64(errno)
			}
		}
	}
}

// growDenied makes table.grow fail.
const growDenied = 0xffffffff

// tableGrow is called before a table grows, with the number of entries, the
// table's size and its maximum. It books memory and fuel, or refuses.
func tableGrow(r *run, _ api.Module, stack []uint64) {
	delta, size, most := uint32(stack[0]), uint32(stack[1]), uint32(stack[2])
	if uint64(size)+uint64(delta) > uint64(most) || !r.memory.growTable(delta) {
		stack[0] = growDenied
		return
	}
	r.charge(uint64(delta) * priceTableEntry)
	stack[0] = uint64(delta)
}
