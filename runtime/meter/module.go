package meter

import (
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// ErrModule is wrapped by the error of Rewrite when a module is not one that
// lint accepts.
var ErrModule = errors.New("module was not accepted by lint")

// signature is a function type, its two vectors as they stand in the module.
type signature struct {
	params, results []byte
}

// module is what the rewriter has to know of a module before it rewrites the
// bodies of its functions.
type module struct {
	bytes    []byte
	sections [wasm.SectionDataCount + 1]section
	names    section // the custom section "name"

	types         []signature
	functionTypes []uint32 // of the module's own functions
	importedTypes []uint32 // of the imported functions
	importedFuncs uint32
	tableMax      []uint32 // declared maxima, noMaximum without one
	memoryPages   uint32   // minimum
	hasMemory     bool
	tableEntries  uint64 // minima, summed
	globals       uint32
	dataBytes     uint64
	dataSegments  uint64
	elements      uint64
	hasStart      bool
	start         uint32
}

// section is a range of the module: empty when the module has no such section.
type section struct {
	from, to int
	present  bool
}

const noMaximum = 0xffffffff

// parse reads everything but code and segments.
func parse(b []byte) (*module, error) {
	m := &module{bytes: b}
	if len(b) < len(wasm.Magic) || string(b[:len(wasm.Magic)]) != wasm.Magic {
		return nil, fmt.Errorf("%w: no magic number", ErrModule)
	}
	r := wasm.NewReader(b, len(wasm.Magic), len(b))
	for r.Len() > 0 {
		id, sub, err := r.Section()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrModule, err)
		}
		if int(id) >= len(m.sections) {
			return nil, fmt.Errorf("%w: section %d", ErrModule, id)
		}
		if id == wasm.SectionCustom {
			if name, err := sub.Name(); err == nil && string(name) == "name" {
				m.names = section{sub.Offset(), sub.End(), true}
			}
			continue
		}
		m.sections[id] = section{sub.Offset(), sub.End(), true}
	}
	return m, m.scan()
}

// reader returns a reader of a section; an absent one holds a zero count.
func (m *module) reader(id wasm.SectionID) (wasm.Reader, uint32, error) {
	s := m.sections[id]
	if !s.present {
		return wasm.Reader{}, 0, nil
	}
	r := wasm.NewReader(m.bytes, s.from, s.to)
	n, err := r.U32()
	return r, n, err
}

// scan calls one reader per section that later ones depend on.
func (m *module) scan() error {
	for _, s := range []struct {
		id   wasm.SectionID
		item func(*wasm.Reader) error
	}{
		{wasm.SectionType, m.scanType},
		{wasm.SectionImport, m.scanImport},
		{wasm.SectionFunction, m.scanFunction},
		{wasm.SectionTable, m.scanTable},
		{wasm.SectionMemory, m.scanMemory},
	} {
		r, n, err := m.reader(s.id)
		for ; err == nil && n > 0; n-- {
			err = s.item(&r)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrModule, err)
		}
	}
	_, n, err := m.reader(wasm.SectionGlobal)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModule, err)
	}
	m.globals += n
	if s := m.sections[wasm.SectionStart]; s.present {
		r := wasm.NewReader(m.bytes, s.from, s.to)
		m.hasStart = true
		if m.start, err = r.U32(); err != nil {
			return fmt.Errorf("%w: %w", ErrModule, err)
		}
	}
	return nil
}

func (m *module) scanType(r *wasm.Reader) error {
	if _, err := r.Byte(); err != nil {
		return err
	}
	var v [2][]byte
	for i := range v {
		n, err := r.U32()
		if err != nil {
			return err
		}
		if v[i], err = r.Bytes(n); err != nil {
			return err
		}
	}
	m.types = append(m.types, signature{v[0], v[1]})
	return nil
}

func (m *module) scanImport(r *wasm.Reader) error {
	for range 2 {
		if _, err := r.Name(); err != nil {
			return err
		}
	}
	kind, err := r.Byte()
	if err != nil {
		return err
	}
	switch kind {
	case externFunc:
		var t uint32
		t, err = r.U32()
		m.importedTypes = append(m.importedTypes, t)
		m.importedFuncs++
	case externTable:
		err = m.scanTable(r)
	case externMemory:
		err = m.scanMemory(r)
	case externGlobal:
		m.globals++
		_, err = r.Bytes(2)
	default:
		err = fmt.Errorf("import of kind %d", kind)
	}
	return err
}

// importedType returns the type of imported function f.
func (m *module) importedType(f uint32) (signature, error) {
	if t := m.importedTypes[f]; int(t) < len(m.types) {
		return m.types[t], nil
	}
	return signature{}, fmt.Errorf("imported function %d has no type", f)
}

// The kinds of imports and exports.
const (
	externFunc = iota
	externTable
	externMemory
	externGlobal
)

func (m *module) scanFunction(r *wasm.Reader) error {
	t, err := r.U32()
	if err == nil && int(t) >= len(m.types) {
		err = fmt.Errorf("function of type %d of %d", t, len(m.types))
	}
	m.functionTypes = append(m.functionTypes, t)
	return err
}

func (m *module) scanTable(r *wasm.Reader) error {
	if _, err := r.ValType(); err != nil {
		return err
	}
	low, high, err := limits(r)
	m.tableMax = append(m.tableMax, high)
	m.tableEntries += uint64(low)
	return err
}

func (m *module) scanMemory(r *wasm.Reader) error {
	low, _, err := limits(r)
	m.memoryPages, m.hasMemory = low, true
	return err
}

// limits reads a minimum and, where there is one, a maximum.
func limits(r *wasm.Reader) (low, high uint32, err error) {
	flag, err := r.Byte()
	if err != nil {
		return 0, 0, err
	}
	if low, err = r.U32(); err != nil || flag == 0 {
		return low, noMaximum, err
	}
	high, err = r.U32()
	return low, high, err
}
