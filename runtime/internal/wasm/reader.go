// Package wasm reads the WebAssembly binary format: integers, names, types and
// instructions, with the offset of every fault. It allocates nothing in
// proportion to a number that a module claims, and it knows no policy: limits
// are the business of lint, rewriting that of meter.
//
// The format is that of the WebAssembly Core Specification 2.0, chapter 5.
package wasm

import (
	"fmt"
	"unicode/utf8"
)

// SyntaxError is returned when bytes are not what the binary format demands.
type SyntaxError struct {
	// Offset is where in the module the fault lies, in bytes.
	Offset int
	// Detail says what is wrong there.
	Detail string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at offset %#x", e.Detail, e.Offset)
}

// Reader reads a range of a module. Its zero value reads nothing.
type Reader struct {
	buf []byte
	pos int
	end int
}

// NewReader returns a reader of module[from:to].
func NewReader(module []byte, from, to int) Reader {
	return Reader{buf: module, pos: from, end: to}
}

// Offset returns the position of the next byte in the module.
func (r *Reader) Offset() int { return r.pos }

// End returns the position behind the last byte in the module.
func (r *Reader) End() int { return r.end }

// Len returns the number of unread bytes.
func (r *Reader) Len() int { return r.end - r.pos }

func (r *Reader) fault(at int, detail string) error {
	return &SyntaxError{Offset: at, Detail: detail}
}

// Byte reads one byte.
func (r *Reader) Byte() (byte, error) {
	if r.pos >= r.end {
		return 0, r.fault(r.pos, "unexpected end")
	}
	b := r.buf[r.pos]
	r.pos++
	return b, nil
}

