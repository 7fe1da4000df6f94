package lint

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// other checks the instructions that the loop has no fast path for.
func (c *checker) other(b *body, at int) error {
	if err := c.decode(b, at); err != nil {
		return err
	}
	in := &b.in
	s := &signatures[in.Op]
	if in.Op >= 0x200 {
		c.report.SIMD = true
	}
	ok := true
	switch in.Op {
	case wasm.OpUnreachable:
		c.cost.stop()
		b.unreachable()
	case wasm.OpNop:
	case wasm.OpElse:
		return c.elseBlock(b, at)
	case wasm.OpBrTable:
		return c.branchTable(b, at)
	case wasm.OpReturn:
		ok = b.popAll(b.ctrl[0].results)
		c.cost.branch(len(b.ctrl) - 1)
		c.cost.stop()
		b.unreachable()
	case wasm.OpCallIndirect:
		return c.callIndirect(b, at)
	case wasm.OpDrop:
		_, ok = b.popAny()
	case wasm.OpSelect, wasm.OpSelectTyped:
		ok = b.choose(in)
	case wasm.OpRefNull:
		b.push(byte(in.X))
	case wasm.OpRefIsNull:
		var t byte
		t, ok = b.popAny()
		ok = ok && (t == unknown || wasm.ValType(t).IsRef())
		b.push(byte(wasm.I32))
	case wasm.OpRefFunc:
		if uint64(in.X) >= uint64(len(c.funcs)) {
			return c.noIndex(b, at, "function", in.X, len(c.funcs))
		}
		if !c.isDeclared(in.X) {
			return invalid(at, "ref.func names function %d, which no export, element or global names", in.X)
		}
		b.push(byte(wasm.FuncRef))
	case wasm.OpTableGet, wasm.OpTableSet, wasm.OpTableGrow, wasm.OpTableFill, wasm.OpTableSize,
		wasm.OpTableInit, wasm.OpTableCopy, wasm.OpElemDrop:
		return c.table(b, at)
	default:
		if err := c.memoryOp(b, at); err != nil {
			return err
		}
		ok = b.applySlowly(s)
	}
	c.cost.plain(s)
	if !ok {
		return c.mismatch(b, at)
	}
	return nil
}

// choose checks both kinds of select.
func (b *body) choose(in *wasm.Instr) bool {
	if !b.pop(byte(wasm.I32)) {
		return false
	}
	if in.Op == wasm.OpSelectTyped {
		t := byte(in.X)
		for range 2 {
			if !b.pop(t) {
				return false
			}
		}
		b.push(t)
		return true
	}
	t1, ok1 := b.popAny()
	t2, ok2 := b.popAny()
	if !ok1 || !ok2 || wasm.ValType(t1).IsRef() || wasm.ValType(t2).IsRef() {
		return false
	}
	if t1 == unknown {
		t1 = t2
	}
	b.push(t1)
	return t1 == t2 || t2 == unknown
}

// memoryOp checks what a memory or vector instruction names.
func (c *checker) memoryOp(b *body, at int) error {
	in := &b.in
	switch in.Info.Imm {
	case wasm.ImmMemArg, wasm.ImmMemArgLane:
		if in.X > uint32(signatures[in.Op].align) {
			return c.misaligned(b, at, in.X)
		}
		c.cost.memory()
	case wasm.ImmMemory, wasm.ImmMemory2:
		c.cost.forget()
	case wasm.ImmMemoryInit, wasm.ImmData:
		if !c.hasDataCount {
			return invalid(at, "%s needs a data count section", in.Op)
		}
		if in.X >= c.dataCount {
			return c.noIndex(b, at, "data segment", in.X, int(c.dataCount))
		}
		if in.Info.Imm == wasm.ImmData {
			return nil
		}
	default:
		return nil
	}
	if !c.memory {
		return c.noIndex(b, at, "memory", 0, 0)
	}
	return nil
}

// table checks the table instructions.
func (c *checker) table(b *body, at int) error {
	in := &b.in
	i32 := byte(wasm.I32)
	c.cost.plain(&signatures[in.Op])
	table, elem := in.X, in.X
	if in.Op == wasm.OpTableInit {
		table = in.Y
	}
	if in.Op != wasm.OpElemDrop && uint64(table) >= uint64(len(c.tables)) {
		return c.noIndex(b, at, "table", table, len(c.tables))
	}
	if (in.Op == wasm.OpTableInit || in.Op == wasm.OpElemDrop) && uint64(elem) >= uint64(len(c.elems)) {
		return c.noIndex(b, at, "element segment", elem, len(c.elems))
	}
	if in.Op == wasm.OpTableCopy && uint64(in.Y) >= uint64(len(c.tables)) {
		return c.noIndex(b, at, "table", in.Y, len(c.tables))
	}
	ok := true
	switch in.Op {
	case wasm.OpTableGet:
		ok = b.pop(i32)
		b.push(byte(c.tables[table].elem))
	case wasm.OpTableSet:
		ok = b.pop(byte(c.tables[table].elem)) && b.pop(i32)
	case wasm.OpTableSize:
		b.push(i32)
	case wasm.OpTableGrow:
		ok = b.pop(i32) && b.pop(byte(c.tables[table].elem))
		b.push(i32)
	case wasm.OpTableFill:
		ok = b.pop(i32) && b.pop(byte(c.tables[table].elem)) && b.pop(i32)
	case wasm.OpTableInit:
		ok = c.elems[elem] == c.tables[table].elem && b.pop(i32) && b.pop(i32) && b.pop(i32)
	case wasm.OpTableCopy:
		ok = c.tables[in.X].elem == c.tables[in.Y].elem && b.pop(i32) && b.pop(i32) && b.pop(i32)
	}
	if !ok {
		return c.mismatch(b, at)
	}
	return nil
}
