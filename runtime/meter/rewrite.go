// Package meter makes a module count its own work. It rewrites the bytes of a
// module so that each straight piece of code is charged before it runs, and so
// that function entries and loop headers check whether the slice of fuel is
// used up; then the host is asked for more. It is given bytes and gives bytes:
// it knows no engine.
//
// DESIGN.md beside this file explains how, and what is charged when.
package meter

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// Result is a rewritten module.
type Result struct {
	// Module is to be compiled.
	Module []byte
	// Skeleton is Module with empty function bodies and its data segments
	// joined: what has to be loaded when the machine code is at hand.
	Skeleton []byte
	// FunctionShift is how many imports were added before the module's own
	// functions: its function N is function N + FunctionShift of Module, for
	// every N from FirstShifted on.
	FunctionShift, FirstShifted int
	// StartFuel is the cost of making an instance.
	StartFuel uint64

	// Functions, Loops, Charges and Checks count what was rewritten: the
	// module's own functions, loops, pieces of straight code that are charged,
	// and places that compare the state with zero.
	Functions, Loops, Charges, Checks int
	// Unrolled counts the loops whose beginning was repeated.
	Unrolled int
}

// importCount is the number of functions that the meter imports.
const importCount = 2

// rewriter holds a module and what is added to it.
type rewriter struct {
	*module
	result Result

	types      code // the added types
	typeCount  uint32
	resultOnly map[string]uint32 // results → index of an added type ()→results

	state   uint32 // the index of the state global
	helpers helpers

	// usesSegments is set when the code names a data segment: then they must
	// keep their indices.
	usesSegments bool
	// unrollBytes is how much code may still be added by repeating loops.
	unrollBytes int
	// body and segment are buffers that functions reuse.
	body, segment code
}

// Rewrite adds metering to a module that lint has accepted. The same module
// always gives the same result. For a module that lint would refuse it returns
// an error that wraps ErrModule or a module that does not validate, but never
// one that escapes the meter.
func Rewrite(b []byte) (Result, error) {
	m, err := parse(b)
	if err != nil {
		return Result{}, err
	}
	w := &rewriter{module: m, state: m.globals, resultOnly: map[string]uint32{}}
	w.result.FunctionShift, w.result.FirstShifted = importCount, int(m.importedFuncs)
	w.addTypes()
	codeSection, empty, err := w.code()
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrModule, err)
	}
	if err := w.assemble(codeSection, empty); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrModule, err)
	}
	w.result.StartFuel = w.startFuel()
	return w.result, nil
}

// shift maps a function index of the module to one of the result.
func (w *rewriter) shift(f uint32) uint32 {
	if f < w.importedFuncs {
		return f
	}
	return f + importCount
}

func (w *rewriter) refill() uint32    { return w.importedFuncs }
func (w *rewriter) tableGrow() uint32 { return w.importedFuncs + 1 }

// addType appends a function type and returns its index.
func (w *rewriter) addType(params, results []byte) uint32 {
	w.types.byte(0x60)
	w.types.u32(uint32(len(params)))
	w.types.byte(params...)
	w.types.u32(uint32(len(results)))
	w.types.byte(results...)
	w.typeCount++
	return uint32(len(w.module.types)) + w.typeCount - 1
}

// addTypes adds the types of the imports and helpers, in a fixed order.
func (w *rewriter) addTypes() {
	i32 := byte(wasm.I32)
	w.helpers.typeVoid = w.addType(nil, nil)
	w.helpers.typeTableGrow = w.addType([]byte{i32, i32, i32}, []byte{i32})
	w.helpers.typeUnary = w.addType([]byte{i32}, []byte{i32})
	w.helpers.typeBulk = w.addType([]byte{i32, i32, i32}, nil)
	w.helpers.first = w.importedFuncs + importCount + uint32(len(w.functionTypes))
}

// blockType appends the type of a block without parameters and with the given
// results.
func (w *rewriter) blockType(c *code, results []byte) {
	switch len(results) {
	case 0:
		c.byte(blockVoid)
	case 1:
		c.byte(results[0])
	default:
		t, ok := w.resultOnly[string(results)]
		if !ok {
			t = w.addType(nil, results)
			w.resultOnly[string(results)] = t
		}
		c.s64(int64(t))
	}
}

// code rewrites the code section, and makes one with empty bodies.
func (w *rewriter) code() (full, empty code, err error) {
	r, n, err := w.reader(wasm.SectionCode)
	if err != nil {
		return nil, nil, err
	}
	if int(n) != len(w.functionTypes) {
		return nil, nil, fmt.Errorf("%d bodies for %d functions", n, len(w.functionTypes))
	}
	var bodies code
	bodies = make(code, 0, r.Len()+r.Len()/2)
	w.unrollBytes = r.Len()/unrollPart + unrollSpare
	for i := range n {
		size, err := r.U32()
		if err != nil {
			return nil, nil, err
		}
		sub, err := r.Sub(size)
		if err != nil {
			return nil, nil, err
		}
		if err := w.function(sub, w.module.types[w.functionTypes[i]]); err != nil {
			return nil, nil, fmt.Errorf("function %d: %w", w.importedFuncs+i, err)
		}
		bodies.u32(uint32(len(w.body)))
		bodies = append(bodies, w.body...)
	}
	w.result.Functions = int(n)
	total := n + w.helpers.count()
	if total == 0 {
		return nil, nil, nil
	}
	full = make(code, 0, len(bodies)+64)
	full.u32(total)
	full = append(full, bodies...)
	w.helperBodies(&full)
	empty.u32(total)
	for range total {
		empty.byte(3, 0, byte(wasm.OpUnreachable), byte(wasm.OpEnd))
	}
	return full, empty, nil
}

// startFuel is the cost of an instance, charged before it is made.
func (w *rewriter) startFuel() uint64 {
	return InstanceFuel + w.dataBytes/BytesPerFuel + w.dataSegments*SegmentFuel + w.elements*ElementFuel +
		w.tableEntries*EntryFuel + uint64(w.memoryPages)*PageFuel
}
