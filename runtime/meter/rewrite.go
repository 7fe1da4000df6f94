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
	// Straightened counts the branches that go where a table would have sent
	// them.
	Straightened int
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
	// modified holds, for each of the module's types, 1 + the index of the type
	// that takes and returns the state as well, or 0 when there is none yet.
	modified []uint32

	shapes []body // of the module's own functions
	global uint32 // the index of the state global
	added  added
	// declared holds the functions that code refers to, in the order of their
	// first use.
	declared    []uint32
	declaredSet map[uint32]bool

	// usesSegments is set when the code names a data segment: then they must
	// keep their indices.
	usesSegments bool
	// unrollBytes is how much code may still be added by repeating loops.
	unrollBytes int
	// unrolledMax bounds the code of a loop with its copies.
	unrolledMax int
	// body is the function that was rewritten last; draft, points and flow are
	// what functions reuse.
	body, draft code
	points      []point
	flow        flow
	labels      []label
	laps        []lapLabel
	targets     []uint32
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
	w := &rewriter{
		module: m, global: m.globals, resultOnly: map[string]uint32{}, modified: make([]uint32, len(m.types)),
		declaredSet: map[uint32]bool{},
	}
	w.result.FunctionShift, w.result.FirstShifted = importCount, int(m.importedFuncs)
	w.begin()
	bodies, err := w.code()
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrModule, err)
	}
	if err := w.assemble(bodies); err != nil {
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
func (w *rewriter) signs() uint32     { return w.global + 1 }
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

// begin adds the types of the imports, and numbers what is to be added.
func (w *rewriter) begin() {
	i32 := byte(wasm.I32)
	w.added.typeVoid = w.addType(nil, nil)
	w.added.typeTableGrow = w.addType([]byte{i32, i32, i32}, []byte{i32})
	w.added.first = w.importedFuncs + importCount + uint32(len(w.functionTypes))
	w.added.wrappers = map[uint32]uint32{}
	w.added.adapters = map[uint32]uint32{}
}

// withState returns the index of the type that type t of the module becomes:
// the same with the state as one more parameter and one more result. Types that
// differ become types that differ, so an indirect call finds a type amiss where
// it did before.
func (w *rewriter) withState(t uint32) uint32 {
	if w.modified[t] == 0 {
		w.modified[t] = 1 + w.addStateType(w.module.types[t].params, w.module.types[t].results)
	}
	return w.modified[t] - 1
}

func (w *rewriter) addStateType(params, results []byte) uint32 {
	i64 := byte(wasm.I64)
	return w.addType(append(params[:len(params):len(params)], i64), append(results[:len(results):len(results)], i64))
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

// code rewrites the bodies of the module's own functions.
func (w *rewriter) code() (code, error) {
	shapes, err := w.scanFunctions()
	if err != nil {
		return nil, err
	}
	w.shapes = shapes
	size := w.sections[wasm.SectionCode].to - w.sections[wasm.SectionCode].from
	bodies := make(code, 0, 2*size)
	w.unrollBytes, w.unrolledMax = size/unrollPart+unrollSpare, unrolledBytesMax
	if size > largeCode {
		w.unrolledMax = unrolledBytesLarge
	}
	largest := 0
	for i := range shapes {
		largest = max(largest, shapes[i].code.Len())
	}
	w.draft, w.body = make(code, 0, 2*largest), make(code, 0, 2*largest)
	for i := range shapes {
		if err := w.function(&shapes[i], w.module.types[w.functionTypes[i]]); err != nil {
			return nil, fmt.Errorf("function %d: %w", int(w.importedFuncs)+i, err)
		}
		bodies.u32(uint32(len(w.body)))
		bodies = append(bodies, w.body...)
	}
	w.result.Functions = len(shapes)
	return bodies, nil
}

// startFuel is the cost of an instance, charged before it is made.
func (w *rewriter) startFuel() uint64 {
	return InstanceFuel + w.dataBytes/BytesPerFuel + w.dataSegments*SegmentFuel + w.elements*ElementFuel +
		w.tableEntries*EntryFuel + uint64(w.memoryPages)*PageFuel
}
