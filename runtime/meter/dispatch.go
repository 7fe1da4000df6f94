package meter

import (
	"encoding/binary"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// dispatch is what is known of a loop that begins with a jump through a table, by
// the number in a local. Compilers of languages whose functions can be left and
// entered again in their middle write every jump of a function as one through it:
//
//	loop L
//	  block B1
//	    block B0
//	      local.get P
//	      br_table B0 B1 …
//	    end B0
//	    …
//	    P = 1, br L
//
// Where P is a constant and its block is still open, the jump is written as a
// branch to that block. It is charged as the way that it saves.
type dispatch struct {
	local uint32
	// from and to are the range of the table in targets, the default last.
	from, to int
}

// straightenLocals is the most parameters and locals of a function whose jumps are
// straightened. Where more than the engine has registers for are alive, it moves
// them about in memory wherever ways join, which takes longer than the table.
const straightenLocals = 12

// dispatchFuel is what a jump through the header burns behind its branch.
var dispatchFuel = int(costs[wasm.OpLocalGet]) + int(costs[wasm.OpBrTable])

// headLoop notes that a loop has been opened whose header may dispatch. What a
// branch to a loop with parameters carries would be lost.
func (f *function) headLoop(in *wasm.Instr) {
	if in.BlockKind == wasm.BlockIndex {
		return
	}
	f.header, f.headerAt = len(f.labels)-1, in.End
}

// headBlock returns 1 + the loop in whose header a block is opened, or 0.
func (f *function) headBlock(in *wasm.Instr) int {
	if in.Start != f.headerAt || in.BlockKind != wasm.BlockVoid {
		return 0
	}
	f.headerAt = in.End
	return f.header + 1
}

// headTable notes a loop that dispatches, at its table.
func (f *function) headTable(in *wasm.Instr) {
	if !f.straightens || f.ranFrom != f.headerAt || f.ranTo != in.Start {
		return
	}
	r := wasm.NewReader(f.bytes, f.ranFrom, f.ranTo)
	var get wasm.Instr
	if r.Next(&get) != nil || get.Op != wasm.OpLocalGet || r.Len() > 0 {
		return
	}
	d := dispatch{local: get.X, from: len(f.targets)}
	r = wasm.NewReader(f.bytes, in.LabelsAt, in.End)
	for range in.Labels + 1 {
		x, err := r.U32()
		if err != nil || int(x) >= len(f.labels) {
			return
		}
		f.targets = append(f.targets, uint32(len(f.labels)-1-int(x)))
	}
	d.to = len(f.targets)
	f.labels[f.header].dispatch = d
}

// straighten returns the label that a branch comes to by way of a loop that
// dispatches, if it is known and can be branched to from here.
func (f *function) straighten(in *wasm.Instr) (label uint32, ok bool) {
	if int64(in.X) >= int64(len(f.labels)) || f.ranTo != in.Start {
		return 0, false
	}
	loop := len(f.labels) - 1 - int(in.X)
	d := f.labels[loop].dispatch
	if d.to == 0 {
		return 0, false
	}
	n, ok := f.constant(d.local)
	if !ok {
		return 0, false
	}
	to := int(f.targets[d.from+int(min(uint64(n), uint64(d.to-d.from-1)))])
	if to >= loop && (to >= len(f.labels) || f.labels[to].header != loop+1) {
		return 0, false
	}
	return uint32(len(f.labels) - 1 - to), true
}

// constant returns the number that the last two of the plain instructions that
// were copied last set a local to.
func (f *function) constant(local uint32) (n uint32, ok bool) {
	last, before := f.ranFrom, f.ranFrom
	for at := f.ranFrom; at < f.ranTo; {
		before, last = last, at
		op := &plainOps[f.bytes[at]]
		at += op.length(op.end(binary.LittleEndian.Uint64(f.bytes[at:])))
	}
	r := wasm.NewReader(f.bytes, before, f.ranTo)
	var in wasm.Instr
	if r.Next(&in) != nil || in.Op != wasm.OpI32Const {
		return 0, false
	}
	n = uint32(in.Value)
	if r.Next(&in) != nil || in.Op != wasm.OpLocalSet || in.X != local || r.Len() > 0 {
		return 0, false
	}
	return n, true
}