// Bytes reads n bytes. The result shares memory with the module.
func (r *Reader) Bytes(n uint32) ([]byte, error) {
	if uint64(n) > uint64(r.end-r.pos) {
		return nil, r.fault(r.pos, fmt.Sprintf("%d bytes are claimed, %d are left", n, r.end-r.pos))
	}
	b := r.buf[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b, nil
}

// Skip steps over n bytes, at most Len.
func (r *Reader) Skip(n int) { r.pos += min(max(n, 0), r.end-r.pos) }

// Sub returns a reader of the next n bytes and skips them.
func (r *Reader) Sub(n uint32) (Reader, error) {
	from := r.pos
	if _, err := r.Bytes(n); err != nil {
		return Reader{}, err
	}
	return NewReader(r.buf, from, r.pos), nil
}

// U32 reads an unsigned LEB128 integer of at most 32 bits.
func (r *Reader) U32() (uint32, error) {
	if r.pos < r.end && r.buf[r.pos] < 0x80 {
		r.pos++
		return uint32(r.buf[r.pos-1]), nil
	}
	v, err := r.unsigned(32)
	return uint32(v), err
}

// U64 reads an unsigned LEB128 integer of at most 64 bits.
func (r *Reader) U64() (uint64, error) { return r.unsigned(64) }

func (r *Reader) unsigned(bits uint) (uint64, error) {
	at := r.pos
	var v uint64
	for shift := uint(0); ; shift += 7 {
		b, err := r.Byte()
		if err != nil {
			return 0, err
		}
		if shift+7 > bits && b>>(bits-shift) != 0 {
			return 0, r.fault(at, fmt.Sprintf("integer needs more than %d bits", bits))
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
}

// S32 reads a signed LEB128 integer of at most 32 bits.
func (r *Reader) S32() (int32, error) {
	v, err := r.signed(32)
	return int32(v), err
}

// S33 reads a signed LEB128 integer of at most 33 bits, as in block types.
func (r *Reader) S33() (int64, error) { return r.signed(33) }

// S64 reads a signed LEB128 integer of at most 64 bits.
func (r *Reader) S64() (int64, error) { return r.signed(64) }

func (r *Reader) signed(bits uint) (int64, error) {
	at := r.pos
	var v int64
	for shift := uint(0); ; {
		b, err := r.Byte()
		if err != nil {
			return 0, err
		}
		if left := bits - shift; left < 7 {
			// The unused bits of the last byte must repeat the sign.
			top := int8(b<<1) >> left
			if b >= 0x80 || (top != 0 && top != -1) {
				return 0, r.fault(at, fmt.Sprintf("integer needs more than %d bits", bits))
			}
		}
		v |= int64(b&0x7f) << shift
		shift += 7
		if b < 0x80 {
			if shift < 64 && b&0x40 != 0 {
				v |= -1 << shift
			}
			return v, nil
		}
	}
}

// Name reads a length and as many bytes of UTF-8. The result shares memory
// with the module.
func (r *Reader) Name() ([]byte, error) {
	at := r.pos
	n, err := r.U32()
	if err != nil {
		return nil, err
	}
	b, err := r.Bytes(n)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, r.fault(at, "name is not UTF-8")
	}
	return b, nil
}

// ValType is a value type as the binary format writes it.
type ValType byte

// The value types of the Core Specification 2.0.
const (
	I32       ValType = 0x7f
	I64       ValType = 0x7e
	F32       ValType = 0x7d
	F64       ValType = 0x7c
	V128      ValType = 0x7b
	FuncRef   ValType = 0x70
	ExternRef ValType = 0x6f
)

// Valid reports whether t is a value type.
func (t ValType) Valid() bool { return t >= V128 && t <= I32 || t.IsRef() }

// IsRef reports whether t is a reference type.
func (t ValType) IsRef() bool { return t == FuncRef || t == ExternRef }

// String returns the type's name in the text format.
func (t ValType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	}
	return fmt.Sprintf("type %#02x", byte(t))
}

// ValType reads a value type.
func (r *Reader) ValType() (ValType, error) {
	at := r.pos
	b, err := r.Byte()
	if err != nil {
		return 0, err
	}
	if t := ValType(b); t.Valid() {
		return t, nil
	}
	return 0, r.fault(at, fmt.Sprintf("%#02x is not a value type", b))
}

// SectionID names a section of a module.
type SectionID byte

// The sections, by their ids.
const (
	SectionCustom SectionID = iota
	SectionType
	SectionImport
	SectionFunction
	SectionTable
	SectionMemory
	SectionGlobal
	SectionExport
	SectionStart
	SectionElement
	SectionCode
	SectionData
	SectionDataCount
)

var sectionNames = [...]string{
	"custom", "type", "import", "function", "table", "memory", "global",
	"export", "start", "element", "code", "data", "data count",
}

// String returns the section's name.
func (id SectionID) String() string {
	if int(id) < len(sectionNames) {
		return sectionNames[id]
	}
	return fmt.Sprintf("section %d", byte(id))
}

// Order returns the place of a section in a module, from 1; 0 for custom
// sections, which may stand anywhere, and -1 for unknown ones.
func (id SectionID) Order() int {
	switch {
	case id == SectionCustom:
		return 0
	case id <= SectionElement:
		return int(id)
	case id == SectionDataCount:
		return int(SectionElement) + 1
	case id == SectionCode || id == SectionData:
		return int(id) + 1
	}
	return -1
}

// Magic is how every core module begins: the magic number and version 1.
const Magic = "\x00asm\x01\x00\x00\x00"

// Section reads a section's id and size, and returns a reader of its contents.
func (r *Reader) Section() (SectionID, Reader, error) {
	id, err := r.Byte()
	if err != nil {
		return 0, Reader{}, err
	}
	n, err := r.U32()
	if err != nil {
		return 0, Reader{}, err
	}
	sub, err := r.Sub(n)
	if err != nil {
		return 0, Reader{}, r.fault(r.pos, fmt.Sprintf("%s section claims %d bytes, %d are left", SectionID(id), n, r.Len()))
	}
	return SectionID(id), sub, nil
}
