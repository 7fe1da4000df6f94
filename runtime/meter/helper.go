package meter

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// helper is a function that the meter adds to a module that needs it. Each
// takes the state as its last parameter and returns it as its last result.
type helper int

const (
	// helperRefill asks the host for fuel, () → ().
	helperRefill helper = iota
	// helperGrow replaces memory.grow: (pages) → old size. It charges the
	// pages that the memory grew by.
	helperGrow
	// helperFill and helperCopy replace memory.fill and memory.copy: they
	// charge by length, and split a long operation so that it can be stopped.
	helperFill
	helperCopy
	// helperBytes and helperEntries charge for a length in bytes or table
	// entries, which they return unchanged, before an operation that a
	// segment or a table bounds.
	helperBytes
	helperEntries
	helperKinds
)

var helperNames = [helperKinds]string{"refill", "memory_grow", "memory_fill", "memory_copy", "charge_bytes", "charge_entries"}

// helper returns the function index of a helper, adding it at its first use.
func (w *rewriter) helper(k helper) uint32 {
	if w.added.helpers[k] == 0 {
		w.added.helpers[k] = 1 + w.addHelper(k)
	}
	return w.added.helpers[k] - 1
}

func (w *rewriter) addHelper(k helper) uint32 {
	i32 := byte(wasm.I32)
	var b code
	var params, results []byte
	switch k {
	case helperRefill:
		w.refillBody(&b)
	case helperGrow:
		params, results = []byte{i32}, []byte{i32}
		w.growBody(&b)
	case helperFill, helperCopy:
		params = []byte{i32, i32, i32}
		w.bulkBody(&b, k)
	case helperBytes:
		params, results = []byte{i32}, []byte{i32}
		w.chargeBody(&b, 3)
	case helperEntries:
		params, results = []byte{i32}, []byte{i32}
		w.chargeBody(&b, 0)
	}
	return w.added.add(helperNames[k], w.addStateType(params, results), b)
}

// chunkBytes is how much of a bulk memory operation runs between two checks:
// a few tens of microseconds.
const chunkBytes = 256 << 10

// lengthMax bounds a length that is charged before an operation which traps
// for anything longer, so that the charge stays an int32: segments and tables
// are far smaller.
const lengthMax = 1 << 26

func (w *rewriter) refillBody(b *code) {
	b.byte(0)
	b.opU32(wasm.OpLocalGet, 0)
	b.opU32(wasm.OpGlobalSet, w.global)
	b.opU32(wasm.OpCall, w.refill())
	b.opU32(wasm.OpGlobalGet, w.global)
	b.op(wasm.OpEnd)
}

// chargeAndCheck subtracts the i64 that push leaves on the stack from the state,
// which the parameter of that number holds, and asks the host when the slice is
// used up.
func (w *rewriter) chargeAndCheck(b *code, state uint32, push func()) {
	b.opU32(wasm.OpLocalGet, state)
	push()
	b.op(wasm.OpI64Sub)
	b.opU32(wasm.OpLocalTee, state)
	b.op(opI32WrapI)
	b.i32Const(0)
	b.op(opI32GeS, wasm.OpIf)
	b.byte(blockVoid)
	b.op(wasm.OpElse)
	b.opU32(wasm.OpLocalGet, state)
	b.opU32(wasm.OpCall, w.helper(helperRefill))
	b.opU32(wasm.OpLocalSet, state)
	b.op(wasm.OpEnd)
}

// growPages is how many pages are charged at a time, so that the charge stays an
// int32: a memory can grow by 65,536.
const growPages = 4096

// growBody: r = memory.grow(n); if r ≠ -1, charge n pages.
func (w *rewriter) growBody(b *code) {
	const pages, state, old, step = 0, 1, 2, 3
	b.byte(1, 2, byte(wasm.I32))
	b.opU32(wasm.OpLocalGet, pages)
	b.op(wasm.OpMemoryGrow)
	b.byte(0)
	b.opU32(wasm.OpLocalTee, old)
	b.i32Const(-1)
	b.op(opI32Eq, wasm.OpIf)
	b.byte(blockVoid)
	b.i32Const(-1)
	b.opU32(wasm.OpLocalGet, state)
	b.op(wasm.OpReturn, wasm.OpEnd, wasm.OpLoop)
	b.byte(blockVoid)
	w.chargeAndCheck(b, state, func() {
		b.atMost(pages, growPages)
		b.opU32(wasm.OpLocalTee, step)
		b.op(opI64ExtU)
		b.i64Const(PageFuel)
		b.op(wasm.OpI64Mul)
	})
	b.opU32(wasm.OpLocalGet, pages)
	b.opU32(wasm.OpLocalGet, step)
	b.op(wasm.OpI32Sub)
	b.opU32(wasm.OpLocalTee, pages)
	b.opU32(wasm.OpBrIf, 0)
	b.op(wasm.OpEnd)
	b.opU32(wasm.OpLocalGet, old)
	b.opU32(wasm.OpLocalGet, state)
	b.op(wasm.OpEnd)
}

