package wasm

import "fmt"

// BlockVoid marks a block type without parameters and results, BlockValue one
// with a single result, BlockIndex one that a type index gives.
const (
	BlockVoid = iota
	BlockValue
	BlockIndex
)

// Instr is one decoded instruction. Reader.Next overwrites all of it.
type Instr struct {
	Op Opcode
	// Info describes Op; it is never nil after Next.
	Info *Op
	// Start and End are the offsets of the opcode and behind the immediates.
	Start, End int
	// X and Y are immediates: see the Imm constants.
	X, Y uint32
	// Value is the immediate of a constant, or the offset of a memory access.
	Value int64
	// BlockKind tells how to read X of a block: nothing, a ValType, an index.
	BlockKind int
	// Labels is the number of labels of a br_table, without the default; they
	// are read again with Reader.At(LabelsAt).
	Labels   uint32
	LabelsAt int
}

// Seek moves to an offset of the reader's range.
func (r *Reader) Seek(offset int) { r.pos = offset }

// At returns a reader of the same range that starts at offset.
func (r *Reader) At(offset int) Reader { return NewReader(r.buf, offset, r.end) }

// Next decodes one instruction into in. An instruction outside the Core
// Specification 2.0 is an *OpcodeError.
func (r *Reader) Next(in *Instr) error {
	start := r.pos
	if start >= r.end {
		return r.fault(start, "unexpected end")
	}
	b := r.buf[start]
	imm := imms[b]
	if imm == immPrefixed {
		return r.prefixed(in)
	}
	r.pos++
	in.Op, in.Info, in.Start = Opcode(b), &ops[b], start
	if imm != ImmNone && !r.short(in, imm) {
		if err := r.immediates(in); err != nil {
			return err
		}
	}
	in.End = r.pos
	return nil
}

// short reads the immediates of most instructions: one byte that is an index
// or the type of a block. It reports false for what has to be read at length.
func (r *Reader) short(in *Instr, imm Imm) bool {
	if r.pos >= r.end {
		return false
	}
	b := r.buf[r.pos]
	switch imm {
	case ImmLabel, ImmFunc, ImmLocal, ImmGlobal:
		if b >= 0x80 {
			return false
		}
		in.X = uint32(b)
	case ImmBlock:
		if b != blockVoid {
			return false
		}
		in.BlockKind, in.X = BlockVoid, 0
	default:
		return false
	}
	r.pos++
	return true
}

// blockVoid is the type of a block without parameters and results.
const blockVoid = 0x40

// prefixed decodes an instruction of more than one byte, or an unknown one.
func (r *Reader) prefixed(in *Instr) error {
	start := r.pos
	b, err := r.Byte()
	if err != nil {
		return err
	}
	if b != 0xfc && b != 0xfd {
		return &OpcodeError{Offset: start, Code: uint32(b)}
	}
	n, err := r.U32()
	if err != nil {
		return err
	}
	if n > 0xff {
		return &OpcodeError{Offset: start, Prefix: b, Code: n}
	}
	op := Opcode(n) + 0x100*Opcode(b-0xfb)
	info := Lookup(op)
	if info == nil {
		return &OpcodeError{Offset: start, Prefix: b, Code: n}
	}
	in.Op, in.Info, in.Start = op, info, start
	if info.Imm != ImmNone {
		if err := r.immediates(in); err != nil {
			return err
		}
	}
	in.End = r.pos
	return nil
}

// OpcodeError is returned for an instruction that the Core Specification 2.0
// does not have.
type OpcodeError struct {
	Offset int
	// Prefix is 0xfc, 0xfd or 0.
	Prefix byte
	Code   uint32
}

// Error implements error.
func (e *OpcodeError) Error() string {
	if e.Prefix != 0 {
		return fmt.Sprintf("unknown instruction %#02x %#02x at offset %#x", e.Prefix, e.Code, e.Offset)
	}
	return fmt.Sprintf("unknown instruction %#02x at offset %#x", e.Code, e.Offset)
}

