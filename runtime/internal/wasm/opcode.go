package wasm

import (
	"fmt"
	"strings"
)

// Opcode is an instruction: the byte of a plain one, 0x100 + n for the byte
// 0xfc followed by n, 0x200 + n for 0xfd followed by n.
type Opcode uint16

// The instructions that lint and meter treat one by one.
const (
	OpUnreachable  Opcode = 0x00
	OpNop          Opcode = 0x01
	OpBlock        Opcode = 0x02
	OpLoop         Opcode = 0x03
	OpIf           Opcode = 0x04
	OpElse         Opcode = 0x05
	OpEnd          Opcode = 0x0b
	OpBr           Opcode = 0x0c
	OpBrIf         Opcode = 0x0d
	OpBrTable      Opcode = 0x0e
	OpReturn       Opcode = 0x0f
	OpCall         Opcode = 0x10
	OpCallIndirect Opcode = 0x11
	OpDrop         Opcode = 0x1a
	OpSelect       Opcode = 0x1b
	OpSelectTyped  Opcode = 0x1c
	OpLocalGet     Opcode = 0x20
	OpLocalSet     Opcode = 0x21
	OpLocalTee     Opcode = 0x22
	OpGlobalGet    Opcode = 0x23
	OpGlobalSet    Opcode = 0x24
	OpTableGet     Opcode = 0x25
	OpTableSet     Opcode = 0x26
	OpMemorySize   Opcode = 0x3f
	OpMemoryGrow   Opcode = 0x40
	OpI32Const     Opcode = 0x41
	OpI64Const     Opcode = 0x42
	OpF32Const     Opcode = 0x43
	OpF64Const     Opcode = 0x44
	OpI32Add       Opcode = 0x6a
	OpI32Sub       Opcode = 0x6b
	OpI32Mul       Opcode = 0x6c
	OpI64Add       Opcode = 0x7c
	OpI64Sub       Opcode = 0x7d
	OpI64Mul       Opcode = 0x7e
	OpRefNull      Opcode = 0xd0
	OpRefIsNull    Opcode = 0xd1
	OpRefFunc      Opcode = 0xd2
	OpMemoryInit   Opcode = 0x108
	OpDataDrop     Opcode = 0x109
	OpMemoryCopy   Opcode = 0x10a
	OpMemoryFill   Opcode = 0x10b
	OpTableInit    Opcode = 0x10c
	OpElemDrop     Opcode = 0x10d
	OpTableCopy    Opcode = 0x10e
	OpTableGrow    Opcode = 0x10f
	OpTableSize    Opcode = 0x110
	OpTableFill    Opcode = 0x111
	OpV128Const    Opcode = 0x20c

	// opcodeCount is one more than the largest opcode.
	opcodeCount = 0x300
)

// Imm says what follows an opcode.
type Imm uint8

// The kinds of immediates.
const (
	ImmNone         Imm = iota
	ImmBlock            // a block type
	ImmLabel            // X is a label index
	ImmBrTable          // a vector of labels and a default: see Instr.Labels
	ImmFunc             // X is a function index
	ImmCallIndirect     // X is a type index, Y a table index
	ImmLocal            // X is a local index
	ImmGlobal           // X is a global index
	ImmTable            // X is a table index
	ImmMemArg           // X is the alignment's exponent, Offset the offset
	ImmMemArgLane       // as ImmMemArg, Y is the lane
	ImmMemory           // X is a memory index
	ImmMemory2          // X and Y are memory indices
	ImmMemoryInit       // X is a data segment index, Y a memory index
	ImmData             // X is a data segment index
	ImmTableInit        // X is an element segment index, Y a table index
	ImmElem             // X is an element segment index
	ImmTable2           // X and Y are table indices
	ImmI32              // Value
	ImmI64              // Value
	ImmF32              // 4 bytes
	ImmF64              // 8 bytes
	ImmV128             // 16 bytes
	ImmShuffle          // 16 lanes, each below 32
	ImmLane             // Y is the lane
	ImmRefType          // X is the reference type
	ImmSelectTypes      // X is the only type
)

