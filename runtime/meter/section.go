package meter

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// assemble puts the result together, section by section, and its skeleton
// beside it: they differ in code and data only.
func (w *rewriter) assemble(body, empty code) error {
	var out code
	out = append(out, wasm.Magic...)
	out.section(wasm.SectionType, w.typeSection())
	out.section(wasm.SectionImport, w.importSection())
	out.section(wasm.SectionFunction, w.functionSection())
	w.copySection(&out, wasm.SectionTable)
	w.copySection(&out, wasm.SectionMemory)
	globals, err := w.globalSection()
	if err != nil {
		return err
	}
	out.section(wasm.SectionGlobal, globals)
	exports, err := w.exportSection()
	if err != nil {
		return err
	}
	out.section(wasm.SectionExport, exports)
	elements, err := w.elementSection()
	if err != nil {
		return err
	}
	if len(elements) > 0 {
		out.section(wasm.SectionElement, elements)
	}
	joined, err := w.dataSection()
	if err != nil {
		return err
	}
	names := w.nameSection()

	skeleton := append(code(nil), out...)
	w.copySection(&out, wasm.SectionDataCount)
	if len(body) > 0 {
		out.section(wasm.SectionCode, body)
		skeleton.section(wasm.SectionCode, empty)
	}
	w.copySection(&out, wasm.SectionData)
	if len(joined) > 0 {
		skeleton.section(wasm.SectionData, joined)
	}
	out.section(wasm.SectionCustom, names)
	skeleton.section(wasm.SectionCustom, names)
	w.result.Module, w.result.Skeleton = out, skeleton
	return nil
}

func (w *rewriter) copySection(out *code, id wasm.SectionID) {
	if s := w.sections[id]; s.present {
		out.section(id, w.bytes[s.from:s.to])
	}
}

// extend returns the contents of a section with added more items at its end.
func (w *rewriter) extend(id wasm.SectionID, added uint32, items []byte) code {
	r, n, _ := w.reader(id)
	var c code
	c.u32(n + added)
	if s := w.sections[id]; s.present {
		c = append(c, w.bytes[r.Offset():s.to]...)
	}
	return append(c, items...)
}

func (w *rewriter) typeSection() code {
	return w.extend(wasm.SectionType, w.typeCount, w.types)
}

func (w *rewriter) importSection() code {
	var c code
	for _, f := range []struct {
		name string
		typ  uint32
	}{{RefillFunc, w.helpers.typeVoid}, {TableGrowFunc, w.helpers.typeTableGrow}} {
		c.name(ImportModule)
		c.name(f.name)
		c.byte(externFunc)
		c.u32(f.typ)
	}
	return w.extend(wasm.SectionImport, importCount, c)
}

func (w *rewriter) functionSection() code {
	var c code
	for _, h := range w.helpers.list {
		c.u32(w.helpers.typeOf(h))
	}
	return w.extend(wasm.SectionFunction, w.helpers.count(), c)
}

func (w *rewriter) globalSection() (code, error) {
	r, n, err := w.reader(wasm.SectionGlobal)
	if err != nil {
		return nil, err
	}
	var c code
	c.u32(n + 1)
	for range n {
		head, err := r.Bytes(2)
		if err != nil {
			return nil, err
		}
		c = append(c, head...)
		if err := w.constExpr(&c, &r); err != nil {
			return nil, err
		}
	}
	c.byte(byte(wasm.I64), 1)
	c.i64Const(0)
	c.op(wasm.OpEnd)
	return c, nil
}

// constExpr copies a constant expression and shifts the functions in it.
func (w *rewriter) constExpr(c *code, r *wasm.Reader) error {
	var in wasm.Instr
	for {
		if err := r.Next(&in); err != nil {
			return err
		}
		if in.Op == wasm.OpRefFunc {
			c.opU32(in.Op, w.shift(in.X))
			continue
		}
		*c = append(*c, w.bytes[in.Start:in.End]...)
		if in.Op == wasm.OpEnd {
			return nil
		}
	}
}

func (w *rewriter) exportSection() (code, error) {
	r, n, err := w.reader(wasm.SectionExport)
	if err != nil {
		return nil, err
	}
	var c code
	added := uint32(1)
	if w.hasStart {
		added++
	}
	c.u32(n + added)
	for range n {
		from := r.Offset()
		if _, err := r.Name(); err != nil {
			return nil, err
		}
		kind, err := r.Byte()
		if err != nil {
			return nil, err
		}
		c = append(c, w.bytes[from:r.Offset()]...)
		x, err := r.U32()
		if err != nil {
			return nil, err
		}
		if kind == externFunc {
			x = w.shift(x)
		}
		c.u32(x)
	}
	c.name(StateExport)
	c.byte(externGlobal)
	c.u32(w.state)
	if w.hasStart {
		c.name(StartExport)
		c.byte(externFunc)
		c.u32(w.shift(w.start))
	}
	return c, nil
}

// elementSection copies the element segments, in the eight forms that the
// Core Specification 2.0 gives them (5.5.12), and shifts their functions.
func (w *rewriter) elementSection() (code, error) {
	r, n, err := w.reader(wasm.SectionElement)
	if err != nil || n == 0 {
		return nil, err
	}
	var c code
	c.u32(n)
	for range n {
		if err := w.element(&c, &r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (w *rewriter) element(c *code, r *wasm.Reader) error {
	form, err := r.U32()
	if err != nil {
		return err
	}
	if form > 7 {
		return fmt.Errorf("element segment of form %d", form)
	}
	c.u32(form)
	active, explicit, expressions := form&1 == 0, form&2 != 0, form&4 != 0
	if active {
		if explicit {
			table, err := r.U32()
			if err != nil {
				return err
			}
			c.u32(table)
		}
		if err := w.constExpr(c, r); err != nil {
			return err
		}
	}
	if !active || explicit {
		kind, err := r.Byte()
		if err != nil {
			return err
		}
		c.byte(kind)
	}
	n, err := r.U32()
	if err != nil {
		return err
	}
	c.u32(n)
	w.elements += uint64(n)
	for range n {
		if expressions {
			err = w.constExpr(c, r)
		} else {
			var f uint32
			f, err = r.U32()
			c.u32(w.shift(f))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
