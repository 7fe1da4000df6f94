package meter

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// headersMax bounds the ids and sizes of sections, the meter's imports and its global.
const headersMax = 1 << 10

// assemble puts the result together, section by section, and its skeleton
// beside it: they differ in code and data only.
func (w *rewriter) assemble(bodies code) error {
	globals, err := w.globalSection()
	if err != nil {
		return err
	}
	exports, err := w.exportSection()
	if err != nil {
		return err
	}
	elements, err := w.elementSection()
	if err != nil {
		return err
	}
	joined, err := w.dataSection()
	if err != nil {
		return err
	}
	names := w.nameSection()
	functions := w.functionSection() // may add types

	old := w.sections[wasm.SectionCode]
	grown := len(bodies) + len(w.added.bodies) + len(names) + len(elements) + len(exports) + len(functions) + len(w.types)
	out := make(code, 0, len(w.bytes)-(old.to-old.from)+grown+headersMax)
	out = append(out, wasm.Magic...)
	out.section(wasm.SectionType, w.typeSection())
	out.section(wasm.SectionImport, w.importSection())
	out.section(wasm.SectionFunction, functions)
	w.copySection(&out, wasm.SectionTable)
	w.copySection(&out, wasm.SectionMemory)
	out.section(wasm.SectionGlobal, globals)
	out.section(wasm.SectionExport, exports)
	if len(elements) > 0 {
		out.section(wasm.SectionElement, elements)
	}

	skeleton := append(code(nil), out...)
	w.copySection(&out, wasm.SectionDataCount)
	if total := uint32(len(w.functionTypes)) + w.added.count(); total > 0 {
		var empty code
		empty.u32(total)
		out.byte(byte(wasm.SectionCode))
		out.u32(uint32(len(empty) + len(bodies) + len(w.added.bodies)))
		out = append(append(append(out, empty...), bodies...), w.added.bodies...)
		for range total {
			empty.byte(3, 0, byte(wasm.OpUnreachable), byte(wasm.OpEnd))
		}
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
	}{{RefillFunc, w.added.typeVoid}, {TableGrowFunc, w.added.typeTableGrow}} {
		c.name(ImportModule)
		c.name(f.name)
		c.byte(externFunc)
		c.u32(f.typ)
	}
	return w.extend(wasm.SectionImport, importCount, c)
}

func (w *rewriter) functionSection() code {
	var c code
	c.u32(uint32(len(w.functionTypes)) + w.added.count())
	for _, t := range w.functionTypes {
		c.u32(w.withState(t))
	}
	for _, f := range w.added.list {
		c.u32(f.typ)
	}
	return c
}

func (w *rewriter) globalSection() (code, error) {
	r, n, err := w.reader(wasm.SectionGlobal)
	if err != nil {
		return nil, err
	}
	var c code
	c.u32(n + 2)
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
	c.byte(byte(wasm.I64), 0)
	c.i64Const(signBits)
	c.op(wasm.OpEnd)
	return c, nil
}

// constExpr copies a constant expression; references in it are those that take
// the state.
func (w *rewriter) constExpr(c *code, r *wasm.Reader) error {
	var in wasm.Instr
	for {
		if err := r.Next(&in); err != nil {
			return err
		}
		if in.Op == wasm.OpRefFunc {
			f, err := w.reference(in.X)
			if err != nil {
				return err
			}
			c.opU32(in.Op, f)
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
			if x, err = w.outside(x); err != nil {
				return nil, err
			}
		}
		c.u32(x)
	}
	c.name(StateExport)
	c.byte(externGlobal)
	c.u32(w.global)
	if w.hasStart {
		start, err := w.outside(w.start)
		if err != nil {
			return nil, err
		}
		c.name(StartExport)
		c.byte(externFunc)
		c.u32(start)
	}
	return c, nil
}

// elementSection copies the element segments, in the eight forms that the
// Core Specification 2.0 gives them (5.5.12), with functions that take the
// state, and adds a declarative one of what code refers to: the export that may
// have declared it before is another function now.
func (w *rewriter) elementSection() (code, error) {
	r, n, err := w.reader(wasm.SectionElement)
	if err != nil {
		return nil, err
	}
	total := n
	if len(w.declared) > 0 {
		total++
	}
	if total == 0 {
		return nil, nil
	}
	var c code
	c.u32(total)
	for range n {
		if err := w.element(&c, &r); err != nil {
			return nil, err
		}
	}
	if len(w.declared) > 0 {
		const declarative, functions = 3, 0
		c.byte(declarative, functions)
		c.u32(uint32(len(w.declared)))
		for _, f := range w.declared {
			c.u32(f)
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
			if f, err = r.U32(); err == nil {
				f, err = w.reference(f)
			}
			c.u32(f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
