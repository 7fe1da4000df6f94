package meter

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// code is a growing piece of a module in the binary format.
type code []byte

func (c *code) byte(b ...byte) { *c = append(*c, b...) }

func (c *code) op(ops ...wasm.Opcode) {
	for _, op := range ops {
		switch {
		case op < 0x100:
			*c = append(*c, byte(op))
		default:
			*c = append(*c, byte(0xfb+op>>8))
			c.u32(uint32(op & 0xff))
		}
	}
}

func (c *code) u32(v uint32) {
	for v >= 0x80 {
		*c = append(*c, byte(v)|0x80)
		v >>= 7
	}
	*c = append(*c, byte(v))
}

func (c *code) s64(v int64) {
	for v < -0x40 || v >= 0x40 {
		*c = append(*c, byte(v)|0x80)
		v >>= 7
	}
	*c = append(*c, byte(v)&0x7f)
}

// opU32 appends an instruction with one index.
func (c *code) opU32(op wasm.Opcode, x uint32) {
	if op < 0x100 && x < 0x80 {
		*c = append(*c, byte(op), byte(x))
		return
	}
	c.op(op)
	c.u32(x)
}

func (c *code) i32Const(v int32) {
	c.op(wasm.OpI32Const)
	c.s64(int64(v))
}

func (c *code) i64Const(v int64) {
	c.op(wasm.OpI64Const)
	c.s64(v)
}

func (c *code) name(s string) {
	c.u32(uint32(len(s)))
	*c = append(*c, s...)
}

// section appends a section with the given contents.
func (c *code) section(id wasm.SectionID, contents []byte) {
	c.byte(byte(id))
	c.u32(uint32(len(contents)))
	*c = append(*c, contents...)
}

// blockVoid is the block type of a block without parameters and results.
const blockVoid = 0x40

// Instructions that only the meter's own code uses.
const (
	opI32Eqz   wasm.Opcode = 0x45
	opI32Eq    wasm.Opcode = 0x46
	opI32LtS   wasm.Opcode = 0x48
	opI32LtU   wasm.Opcode = 0x49
	opI32GtU   wasm.Opcode = 0x4b
	opI32LeU   wasm.Opcode = 0x4d
	opI32GeS   wasm.Opcode = 0x4e
	opI64Eqz   wasm.Opcode = 0x50
	opI64GtU   wasm.Opcode = 0x56
	opI64And   wasm.Opcode = 0x83
	opI64Shl   wasm.Opcode = 0x86
	opI32ShrU  wasm.Opcode = 0x76
	opI32WrapI wasm.Opcode = 0xa7
	opI64ExtU  wasm.Opcode = 0xad
)
