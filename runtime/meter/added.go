package meter

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// added holds the functions that the meter appends to the module's own:
// helpers, and those that stand between functions that take the state and
// whoever does not know of it.
type added struct {
	typeVoid, typeTableGrow uint32
	// first is the function index of the first one.
	first  uint32
	list   []addedFunction
	bodies code // each with its size before it
	// helpers holds 1 + the index of each helper, or 0.
	helpers [helperKinds]uint32
	// wrappers and adapters map functions of the module to what stands before
	// them.
	wrappers, adapters map[uint32]uint32
}

type addedFunction struct {
	name string
	typ  uint32
}

func (a *added) count() uint32 { return uint32(len(a.list)) }

// add appends a function and returns its index.
func (a *added) add(name string, typ uint32, body code) uint32 {
	a.list = append(a.list, addedFunction{name, typ})
	a.bodies.u32(uint32(len(body)))
	a.bodies = append(a.bodies, body...)
	return a.first + a.count() - 1
}

// The names of wrappers and adapters.
const (
	wrapperName = "export"
	adapterName = "import"
)

// outside returns the index of what stands for function f of the module where
// it is called from outside of it, with its own type: for one of its own
// functions a wrapper that passes the state from the global and back.
func (w *rewriter) outside(f uint32) (uint32, error) {
	if f < w.importedFuncs {
		return f, nil
	}
	if i, ok := w.added.wrappers[f]; ok {
		return i, nil
	}
	own := f - w.importedFuncs
	if int(own) >= len(w.functionTypes) {
		return 0, fmt.Errorf("function %d of %d", f, int(w.importedFuncs)+len(w.functionTypes))
	}
	t := w.functionTypes[own]
	var b code
	b.byte(0)
	b.params(w.module.types[t])
	b.opU32(wasm.OpGlobalGet, w.global)
	b.opU32(wasm.OpCall, w.shift(f))
	b.opU32(wasm.OpGlobalSet, w.global)
	b.op(wasm.OpEnd)
	w.added.wrappers[f] = w.added.add(wrapperName, t, b)
	return w.added.wrappers[f], nil
}

// reference returns the index of what stands for function f of the module in a
// table, where everything takes the state: for an imported function an adapter
// that leaves the state in the global meanwhile.
func (w *rewriter) reference(f uint32) (uint32, error) {
	if int(f) >= int(w.importedFuncs)+len(w.functionTypes) {
		return 0, fmt.Errorf("function %d of %d", f, int(w.importedFuncs)+len(w.functionTypes))
	}
	if f >= w.importedFuncs {
		return w.shift(f), nil
	}
	if i, ok := w.added.adapters[f]; ok {
		return i, nil
	}
	t, err := w.importedType(f)
	if err != nil {
		return 0, err
	}
	var b code
	b.byte(0)
	b.opU32(wasm.OpLocalGet, uint32(len(t.params)))
	b.opU32(wasm.OpGlobalSet, w.global)
	b.params(t)
	b.opU32(wasm.OpCall, f)
	b.opU32(wasm.OpGlobalGet, w.global)
	b.op(wasm.OpEnd)
	w.added.adapters[f] = w.added.add(adapterName, w.withState(w.importedTypes[f]), b)
	return w.added.adapters[f], nil
}

// declare returns the reference to function f for code, where every function
// that is referred to has to be declared outside of code.
func (w *rewriter) declare(f uint32) (uint32, error) {
	x, err := w.reference(f)
	if err == nil && !w.declaredSet[x] {
		w.declaredSet[x] = true
		w.declared = append(w.declared, x)
	}
	return x, err
}

// params pushes the parameters of a function.
func (c *code) params(t signature) {
	for i := range t.params {
		c.opU32(wasm.OpLocalGet, uint32(i))
	}
}
