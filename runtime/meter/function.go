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
	// kind tells how a loop is written.
	kind loopKind
	// since is what may have been burnt at any branch to its end, and for an if
	// also at its condition.
	since since
	// void is set when branches to it carry no operands.
	void bool
	// to is the junction that branches to it lead to, from that behind the
	// condition of an if.
	to, from int32
	// loop is the number of loops open inside, bound the fuel since a check that
	// a branch to a loop may have burnt.
	loop  int32
	bound int
	// runs is how often its end is branched to, passed how often an if passes its
	// condition by and how often a loop is entered: both are guesses.
	runs, passed int64
	// dispatch is set for a loop that begins with a jump through a table, header
	// is 1 + the label of the loop in whose header a block is, or 0.
	dispatch dispatch
	header   int
}

// point is a place in what has been written where code is put in when the
// charges are known.
type point struct {
	at      int
	segment int32
	kind    pointKind
}

// pointKind tells what is put in.
type pointKind uint8

const (
	// pointHead is the beginning of a segment: its check and its charge.
	pointHead pointKind = iota
	// pointUse is behind the first push of the state in a segment: its charge.
	pointUse
	// pointBack is behind the last call in a segment: what is charged ahead there.
	pointBack
	// pointNone was one.
	pointNone
	// pointLeave is behind the push of the state that is returned: without the
	// frame. pointUseLeave is the same where the segment has not been charged.
	pointLeave
	pointUseLeave
)

// function rewrites one body. It is written without charges and checks first.
type function struct {
	*rewriter
	shape
	out    code
	labels []label
	points []point
	// current is the segment that is being written.
	current int32
	// loopDepth is the number of open loops.
	loopDepth int32
	// runs guesses how often the place is reached in onceRuns calls of the function.
	runs int64
	// kind and tail tell of the loop that comes next how it is written, and
	// the most fuel between its last check and a branch back.
	kind loopKind
	tail int
	// depth is the number of open blocks in what has been written.
	depth int
	// state is the parameter that holds the state, behind the function's own.
	state uint32
	// entryLocal is a scratch local that holds the number of a table entry, in
	// a function with an indirect call.
	entryLocal uint32
	// frame is what the function takes off the stack; 0 when it is not counted.
	frame int64
	// afterCall bounds the fuel between the return of a call and its own return.
	afterCall int
	// checked is set when the function compares the state at its entry.
	checked bool
	// wrapped is set when a block around the whole body leads to the code that
	// gives the frame back and returns the state.
	wrapped bool

	// since bounds what was burnt on any path to here.
	since since

	dead bool
	skip int
	// resume is the offset behind what has been written ahead of the reader.
	resume int
	// ranFrom and ranTo are the range of the plain instructions that were copied
	// last.
	ranFrom, ranTo int
	// straightens is set when jumps by way of a table are written without it.
	straightens bool
	// header is the label of the loop that was opened last, headerAt the offset
	// behind its header as far as it has been read.
	header, headerAt int
}

// function rewrites a body into w.body.
func (w *rewriter) function(b *body, t signature) error {
	f := &function{
		rewriter: w, shape: b.shape, out: w.draft[:0], points: w.points[:0], labels: w.labels[:0],
		state: uint32(len(t.params)), entryLocal: uint32(b.locals) + 1,
	}
	f.plan(b.locals)
	groups := b.groups
	if b.indirect {
		groups++
	}
	f.out.u32(groups)
	f.out = append(f.out, w.bytes[b.groupsAt:b.code.Offset()]...)
	if b.indirect {
		f.out.byte(1, byte(wasm.I32))
	}
	f.begin(t, b.locals)
	r := b.code
	var in wasm.Instr
	for r.Len() > 0 {
		if !f.dead && len(f.labels) > 0 {
			f.plain(&r)
		}
		if err := r.Next(&in); err != nil {
			return err
		}
		if in.Op == wasm.OpLoop && !f.dead {
			f.kind, f.tail = f.loopKind(&in, r)
		}
		if err := f.instr(&in); err != nil {
			return fmt.Errorf("%w at offset %#x", err, in.Start)
		}
		r.Skip(f.resume - r.Offset())
	}
	w.draft, w.points, w.labels = f.out, f.points, f.labels
	f.write()
	return nil
}

// plan decides what the function checks.
func (f *function) plan(locals uint64) {
	size := f.frameSize(locals)
	if f.calls || size > leafFrameBytes {
		f.frame = int64(min(size, 1<<30))
		f.afterCall = int(max(afterCallLeast, min(size/frameBytesPerFuel, checkEvery)))
	}
	f.checked = f.checks(locals)
	f.wrapped = f.exits
	f.straightens = locals <= straightenLocals
}

