package meter

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// label is an open block of the function as it was submitted.
type label struct {
	op wasm.Opcode
	// at is the depth of the label that branches to it become: 1 is the
	// outermost block.
	at int
	// targeted is set when a branch to its end has been written.
	targeted bool
	// plain is set for a loop with parameters, which is written without the
	// refill outside.
	plain bool
	// unchecked is the largest fuel since a check at any branch to its end,
	// and for an if also at its condition.
	unchecked int
	// void is set when branches to it carry no operands.
	void bool
}

// segmentKind says what precedes a straight piece of code.
type segmentKind int

const (
	segmentPlain segmentKind = iota
	segmentEntry
	segmentLoop
	segmentCheck
)

// function rewrites one body. Straight code is collected in segment, because
// its charge stands before it and is known at its end.
type function struct {
	*rewriter
	shape
	out    code
	labels []label
	// depth is the number of open blocks in what has been written.
	depth int
	// kept is set when the state lives in the local saved, otherwise saved is
	// scratch for the check at entry.
	kept  bool
	saved uint32
	// frame is what the function takes off the stack; 0 when it is not counted.
	frame int64
	// checked is set when the function compares the state at its entry.
	checked bool
	// wrapped is set when a block around the whole body leads to the code that
	// gives the frame back and stores the state.
	wrapped bool

	segment     code
	segmentFuel int
	kind        segmentKind
	// unchecked bounds the fuel since the last check on any path to here.
	unchecked int

	dead bool
	skip int
	// resume is the offset behind what has been written ahead of the reader.
	resume int
}

// function rewrites a body into w.body.
func (w *rewriter) function(r wasm.Reader, t signature) error {
	from := r.Offset()
	groups, err := r.U32()
	if err != nil {
		return err
	}
	groupsAt := r.Offset()
	locals := uint64(len(t.params))
	for range groups {
		n, err := r.U32()
		if err != nil {
			return err
		}
		if _, err := r.ValType(); err != nil {
			return err
		}
		locals += uint64(n)
	}
	if locals >= 1<<31 {
		return fmt.Errorf("%d locals at offset %#x", locals, from)
	}
	s, err := w.scanBody(r, len(t.results))
	if err != nil {
		return err
	}
	f := &function{rewriter: w, shape: s, out: w.body[:0], saved: uint32(locals), segment: w.segment[:0]}
	f.plan(locals)
	f.out.u32(groups + 1)
	f.out = append(f.out, w.bytes[groupsAt:r.Offset()]...)
	f.out.byte(1, byte(wasm.I64))
	f.begin(t, locals)
	var in wasm.Instr
	for r.Len() > 0 {
		if err := r.Next(&in); err != nil {
			return err
		}
		if in.Start < f.resume {
			continue
		}
		if err := f.instr(&in); err != nil {
			return fmt.Errorf("%w at offset %#x", err, in.Start)
		}
	}
	w.body, w.segment = f.out, f.segment
	return nil
}

// plan decides what the function keeps and checks.
func (f *function) plan(locals uint64) {
	size := f.frameSize(locals)
	f.kept = f.loops
	f.checked = f.calls || f.fuel+LocalsCost(locals) > leafFuel
	if f.calls || size > leafFrameBytes {
		f.frame = int64(min(size, 1<<30))
		f.checked = true
	}
	f.wrapped = f.kept || f.frame > 0
}

func (f *function) begin(t signature, locals uint64) {
	fn := label{op: wasm.OpEnd, void: len(t.results) == 0}
	if f.wrapped {
		f.out.op(wasm.OpBlock)
		f.blockType(&f.out, t.results)
		f.depth, fn.at = 1, 1
	}
	f.labels = append(f.labels, fn)
	f.kind = segmentEntry
	f.segmentFuel = int(min(LocalsCost(locals), 1<<20))
}

// instr writes one instruction.
func (f *function) instr(in *wasm.Instr) error {
	if len(f.labels) == 0 {
		return fmt.Errorf("instruction behind the end")
	}
	if f.dead && f.skipped(in.Op) {
		return nil
	}
	f.spend(int(costs[in.Op]))
	switch in.Op {
	case wasm.OpBlock:
		f.copy(in)
		f.push(label{op: in.Op, void: in.BlockKind == wasm.BlockVoid}, 1)
	case wasm.OpLoop:
		return f.loop(in)
	case wasm.OpIf:
		f.copy(in)
		f.flush(segmentPlain)
		f.push(label{op: in.Op, unchecked: f.unchecked, void: in.BlockKind == wasm.BlockVoid}, 1)
	case wasm.OpElse:
		f.otherwise()
	case wasm.OpEnd:
		f.end()
	case wasm.OpBr, wasm.OpBrIf, wasm.OpBrTable:
		return f.branch(in)
	case wasm.OpReturn:
		f.leave()
	case wasm.OpUnreachable:
		f.copy(in)
		f.die()
	default:
		return f.straight(in)
	}
	return nil
}

// skipped consumes an instruction of dead code; it reports false for the one
// that ends it.
func (f *function) skipped(op wasm.Opcode) bool {
	switch op {
	case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
		f.skip++
	case wasm.OpElse:
		return f.skip > 0
	case wasm.OpEnd:
		if f.skip == 0 {
			return false
		}
		f.skip--
	}
	return true
}

// spend adds fuel to the segment, cutting it where a check is due.
func (f *function) spend(fuel int) {
	if f.unchecked+fuel > checkEvery {
		f.flush(segmentCheck)
	}
	f.segmentFuel += fuel
	f.unchecked += fuel
}

