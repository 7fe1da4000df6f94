// Package wasmtest writes and prints small modules for tests, in a line-based
// notation that follows the WebAssembly text format where it can:
//
//	import "env" "log" (i32) -> ()
//	func "run" (i32 i32) -> (i32) local i64 i64
//	  local.get 0
//	  block -> i32
//	    i32.const 7
//	  end
//	end
//	memory 1 2
//	table 10 20
//	global mut i64 5
//	elem 0 1 2          offset, then functions
//	data 16 "bytes"
//	start 1
//	export "f" func 0
//
// Functions are numbered in the order of their lines, imports first. A block
// type is nothing, "-> T", or "type N". Everything is one instruction a line;
// br_table lists its labels, the default last. A memory instruction takes
// "offset=N align=N" with N as in the text format, one of a lane "lane=N" as
// well; v128.const and i8x16.shuffle take bytes, those left out are 0. "type (..) -> (..)" adds a
// function type; those of functions are added as they are needed.
package wasmtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// assembler collects the sections of a module.
type assembler struct {
	types     []string
	sections  map[wasm.SectionID][]string // encoded items
	functions int
	body      *strings.Builder
	depth     int
}

// Assemble returns the module that text describes. It panics on an error in
// the text, which is the test's own.
func Assemble(text string) []byte {
	a := &assembler{sections: map[wasm.SectionID][]string{}}
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, ";;")
		words := split(line)
		if len(words) == 0 {
			continue
		}
		if err := a.line(words); err != nil {
			panic(fmt.Sprintf("wasmtest: line %d: %q: %v", n+1, strings.TrimSpace(line), err))
		}
	}
	if a.body != nil {
		panic("wasmtest: a function without its end")
	}
	return a.encode()
}

// split separates words at white space and keeps quoted strings whole.
func split(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				panic(fmt.Sprintf("wasmtest: %q: %v", line, err))
			}
			words, line = append(words, q), line[len(q):]
			continue
		}
		i := strings.IndexAny(line, " \t")
		if i < 0 {
			i = len(line)
		}
		words, line = append(words, line[:i]), line[i:]
	}
	return words
}

func (a *assembler) add(id wasm.SectionID, item string) {
	a.sections[id] = append(a.sections[id], item)
}

func (a *assembler) line(w []string) error {
	if a.body != nil {
		return a.instr(w)
	}
	switch w[0] {
	case "type":
		params, results, _, err := signature(w[1:])
		a.types = append(a.types, funcType(params, results))
		return err
	case "import":
		params, results, _, err := signature(w[3:])
		a.add(wasm.SectionImport, quoted(w[1])+quoted(w[2])+"\x00"+u32(a.typeIndex(params, results)))
		a.functions++
		return err
	case "func":
		return a.function(w[1:])
	case "memory":
		a.add(wasm.SectionMemory, limits(w[1:]))
	case "table":
		a.add(wasm.SectionTable, string(byte(wasm.FuncRef))+limits(w[1:]))
	case "global":
		mutable := "\x00"
		if w[1] == "mut" {
			mutable, w = "\x01", w[1:]
		}
		t := valType(w[1])
		a.add(wasm.SectionGlobal, t+mutable+constant(t, w[2])+"\x0b")
	case "elem":
		item := "\x00" + constant("\x7f", w[1]) + "\x0b" + u32(uint32(len(w)-2))
		for _, f := range w[2:] {
			item += u32(number(f))
		}
		a.add(wasm.SectionElement, item)
	case "data":
		a.add(wasm.SectionData, "\x00"+constant("\x7f", w[1])+"\x0b"+quoted(w[2]))
	case "start":
		a.sections[wasm.SectionStart] = []string{u32(number(w[1]))}
	case "export":
		kind := map[string]string{"func": "\x00", "table": "\x01", "memory": "\x02", "global": "\x03"}[w[2]]
		a.add(wasm.SectionExport, quoted(w[1])+kind+u32(number(w[3])))
	default:
		return fmt.Errorf("unknown word %q", w[0])
	}
	return nil
}