func (f *function) begin(t signature, locals uint64) {
	f.flow.reset()
	f.targets = f.targets[:0]
	fn := label{op: wasm.OpEnd, void: len(t.results) == 0, to: f.flow.junction()}
	f.flow.at(fn.to).exact = true
	if f.wrapped {
		f.out.op(wasm.OpBlock)
		f.blockType(&f.out, t.results)
		f.depth, fn.at = 1, 1
	}
	f.labels = append(f.labels, fn)
	f.runs = onceRuns
	f.next(segmentEntry, f.flow.junction())
	f.segment().fuel = int32(min(LocalsCost(locals), 1<<20))
	if f.checked {
		f.flow.entry = f.current
	}
}

func (f *function) segment() *segment { return &f.flow.segments[f.current] }

// next begins a segment here, behind a junction.
func (f *function) next(kind segmentKind, in int32) {
	f.current = f.flow.add(kind, in, f.runs)
	f.points = append(f.points, point{at: len(f.out), segment: f.current})
	if kind == segmentCheck || kind == segmentLoop {
		f.since = since{}
	}
}

// instr writes one instruction.
func (f *function) instr(in *wasm.Instr) error {
	if len(f.labels) == 0 {
		return fmt.Errorf("instruction behind the end")
	}
	if f.dead && skipDead(in.Op, &f.skip) {
		return nil
	}
	f.spend(int(costs[in.Op]))
	switch in.Op {
	case wasm.OpBlock:
		f.copy(in)
		f.push(label{op: in.Op, to: f.flow.junction(), void: in.BlockKind == wasm.BlockVoid, header: f.headBlock(in)}, 1)
	case wasm.OpLoop:
		return f.loop(in)
	case wasm.OpIf:
		f.copy(in)
		from := f.segment().out
		f.runs /= 2
		f.push(label{
			op: in.Op, since: f.since, from: from, to: f.flow.junction(), void: in.BlockKind == wasm.BlockVoid, passed: f.runs,
		}, 1)
		f.next(segmentPlain, from)
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
		f.segment().trap = true
		f.die()
	default:
		return f.straight(in)
	}
	return nil
}

// skipDead consumes an instruction of dead code, in which skip blocks are open;
// it reports false for the one that ends it.
func skipDead(op wasm.Opcode, skip *int) bool {
	switch op {
	case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
		*skip++
	case wasm.OpElse:
		return *skip > 0
	case wasm.OpEnd:
		if *skip == 0 {
			return false
		}
		*skip--
	}
	return true
}

// spend adds fuel to the segment, cutting it where a check is due.
func (f *function) spend(fuel int) {
	if f.since.check+fuel > checkEvery {
		f.next(segmentCheck, f.segment().out)
	}
	f.segment().fuel += int32(fuel)
	f.since.add(fuel)
}

func (f *function) copy(in *wasm.Instr) {
	f.out = append(f.out, f.bytes[in.Start:in.End]...)
}

// push opens a label after depth more blocks were written.
func (f *function) push(l label, depth int) {
	f.depth += depth
	l.at, l.loop = f.depth, f.loopDepth
	f.labels = append(f.labels, l)
}

func (f *function) otherwise() {
	top := &f.labels[len(f.labels)-1]
	after := f.since
	if f.dead {
		after = since{}
	} else {
		f.flow.join(f.segment().out, top.to)
		top.runs += f.runs
	}
	f.runs = top.passed
	f.out.op(wasm.OpElse)
	f.since, top.since = top.since, after
	top.op = wasm.OpElse
	f.dead = false
	f.next(segmentPlain, top.from)
}

func (f *function) end() {
	top := &f.labels[len(f.labels)-1]
	if f.dead {
		f.since, f.runs = since{}, 0
	}
	f.labels = f.labels[:len(f.labels)-1]
	if len(f.labels) == 0 {
		f.finish(*top)
		return
	}
	join := top.targeted || f.dead
	f.runs += top.runs
	switch top.op {
	case wasm.OpIf, wasm.OpElse:
		join = true
		f.since.join(top.since)
		if top.op == wasm.OpIf {
			f.runs += top.passed
			f.flow.join(top.from, top.to)
		}
	case wasm.OpLoop:
		// Branches to a loop go to its start; only its own end leads on.
		join = f.dead
		top.to = f.flow.junction()
		f.loopDepth--
		f.runs = min(f.runs, top.passed)
	default:
		if top.targeted {
			f.since.join(top.since)
		}
	}
	f.out.op(wasm.OpEnd)
	f.depth--
	if top.op == wasm.OpLoop && top.kind == loopOutside {
		f.endLoop()
	}
	// Where paths join, a segment begins; otherwise the one before goes on.
	if join {
		if !f.dead {
			f.flow.join(f.segment().out, top.to)
		}
		f.next(segmentPlain, top.to)
	}
	f.dead = false
}

