package measure

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// size is that of a module without its custom sections: names and notes of
// debuggers, which the meter drops or makes anew, are no work for anybody.
func size(module []byte) (int, error) {
	total := len(wasm.Magic)
	if len(module) < total {
		return 0, &wasm.SyntaxError{Offset: len(module), Detail: "unexpected end of the header"}
	}
	for r := wasm.NewReader(module, total, len(module)); r.Len() > 0; {
		from := r.Offset()
		id, _, err := r.Section()
		if err != nil {
			return 0, err
		}
		if id != wasm.SectionCustom {
			total += r.Offset() - from
		}
	}
	return total, nil
}
