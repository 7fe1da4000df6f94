package meter

import (
	"fmt"
	"math"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// get and set move the state between the operand stack and where the function
// keeps it.
func (f *function) get(c *code) {
	if f.kept {
		c.opU32(wasm.OpLocalGet, f.saved)
	} else {
		c.opU32(wasm.OpGlobalGet, f.state)
	}
}

func (f *function) set(c *code) {
	if f.kept {
		c.opU32(wasm.OpLocalSet, f.saved)
	} else {
		c.opU32(wasm.OpGlobalSet, f.state)
	}
}

// store and load move a kept state to the global and back, around whatever
// reads or changes it there.
func (f *function) store(c *code) {
	if f.kept {
		c.opU32(wasm.OpLocalGet, f.saved)
		c.opU32(wasm.OpGlobalSet, f.state)
	}
}

func (f *function) load(c *code) {
	if f.kept {
		c.opU32(wasm.OpGlobalGet, f.state)
		c.opU32(wasm.OpLocalSet, f.saved)
	}
}

func (f *function) refillCall(c *code) {
	f.store(c)
	c.opU32(wasm.OpCall, f.refill())
	f.load(c)
}

// flush writes the segment with its charge and begins the next one.
func (f *function) flush(next segmentKind) {
	switch f.kind {
	case segmentEntry:
		f.entry()
	case segmentLoop:
		f.negative(&f.out)
		f.out.opU32(wasm.OpBrIf, 1)
		f.result.Checks++
		f.charge()
	case segmentCheck:
		f.negative(&f.out)
		f.out.op(wasm.OpIf)
		f.out.byte(blockVoid)
		f.refillCall(&f.out)
		f.out.op(wasm.OpEnd)
		f.result.Checks++
		f.charge()
	case segmentPlain:
		f.charge()
	}
	f.out = append(f.out, f.segment...)
	f.segment, f.segmentFuel, f.kind = f.segment[:0], 0, next
	if next == segmentCheck {
		f.unchecked = 0
	}
}

// charge takes the segment's fuel off the state.
func (f *function) charge() {
	if f.segmentFuel == 0 {
		return
	}
	f.result.Charges++
	f.get(&f.out)
	f.out.i64Const(int64(f.segmentFuel))
	f.out.op(wasm.OpI64Sub)
	f.set(&f.out)
}

// negative pushes whether the fuel in the state is below zero.
func (f *function) negative(c *code) {
	f.get(c)
	c.op(opI32WrapI)
	c.i32Const(0)
	c.op(opI32LtS)
}

// signBits are those of both halves of a state.
const signBits = math.MinInt64 | 1<<31

// entry charges the first segment and the frame, and checks both when the
// function has to.
func (f *function) entry() {
	if !f.checked && !f.kept {
		f.charge()
		return
	}
	f.out.opU32(wasm.OpGlobalGet, f.state)
	if cost := f.frame<<32 + int64(f.segmentFuel); cost != 0 {
		f.result.Charges++
		f.out.i64Const(cost)
		f.out.op(wasm.OpI64Sub)
	}
	if !f.checked {
		f.out.opU32(wasm.OpLocalSet, f.saved)
		return
	}
	f.result.Checks++
	f.out.opU32(wasm.OpLocalTee, f.saved)
	if !f.kept {
		f.out.opU32(wasm.OpGlobalSet, f.state)
		f.out.opU32(wasm.OpLocalGet, f.saved)
	}
	f.out.i64Const(signBits)
	f.out.op(opI64And)
	f.out.i64Const(0)
	f.out.op(opI64Ne, wasm.OpIf)
	f.out.byte(blockVoid)
	f.refillCall(&f.out)
	f.out.op(wasm.OpEnd)
}

// straight writes an instruction that neither opens, closes nor leaves a
// block.
func (f *function) straight(in *wasm.Instr) error {
	switch in.Op {
	case wasm.OpCall:
		f.call(in)
	case wasm.OpCallIndirect:
		f.store(&f.segment)
		f.copy(in)
		f.load(&f.segment)
		f.returned()
	case wasm.OpRefFunc:
		f.segment.opU32(in.Op, f.shift(in.X))
	case wasm.OpMemoryGrow:
		f.helperCall(helperGrow)
	case wasm.OpMemoryFill:
		f.helperCall(helperFill)
	case wasm.OpMemoryCopy:
		f.helperCall(helperCopy)
	case wasm.OpMemoryInit:
		f.usesSegments = true
		f.helperCall(helperBytes)
		f.copy(in)
	case wasm.OpDataDrop:
		f.usesSegments = true
		f.copy(in)
	case wasm.OpTableInit, wasm.OpTableCopy, wasm.OpTableFill:
		f.helperCall(helperEntries)
		f.copy(in)
	case wasm.OpTableGrow:
		return f.growTable(in)
	default:
		f.copy(in)
	}
	return nil
}

func (f *function) call(in *wasm.Instr) {
	f.store(&f.segment)
	f.segment.opU32(in.Op, f.shift(in.X))
	f.load(&f.segment)
	if in.X >= f.importedFuncs {
		f.returned()
	}
}

// returned notes that the callee may have burnt fuel without a check, and that
// the caller's caller may do the same: a check is due soon.
func (f *function) returned() {
	f.unchecked = max(f.unchecked, checkEvery-afterCall)
}

func (f *function) helperCall(h helper) {
	f.store(&f.segment)
	f.segment.opU32(wasm.OpCall, f.helpers.index(h))
	f.load(&f.segment)
}

// growTable writes table.grow behind a host function that may turn the number
// of entries, which is on top of the stack, into one that cannot be had.
func (f *function) growTable(in *wasm.Instr) error {
	if int(in.X) >= len(f.tableMax) {
		return fmt.Errorf("table %d of %d", in.X, len(f.tableMax))
	}
	f.segment.opU32(wasm.OpTableSize, in.X)
	f.segment.i32Const(int32(f.tableMax[in.X]))
	f.store(&f.segment)
	f.segment.opU32(wasm.OpCall, f.tableGrow())
	f.load(&f.segment)
	f.copy(in)
	return nil
}
