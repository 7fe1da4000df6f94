package cli

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The functions below make WebAssembly modules byte by byte, good and bad.

const wasmHeader = "\x00asm\x01\x00\x00\x00"

// The sections of a module, by id.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
)

// leb is n as an unsigned LEB128.
func leb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// sleb is n as a signed LEB128.
func sleb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func sized(b []byte) []byte { return join(leb(uint64(len(b))), b) }

func name(s string) []byte { return sized([]byte(s)) }

// vector is a count and its items.
func vector(items ...[]byte) []byte {
	return join(leb(uint64(len(items))), join(items...))
}

func section(id byte, content []byte) []byte { return join([]byte{id}, sized(content)) }

func module(sections ...[]byte) []byte { return join([]byte(wasmHeader), join(sections...)) }

// Instructions.
func i32(n int32) []byte { return join([]byte{0x41}, sleb(int64(n))) }

func call(function uint64) []byte { return join([]byte{0x10}, leb(function)) }

// loop repeats the instructions for ever.
func loop(in ...[]byte) []byte {
	return join([]byte{0x03, 0x40}, join(in...), []byte{0x0c, 0x00, 0x0b, 0x00})
}

var (
	opUnreachable = []byte{0x00}
	opDrop        = []byte{0x1a}
	opMemoryGrow  = []byte{0x40, 0x00}
	opMemoryFill  = []byte{0xfc, 0x0b, 0x00}
	opTableGrow   = []byte{0xfc, 0x0f, 0x00}
	opRefNull     = []byte{0xd0, 0x70}
	opDivide      = []byte{0x6d}
	opLoad        = []byte{0x28, 0x02, 0x00}
	opIndirect    = []byte{0x11, 0x00, 0x00}
)

// guest is a WASI command. Function 0 is fd_write, 1 is poll_oneoff, and the
// functions, all without parameters and results, follow from 2 on, which is
// exported as _start.
type guest struct {
	// memoryPages is the minimum; there is no maximum. 0 means 1.
	memoryPages uint64
	// tableEntries is the minimum of a table of functions.
	tableEntries uint64
	// locals are the local declarations of every function; empty means none.
	locals []byte
	// bodies are instructions without the final end.
	bodies [][]byte
	// names are the functions' names, from function 2 on.
	names []string
	// data lies at address 0.
	data []byte
}

// firstFunction is the index of the first of guest.bodies.
const firstFunction = 2

func (g guest) bytes() []byte {
	call4 := []byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f}
	wasi := func(function string) []byte {
		return join(name("wasi_snapshot_preview1"), name(function), []byte{0x00, 0x01})
	}
	locals := g.locals
	if locals == nil {
		locals = vector()
	}
	functions, bodies := make([][]byte, 0, len(g.bodies)), make([][]byte, 0, len(g.bodies))
	for _, b := range g.bodies {
		functions = append(functions, leb(0))
		bodies = append(bodies, sized(join(locals, b, []byte{0x0b})))
	}
	sections := [][]byte{
		section(secType, vector([]byte{0x60, 0, 0}, call4)),
		section(secImport, vector(wasi("fd_write"), wasi("poll_oneoff"))),
		section(secFunction, vector(functions...)),
		section(secTable, vector(join([]byte{0x70, 0x00}, leb(g.tableEntries)))),
		section(secMemory, vector(join([]byte{0x00}, leb(max(g.memoryPages, 1))))),
		section(secExport, vector(join(name("_start"), []byte{0x00}, leb(firstFunction)), join(name("memory"), []byte{0x02, 0x00}))),
		section(secCode, vector(bodies...)),
	}
	if len(g.data) > 0 {
		sections = append(sections, section(secData, vector(join([]byte{0x00}, i32(0), []byte{0x0b}, sized(g.data)))))
	}
	if len(g.names) > 0 {
		var entries [][]byte
		for i, n := range g.names {
			entries = append(entries, join(leb(uint64(i+firstFunction)), name(n)))
		}
		sections = append(sections, section(secCustom, join(name("name"), []byte{1}, sized(vector(entries...)))))
	}
	return module(sections...)
}

// write is what a body needs to write length bytes from address 16, with an
// iovec at address 0: use iovec for guest.data.
func write() []byte {
	return join(i32(1), i32(0), i32(1), i32(8), call(0), opDrop)
}

// iovec is data for write: the text lies at address 16.
func iovec(text string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 16)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return join(b, make([]byte, 8), []byte(text))
}

// sleep is data for poll_oneoff: one subscription to the monotonic clock that
// fires after a century.
func sleep() []byte {
	b := make([]byte, 48)
	binary.LittleEndian.PutUint32(b[16:], 1)
	binary.LittleEndian.PutUint64(b[24:], 100*365*24*3600*1e9)
	return b
}

// hello prints "ok\n".
func hello() []byte { return guest{bodies: [][]byte{write()}, data: iovec("ok\n")}.bytes() }

// nested is count times begin, then as many ends.
func nested(begin []byte, count int) []byte {
	return join(bytes.Repeat(begin, count), bytes.Repeat([]byte{0x0b}, count))
}
