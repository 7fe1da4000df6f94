package lint

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// entriesMax bounds the memory of the estimate: 8 bytes each.
const entriesMax = 8 << 20

// variable is what the walker knows of a local.
type variable struct {
	join    int32 // join at its last mention
	block   int32 // block of its last mention
	set     int32 // block that set it last
	depth   int32 // dominator depth there
	far     int32 // greatest distance of a use from there
	passed  int32 // joins passed since
	version int32 // how often it was set
	seen    int32 // version, from 1, that was used as an address
	header  int32 // innermost loop that carries it
	counted int32 // last join that was counted for it
}

// undo restores a variable at the end of a block, where several paths meet.
type undo struct {
	v, join, block int32
	set            bool
}

// entry is a variable that a loop carries, in the list of that loop.
type entry struct{ v, next int32 }

// walkFrame is a block, loop, if or the function.
type walkFrame struct {
	op              byte
	hasElse, dead   bool
	falls           bool // its end was reached
	height          int32
	params, results int32
	preds           int32 // branches to its label
	minDepth, minK  int32
	chain           float64 // sum of the chains of the branches' sources
	startJoin       int32
	startBlock      int32
	ifDepth, ifK    int32
	ifChain         int32
	carried         int32 // list of variables that the loop carries, 0 is empty
	carriedCount    int32
	logStart        int32
	cum             int32
	header          int32 // join of a loop's header
	sourceBlock     int32 // of the first branch to the label
}

// walker follows a function in the order of its instructions.
type walker struct {
	b *body
	f features

	frames    []walkFrame
	vars      []variable
	logs      []undo
	entries   []entry
	loops     []int32 // open loops, as indexes of frames
	byDepth   []float64
	sums      []float64 // prefix sums of the walking costs of joins
	diff      []int32   // changes of the number of block parameters from join to join
	preds     []int32   // predecessors of each join
	sets      []int32   // locals set before each join, within its block
	depth     int32     // in the dominator tree
	chain     int32     // blocks with one predecessor since the last join
	known     int32     // addresses known to be in bounds
	blk       int32
	cum       int32
	memSet    int32
	prev      int // the local that the previous instruction got, or -1
	deadDepth int
	dead      bool
	mutables  float64
	steps     float64 // of the estimate itself
	limit     float64 // of steps
	full      bool    // the estimate was given up: its memory is used up
	crew      int     // how many share that memory
}

func (w *walker) reset(b *body, locals int, mutables float64) {
	*w = walker{
		b: b, frames: append(w.frames[:0], walkFrame{}), vars: w.vars[:0], logs: w.logs[:0], entries: append(w.entries[:0], entry{}),
		loops: w.loops[:0], byDepth: append(w.byDepth[:0], 0), sums: append(w.sums[:0], 0), diff: append(w.diff[:0], 0, 0),
		preds: append(w.preds[:0], 0), sets: append(w.sets[:0], 0), prev: -1, mutables: mutables, blk: 1, crew: w.crew,
	}
	w.frames[0].results = int32(len(b.ctrl[0].results))
	if cap(w.vars) < locals {
		w.vars = make([]variable, locals, locals*2)
		return
	}
	w.vars = w.vars[:locals]
	clear(w.vars)
}

// tired reports whether the estimate has done more than the budget allows.
func (w *walker) tired(steps int) bool {
	w.steps += float64(steps)
	if most := entriesMax / max(w.crew, 1); w.steps > w.limit || len(w.entries) > most || len(w.logs) > most {
		w.full = true
	}
	return w.full
}

func (w *walker) newBlock(height int) {
	w.blk++
	h := float64(height)
	w.f.blocks++
	w.f.live += h
	w.f.spill += h
	w.f.dom += float64(w.depth)
	w.f.loops += float64(w.cum)
	w.f.bounds += float64(w.known)
}

