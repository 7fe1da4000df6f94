package lint

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// Import is what a module asks its host for.
type Import struct{ Module, Name string }

// Imports reads what a module imports out of its beginning. It verifies nothing: what it
// cannot read, or what lies behind the beginning, it leaves out.
func Imports(beginning []byte) []Import {
	if len(beginning) < len(wasm.Magic) || string(beginning[:len(wasm.Magic)]) != wasm.Magic {
		return nil
	}
	r := wasm.NewReader(beginning, len(wasm.Magic), len(beginning))
	for r.Len() > 0 {
		id, body, err := r.Section()
		if err != nil {
			return nil
		}
		if id == wasm.SectionImport {
			return readImports(&body)
		}
	}
	return nil
}

func readImports(r *wasm.Reader) (list []Import) {
	n, err := r.U32()
	for ; err == nil && n > 0; n-- {
		var module, name []byte
		if module, err = r.Name(); err != nil {
			break
		}
		if name, err = r.Name(); err != nil {
			break
		}
		if err = skipImport(r); err == nil {
			list = append(list, Import{string(module), string(name)})
		}
	}
	return list
}

// skipImport reads what an import is.
func skipImport(r *wasm.Reader) error {
	kind, err := r.Byte()
	if err != nil {
		return err
	}
	switch kind {
	case 0:
		_, err = r.U32()
	case 1:
		if _, err = r.ValType(); err == nil {
			err = skipLimits(r)
		}
	case 2:
		err = skipLimits(r)
	default:
		if _, err = r.ValType(); err == nil {
			_, err = r.Byte()
		}
	}
	return err
}

func skipLimits(r *wasm.Reader) error {
	flags, err := r.Byte()
	if err == nil {
		_, err = r.U32()
	}
	if err == nil && flags&1 != 0 {
		_, err = r.U32()
	}
	return err
}
