package lint

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// decode decodes the instruction at offset at into b.in.
func (c *checker) decode(b *body, at int) error {
	b.cursor.Seek(at)
	if err := c.next(&b.cursor, &b.in); err != nil {
		return err
	}
	b.pc = b.cursor.Offset()
	return nil
}

// next decodes an instruction and names the feature that a malformed one
// belongs to. The numbers behind a prefix must be in their shortest form:
// wazero reads one byte of those of vector instructions, and its interpreter of
// others too, so that a padded one would mean something else to it than to
// everybody else, and hide instructions from the meter.
func (c *checker) next(r *wasm.Reader, in *wasm.Instr) error {
	at := r.Offset()
	if err := r.Next(in); err != nil {
		return c.named(at, err)
	}
	if b := c.module[at]; (b == 0xfc || b == 0xfd) && c.module[at+1] >= 0x80 && c.module[at+2] != 1 {
		return &Refusal{
			Code: CodeFeature + "padded_opcode", Offset: at, Function: -1, Detail: fmt.Sprintf("the number of %s is padded with zero bits", in.Op),
			Help: "write instruction numbers in their shortest form; any optimiser or `wasm-tools print` and `parse` does",
		}
	}
	return nil
}

// named tells malformed immediates from those of later features.
func (c *checker) named(at int, err error) error {
	var e *wasm.SyntaxError
	if !errors.As(err, &e) || e.Offset >= len(c.module) {
		return err
	}
	b, what := c.module[e.Offset], fmt.Sprintf("the immediate of instruction %#02x", c.module[at])
	switch e.Detail {
	case "zero byte expected for the memory index":
		return feature(at, featMultiMemory, what)
	case "alignment is not a power of two below 2^32":
		if b >= 0x40 && b < 0x80 {
			return feature(at, featMultiMemory, what)
		}
	case "not a block type", fmt.Sprintf("%#02x is not a value type", b), fmt.Sprintf("%#02x is not a reference type", b):
		if f := typeFeature(b); f != nil {
			return feature(at, f, what)
		}
	}
	return err
}

// mismatch explains what the instruction at offset at lacks.
func (c *checker) mismatch(b *body, at int) error {
	r := b.reader.At(at)
	if err := c.next(&r, &b.in); err != nil {
		return err
	}
	return invalid(at, "%s finds other operands than it needs", b.in.Op)
}

// noIndex refuses index x, or the malformed integer in its place.
func (c *checker) noIndex(b *body, at int, what string, x uint32, count int) error {
	r := b.reader.At(at)
	if err := c.next(&r, &b.in); err != nil {
		return err
	}
	return invalid(at, "%s names %s %d, there are %d", b.in.Op, what, x, count)
}

func (c *checker) noLocal(b *body, at int, x uint32) error {
	return c.noIndex(b, at, "local", x, len(b.locals))
}

// memoryAccess reads an alignment and an offset.
func (c *checker) memoryAccess(b *body, at int, s *signature) error {
	if !c.memory {
		return c.noIndex(b, at, "memory", 0, 0)
	}
	align := b.index(c.module)
	if align > uint32(s.align) {
		return c.misaligned(b, at, align)
	}
	before := b.pc
	if b.index(c.module) == math.MaxUint32 && b.pc == before {
		return c.mismatch(b, at)
	}
	return nil
}

func (c *checker) misaligned(b *body, at int, align uint32) error {
	r := b.reader.At(at)
	if err := c.next(&r, &b.in); err != nil {
		return err
	}
	return invalid(at, "%s is aligned to 2^%d bytes, more than it touches", b.in.Op, align)
}

func (c *checker) global(b *body, at int, set bool) error {
	x := b.index(c.module)
	if uint64(x) >= uint64(len(c.globals)) {
		return c.noIndex(b, at, "global", x, len(c.globals))
	}
	g := c.globals[x]
	c.cost.global()
	if !set {
		b.push(byte(g.typ))
		return nil
	}
	if !g.mutable {
		return invalid(at, "global.set names global %d, which never changes", x)
	}
	if !b.pop(byte(g.typ)) {
		return c.mismatch(b, at)
	}
	return nil
}

// block opens a block, loop or if.
func (c *checker) block(b *body, at int) error {
	op, params, results, err := c.blockType(b, at)
	if err != nil {
		return err
	}
	if op == wasm.OpIf && !b.pop(byte(wasm.I32)) || !b.popAll(params) {
		return c.mismatch(b, at)
	}
	c.report.Blocks++
	if op == wasm.OpLoop {
		c.report.Loops++
	}
	b.enter(byte(op), params, results)
	depth := len(b.ctrl) - 1
	c.report.NestingMax = max(c.report.NestingMax, depth)
	c.cost.open(op, len(params), len(results))
	return c.atMost(at, "nesting", uint64(depth), uint64(c.limits.Nesting), "blocks are nested %d deep")
}

// blockVoid is the type of a block without parameters and results.
const blockVoid = 0x40

