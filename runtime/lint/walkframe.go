package lint

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// openFrame notes a block, loop or if.
func (w *walker) openFrame(op byte, params, results int32) {
	w.frames = grown(w.frames)
	f := &w.frames[len(w.frames)-1]
	*f = walkFrame{}
	f.op, f.params, f.results, f.height = op, params, results, int32(len(w.b.ops))-params
	f.startJoin, f.startBlock, f.cum, f.logStart = w.joins(), w.blk, w.cum, int32(len(w.logs))
	switch wasm.Opcode(op) {
	case wasm.OpBlock:
		w.f.blocks += 0.3
	case wasm.OpLoop:
		w.openLoop(f)
	case wasm.OpIf:
		f.ifDepth, f.ifK, f.ifChain = w.depth, w.known, w.chain
		w.depth++
		w.chain++
		w.newBlock(len(w.b.ops))
		w.f.instrs++
	}
}

// openLoop opens a loop as meter writes it: an outer loop that refills, within
// it the loop itself, which begins with a check.
func (w *walker) openLoop(f *walkFrame) {
	h := len(w.b.ops)
	for range 2 {
		w.depth++
		w.f.dom += float64(w.depth)
		w.newJoin(float64(w.chain+1), 2)
		w.newBlock(h)
	}
	f.header = w.joins() - 1
	w.newBlock(h)
	w.newBlock(h)
	w.depth++
	w.chain++
	w.newBlock(h)
	w.f.instrs += meterCallInstrs + 8 + w.mutables
	w.memSet = w.blk
	w.loops = append(w.loops, int32(len(w.frames)-1))
	for len(w.byDepth) <= len(w.loops) {
		w.byDepth = append(w.byDepth, 0)
	}
}

// elseFrame goes back to where the if was.
func (w *walker) elseFrame() {
	if !w.dead {
		w.branchTo(0)
	}
	f := &w.frames[len(w.frames)-1]
	f.hasElse, f.dead, w.dead = true, false, false
	w.depth, w.known, w.chain = f.ifDepth+1, f.ifK, f.ifChain+1
	w.cum = f.cum
	logs := w.logs[f.logStart:]
	if w.tired(len(logs)) {
		return
	}
	for i := len(logs) - 1; i >= 0; i-- {
		if u, v := &logs[i], &w.vars[logs[i].v]; u.block < v.block {
			v.join, v.block = u.join, u.block
		}
	}
	w.newBlock(int(f.height + f.params))
}

// closeFrame ends the innermost frame.
func (w *walker) closeFrame() {
	n := len(w.frames) - 1
	if w.frames[n].op == byte(wasm.OpLoop) {
		w.closeLoop()
	} else {
		w.closeBlock()
	}
	if m := len(w.frames); m > 0 {
		w.dead = w.frames[m-1].dead
	}
}

func (w *walker) closeLoop() {
	f := &w.frames[len(w.frames)-1]
	if !f.dead {
		f.preds++
	}
	sets := 0
	w.tired(int(f.carriedCount))
	for e := f.carried; e != 0; e = w.entries[e].next {
		v := &w.vars[w.entries[e].v]
		w.pass(v)
		v.join, v.block = w.joins(), w.blk
		if v.set > f.startBlock {
			sets++
		}
	}
	u, back := float64(f.carriedCount+f.params), float64(f.preds)
	w.f.walk += u * (f.chain + 1)
	w.f.phi += u*(back+3) + float64(sets+1+int(f.params))*(back+1)*12
	w.byDepth[len(w.loops)] += u * u * (back + 3)
	w.f.preds2 += back * back
	w.cum += 2 * (f.carriedCount + f.height)
	w.loops = w.loops[:len(w.loops)-1]
	w.frames = w.frames[:len(w.frames)-1]
	parent := &w.frames[len(w.frames)-1]
	if f.dead {
		parent.dead = true
	} else {
		w.newBlock(int(f.height + f.results))
		w.depth++
		w.chain++
		w.f.dom += float64(w.depth)
	}
	w.keep(f, parent, false)
}

// keep leaves those undo entries of f to its parent that concern it, or those of
// them that tell of a new value.
func (w *walker) keep(f, parent *walkFrame, setsOnly bool) {
	logs := w.logs[f.logStart:]
	if len(logs) == 0 || w.tired(len(logs)) {
		return
	}
	w.logs = w.logs[:f.logStart]
	for i := range logs {
		if u := logs[i]; u.block < parent.startBlock && (u.set || !setsOnly) {
			w.logs = append(w.logs, u)
		}
	}
}

func (w *walker) closeBlock() {
	n := len(w.frames) - 1
	f := &w.frames[n]
	if !f.dead {
		w.branchTo(0)
		f.falls = true
	}
	if f.op == byte(wasm.OpIf) && !f.hasElse {
		d, k, c := w.depth, w.known, w.chain
		w.depth, w.known, w.chain = f.ifDepth+1, f.ifK, f.ifChain+1
		w.newBlock(int(f.height + f.params))
		w.branchTo(0)
		w.depth, w.known, w.chain = d, k, c
	}
	w.f.preds2 += float64(f.preds) * float64(f.preds)
	if n == 0 {
		w.frames = w.frames[:0]
		return
	}
	parent := &w.frames[n-1]
	w.frames = w.frames[:n]
	if f.preds == 0 {
		parent.dead = true
		w.keep(f, parent, false)
		return
	}
	w.depth, w.known = f.minDepth+1, f.minK
	if f.preds > 1 {
		if f.op == byte(wasm.OpIf) {
			w.cum = f.cum
		}
		w.newJoin(f.chain, f.preds)
		w.restore(f)
		for i := f.logStart; i < int32(len(w.logs)); i++ {
			if w.logs[i].set {
				w.sets[len(w.sets)-1]++
			}
		}
		w.keep(f, parent, true)
	} else {
		w.chain = int32(min(f.chain, 1<<30))
		if !f.falls {
			w.restore(f)
		}
		w.keep(f, parent, false)
	}
	w.newBlock(int(f.height + f.results))
}

// restore takes variables back to their state at the first branch to f.
func (w *walker) restore(f *walkFrame) {
	logs := w.logs[f.logStart:]
	if w.tired(len(logs)) {
		return
	}
	for i := len(logs) - 1; i >= 0; i-- {
		u := &logs[i]
		v := &w.vars[u.v]
		if u.block < v.block {
			v.join, v.block = max(u.join, w.carriedBy(v)), w.blk-max(0, f.sourceBlock-u.block)
		}
	}
}

// carriedBy is the header of the innermost open loop when that carries v.
func (w *walker) carriedBy(v *variable) int32 {
	if k := len(w.loops); k > 0 && v.header == w.frames[w.loops[k-1]].header {
		return v.header
	}
	return 0
}
