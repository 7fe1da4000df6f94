package meter

import (
	"fmt"
	"math"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// get and set move the state between the operand stack and the parameter that
// holds it.
func (f *function) get(c *code) { c.opU32(wasm.OpLocalGet, f.state) }
func (f *function) set(c *code) { c.opU32(wasm.OpLocalSet, f.state) }

// use pushes the state for somebody who looks at it: the segment is charged by
// then.
func (f *function) use() {
	f.get(&f.out)
	s := f.segment()
	s.calls = true
	if f.payable(s) {
		s.late = true
		f.points = append(f.points, point{at: len(f.out), segment: f.current, kind: pointUse})
	}
}

// payable reports whether the charge of a segment may still be written at its
// first use of the state. Until then nobody sees that it was not.
func (f *function) payable(s *segment) bool {
	return !s.late && (s.kind != segmentEntry || !f.checked)
}

// stateCall calls a function that takes the state last and returns it last.
func (f *function) stateCall(index uint32) {
	f.use()
	f.out.opU32(wasm.OpCall, index)
	f.back()
}

// back keeps the state that a call has left on the stack.
func (f *function) back() {
	s := f.segment()
	if s.back != 0 {
		f.points[s.back-1].kind = pointNone
	}
	f.points = append(f.points, point{at: len(f.out), segment: f.current, kind: pointBack})
	s.back = int32(len(f.points))
	f.set(&f.out)
}

// hostCall calls a function of the host, which finds the state in the global
// and may leave another there.
func (f *function) hostCall(index uint32) {
	f.use()
	f.out.opU32(wasm.OpGlobalSet, f.global)
	f.out.opU32(wasm.OpCall, index)
	f.out.opU32(wasm.OpGlobalGet, f.global)
	f.back()
}

func (f *function) refillCall(c *code) {
	f.get(c)
	c.opU32(wasm.OpCall, f.helper(helperRefill))
	f.set(c)
}

// write puts the charges and checks into what has been written, in w.body.
func (f *function) write() {
	f.flow.settle()
	c, done := f.body[:0], 0
	for i := range f.points {
		p := &f.points[i]
		if p.kind == pointHead && f.bare(p.segment) {
			continue
		}
		c = append(c, f.out[done:p.at]...)
		done = p.at
		switch p.kind {
		case pointHead:
			f.head(&c, p.segment)
		case pointUse:
			f.take(&c, int64(f.flow.charge(p.segment)))
		case pointBack:
			f.take(&c, int64(f.flow.ahead(f.flow.segments[p.segment].out)))
		case pointLeave:
			f.take(&c, -f.frame<<32)
		case pointUseLeave:
			f.take(&c, int64(f.flow.charge(p.segment))-f.frame<<32)
		}
	}
	f.body = append(c, f.out[done:]...)
}

// bare reports whether nothing precedes a segment.
func (f *function) bare(i int32) bool {
	s := &f.flow.segments[i]
	return s.kind == segmentPlain && (s.late || f.flow.charge(i) == 0)
}

// head writes what precedes a segment.
func (f *function) head(c *code, i int32) {
	s := &f.flow.segments[i]
	switch s.kind {
	case segmentEntry:
		if f.checked {
			f.entry(c, int64(f.flow.charge(i)))
			return
		}
	case segmentLoop:
		f.compare(c, opI32LtS)
		c.opU32(wasm.OpBrIf, 1)
	case segmentCheck:
		f.compare(c, opI32GeS)
		f.refillUnless(c)
	}
	if fuel := int64(f.flow.charge(i)); fuel != 0 && !s.late {
		f.get(c)
		f.take(c, fuel)
		f.set(c)
	}
}

// take subtracts from the state on the stack.
func (f *function) take(c *code, amount int64) {
	if amount == 0 {
		return
	}
	if int32(amount) != 0 {
		f.result.Charges++
	}
	c.i64Const(amount)
	c.op(wasm.OpI64Sub)
}

// compare compares the fuel in the state with zero.
func (f *function) compare(c *code, op wasm.Opcode) {
	f.result.Checks++
	f.get(c)
	c.op(opI32WrapI)
	c.i32Const(0)
	c.op(op)
}

// signBits are those of both halves of a state.
const signBits = math.MinInt64 | 1<<31

// entry charges the first segment and the frame, and checks both.
func (f *function) entry(c *code, fuel int64) {
	f.get(c)
	if cost := f.frame<<32 + fuel; cost != 0 {
		f.take(c, cost)
		c.opU32(wasm.OpLocalTee, f.state)
	}
	f.result.Checks++
	c.opU32(wasm.OpGlobalGet, f.signs())
	c.op(opI64And, opI64Eqz)
	f.refillUnless(c)
}

// refillUnless calls the host when the condition on the stack is false. The
// engine lays code out in order: what hardly ever runs stands in the else.
func (f *function) refillUnless(c *code) {
	c.op(wasm.OpIf)
	c.byte(blockVoid)
	c.op(wasm.OpElse)
	f.refillCall(c)
	c.op(wasm.OpEnd)
}

// straight writes an instruction that neither opens, closes nor leaves a
// block.
func (f *function) straight(in *wasm.Instr) error {
	switch in.Op {
	case wasm.OpCall:
		f.call(in)
	case wasm.OpCallIndirect:
		f.callIndirect(in)
	case wasm.OpLocalGet, wasm.OpLocalSet, wasm.OpLocalTee:
		if in.X < f.state {
			f.copy(in)
		} else {
			f.out.opU32(in.Op, in.X+1)
		}
	case wasm.OpRefFunc:
		x, err := f.declare(in.X)
		if err != nil {
			return err
		}
		f.out.opU32(in.Op, x)
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
	if in.X < f.importedFuncs {
		f.hostCall(in.X)
		return
	}
	f.stateCall(f.shift(in.X))
	if callee := &f.shapes[in.X-f.importedFuncs]; callee.checked {
		f.since = since{call: 1}
	} else {
		f.since.add(int(callee.fuel))
	}
}

// callIndirect puts the state below the entry's number, which is on top of the
// stack.
func (f *function) callIndirect(in *wasm.Instr) {
	f.out.opU32(wasm.OpLocalSet, f.entryLocal)
	f.use()
	f.out.opU32(wasm.OpLocalGet, f.entryLocal)
	f.out.opU32(in.Op, f.withState(in.X))
	f.out.u32(in.Y)
	f.back()
	// The callee may check or not.
	f.since.add(leafFuel)
	f.since.call = max(f.since.call, 1)
}

func (f *function) helperCall(h helper) { f.stateCall(f.helper(h)) }

// growTable writes table.grow behind a host function that may turn the number
// of entries, which is on top of the stack, into one that cannot be had.
func (f *function) growTable(in *wasm.Instr) error {
	if int(in.X) >= len(f.tableMax) {
		return fmt.Errorf("table %d of %d", in.X, len(f.tableMax))
	}
	f.out.opU32(wasm.OpTableSize, in.X)
	f.out.i32Const(int32(f.tableMax[in.X]))
	f.hostCall(f.tableGrow())
	f.copy(in)
	return nil
}