func (w *walker) newJoin(chain float64, preds int32) {
	w.sums = append(w.sums, w.sums[len(w.sums)-1]+chain)
	w.diff = append(w.diff, 0)
	w.preds = append(w.preds, preds)
	w.sets = append(w.sets, 0)
	w.f.phi += meterJoin * float64(preds)
	w.chain = 0
}

func (w *walker) joins() int32 { return int32(len(w.preds) - 1) }

// pass books the joins between the last mention of v and here.
func (w *walker) pass(v *variable) {
	from, to := max(v.join, v.counted), w.joins()
	v.counted = max(v.counted, to)
	if from < to {
		w.f.walk += 2 * (w.sums[to] - w.sums[from])
		w.diff[from+1]++
		if int(to)+1 < len(w.diff) {
			w.diff[to+1]--
		}
		v.passed += to - from
	}
	w.f.live += float64(w.blk - v.block)
}

func (w *walker) log(x int32, v *variable, set bool) {
	n := len(w.frames) - 1
	if n == 0 || v.block >= w.frames[n].startBlock {
		return
	}
	u := undo{x, v.join, v.block, set}
	if !set {
		u.join, u.block = w.frames[n].startJoin, w.frames[n].startBlock
	}
	w.logs = append(w.logs, u)
}

// get notes the use of local x.
func (w *walker) get(x int) {
	w.prev = x
	if w.dead {
		w.f.instrs += 0.05
		return
	}
	w.f.instrs++
	if w.full {
		return
	}
	v := &w.vars[x]
	w.f.walk += float64(min(w.chain, w.blk-v.set) + 1)
	for i := len(w.loops) - 1; i >= 0; i-- {
		f := &w.frames[w.loops[i]]
		if v.join >= f.header || w.tired(1) {
			break
		}
		w.entries = append(w.entries, entry{int32(x), f.carried})
		f.carried = int32(len(w.entries) - 1)
		f.carriedCount++
		v.header = max(v.header, f.header)
	}
	if v.block == w.blk && v.join == w.joins() && v.counted >= v.join {
		w.f.alias += float64(v.passed)
	} else {
		w.log(int32(x), v, false)
		w.pass(v)
		w.f.alias += float64(v.passed)
		v.join, v.block = w.joins(), w.blk
	}
	if d := w.depth - v.depth; d > v.far {
		w.f.spill += float64(d - v.far)
		v.far = d
	}
}

// set notes that local x gets a new value.
func (w *walker) set(x int) {
	w.prev = -1
	if w.dead {
		w.f.instrs += 0.05
		return
	}
	w.f.instrs++
	v := &w.vars[x]
	w.log(int32(x), v, true)
	v.join, v.block, v.set, v.depth, v.far, v.passed = w.joins(), w.blk, w.blk, w.depth, 0, 0
	v.version++
}

// branchTo notes a branch to label x.
func (w *walker) branchTo(x int) {
	f := &w.frames[len(w.frames)-1-x]
	w.f.dom += float64(w.depth)
	values := f.results
	if f.op == byte(wasm.OpLoop) {
		values = f.params
	} else {
		if f.preds == 0 {
			f.sourceBlock, f.minDepth, f.minK = w.blk, w.depth, w.known
		}
		f.minDepth, f.minK = min(f.minDepth, w.depth), min(f.minK, w.known)
	}
	f.preds++
	f.chain += float64(w.chain + 1)
	w.f.instrs += float64(values)
	w.f.phi += float64(values)
}

// sum ends the function: it counts the block parameters of all joins.
func (w *walker) sum() features {
	f := w.f
	deepest := len(w.byDepth) - 1
	for d, u := range w.byDepth {
		f.phi2 += u * float64(2*(deepest-d)+3)
	}
	nesting := float64(min(2*deepest+1, 6))
	params := 0.0
	for j := 1; j < len(w.preds); j++ {
		params += float64(w.diff[j])
		if params > 0 {
			x := params * float64(w.preds[j])
			f.phi += x + min(params, float64(w.sets[j]))*float64(w.preds[j])*4
			f.phi2 += x * params * nesting
		}
	}
	return f
}