func (r *Reader) immediates(in *Instr) (err error) {
	switch in.Info.Imm {
	case ImmBlock:
		return r.blockType(in)
	case ImmLabel, ImmFunc, ImmLocal, ImmGlobal, ImmTable, ImmData, ImmElem:
		in.X, err = r.U32()
	case ImmCallIndirect, ImmTableInit, ImmTable2:
		err = r.pair(in)
	case ImmBrTable:
		return r.brTable(in)
	case ImmMemArg, ImmMemArgLane:
		return r.memArg(in)
	case ImmMemory:
		in.X, err = r.memory()
	case ImmMemory2:
		if in.X, err = r.memory(); err == nil {
			in.Y, err = r.memory()
		}
	case ImmMemoryInit:
		if in.X, err = r.U32(); err == nil {
			in.Y, err = r.memory()
		}
	case ImmI32:
		var v int32
		v, err = r.S32()
		in.Value = int64(v)
	case ImmI64:
		in.Value, err = r.S64()
	case ImmF32:
		_, err = r.Bytes(4)
	case ImmF64:
		_, err = r.Bytes(8)
	case ImmV128:
		_, err = r.Bytes(16)
	case ImmShuffle:
		return r.shuffle()
	case ImmLane:
		return r.lane(in)
	case ImmRefType:
		return r.refType(in)
	case ImmSelectTypes:
		return r.selectTypes(in)
	}
	return err
}

func (r *Reader) pair(in *Instr) (err error) {
	if in.X, err = r.U32(); err != nil {
		return err
	}
	in.Y, err = r.U32()
	return err
}

// memory reads the memory index of an instruction, which the Core
// Specification 2.0 fixes to a zero byte.
func (r *Reader) memory() (uint32, error) {
	at := r.pos
	b, err := r.Byte()
	if err == nil && b != 0 {
		err = r.fault(at, "zero byte expected for the memory index")
	}
	return 0, err
}

func (r *Reader) blockType(in *Instr) error {
	at := r.pos
	v, err := r.S33()
	if err != nil {
		return err
	}
	switch {
	case v >= 0:
		in.BlockKind, in.X = BlockIndex, uint32(v)
		return nil
	case v == -64:
		in.BlockKind, in.X = BlockVoid, 0
		return nil
	}
	if t := ValType(v & 0x7f); v >= -64 && t.Valid() {
		in.BlockKind, in.X = BlockValue, uint32(t)
		return nil
	}
	return r.fault(at, "not a block type")
}

func (r *Reader) brTable(in *Instr) error {
	at := r.pos
	n, err := r.U32()
	if err != nil {
		return err
	}
	if uint64(n) > uint64(r.Len()) {
		return r.fault(at, fmt.Sprintf("br_table claims %d labels, %d bytes are left", n, r.Len()))
	}
	in.Labels, in.LabelsAt = n, r.pos
	for i := uint32(0); i <= n; i++ {
		if _, err := r.U32(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) memArg(in *Instr) error {
	at := r.pos
	x, err := r.U32()
	if err != nil {
		return err
	}
	if x >= 32 {
		return r.fault(at, "alignment is not a power of two below 2^32")
	}
	offset, err := r.U32()
	if err != nil {
		return err
	}
	in.X, in.Value = x, int64(offset)
	if in.Info.Imm == ImmMemArgLane {
		return r.lane(in)
	}
	return nil
}

func (r *Reader) lane(in *Instr) error {
	at := r.pos
	b, err := r.Byte()
	if err != nil {
		return err
	}
	if b >= in.Info.Lanes {
		return r.fault(at, fmt.Sprintf("lane %d of %d", b, in.Info.Lanes))
	}
	in.Y = uint32(b)
	return nil
}

func (r *Reader) shuffle() error {
	at := r.pos
	lanes, err := r.Bytes(16)
	if err != nil {
		return err
	}
	for _, l := range lanes {
		if l >= 32 {
			return r.fault(at, fmt.Sprintf("shuffle lane %d of 32", l))
		}
	}
	return nil
}

func (r *Reader) refType(in *Instr) error {
	at := r.pos
	b, err := r.Byte()
	if err != nil {
		return err
	}
	if !ValType(b).IsRef() {
		return r.fault(at, fmt.Sprintf("%#02x is not a reference type", b))
	}
	in.X = uint32(b)
	return nil
}

func (r *Reader) selectTypes(in *Instr) error {
	at := r.pos
	n, err := r.U32()
	if err != nil {
		return err
	}
	if n != 1 {
		return r.fault(at, fmt.Sprintf("select names %d types, 1 expected", n))
	}
	t, err := r.ValType()
	in.X = uint32(t)
	return err
}