// finish ends the function.
func (f *function) finish(top label) {
	if !f.dead && !f.wrapped {
		f.checkReturn()
	}
	if !f.dead {
		f.flow.at(f.segment().out).exact = true
	}
	switch {
	case f.wrapped:
		f.out.op(wasm.OpEnd)
		f.since.join(top.since)
		if f.since.call > f.afterCall {
			f.next(segmentCheck, top.to)
		}
		f.get(&f.out)
		f.take(&f.out, -f.frame<<32)
	case !f.dead:
		f.leavePoint()
	}
	f.out.op(wasm.OpEnd)
}

// roundsGuess is how often a loop is taken to go round, and runsMost the largest
// guess of how often code runs in onceRuns calls of its function.
const (
	roundsGuess = 8
	onceRuns    = 1 << 16
	runsMost    = 1 << 40
)

// target marks a label as branched to, so many times, and returns its index in
// what is written.
func (f *function) target(x uint32, runs int64) (uint32, error) {
	if int(x) >= len(f.labels) {
		return 0, fmt.Errorf("label %d of %d", x, len(f.labels))
	}
	l := &f.labels[len(f.labels)-1-int(x)]
	l.targeted = true
	l.since.join(f.since)
	if l.op == wasm.OpLoop {
		f.flow.at(f.segment().out).exact = true
	} else {
		f.flow.join(f.segment().out, l.to)
		for range f.loopDepth - l.loop {
			runs /= roundsGuess
		}
		l.runs += runs
	}
	return uint32(f.depth - l.at), nil
}

func (f *function) branch(in *wasm.Instr) error {
	if in.Op == wasm.OpBrTable {
		f.headTable(in)
		return f.branchTable(in)
	}
	to := in.X
	if in.Op == wasm.OpBr {
		if x, ok := f.straighten(in); ok {
			f.spend(dispatchFuel)
			f.result.Straightened++
			to = x
		}
		if int(to) == len(f.labels)-1 {
			f.leave()
			return nil
		}
	}
	f.bound(to)
	taken := f.runs
	if in.Op == wasm.OpBrIf {
		taken /= 2
	}
	x, err := f.target(to, taken)
	if err != nil {
		return err
	}
	f.out.opU32(in.Op, x)
	if in.Op == wasm.OpBrIf {
		f.runs -= taken
		f.next(segmentPlain, f.segment().out)
		return nil
	}
	f.die()
	return nil
}

func (f *function) branchTable(in *wasm.Instr) error {
	for pass := range 2 {
		if pass == 1 {
			f.out.opU32(in.Op, in.Labels)
		}
		r := wasm.NewReader(f.bytes, in.LabelsAt, in.End)
		for range in.Labels + 1 {
			x, err := r.U32()
			if err == nil && pass == 0 {
				f.bound(x)
				continue
			}
			if err == nil {
				x, err = f.target(x, f.runs/int64(in.Labels+1))
			}
			if err != nil {
				return err
			}
			f.out.u32(x)
		}
	}
	f.die()
	return nil
}

// bound begins a segment with a check when a branch to label x would come to a
// loop that has none with more fuel burnt than the loop reckons with.
func (f *function) bound(x uint32) {
	if int(x) >= len(f.labels) {
		return
	}
	if l := &f.labels[len(f.labels)-1-int(x)]; l.op == wasm.OpLoop && f.since.check > l.bound {
		f.next(segmentCheck, f.segment().out)
	}
}

func (f *function) leave() {
	f.checkReturn()
	f.flow.at(f.segment().out).exact = true
	f.leavePoint()
	f.out.op(wasm.OpReturn)
	f.die()
}

// checkReturn begins a segment with a check where the function is about to return
// long after a call did: a deep stack that unwinds burns that much for each frame.
func (f *function) checkReturn() {
	if f.since.call > f.afterCall {
		f.next(segmentCheck, f.segment().out)
	}
}

// leavePoint pushes the state that is returned.
func (f *function) leavePoint() {
	f.get(&f.out)
	p := point{at: len(f.out), segment: f.current, kind: pointLeave}
	if s := f.segment(); f.payable(s) {
		s.late, p.kind = true, pointUseLeave
		s.free = f.frame != 0
	}
	f.points = append(f.points, p)
}

// die ends a segment after which the code is dead.
func (f *function) die() { f.dead, f.skip = true, 0 }
