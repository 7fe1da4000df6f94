package sandbox

import (
	"fmt"
	"strings"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/internal/wasm"
	"github.com/dugnad/dugnad/runtime/meter"
)

// plan is what must be known of a module before it is compiled or started.
type plan struct {
	imports []wanted
	// memoryMin and memoryMax are in bytes; both are 0 without a memory.
	memoryMin, memoryMax uint64
	hasMemory            bool
	// tableEntries is the sum over all tables.
	tableEntries uint64
	exports      []string
	metered      bool
	// wantsHTTP is the first function that it imports of those for outbound HTTP.
	wantsHTTP string
}

// wanted is one import of a module.
type wanted struct {
	module, name string
	// what is the signature of a function, or "memory", "table" or "global".
	what string
}

// scan reads a module's sections up to its exports.
func scan(module []byte) (*plan, error) {
	if len(module) < len(wasm.Magic) || string(module[:len(wasm.Magic)]) != wasm.Magic {
		return nil, fmt.Errorf("%w: not a core WebAssembly module", ErrRefused)
	}
	p, types := &plan{}, []string(nil)
	r := wasm.NewReader(module, len(wasm.Magic), len(module))
	for r.Len() > 0 {
		id, body, err := r.Section()
		if err == nil {
			switch id {
			case wasm.SectionType:
				types, err = scanTypes(&body)
			case wasm.SectionImport:
				err = p.scanImports(&body, types)
			case wasm.SectionTable:
				err = p.scanTables(&body)
			case wasm.SectionMemory:
				err = p.scanMemories(&body)
			case wasm.SectionExport:
				err = p.scanExports(&body)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	return p, nil
}

func scanTypes(r *wasm.Reader) (types []string, err error) {
	n, err := r.U32()
	for ; err == nil && n > 0; n-- {
		var form byte
		if form, err = r.Byte(); err != nil {
			break
		}
		if form != 0x60 {
			return nil, fmt.Errorf("type %d is not a function", len(types))
		}
		var params, results string
		if params, err = scanValTypes(r); err != nil {
			break
		}
		if results, err = scanValTypes(r); err != nil {
			break
		}
		types = append(types, params+" -> "+results)
	}
	return types, err
}

func scanValTypes(r *wasm.Reader) (string, error) {
	n, err := r.U32()
	names := []string{}
	for ; err == nil && n > 0; n-- {
		var t wasm.ValType
		if t, err = r.ValType(); err == nil {
			names = append(names, t.String())
		}
	}
	return "(" + strings.Join(names, ", ") + ")", err
}

func (p *plan) scanImports(r *wasm.Reader, types []string) error {
	n, err := r.U32()
	for ; err == nil && n > 0; n-- {
		var w wanted
		if w, err = scanImport(r, types); err == nil {
			p.imports = append(p.imports, w)
			if w.module == abi.Module && p.wantsHTTP == "" && strings.HasPrefix(w.name, abi.CapabilityHTTP+"_") {
				p.wantsHTTP = w.name
			}
		}
	}
	return err
}

func scanImport(r *wasm.Reader, types []string) (w wanted, err error) {
	var module, name []byte
	if module, err = r.Name(); err != nil {
		return w, err
	}
	if name, err = r.Name(); err != nil {
		return w, err
	}
	w.module, w.name = string(module), string(name)
	kind, err := r.Byte()
	if err != nil {
		return w, err
	}
	switch kind {
	case 0:
		var t uint32
		if t, err = r.U32(); err == nil && int64(t) >= int64(len(types)) {
			return w, fmt.Errorf("import of %s.%s has no type %d", w.module, w.name, t)
		} else if err == nil {
			w.what = types[t]
		}
	case 1:
		w.what = "table"
		if _, err = r.ValType(); err == nil {
			_, _, err = scanLimits(r)
		}
	case 2:
		w.what = "memory"
		_, _, err = scanLimits(r)
	case 3:
		w.what = "global"
		if _, err = r.ValType(); err == nil {
			_, err = r.Byte()
		}
	default:
		err = fmt.Errorf("import of %s.%s is of unknown kind %d", w.module, w.name, kind)
	}
	return w, err
}

// noMax stands for a missing maximum.
const noMax = 1 << 32

func scanLimits(r *wasm.Reader) (low, high uint64, err error) {
	flags, err := r.Byte()
	if err != nil {
		return 0, 0, err
	}
	lo, err := r.U32()
	if err != nil || flags&1 == 0 {
		return uint64(lo), noMax, err
	}
	hi, err := r.U32()
	return uint64(lo), uint64(hi), err
}

func (p *plan) scanTables(r *wasm.Reader) error {
	n, err := r.U32()
	for ; err == nil && n > 0; n-- {
		var entries uint64
		if _, err = r.ValType(); err == nil {
			entries, _, err = scanLimits(r)
		}
		p.tableEntries += entries
	}
	return err
}

func (p *plan) scanMemories(r *wasm.Reader) error {
	n, err := r.U32()
	if err != nil || n == 0 {
		return err
	}
	lo, hi, err := scanLimits(r)
	p.hasMemory = true
	p.memoryMin = lo * PageBytes
	p.memoryMax = min(hi, 65536) * PageBytes
	return err
}

func (p *plan) scanExports(r *wasm.Reader) error {
	n, err := r.U32()
	for ; err == nil && n > 0; n-- {
		var name []byte
		if name, err = r.Name(); err != nil {
			break
		}
		if _, err = r.Byte(); err == nil {
			_, err = r.U32()
		}
		switch s := string(name); {
		case s == meter.StateExport:
			p.metered = true
		case !strings.HasPrefix(s, meter.ReservedPrefix):
			p.exports = append(p.exports, s)
		}
	}
	return err
}