// atMost pushes the smaller of a local and a constant, unsigned.
func (c *code) atMost(local uint32, most int32) {
	c.opU32(wasm.OpLocalGet, local)
	c.i32Const(most)
	c.opU32(wasm.OpLocalGet, local)
	c.i32Const(most)
	c.op(opI32LtU, wasm.OpSelect)
}

// chargeBody: charge min(n, lengthMax) >> shift, return n.
func (w *rewriter) chargeBody(b *code, shift int32) {
	const n, state = 0, 1
	b.byte(0)
	w.chargeAndCheck(b, state, func() {
		b.atMost(n, lengthMax)
		b.i32Const(shift)
		b.op(opI32ShrU, opI64ExtU)
	})
	b.opU32(wasm.OpLocalGet, n)
	b.opU32(wasm.OpLocalGet, state)
	b.op(wasm.OpEnd)
}

// bulkBody is memory.fill(d, x, n) or memory.copy(d, x, n).
//
//	charge n/8 if n ≤ chunk, do it whole, return
//	if it would trap, do it whole: it does
//	forwards, or backwards where a copy's ranges overlap that way:
//	  charge and do one chunk at a time
func (w *rewriter) bulkBody(b *code, k helper) {
	const dst, src, n, state, step = 0, 1, 2, 3, 4
	b.byte(1, 1, byte(wasm.I32))
	leave := func() {
		b.opU32(wasm.OpLocalGet, state)
		b.op(wasm.OpReturn, wasm.OpEnd)
	}
	whole := func() {
		for _, x := range []uint32{dst, src, n} {
			b.opU32(wasm.OpLocalGet, x)
		}
		w.bulkOp(b, k)
		leave()
	}
	charge := func(x uint32) {
		w.chargeAndCheck(b, state, func() {
			b.opU32(wasm.OpLocalGet, x)
			b.i32Const(3)
			b.op(opI32ShrU, opI64ExtU)
		})
	}
	b.opU32(wasm.OpLocalGet, n)
	b.i32Const(chunkBytes)
	b.op(opI32LeU, wasm.OpIf)
	b.byte(blockVoid)
	charge(n)
	whole()

	w.beyondMemory(b, dst, n)
	whole()
	if k == helperCopy {
		w.beyondMemory(b, src, n)
		whole()
		// dst > src: from the end, so that a chunk is read before it is
		// overwritten.
		b.opU32(wasm.OpLocalGet, dst)
		b.opU32(wasm.OpLocalGet, src)
		b.op(opI32GtU, wasm.OpIf)
		b.byte(blockVoid)
		w.chunks(b, k, charge, true)
		leave()
	}
	w.chunks(b, k, charge, false)
	b.opU32(wasm.OpLocalGet, state)
	b.op(wasm.OpEnd)
}

func (w *rewriter) bulkOp(b *code, k helper) {
	if k == helperFill {
		b.op(wasm.OpMemoryFill)
		b.byte(0)
		return
	}
	b.op(wasm.OpMemoryCopy)
	b.byte(0, 0)
}

// beyondMemory opens an if for the case that at + n lies beyond the memory.
func (w *rewriter) beyondMemory(b *code, at, n uint32) {
	b.opU32(wasm.OpLocalGet, at)
	b.op(opI64ExtU)
	b.opU32(wasm.OpLocalGet, n)
	b.op(opI64ExtU, wasm.OpI64Add, wasm.OpMemorySize)
	b.byte(0)
	b.op(opI64ExtU)
	b.i64Const(16)
	b.op(opI64Shl, opI64GtU, wasm.OpIf)
	b.byte(blockVoid)
}

// chunks does the operation from one end, chunk by chunk, and consumes n.
func (w *rewriter) chunks(b *code, k helper, charge func(uint32), backwards bool) {
	const dst, src, n, step = 0, 1, 2, 4
	b.op(wasm.OpLoop)
	b.byte(blockVoid)
	// step = min(n, chunk)
	b.atMost(n, chunkBytes)
	b.opU32(wasm.OpLocalSet, step)
	charge(step)
	add := func(x, y uint32, op wasm.Opcode) {
		b.opU32(wasm.OpLocalGet, x)
		b.opU32(wasm.OpLocalGet, y)
		b.op(op)
	}
	add(n, step, wasm.OpI32Sub)
	b.opU32(wasm.OpLocalSet, n)
	for _, x := range []uint32{dst, src} {
		switch {
		case x == src && k == helperFill:
			b.opU32(wasm.OpLocalGet, src) // the value
		case backwards:
			add(x, n, wasm.OpI32Add) // what is left lies before the chunk
		default:
			b.opU32(wasm.OpLocalGet, x)
		}
	}
	b.opU32(wasm.OpLocalGet, step)
	w.bulkOp(b, k)
	if !backwards {
		for _, x := range []uint32{dst, src} {
			if x == dst || k == helperCopy {
				add(x, step, wasm.OpI32Add)
				b.opU32(wasm.OpLocalSet, x)
			}
		}
	}
	b.opU32(wasm.OpLocalGet, n)
	b.opU32(wasm.OpBrIf, 0)
	b.op(wasm.OpEnd)
}
