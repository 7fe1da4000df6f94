package lint

import (
	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// constant reads a constant expression that gives one value of type want.
func (c *checker) constant(r *wasm.Reader, want wasm.ValType) error {
	at := r.Offset()
	stack := c.body.ops[:0]
	in := &c.body.in
	for {
		if err := c.next(r, in); err != nil {
			return err
		}
		switch in.Op {
		case wasm.OpEnd:
			c.body.ops = stack
			if len(stack) != 1 || stack[0] != byte(want) {
				return invalid(at, "a constant expression does not give one %s", want)
			}
			return nil
		case wasm.OpI32Const, wasm.OpI64Const, wasm.OpF32Const, wasm.OpF64Const, wasm.OpV128Const:
			stack = append(stack, byte(in.Info.Results[0]))
		case wasm.OpI32Add, wasm.OpI32Sub, wasm.OpI32Mul, wasm.OpI64Add, wasm.OpI64Sub, wasm.OpI64Mul:
			t, n := byte(in.Info.Params[0]), len(stack)
			if n < 2 || stack[n-1] != t || stack[n-2] != t {
				return invalid(in.Start, "%s lacks its operands in a constant expression", in.Op)
			}
			stack = stack[:n-1]
		case wasm.OpGlobalGet:
			if uint64(in.X) >= uint64(c.globalImports) || in.X >= uint32(len(c.globals)) {
				return invalid(in.Start, "a constant expression names global %d, which is not an imported one", in.X)
			}
			if c.globals[in.X].mutable {
				return invalid(in.Start, "a constant expression names global %d, which changes", in.X)
			}
			c.cost.constant(c.report.Imports)
			stack = append(stack, byte(c.globals[in.X].typ))
		case wasm.OpRefNull:
			stack = append(stack, byte(in.X))
		case wasm.OpRefFunc:
			if uint64(in.X) >= uint64(len(c.funcs)) {
				return invalid(in.Start, "function %d is named, there are %d", in.X, len(c.funcs))
			}
			c.declare(in.X)
			c.cost.constant(c.report.Imports)
			stack = append(stack, byte(wasm.FuncRef))
		default:
			return invalid(in.Start, "%s is not allowed in a constant expression", in.Op)
		}
		if uint64(len(stack)) > uint64(c.limits.Operands) {
			return over(in.Start, "operands", uint64(len(stack)), uint64(c.limits.Operands), "a constant expression stacks %d operands")
		}
	}
}

func (c *checker) readElements(r *wasm.Reader) error {
	n, err := c.count(r, 3, "element_segments", c.limits.ElementSegments, "element segments")
	if err != nil {
		return err
	}
	for range n {
		if err := c.readElement(r); err != nil {
			return err
		}
	}
	c.report.ElementSegments = int(n)
	return nil
}

// readElement reads a segment. Of its flags, bit 0 says that it is not active,
// bit 1 that it names a table or, when not active, that it is declarative, bit
// 2 that its elements are expressions.
func (c *checker) readElement(r *wasm.Reader) error {
	at := r.Offset()
	flags, err := r.U32()
	if err != nil {
		return err
	}
	if flags > 7 {
		return invalid(at, "the flags of an element segment are %d", flags)
	}
	table := uint32(0)
	if flags&1 == 0 {
		if flags&2 != 0 {
			if table, err = r.U32(); err != nil {
				return err
			}
		}
		if uint64(table) >= uint64(len(c.tables)) {
			return invalid(at, "table %d is named, there are %d", table, len(c.tables))
		}
		if err := c.constant(r, wasm.I32); err != nil {
			return err
		}
	}
	elem := wasm.FuncRef
	if flags&3 != 0 {
		if elem, err = elementType(r, flags&4 != 0); err != nil {
			return err
		}
	}
	if flags&1 == 0 && c.tables[table].elem != elem {
		return invalid(at, "a segment of %s is to fill a table of %s", elem, c.tables[table].elem)
	}
	c.elems = append(c.elems, elem)
	return c.readElems(r, elem, flags&4 != 0)
}

// elementType reads what a segment holds: a reference type before expressions,
// else a kind, of which there is only one.
func elementType(r *wasm.Reader, exprs bool) (wasm.ValType, error) {
	if exprs {
		return refType(r)
	}
	at := r.Offset()
	kind, err := r.Byte()
	if err == nil && kind != 0 {
		err = invalid(at, "%#02x is not a kind of element", kind)
	}
	return wasm.FuncRef, err
}

func (c *checker) readElems(r *wasm.Reader, elem wasm.ValType, exprs bool) error {
	size := 1
	if exprs {
		size = 2
	}
	at := r.Offset()
	n, err := c.count(r, size, "elements", c.limits.Elements, "elements")
	if err != nil {
		return err
	}
	c.report.Elements += int(n)
	if err := c.atMost(at, "elements", uint64(c.report.Elements), uint64(c.limits.Elements), "the segments hold %d elements"); err != nil {
		return err
	}
	for range n {
		if exprs {
			if err := c.constant(r, elem); err != nil {
				return err
			}
			continue
		}
		at := r.Offset()
		x, err := r.U32()
		if err != nil {
			return err
		}
		if uint64(x) >= uint64(len(c.funcs)) {
			return invalid(at, "function %d is named, there are %d", x, len(c.funcs))
		}
		c.declare(x)
	}
	return nil
}

func (c *checker) readDataCount(r *wasm.Reader) error {
	at := r.Offset()
	n, err := r.U32()
	if err != nil {
		return err
	}
	c.dataCount, c.hasDataCount = n, true
	return c.atMost(at, "data_segments", uint64(n), uint64(c.limits.DataSegments), "%d data segments are claimed")
}

func (c *checker) readDatas(r *wasm.Reader) error {
	n, err := c.count(r, 2, "data_segments", c.limits.DataSegments, "data segments")
	if err != nil {
		return err
	}
	c.datas = n
	for range n {
		if err := c.readData(r); err != nil {
			return err
		}
	}
	c.report.DataSegments = int(n)
	return nil
}

func (c *checker) readData(r *wasm.Reader) error {
	at := r.Offset()
	flags, err := r.U32()
	if err != nil {
		return err
	}
	if flags > 2 {
		return invalid(at, "the flags of a data segment are %d", flags)
	}
	if flags == 2 {
		x, err := r.U32()
		if err != nil {
			return err
		}
		if x != 0 {
			return feature(at, featMultiMemory, "a data segment for a second memory")
		}
	}
	if flags != 1 {
		if !c.memory {
			return invalid(at, "a data segment is to fill a memory, but there is none")
		}
		if err := c.constant(r, wasm.I32); err != nil {
			return err
		}
	}
	n, err := r.U32()
	if err != nil {
		return err
	}
	if _, err := r.Bytes(n); err != nil {
		return err
	}
	c.report.DataBytes += int(n)
	return nil
}