func (a *assembler) function(w []string) error {
	if len(w) > 0 && w[0][0] == '"' {
		a.add(wasm.SectionExport, quoted(w[0])+"\x00"+u32(uint32(a.functions)))
		w = w[1:]
	}
	params, results, rest, err := signature(w)
	if err != nil {
		return err
	}
	a.functions++
	a.add(wasm.SectionFunction, u32(a.typeIndex(params, results)))
	a.body = &strings.Builder{}
	if len(rest) > 0 {
		rest = rest[1:] // "local"
	}
	a.body.WriteString(u32(uint32(len(rest))))
	for _, t := range rest {
		a.body.WriteString("\x01" + valType(t))
	}
	a.depth = 1
	return nil
}

// signature reads "(T …) -> (T …)" and returns what follows.
func signature(w []string) (params, results string, rest []string, err error) {
	text := strings.Join(w, " ")
	first, text, ok := strings.Cut(text, "->")
	second, text, ok2 := strings.Cut(text, ")")
	if !ok || !ok2 {
		return "", "", nil, fmt.Errorf("(T …) -> (T …) expected")
	}
	types := func(s string) string {
		var b string
		for _, t := range strings.Fields(strings.Trim(strings.TrimSpace(s), "()")) {
			b += valType(t)
		}
		return b
	}
	return types(first), types(second), strings.Fields(text), nil
}

func funcType(params, results string) string {
	return "\x60" + u32(uint32(len(params))) + params + u32(uint32(len(results))) + results
}

func (a *assembler) typeIndex(params, results string) uint32 {
	t := funcType(params, results)
	for i, have := range a.types {
		if have == t {
			return uint32(i)
		}
	}
	a.types = append(a.types, t)
	return uint32(len(a.types) - 1)
}

func (a *assembler) encode() []byte {
	out := wasm.Magic
	for _, t := range a.types {
		a.add(wasm.SectionType, t)
	}
	if n := len(a.sections[wasm.SectionData]); n > 0 {
		a.sections[wasm.SectionDataCount] = []string{}
	}
	order := []wasm.SectionID{
		wasm.SectionType, wasm.SectionImport, wasm.SectionFunction, wasm.SectionTable,
		wasm.SectionMemory, wasm.SectionGlobal, wasm.SectionExport, wasm.SectionStart, wasm.SectionElement,
		wasm.SectionDataCount, wasm.SectionCode, wasm.SectionData,
	}
	for _, id := range order {
		items, ok := a.sections[id]
		if !ok {
			continue
		}
		contents := u32(uint32(len(items))) + strings.Join(items, "")
		switch id {
		case wasm.SectionStart:
			contents = items[0]
		case wasm.SectionDataCount:
			contents = u32(uint32(len(a.sections[wasm.SectionData])))
		}
		out += string(rune(id)) + u32(uint32(len(contents))) + contents
	}
	return []byte(out)
}

var opcodes = func() map[string]wasm.Opcode {
	m := map[string]wasm.Opcode{}
	for op := wasm.Opcode(0); op < 0x300; op++ {
		if info := wasm.Lookup(op); info != nil && op != wasm.OpSelectTyped {
			m[info.Name] = op
		}
	}
	return m
}()

func (a *assembler) instr(w []string) error {
	op, ok := opcodes[w[0]]
	if !ok {
		return fmt.Errorf("unknown instruction %q", w[0])
	}
	if op < 0x100 {
		a.body.WriteByte(byte(op))
	} else {
		a.body.WriteByte(byte(0xfb + op>>8))
		a.body.WriteString(u32(uint32(op & 0xff)))
	}
	a.body.WriteString(immediates(wasm.Lookup(op), w[1:]))
	switch op {
	case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
		a.depth++
	case wasm.OpEnd:
		a.depth--
	}
	if a.depth == 0 {
		a.add(wasm.SectionCode, u32(uint32(a.body.Len()))+a.body.String())
		a.body = nil
	}
	return nil
}

