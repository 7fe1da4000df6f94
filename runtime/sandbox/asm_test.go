package sandbox

// asm builds small modules. Every function has its own type; code is given in
// bytes without the final end.
type asm struct {
	types, imports, functions, tables, memories, exports, elements, codes, datas []byte

	typeCount, importCount, functionCount, tableCount, exportCount, dataCount, elementCount byte

	start  int
	custom []byte
}

func newAsm() *asm { return &asm{start: -1} }

const (
	i32 = 0x7f
	i64 = 0x7e
)

func uleb(n uint32) (b []byte) {
	for {
		c := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func sleb(n int64) (b []byte) {
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func text(s string) []byte { return append(uleb(uint32(len(s))), s...) }

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func i32Const(n int32) []byte { return append([]byte{0x41}, sleb(int64(n))...) }

func call(f byte) []byte { return []byte{0x10, f} }

func (a *asm) typ(params, results []byte) byte {
	a.types = cat(a.types, []byte{0x60}, uleb(uint32(len(params))), params, uleb(uint32(len(results))), results)
	a.typeCount++
	return a.typeCount - 1
}

// imp imports a function; imports come before functions.
func (a *asm) imp(module, name string, params, results []byte) byte {
	t := a.typ(params, results)
	a.imports = cat(a.imports, text(module), text(name), []byte{0, t})
	a.importCount++
	return a.importCount - 1
}

// fn adds a function, exported when name is not empty.
func (a *asm) fn(name string, params, results []byte, code ...[]byte) byte {
	a.functions = append(a.functions, a.typ(params, results))
	body := cat([]byte{0}, cat(code...), []byte{0x0b})
	a.codes = cat(a.codes, uleb(uint32(len(body))), body)
	index := a.importCount + a.functionCount
	a.functionCount++
	if name != "" {
		a.export(name, 0, index)
	}
	return index
}

func (a *asm) export(name string, kind, index byte) {
	a.exports = cat(a.exports, text(name), []byte{kind, index})
	a.exportCount++
}

// memory adds the memory, exported as "memory". A negative max means none.
func (a *asm) memory(min uint32, max int64) *asm {
	a.memories = cat([]byte{0}, uleb(min))
	if max >= 0 {
		a.memories = cat([]byte{1}, uleb(min), uleb(uint32(max)))
	}
	a.export("memory", 2, 0)
	return a
}

// table adds a table of functions.
func (a *asm) table(min uint32, max int64) *asm {
	if max >= 0 {
		a.tables = cat(a.tables, []byte{0x70, 1}, uleb(min), uleb(uint32(max)))
	} else {
		a.tables = cat(a.tables, []byte{0x70, 0}, uleb(min))
	}
	a.tableCount++
	return a
}

func (a *asm) data(at int32, bytes string) *asm {
	a.datas = cat(a.datas, []byte{0}, i32Const(at), []byte{0x0b}, text(bytes))
	a.dataCount++
	return a
}

func (a *asm) bytes() []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, count int, body []byte) {
		if count > 0 {
			body = append(uleb(uint32(count)), body...)
			b = cat(b, []byte{id}, uleb(uint32(len(body))), body)
		}
	}
	section(1, int(a.typeCount), a.types)
	section(2, int(a.importCount), a.imports)
	section(3, int(a.functionCount), a.functions)
	section(4, int(a.tableCount), a.tables)
	if a.memories != nil {
		section(5, 1, a.memories)
	}
	section(7, int(a.exportCount), a.exports)
	if a.start >= 0 {
		b = append(b, 8, 1, byte(a.start))
	}
	section(9, int(a.elementCount), a.elements)
	section(10, int(a.functionCount), a.codes)
	section(11, int(a.dataCount), a.datas)
	return append(b, a.custom...)
}

// names adds a name section for functions, and one for the module when it is
// not empty.
func (a *asm) names(module string, functions map[byte]string) *asm {
	var body []byte
	if module != "" {
		name := text(module)
		body = cat(body, []byte{0}, uleb(uint32(len(name))), name)
	}
	table := uleb(uint32(len(functions)))
	for i := range 128 {
		if name, ok := functions[byte(i)]; ok {
			table = cat(table, []byte{byte(i)}, text(name))
		}
	}
	body = cat(body, []byte{1}, uleb(uint32(len(table))), table)
	body = cat(text("name"), body)
	a.custom = cat(a.custom, []byte{0}, uleb(uint32(len(body))), body)
	return a
}
