package meter

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// loopKind tells how a loop is checked.
type loopKind uint8

const (
	// loopOutside is a loop whose header checks, with the refill outside of it.
	loopOutside loopKind = iota
	// loopInside is a loop that is refilled inside: one with parameters, or one
	// that calls anyway and has nothing to lose by another call.
	loopInside
	// loopFree is a loop that comes past another check each time round, so its
	// header has none.
	loopFree
)

// loop writes a loop, with its refill outside:
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
//	end
func (f *function) loop(in *wasm.Instr) error {
	before := f.segment().out
	f.result.Loops++
	f.loopDepth++
	entered := f.runs
	f.runs = min(f.runs*roundsGuess, runsMost)
	l := label{op: in.Op, kind: f.kind, bound: checkEvery, void: true, passed: entered}
	switch f.kind {
	case loopOutside:
		block := f.bytes[in.Start+1 : in.End]
		f.out.op(wasm.OpBlock)
		f.out = append(f.out, block...)
		f.out.op(wasm.OpLoop)
		f.out = append(f.out, block...) // its end is never reached
		f.out.op(wasm.OpBlock)
		f.out.byte(blockVoid)
		f.out.op(wasm.OpLoop)
		f.out = append(f.out, block...)
		f.push(l, 4)
		f.headLoop(in)
		f.next(segmentLoop, before)
		if s, ok := f.straightLoop(in); ok && f.afford(s) {
			f.resume = s.to
			return f.unroll(s)
		}
	case loopInside:
		l.void = in.BlockKind != wasm.BlockIndex
		f.copy(in)
		f.push(l, 1)
		f.headLoop(in)
		f.next(segmentCheck, before)
	case loopFree:
		f.since.join(since{f.tail, 1 + f.tail})
		l.bound, l.void = f.since.check, in.BlockKind != wasm.BlockIndex
		f.copy(in)
		f.push(l, 1)
		f.headLoop(in)
		f.flow.at(before).exact = true
		f.next(segmentPlain, before)
	}
	return nil
}

// endLoop writes what stands behind the end of a loop that is refilled outside.
func (f *function) endLoop() {
	f.out.opU32(wasm.OpBr, 2)
	f.out.op(wasm.OpEnd)
	f.refillCall(&f.out)
	f.out.opU32(wasm.OpBr, 0)
	f.out.op(wasm.OpEnd, wasm.OpEnd)
	f.depth -= 3
}

// loopKind looks at a loop before it is written. A loop without another one in
// it is free when it comes past a check on every way from its header back to
// it, which only the entry of a function that is called can be; then tail is
// the most fuel between there and the header.
func (f *function) loopKind(in *wasm.Instr, body wasm.Reader) (kind loopKind, tail int) {
	l := lap{function: f, labels: f.laps[:0]}
	free := l.free(body)
	f.laps = l.labels
	switch {
	case free:
		return loopFree, l.tail
	case l.calls, in.BlockKind == wasm.BlockIndex && len(f.module.types[in.X].params) > 0:
		return loopInside, 0
	}
	return loopOutside, 0
}

// lap follows the ways through a loop.
type lap struct {
	*function
	labels []lapLabel
	// now is how the way to here came.
	now  way
	dead bool
	skip int
	tail int
	// calls is set when it calls, as far as it was followed.
	calls bool
}

// way is what is known of all ways from the header to a place.
type way struct {
	// unchecked is set when one of them comes past no check.
	unchecked bool
	// fuel is the most that was burnt since a check.
	fuel int
}

// lapLabel is an open block in a loop; the first is the loop.
type lapLabel struct {
	op wasm.Opcode
	// end joins the ways to its end, from is the one to the condition of an if.
	end, from way
	reached   bool
}

func (a *way) join(b way) {
	a.unchecked = a.unchecked || b.unchecked
	a.fuel = max(a.fuel, b.fuel)
}

// free reports whether a loop with that body is.
func (l *lap) free(body wasm.Reader) bool {
	l.labels = append(l.labels, lapLabel{op: wasm.OpLoop})
	l.now = way{unchecked: true}
	var in wasm.Instr
	for len(l.labels) > 0 {
		l.plain(&body)
		if body.Len() == 0 || body.Next(&in) != nil {
			return false
		}
		if l.dead && skipDead(in.Op, &l.skip) {
			continue
		}
		l.now.fuel += int(costs[in.Op])
		if !l.step(&in, body) {
			return false
		}
	}
	return true
}

// step reports whether the loop may still be free.
func (l *lap) step(in *wasm.Instr, body wasm.Reader) bool {
	switch in.Op {
	case wasm.OpLoop:
		return false
	case wasm.OpBlock:
		l.labels = append(l.labels, lapLabel{op: in.Op})
	case wasm.OpIf:
		l.labels = append(l.labels, lapLabel{op: in.Op, from: l.now})
	case wasm.OpElse:
		l.leave()
		top := &l.labels[len(l.labels)-1]
		top.op, l.now, l.dead = wasm.OpElse, top.from, false
	case wasm.OpEnd:
		l.end()
	case wasm.OpCallIndirect:
		l.calls = true
	case wasm.OpCall:
		l.calls = true
		if own := int(in.X) - int(l.importedFuncs); own >= 0 && l.shapes[own].checked {
			l.now = way{}
		}
	case wasm.OpBr:
		ok := l.branch(in.X)
		l.dead = true
		return ok
	case wasm.OpBrIf:
		return l.branch(in.X)
	case wasm.OpBrTable:
		l.dead = true
		r := body.At(in.LabelsAt)
		for range in.Labels + 1 {
			if x, err := r.U32(); err != nil || !l.branch(x) {
				return false
			}
		}
	case wasm.OpReturn, wasm.OpUnreachable:
		l.dead = true
	}
	return true
}

// leave joins the way to the end of a block, when there is one, to those that
// branch there.
func (l *lap) leave() {
	if !l.dead {
		top := &l.labels[len(l.labels)-1]
		top.end.join(l.now)
		top.reached = true
	}
}

func (l *lap) end() {
	l.leave()
	top := l.labels[len(l.labels)-1]
	l.labels = l.labels[:len(l.labels)-1]
	if top.op == wasm.OpIf {
		top.end.join(top.from)
		top.reached = true
	}
	l.now, l.dead = top.end, !top.reached
}

// branch reports whether the loop may be free with a branch to label x.
func (l *lap) branch(x uint32) bool {
	switch depth := len(l.labels) - 1 - int(x); {
	case int64(x) >= int64(len(l.labels)):
		return true // out of the loop
	case depth == 0:
		l.tail = max(l.tail, l.now.fuel)
		return !l.now.unchecked
	default:
		l.labels[depth].end.join(l.now)
		l.labels[depth].reached = true
	}
	return true
}
