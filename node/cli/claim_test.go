package cli

// secDataCount comes before the code, whatever its number.
const secDataCount = 12

// claims are modules of a few bytes that say that there are 2^32-1 of something,
// which are not there.
func claims() []badInput {
	const most = 1<<32 - 1
	rows := []badInput{
		{name: "pages", module: guest{memoryPages: most, bodies: [][]byte{{}}}.bytes(), words: []string{"this one 4294967295"}},
		{name: "groups of locals", module: guest{locals: leb(most), bodies: [][]byte{{}}}.bytes()},
		{name: "parameters", module: module(section(secType, vector(join([]byte{0x60}, leb(most))))), words: []string{"255 (params)"}},
		{name: "results", module: module(section(secType, vector(join([]byte{0x60, 0}, leb(most))))), words: []string{"64 (results)"}},
		{name: "bytes of a name", module: module(section(secImport, join(leb(1), leb(most)))), words: []string{"import section"}},
		{name: "bytes of a section", module: join([]byte(wasmHeader), []byte{secType}, leb(most)), words: []string{"type section"}},
		{name: "bytes of a custom section's name", module: module(section(secCustom, leb(most)))},
		{name: "data segments, by the data count", module: module(section(secDataCount, leb(most))), words: []string{"data_segments"}},
		{name: "functions before the start function", module: module(section(secStart, leb(most))), words: []string{"start"}},
	}
	for what, body := range map[string][]byte{
		"targets of a br_table": join(i32(0), []byte{0x0e}, leb(most)),
		"types of a select":     join([]byte{0x1c}, leb(most)),
		"functions to call":     call(most),
		"locals to read":        join([]byte{0x20}, leb(most)),
		"globals to read":       join([]byte{0x23}, leb(most)),
		"labels to branch to":   join([]byte{0x0c}, leb(most)),
		"tables to call from":   join(i32(0), []byte{0x11, 0}, leb(most)),
		"types of blocks":       join([]byte{0x02}, sleb(most), []byte{0x0b}),
	} {
		rows = append(rows, badInput{name: what, module: guest{bodies: [][]byte{body}}.bytes(), words: []string{"function 2", "4294967295"}})
	}
	table := section(secTable, vector([]byte{0x70, 0, 0}))
	memory := section(secMemory, vector([]byte{0, 1}))
	at0 := join([]byte{0}, i32(0), []byte{0x0b}, leb(most))
	rows = append(rows,
		badInput{name: "elements of a segment", module: module(table, section(secElement, vector(at0))), words: []string{"element"}},
		badInput{name: "bytes of a data segment", module: module(memory, section(secData, vector(at0))), words: []string{"data"}},
		badInput{name: "bytes of a body", module: module(
			section(secType, vector([]byte{0x60, 0, 0})), section(secFunction, vector(leb(0))), section(secCode, vector(leb(most))))},
	)
	for i := range rows {
		rows[i].name = "claims 2^32-1 " + rows[i].name
	}
	return rows
}

// imported is a function of WASI whose result is its error number.
type imported struct {
	name   string
	params []byte
}

// command is a WASI command of one function, which calls those imported by their
// number, and data at address 0.
func command(body, data []byte, imports ...imported) []byte {
	types, wasi := [][]byte{{0x60, 0, 0}}, make([][]byte, 0, len(imports))
	for i, f := range imports {
		types = append(types, join([]byte{0x60}, sized(f.params), []byte{1, 0x7f}))
		wasi = append(wasi, join(name("wasi_snapshot_preview1"), name(f.name), []byte{0}, leb(uint64(i+1))))
	}
	return module(
		section(secType, vector(types...)),
		section(secImport, vector(wasi...)),
		section(secFunction, vector(leb(0))),
		section(secMemory, vector([]byte{0, 1})),
		section(secExport, vector(join(name("_start"), []byte{0}, leb(uint64(len(imports)))), join(name("memory"), []byte{2, 0}))),
		section(secCode, vector(sized(join(vector(), body, []byte{0x0b})))),
		section(secData, vector(join([]byte{0}, i32(0), []byte{0x0b}, sized(data)))))
}

// hoarders fill the scratch space and trap when there is no more of it.
func hoarders() []badInput {
	const i32Type, i64Type = 0x7f, 0x7e
	// The root is descriptor 3; a path lies at address 32.
	giveUp := []byte{0x04, 0x40, 0x00, 0x0b} // if the number is not 0, unreachable
	makeFolder := imported{"path_create_directory", []byte{i32Type, i32Type, i32Type}}
	open := imported{"path_open", []byte{i32Type, i32Type, i32Type, i32Type, i32Type, i64Type, i64Type, i32Type, i32Type}}
	write := imported{"fd_write", []byte{i32Type, i32Type, i32Type, i32Type}}
	folders := join(i32(3), i32(32), i32(1), call(0), giveUp, i32(3), i32(32), i32(2), call(0), giveUp)
	allRights := []byte{0x42, 0x7f} // i64.const -1
	file := join(
		i32(3), i32(0), i32(32), i32(1), i32(1), allRights, allRights, i32(0), i32(24), call(0), giveUp,
		loop(i32(24), opLoad, i32(0), i32(1), i32(8), call(1), giveUp))
	data := join(iovec("")[:4], []byte{0, 0x10}, make([]byte, 26), []byte("ab")) // 4 KiB at a time
	return []badInput{
		{name: "a file without end", module: command(file, data, open, write), flags: []string{"--scratch", "100KiB"}, code: exitOutput, words: []string{"100KiB", "--scratch"}},
		{name: "one folder too many", module: command(folders, data, makeFolder), flags: []string{"--scratch-files", "1"}, code: exitOutput, words: []string{"1 file", "--scratch-files"}},
	}
}
