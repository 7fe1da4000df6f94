package lint

import (
	"math"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// unknown stands on the operand stack for a value that code which is never
// reached would have left there.
const unknown = 0

// frame is a control frame. Results and params share memory with the module
// or with singles.
type frame struct {
	op      byte // of block, loop, if or else; 0 for the function
	dead    bool // the rest of it is never reached
	height  int  // of the operand stack at its beginning
	params  []byte
	results []byte
}

// label returns the types that a branch to f takes along.
func (f *frame) label() []byte {
	if f.op == byte(wasm.OpLoop) {
		return f.params
	}
	return f.results
}

// body is the state of the algorithm in the appendix of the specification,
// reused from function to function.
type body struct {
	ops    []byte // operand stack
	ctrl   []frame
	locals []byte
	floor  int  // height of the innermost frame
	dead   bool // the innermost frame's rest is never reached
	high   int  // greatest height so far
	pc     int
	end    int
	labels int // br_table targets so far
	in     wasm.Instr
	reader wasm.Reader // of the whole body
	cursor wasm.Reader // of what is being decoded
}

// singles lets a single value type be a list of types.
var singles = func() (t [256][1]byte) {
	for i := range t {
		t[i][0] = byte(i)
	}
	return t
}()

// readCode reads the code section.
func (c *checker) readCode(r *wasm.Reader) error {
	n, err := c.count(r, 3, "functions", c.limits.Functions, "function bodies")
	if err != nil {
		return err
	}
	if defined := uint32(len(c.funcs) - c.funcImports); n != defined {
		return invalid(r.Offset(), "%d functions are declared, %d have a body", defined, n)
	}
	c.bodies = n
	if readers := crewSize(r.Len()); readers > 1 && c.readTogether(r, int(n), readers) {
		return nil
	}
	if err := c.readBodies(r, 0, int(n), func(_, at int) error { return c.cost.book(c, at, c.cost.estimate(c)) }); err != nil {
		return err
	}
	c.function = -1
	return nil
}

// readBodies reads the bodies of the module's own functions from first to the one
// before end. It calls done for each that is valid, with the offset of its body.
func (c *checker) readBodies(r *wasm.Reader, first, end int, done func(i, at int) error) error {
	for i := first; i < end; i++ {
		c.function = c.funcImports + i
		sizeAt := r.Offset()
		size, err := r.U32()
		if err != nil {
			return err
		}
		if err := c.atMost(sizeAt, "body_bytes", uint64(size), uint64(c.limits.BodyBytes), "the body is %d bytes long"); err != nil {
			return err
		}
		sub, err := r.Sub(size)
		if err != nil {
			return err
		}
		at := sub.Offset()
		if err := c.readBody(&sub); err != nil {
			return err
		}
		if err := done(i, at); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) readBody(r *wasm.Reader) error {
	t := &c.types[c.funcs[c.function]]
	size := r.Len()
	if err := c.readLocals(r, t); err != nil {
		return err
	}
	b := &c.body
	b.ops, b.high, b.labels = b.ops[:0], 0, 0
	b.ctrl = append(b.ctrl[:0], frame{results: t.results})
	b.floor, b.dead = 0, false
	b.pc, b.end, b.reader, b.cursor = r.Offset(), r.End(), *r, *r
	c.cost.begin(c, len(b.locals))
	if err := c.run(b); err != nil {
		return err
	}
	if b.pc != b.end {
		return invalid(b.pc, "the function ends %d bytes before its size says", b.end-b.pc)
	}
	_, err := r.Bytes(uint32(r.Len()))
	c.report.CodeBytes += size
	c.report.BodyBytesMax = max(c.report.BodyBytesMax, size)
	c.report.OperandsMax = max(c.report.OperandsMax, b.high)
	return err
}

// readLocals expands the declared locals behind the parameters.
func (c *checker) readLocals(r *wasm.Reader, t *funcType) error {
	b := &c.body
	b.locals = append(b.locals[:0], t.params...)
	n, err := c.count(r, 2, "locals", math.MaxUint32, "groups of locals")
	if err != nil {
		return err
	}
	for range n {
		at := r.Offset()
		k, err := r.U32()
		if err != nil {
			return err
		}
		found := uint64(len(b.locals)) + uint64(k)
		if err := c.atMost(at, "locals", found, uint64(c.limits.Locals), "the function has %d locals"); err != nil {
			return err
		}
		typ, err := valType(r)
		if err != nil {
			return err
		}
		for range k {
			b.locals = append(b.locals, byte(typ))
		}
	}
	c.report.LocalsMax = max(c.report.LocalsMax, len(b.locals))
	c.report.LocalsTotal += len(b.locals)
	return c.atMost(r.Offset(), "locals_total", uint64(c.report.LocalsTotal), uint64(c.limits.LocalsTotal), "the functions so far have %d locals")
}

// run checks the instructions of a body. It keeps its place to itself while an
// instruction has immediates of one byte; everybody else finds it in the body.
func (c *checker) run(b *body) error {
	buf, cost := c.module[:b.end], &c.cost
	most, instrs, pc := int(c.limits.Operands), 0, b.pc
	for len(b.ctrl) > 0 {
		at := pc
		if at >= len(buf) {
			return invalid(at, "the function has no end")
		}
		s := &signatures[buf[at]]
		pc++
		instrs++
		ok := true
		switch s.class {
		case classPlain:
			ok = b.apply(s)
			cost.plain(s)
		case classMemory:
			if pc+1 < len(buf) && buf[pc] <= s.align && buf[pc+1] < 0x80 && c.memory {
				pc += 2
			} else {
				b.pc = pc
				if err := c.memoryAccess(b, at, s); err != nil {
					return err
				}
				pc = b.pc
			}
			ok = b.apply(s)
			cost.memory()
		case classConst32, classConst64:
			if pc < len(buf) && buf[pc] < 0x80 {
				pc++
			} else {
				b.pc = pc
				ok = b.skip(buf, s.class == classConst64)
				pc = b.pc
			}
			b.push(s.result)
			cost.plain(s)
		case classLocalGet, classLocalSet, classLocalTee:
			var x uint32
			if pc < len(buf) && buf[pc] < 0x80 {
				x = uint32(buf[pc])
				pc++
			} else {
				b.pc = pc
				x = b.longIndex(buf)
				pc = b.pc
			}
			if x >= uint32(len(b.locals)) {
				return c.noLocal(b, at, x)
			}
			if s.class == classLocalGet {
				b.push(b.locals[x])
				cost.get(int(x))
				break
			}
			ok = b.pop(b.locals[x])
			if s.class == classLocalTee {
				b.push(b.locals[x])
			}
			cost.set(int(x))
		default:
			b.pc = pc
			if err := c.structured(b, at, s); err != nil {
				return err
			}
			pc = b.pc
		}
		if !ok {
			return c.mismatch(b, at)
		}
		if len(b.ops) > b.high {
			if b.high = len(b.ops); b.high > most {
				return over(at, "operands", uint64(b.high), uint64(most), "the operand stack is %d high")
			}
		}
	}
	b.pc = pc
	c.report.Instructions += instrs
	return nil
}

// structured checks the instructions that are not plain.
func (c *checker) structured(b *body, at int, s *signature) error {
	if c.cost.full {
		return c.unaffordable(at, c.cost.budget+1e6)
	}
	buf := c.module
	switch s.class {
	case classGlobalGet, classGlobalSet:
		return c.global(b, at, s.class == classGlobalSet)
	case classBlock:
		return c.block(b, at)
	case classEnd:
		return c.endBlock(b, at)
	case classBr, classBrIf:
		return c.branch(b, at, s.class == classBrIf)
	case classCall:
		x := b.index(buf)
		if uint64(x) >= uint64(len(c.funcs)) {
			return c.noIndex(b, at, "function", x, len(c.funcs))
		}
		t := &c.types[c.funcs[x]]
		c.cost.call(t, false)
		if !b.popAll(t.params) {
			return c.mismatch(b, at)
		}
		b.pushAll(t.results)
		return nil
	}
	return c.other(b, at)
}
