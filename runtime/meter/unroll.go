package meter

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// The bounds of unrolling: see DESIGN.md.
const (
	// unrollBytesMax bounds the code of a loop that is repeated.
	unrollBytesMax = 128
	// unrollCopiesMax bounds how often it is repeated, and so do the bytes of all
	// copies: unrolledBytesMax, or unrolledBytesLarge in a module with more than
	// largeCode bytes of code, where loops are many and few of them are hot.
	unrollCopiesMax, unrolledBytesMax, unrolledBytesLarge = 4, 384, 128
	largeCode                                             = 4 << 10
	// unrollFuelMax bounds the fuel that is burnt between two checks by the
	// copies, well below checkEvery.
	unrollFuelMax = 1024
	// unrollExitsMax bounds the places where the code leaves the loop early.
	unrollExitsMax = 2
	// unrollPart: a module's code grows by one such part at most, and by
	// unrollSpare bytes, so that no module costs the compiler much more than
	// lint has estimated.
	unrollPart, unrollSpare = 24, 4096
)

// straightLoop is the beginning of a loop's body that is repeated: straight code
// that ends with a conditional branch back to the loop.
type straightLoop struct {
	from, to int // offsets
	copies   int
	// fuel is what one time through costs.
	fuel int
	// exits are the conditional branches out of the loop.
	exits int
}

// straightLoop returns the beginning of the body of the loop that in opens, if it
// is worth repeating.
func (f *function) straightLoop(in *wasm.Instr) (s straightLoop, ok bool) {
	if in.BlockKind != wasm.BlockVoid {
		return s, false
	}
	s.from = in.End
	r := wasm.NewReader(f.bytes, in.End, len(f.bytes))
	var next wasm.Instr
	for height := 0; ; {
		if r.Next(&next) != nil || next.End-s.from > unrollBytesMax {
			return s, false
		}
		s.fuel += int(costs[next.Op])
		if !repeatable(&next) {
			return s, false
		}
		if height += operands(next.Op, next.Info); next.Op != wasm.OpBrIf {
			continue
		}
		if height != 0 {
			return s, false
		}
		if next.X == 0 {
			break
		}
		if s.exits++; s.exits > unrollExitsMax || !f.voidLabel(next.X-1) {
			return s, false
		}
	}
	s.to = next.End
	s.copies = min(unrollCopiesMax, f.unrolledMax/(s.to-s.from), unrollFuelMax/max(s.fuel, 1))
	return s, s.copies > 1
}

// repeatable reports whether an instruction may be repeated: it must neither open
// nor close a block, nor call, nor cost by a length.
func repeatable(in *wasm.Instr) bool {
	switch in.Op {
	case wasm.OpMemoryGrow, wasm.OpMemoryFill, wasm.OpMemoryCopy, wasm.OpMemoryInit, wasm.OpDataDrop,
		wasm.OpTableInit, wasm.OpTableCopy, wasm.OpTableFill:
		return false
	case wasm.OpLocalGet, wasm.OpGlobalGet, wasm.OpLocalTee, wasm.OpLocalSet, wasm.OpGlobalSet, wasm.OpDrop, wasm.OpBrIf,
		wasm.OpSelect, wasm.OpSelectTyped:
		return true
	}
	return !in.Info.Special
}

// voidLabel reports whether a branch to label x carries no operands.
func (f *function) voidLabel(x uint32) bool {
	return int(x) < len(f.labels) && f.labels[len(f.labels)-1-int(x)].void
}

// afford takes the copies of a loop off what the module's code may still grow by.
func (f *function) afford(s straightLoop) bool {
	grows := (s.copies - 1) * (s.to - s.from)
	if grows > f.unrollBytes {
		return false
	}
	f.unrollBytes -= grows
	return true
}

// exit is a branch out of the copies. It leads to the code behind the block at,
// which gives back what was charged and not burnt.
type exit struct {
	at     int
	refund int
	// label is where it goes then, counted as in the loop's body; 0 is the code
	// behind the copies.
	label uint32
}

// unroll writes the beginning of a loop several times, in the middle of what loop
// has begun to write. All copies are charged and checked for at once:
//
//	if the fuel is negative, branch to cold
//	charge all copies
//	block done
//	  block exit 3
//	    block exit 2
//	      block exit 1
//	        … unless the loop goes on: branch to exit 1
//	        … unless the loop goes on: branch to exit 2
//	        … unless the loop goes on: branch to exit 3
//	        … if the loop goes on: branch to L
//	        branch to done
//	      end exit 1
//	      give back three times what a copy costs, branch to done
//	    …
//	end done
//
// The state is exact wherever it is looked at.
func (f *function) unroll(s straightLoop) error {
	loop := f.depth
	f.segment().fuel = int32(s.copies * s.fuel)
	f.since = since{check: s.copies * s.fuel}
	f.result.Unrolled++
	left := f.segment().out
	f.flow.at(left).exact = true
	exits := make([]exit, 0, s.copies*(s.exits+1))
	f.open()
	done := f.depth
	for range s.copies*(s.exits+1) - 1 {
		f.open()
	}
	for c := range s.copies {
		var err error
		if exits, err = f.iteration(s, c, loop, exits); err != nil {
			return err
		}
	}
	f.out.opU32(wasm.OpBr, uint32(f.depth-done))
	return f.refund(exits, done, left)
}

// open opens a block of the meter's own.
func (f *function) open() {
	f.out.op(wasm.OpBlock)
	f.out.byte(blockVoid)
	f.depth++
}

// iteration writes copy c of a loop, and notes how it is left. The last copy goes on
// with the loop itself.
func (f *function) iteration(s straightLoop, c, loop int, exits []exit) ([]exit, error) {
	r := wasm.NewReader(f.bytes, s.from, s.to)
	var in wasm.Instr
	left := (s.copies - c) * s.fuel
	for r.Len() > 0 {
		left -= f.copyPlain(&r, checkEvery)
		if err := r.Next(&in); err != nil {
			return nil, err
		}
		left -= int(costs[in.Op])
		if in.Op != wasm.OpBrIf {
			if err := f.straight(&in); err != nil {
				return nil, err
			}
			continue
		}
		if in.X == 0 && c == s.copies-1 {
			f.out.opU32(wasm.OpBrIf, uint32(f.depth-loop))
			continue
		}
		if in.X == 0 {
			f.out.op(opI32Eqz)
		}
		// The first exit has the innermost block.
		e := exit{f.depth - len(exits), left, in.X}
		f.out.opU32(wasm.OpBrIf, uint32(f.depth-e.at))
		exits = append(exits, e)
	}
	return exits, nil
}

// refund writes what stands behind the copies: the ends of the exits' blocks, each
// with a segment of less than no fuel. left is the junction behind the copies.
func (f *function) refund(exits []exit, done int, left int32) error {
	burnt := f.since
	for _, e := range exits {
		f.out.op(wasm.OpEnd)
		f.depth--
		f.since = burnt
		f.next(segmentPlain, left)
		f.segment().fuel = -int32(e.refund)
		to := uint32(f.depth - done)
		if e.label > 0 {
			f.bound(e.label)
			var err error
			if to, err = f.target(e.label, 0); err != nil {
				return err
			}
		} else {
			f.flow.join(left, f.segment().out)
		}
		f.out.opU32(wasm.OpBr, to)
	}
	f.out.op(wasm.OpEnd)
	f.depth--
	f.since = burnt
	f.next(segmentPlain, left)
	return nil
}