// Op describes an instruction.
type Op struct {
	// Name is that of the text format; empty when there is no such instruction.
	Name string
	// Imm is what follows the opcode.
	Imm Imm
	// Params and Results are the operand types, unless Special.
	Params, Results []ValType
	// Special marks instructions whose operands depend on more than the
	// opcode: control, variables, references, select.
	Special bool
	// Width is the number of bytes that a memory instruction touches.
	Width uint8
	// Lanes is the number of lanes of a lane instruction.
	Lanes uint8
}

// Lookup returns the description of op, or nil when there is no such
// instruction in the Core Specification 2.0.
func Lookup(op Opcode) *Op {
	if op < opcodeCount && ops[op].Name != "" {
		return &ops[op]
	}
	return nil
}

// String returns the name of the instruction in the text format.
func (op Opcode) String() string {
	if o := Lookup(op); o != nil {
		return o.Name
	}
	if op >= 0x200 {
		return fmt.Sprintf("opcode 0xfd %#02x", uint16(op-0x200))
	}
	if op >= 0x100 {
		return fmt.Sprintf("opcode 0xfc %#02x", uint16(op-0x100))
	}
	return fmt.Sprintf("opcode %#02x", uint16(op))
}

var ops = table()

// immPrefixed stands for a byte that is no instruction by itself.
const immPrefixed Imm = 0xff

// imms tells what follows an opcode of one byte, close together.
var imms = func() *[256]Imm {
	var t [256]Imm
	for b := range t {
		if t[b] = immPrefixed; ops[b].Name != "" {
			t[b] = ops[b].Imm
		}
	}
	return &t
}()

// table builds the opcode table from the families below.
func table() *[opcodeCount]Op {
	var t [opcodeCount]Op
	for _, f := range families {
		fields := strings.Fields(f.names)
		for i, name := range fields {
			if name == "-" {
				continue
			}
			name, sig, ok := strings.Cut(name, "=")
			if !ok {
				sig = f.sig
			}
			op := &t[int(f.first)+i]
			op.Name, op.Imm, op.Lanes = f.prefix+name, f.imm, f.lanes
			if op.Width = f.width; f.width == 0 {
				op.Width = widthOf(op.Imm, op.Name)
			}
			params, results, plain := strings.Cut(sig, ":")
			op.Special = !plain
			if plain {
				op.Params, op.Results = valTypes(params), valTypes(results)
			}
		}
	}
	return &t
}

func valTypes(s string) []ValType {
	if s == "" {
		return nil
	}
	ts := make([]ValType, len(s))
	for i := range s {
		switch s[i] {
		case 'i':
			ts[i] = I32
		case 'I':
			ts[i] = I64
		case 'f':
			ts[i] = F32
		case 'F':
			ts[i] = F64
		case 'v':
			ts[i] = V128
		}
	}
	return ts
}

// widthOf derives how many bytes a memory instruction touches from its name:
// "i64.load16_s" touches 2, "v128.load8x8_u" 8, "f64.store" 8.
func widthOf(imm Imm, name string) uint8 {
	if imm != ImmMemArg && imm != ImmMemArgLane {
		return 0
	}
	kind, access, _ := strings.Cut(name, ".")
	access = strings.TrimPrefix(strings.TrimPrefix(access, "load"), "store")
	switch {
	case strings.Contains(access, "x"):
		return 8
	case strings.HasPrefix(access, "8"):
		return 1
	case strings.HasPrefix(access, "16"):
		return 2
	case strings.HasPrefix(access, "32"):
		return 4
	case strings.HasPrefix(access, "64"):
		return 8
	}
	switch kind {
	case "i32", "f32":
		return 4
	case "i64", "f64":
		return 8
	}
	return 16
}
