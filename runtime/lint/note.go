package lint

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// plain and the methods below take note of one instruction each.
func (k *cost) plain(s *signature) {
	k.prev = -1
	if k.dead {
		k.f.instrs += 0.05
		return
	}
	k.f.instrs += float64(1 + s.slow)
}

func (k *cost) memory() {
	prev := k.prev
	k.prev = -1
	if k.dead {
		k.f.instrs += 0.05
		return
	}
	k.f.instrs += 6
	k.f.walk += float64(min(k.chain, k.blk-k.memSet) + 1)
	k.memSet = k.blk
	if prev >= 0 {
		v := &k.vars[prev]
		if v.seen == v.version+1 {
			return
		}
		v.seen = v.version + 1
	}
	k.known++
}

func (k *cost) global() {
	k.prev = -1
	if !k.dead {
		k.f.instrs++
		k.f.walk += float64(k.chain)
	}
}

// forget notes that memory may have moved.
func (k *cost) forget() { k.memSet = k.blk }

func (k *cost) call(t *funcType, indirect bool) {
	k.prev = -1
	moved := float64(len(t.params) + len(t.results))
	if k.dead {
		k.move(moved)
		return
	}
	k.f.instrs += 5 + meterCallInstrs + moved*4 + k.mutables
	if indirect {
		k.f.instrs += 10
	}
	k.memSet = k.blk
	k.move(0)
}

// move books values that are moved. What is never reached is not compiled, but
// it is validated value by value.
func (k *cost) move(values float64) {
	if k.f.instrs += values; k.f.instrs > k.instrsMax {
		k.full = true
	}
}

func (k *cost) open(op wasm.Opcode, params, results int) {
	k.prev = -1
	k.f.instrs += 0.05
	if k.dead {
		k.deadDepth++
		return
	}
	k.f.instrs++
	k.openFrame(byte(op), int32(params), int32(results))
}

func (k *cost) els() {
	k.prev = -1
	if k.deadDepth == 0 {
		k.elseFrame()
	}
}

func (k *cost) end() {
	k.prev = -1
	if k.deadDepth > 0 {
		k.deadDepth--
		return
	}
	k.closeFrame()
}

// stop notes that what follows is never reached.
func (k *cost) stop() {
	k.prev = -1
	if !k.dead {
		k.f.instrs++
		k.frames[len(k.frames)-1].dead = true
		k.dead = true
	}
}

func (k *cost) branch(x int) {
	if !k.dead {
		k.branchTo(x)
	}
}

func (k *cost) branchIf(x int) {
	k.prev = -1
	if k.dead {
		return
	}
	k.f.instrs++
	k.branchTo(x)
	k.newBlock(len(k.b.ops))
	k.depth++
	k.chain++
	k.newBlock(len(k.b.ops))
	k.f.dom += float64(k.depth)
}

func (k *cost) tableBranch(x, arity int) {
	if k.dead {
		k.move(float64(arity))
		return
	}
	k.move(0)
	k.chain++
	k.depth++
	k.branchTo(x)
	k.newBlock(len(k.b.ops))
	k.f.dom += float64(k.depth)
	k.chain--
	k.depth--
}
