package lint

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// u32 encodes an unsigned integer.
func u32(v int) []byte {
	var b []byte
	for x := uint32(v); ; x >>= 7 {
		if x < 0x80 {
			return append(b, byte(x))
		}
		b = append(b, byte(x)|0x80)
	}
}

// join concatenates bytes, ints that are bytes, strings and slices.
func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case wasm.ValType:
			b = append(b, byte(p))
		default:
			panic(p)
		}
	}
	return b
}

// sized puts the length before the parts.
func sized(parts ...any) []byte {
	b := join(parts...)
	return append(u32(len(b)), b...)
}

// section makes a section of the parts.
func section(id wasm.SectionID, parts ...any) []byte {
	return append([]byte{byte(id)}, sized(parts...)...)
}

// vector makes a section of items.
func vector(id wasm.SectionID, items ...[]byte) []byte {
	parts := []any{u32(len(items))}
	for _, item := range items {
		parts = append(parts, item)
	}
	return section(id, parts...)
}

// module puts sections behind the magic number.
func module(sections ...[]byte) []byte {
	b := []byte(wasm.Magic)
	for _, s := range sections {
		b = append(b, s...)
	}
	return b
}

// signatureOf makes a function type.
func signatureOf(params, results []byte) []byte {
	return join(0x60, sized(params), sized(results))
}

// program is a module with one memory, one table and one function ()→() with
// these locals and instructions; the end is added.
func program(locals []byte, instrs ...any) []byte {
	return programOf(nil, nil, locals, instrs...)
}

// programOf is a program whose function has parameters and results.
func programOf(params, results, locals []byte, instrs ...any) []byte {
	if locals == nil {
		locals = []byte{0}
	}
	return module(
		vector(wasm.SectionType, signatureOf(params, results)),
		vector(wasm.SectionFunction, []byte{0}),
		vector(wasm.SectionTable, []byte{0x70, 0, 1}),
		vector(wasm.SectionMemory, []byte{0, 1}),
		vector(wasm.SectionCode, sized(locals, join(instrs...), 0x0b)),
	)
}

// times repeats the parts.
func times(n int, parts ...any) []byte {
	one := join(parts...)
	b := make([]byte, 0, n*len(one))
	for range n {
		b = append(b, one...)
	}
	return b
}