func (f *function) copy(in *wasm.Instr) {
	f.segment = append(f.segment, f.bytes[in.Start:in.End]...)
}

// push opens a label after depth more blocks were written.
func (f *function) push(l label, depth int) {
	f.depth += depth
	l.at = f.depth
	f.labels = append(f.labels, l)
}

// loop writes a loop with its refill outside:
//
//	block done
//	  loop outer
//	    block cold
//	      loop L
//	        if the fuel is negative, branch to cold
//	        …
//	      end
//	      br done
//	    end cold
//	    refill
//	    br outer
//	  end
//	  unreachable
//	end
func (f *function) loop(in *wasm.Instr) error {
	f.flush(segmentPlain)
	f.result.Loops++
	block := f.bytes[in.Start+1 : in.End]
	if in.BlockKind == wasm.BlockIndex && len(f.module.types[in.X].params) > 0 {
		f.out = append(f.out, f.bytes[in.Start:in.End]...)
		f.push(label{op: in.Op, plain: true}, 1)
		f.kind, f.unchecked = segmentCheck, 0
		return nil
	}
	f.out.op(wasm.OpBlock)
	f.out = append(f.out, block...)
	f.out.op(wasm.OpLoop)
	f.out.byte(blockVoid)
	f.out.op(wasm.OpBlock)
	f.out.byte(blockVoid)
	f.out.op(wasm.OpLoop)
	f.out = append(f.out, block...)
	f.push(label{op: in.Op, void: true}, 4)
	f.kind, f.unchecked = segmentLoop, 0
	if s, ok := f.straightLoop(in); ok && f.afford(s) {
		f.resume = s.to
		return f.unroll(s)
	}
	return nil
}

func (f *function) otherwise() {
	top := &f.labels[len(f.labels)-1]
	f.flush(segmentPlain)
	f.out.op(wasm.OpElse)
	after := f.unchecked
	if f.dead {
		after = 0
	}
	f.unchecked = top.unchecked
	top.unchecked = after
	top.op = wasm.OpElse
	f.dead = false
}

func (f *function) end() {
	top := f.labels[len(f.labels)-1]
	if f.dead {
		f.unchecked = 0
	}
	f.labels = f.labels[:len(f.labels)-1]
	join := top.targeted || f.dead
	switch top.op {
	case wasm.OpIf, wasm.OpElse:
		join = true
		f.unchecked = max(f.unchecked, top.unchecked)
	case wasm.OpLoop:
		// Branches to a loop go to its start; only its own end leads on.
		join = f.dead
	default:
		if top.targeted {
			f.unchecked = max(f.unchecked, top.unchecked)
		}
	}
	f.dead = false
	if len(f.labels) == 0 {
		f.finish()
		return
	}
	// Where paths join, the code before the end is charged apart from the code
	// behind it; otherwise the segment goes on.
	to := &f.segment
	if join {
		f.flush(segmentPlain)
		to = &f.out
	}
	to.op(wasm.OpEnd)
	f.depth--
	if top.op == wasm.OpLoop && !top.plain {
		to.opU32(wasm.OpBr, 2)
		to.op(wasm.OpEnd)
		f.refillCall(to)
		to.opU32(wasm.OpBr, 0)
		to.op(wasm.OpEnd, wasm.OpUnreachable, wasm.OpEnd)
		f.depth -= 3
	}
}

// finish ends the function: it gives the frame back and stores the state.
func (f *function) finish() {
	f.flush(segmentPlain)
	if f.wrapped {
		f.out.op(wasm.OpEnd)
		f.get(&f.out)
		if f.frame > 0 {
			f.out.i64Const(f.frame << 32)
			f.out.op(wasm.OpI64Add)
		}
		f.out.opU32(wasm.OpGlobalSet, f.state)
	}
	f.out.op(wasm.OpEnd)
}

// target marks a label as branched to and returns its index in what is
// written.
func (f *function) target(x uint32) (uint32, error) {
	if int(x) >= len(f.labels) {
		return 0, fmt.Errorf("label %d of %d", x, len(f.labels))
	}
	l := &f.labels[len(f.labels)-1-int(x)]
	l.targeted = true
	l.unchecked = max(l.unchecked, f.unchecked)
	return uint32(f.depth - l.at), nil
}

func (f *function) branch(in *wasm.Instr) error {
	if in.Op != wasm.OpBrTable {
		x, err := f.target(in.X)
		if err != nil {
			return err
		}
		f.segment.opU32(in.Op, x)
		if in.Op == wasm.OpBrIf {
			f.flush(segmentPlain)
			return nil
		}
		f.die()
		return nil
	}
	f.segment.opU32(in.Op, in.Labels)
	r := wasm.NewReader(f.bytes, in.LabelsAt, in.End)
	for range in.Labels + 1 {
		x, err := r.U32()
		if err == nil {
			x, err = f.target(x)
		}
		if err != nil {
			return err
		}
		f.segment.u32(x)
	}
	f.die()
	return nil
}

func (f *function) leave() {
	if f.wrapped {
		f.segment.opU32(wasm.OpBr, uint32(f.depth-1))
	} else {
		f.segment.op(wasm.OpReturn)
	}
	f.die()
}

// die ends a segment after which the code is dead.
func (f *function) die() {
	f.flush(segmentPlain)
	f.dead, f.skip = true, 0
}