// blockType reads the opcode of a block and its type.
func (c *checker) blockType(b *body, at int) (op wasm.Opcode, params, results []byte, err error) {
	if b.pc < b.end && c.module[b.pc] == blockVoid {
		b.pc++
		return wasm.Opcode(c.module[at]), nil, nil, nil
	}
	if err := c.decode(b, at); err != nil {
		return 0, nil, nil, err
	}
	switch b.in.BlockKind {
	case wasm.BlockValue:
		results = singles[byte(b.in.X)][:]
	case wasm.BlockIndex:
		if uint64(b.in.X) >= uint64(len(c.types)) {
			return 0, nil, nil, invalid(at, "%s names type %d, there are %d", b.in.Op, b.in.X, len(c.types))
		}
		params, results = c.types[b.in.X].params, c.types[b.in.X].results
	}
	return b.in.Op, params, results, nil
}

func (c *checker) endBlock(b *body, at int) error {
	c.cost.end()
	f, ok := b.leave()
	if !ok {
		return invalid(at, "the block's end finds other values than its results")
	}
	if f.op == byte(wasm.OpIf) && !bytes.Equal(f.params, f.results) {
		return invalid(at, "an if without else has results other than its parameters")
	}
	b.pushAll(f.results)
	return nil
}

func (c *checker) elseBlock(b *body, at int) error {
	c.cost.els()
	f, ok := b.leave()
	if !ok {
		return invalid(at, "else finds other values than the results of its if")
	}
	if f.op != byte(wasm.OpIf) {
		return invalid(at, "else belongs to no if")
	}
	b.enter(byte(wasm.OpElse), f.params, f.results)
	return nil
}

// target returns the frame that label x names.
func (c *checker) target(b *body, at int, x uint32) (*frame, error) {
	if uint64(x) >= uint64(len(b.ctrl)) {
		return nil, c.noIndex(b, at, "label", x, len(b.ctrl))
	}
	return &b.ctrl[len(b.ctrl)-1-int(x)], nil
}

func (c *checker) branch(b *body, at int, conditional bool) error {
	x := b.index(c.module)
	f, err := c.target(b, at, x)
	if err != nil {
		return err
	}
	label := f.label()
	if conditional && !b.pop(byte(wasm.I32)) || !b.popAll(label) {
		return c.mismatch(b, at)
	}
	if conditional {
		b.pushAll(label)
		c.cost.branchIf(int(x))
		return nil
	}
	c.cost.branch(int(x))
	c.cost.stop()
	b.unreachable()
	return nil
}

// branchTable checks every label once against the operands. A run of the same
// label is checked once; what a change of label costs is booked as work.
func (c *checker) branchTable(b *body, at int) error {
	if !b.pop(byte(wasm.I32)) {
		return c.mismatch(b, at)
	}
	n := int(b.in.Labels) + 1
	if err := c.atMost(at, "br_table", uint64(n), uint64(c.limits.BrTable), "br_table has %d targets"); err != nil {
		return err
	}
	b.labels += n
	if err := c.atMost(at, "br_table_total", uint64(b.labels), uint64(c.limits.BrTableTotal), "the br_tables of the function have %d targets"); err != nil {
		return err
	}
	c.report.BrTableMax = max(c.report.BrTableMax, n)
	r := b.reader.At(b.in.LabelsAt)
	var previous []byte
	arity := -1
	for range n {
		x, err := r.U32()
		if err != nil {
			return err
		}
		f, err := c.target(b, at, x)
		if err != nil {
			return err
		}
		label := f.label()
		if arity < 0 {
			arity = len(label)
		}
		if len(label) != arity {
			return invalid(at, "br_table names labels that take %d and %d values", arity, len(label))
		}
		if previous == nil || !bytes.Equal(previous, label) {
			if !b.peekAll(label) {
				return c.mismatch(b, at)
			}
			previous = label
		}
		c.cost.tableBranch(int(x), arity)
	}
	c.cost.stop()
	b.unreachable()
	return nil
}

// peekAll is popAll without taking anything.
func (b *body) peekAll(ts []byte) bool {
	for i, k := len(b.ops)-1, len(ts)-1; k >= 0; i, k = i-1, k-1 {
		if i < b.floor {
			return b.dead
		}
		if got := b.ops[i]; got != ts[k] && got != unknown {
			return false
		}
	}
	return true
}

// callIndirect checks the table and the type.
func (c *checker) callIndirect(b *body, at int) error {
	if uint64(b.in.Y) >= uint64(len(c.tables)) {
		return c.noIndex(b, at, "table", b.in.Y, len(c.tables))
	}
	if c.tables[b.in.Y].elem != wasm.FuncRef {
		return invalid(at, "call_indirect uses table %d, which does not hold functions", b.in.Y)
	}
	if uint64(b.in.X) >= uint64(len(c.types)) {
		return c.noIndex(b, at, "type", b.in.X, len(c.types))
	}
	t := &c.types[b.in.X]
	c.cost.call(t, true)
	if !b.pop(byte(wasm.I32)) || !b.popAll(t.params) {
		return c.mismatch(b, at)
	}
	b.pushAll(t.results)
	return nil
}