func immediates(info *wasm.Op, w []string) string {
	arg := func(i int) uint32 {
		if i < len(w) {
			return number(w[i])
		}
		return 0
	}
	switch info.Imm {
	case wasm.ImmBlock:
		switch {
		case len(w) == 0:
			return "\x40"
		case w[0] == "->":
			return valType(w[1])
		}
		return s64(int64(number(w[1])))
	case wasm.ImmLabel, wasm.ImmFunc, wasm.ImmLocal, wasm.ImmGlobal, wasm.ImmTable, wasm.ImmData, wasm.ImmElem:
		return u32(arg(0))
	case wasm.ImmBrTable:
		out := u32(uint32(len(w) - 1))
		for _, l := range w {
			out += u32(number(l))
		}
		return out
	case wasm.ImmCallIndirect, wasm.ImmTableInit, wasm.ImmTable2, wasm.ImmMemoryInit:
		return u32(arg(0)) + u32(arg(1))
	case wasm.ImmMemArg:
		return memArg(info, w)
	case wasm.ImmMemArgLane:
		return memArg(info, w) + string(rune(lane(w)))
	case wasm.ImmLane:
		return string(rune(arg(0)))
	case wasm.ImmShuffle, wasm.ImmV128:
		var b [16]byte
		for i := range b {
			b[i] = byte(arg(i))
		}
		return string(b[:])
	case wasm.ImmMemory:
		return "\x00"
	case wasm.ImmMemory2:
		return "\x00\x00"
	case wasm.ImmI32, wasm.ImmI64, wasm.ImmF32, wasm.ImmF64:
		t := info.Results[0]
		return constant(string(byte(t)), w[0])[1:]
	case wasm.ImmRefType:
		return valType(w[0])
	case wasm.ImmNone:
		return ""
	}
	panic("wasmtest: no notation for the immediates of " + info.Name)
}

func memArg(info *wasm.Op, w []string) string {
	offset, align := uint32(0), uint32(info.Width)
	for _, s := range w {
		if v, ok := strings.CutPrefix(s, "offset="); ok {
			offset = number(v)
		} else if v, ok := strings.CutPrefix(s, "align="); ok {
			align = number(v)
		}
	}
	return u32(uint32(math.Log2(float64(align)))) + u32(offset)
}

// lane is the number behind "lane=", or 0.
func lane(w []string) uint32 {
	for _, s := range w {
		if v, ok := strings.CutPrefix(s, "lane="); ok {
			return number(v)
		}
	}
	return 0
}

// constant encodes a constant instruction of type t, an encoded value type.
func constant(t, v string) string {
	switch wasm.ValType(t[0]) {
	case wasm.F32:
		f, _ := strconv.ParseFloat(v, 32)
		return "\x43" + string(binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f))))
	case wasm.F64:
		f, _ := strconv.ParseFloat(v, 64)
		return "\x44" + string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)))
	case wasm.I64:
		return "\x42" + s64(signed(v, 64))
	}
	return "\x41" + s64(int64(int32(signed(v, 32))))
}

func signed(v string, bits int) int64 {
	if n, err := strconv.ParseInt(v, 0, 64); err == nil {
		return n
	}
	n, err := strconv.ParseUint(v, 0, bits)
	if err != nil {
		panic("wasmtest: not a number: " + v)
	}
	return int64(n)
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		panic("wasmtest: not a number: " + s)
	}
	return uint32(n)
}

func limits(w []string) string {
	if len(w) == 1 {
		return "\x00" + u32(number(w[0]))
	}
	return "\x01" + u32(number(w[0])) + u32(number(w[1]))
}

func quoted(s string) string {
	s, err := strconv.Unquote(s)
	if err != nil {
		panic("wasmtest: not a quoted string")
	}
	return u32(uint32(len(s))) + s
}

func valType(s string) string {
	for t := 0; t < 0x80; t++ {
		if v := wasm.ValType(t); v.Valid() && v.String() == s {
			return string(rune(t))
		}
	}
	panic("wasmtest: not a value type: " + s)
}

func u32(v uint32) string { return string(binary.AppendUvarint(nil, uint64(v))) }

func s64(v int64) string {
	var b []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return string(append(b, c))
		}
		b = append(b, c|0x80)
	}
}
