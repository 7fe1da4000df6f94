package meter

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// plainKind tells where a plain instruction ends: most code is made of
// instructions that do nothing to control flow, and need no decoding.
type plainKind uint8

const (
	plainNot plainKind = iota
	plainBare
	// plainLocal is followed by an index of one byte.
	plainLocal
	// plainConst is followed by one integer of any length.
	plainConst
	// plainMemory is followed by an alignment of one byte and an offset.
	plainMemory
)

// plainOp is what the passes have to know of a plain instruction.
type plainOp struct {
	kind plainKind
	cost uint8
	// height is what it adds to the operands.
	height int8
}

// plainOps has an entry for each opcode of one byte.
var plainOps = func() *[256]plainOp {
	var t [256]plainOp
	for op := range wasm.Opcode(len(t)) {
		info := wasm.Lookup(op)
		if info == nil {
			continue
		}
		kind := plainNot
		switch {
		case op == wasm.OpLocalGet || op == wasm.OpLocalSet || op == wasm.OpLocalTee:
			kind = plainLocal
		case info.Special:
		case info.Imm == wasm.ImmNone:
			kind = plainBare
		case info.Imm == wasm.ImmMemArg:
			kind = plainMemory
		case info.Imm == wasm.ImmI32 || info.Imm == wasm.ImmI64:
			kind = plainConst
		}
		if kind != plainNot {
			t[op] = plainOp{kind, costs[op], int8(operands(op, info))}
		}
	}
	return &t
}()

// plainEnd returns where the instruction of that kind at offset at of b ends, or
// 0 when it has to be decoded. What it skips is copied as it is: an integer that
// is too long stays one.
func plainEnd(b []byte, at int, kind plainKind) int {
	switch kind {
	case plainBare:
		return at + 1
	case plainLocal:
		// One less than the largest byte, so that one more is a byte as well.
		if at+1 < len(b) && b[at+1] < 0x7f {
			return at + 2
		}
		return 0
	case plainConst:
		at++
	case plainMemory:
		if at+1 >= len(b) || b[at+1] >= 0x20 {
			return 0
		}
		at += 2
	default:
		return 0
	}
	for ; at < len(b); at++ {
		if b[at] < 0x80 {
			return at + 1
		}
	}
	return 0
}

// plain copies plain instructions, up to the first other one or where a check is
// due. Locals behind the parameters have moved by one.
func (f *function) plain(r *wasm.Reader) {
	b, from := f.bytes[:r.End()], r.Offset()
	at, fuel, most := from, 0, checkEvery-f.unchecked
	moved := f.moved[:0]
	for at < len(b) {
		op := plainOps[b[at]]
		end := plainEnd(b, at, op.kind)
		if end == 0 || fuel+int(op.cost) > most {
			break
		}
		if op.kind == plainLocal && uint32(b[at+1]) >= f.state {
			moved = append(moved, at+1-from)
		}
		fuel += int(op.cost)
		at = end
	}
	f.moved = moved
	if at == from {
		return
	}
	base := len(f.out)
	f.out = append(f.out, b[from:at]...)
	for _, x := range moved {
		f.out[base+x]++
	}
	f.spend(fuel)
	r.Skip(at - from)
}

// plain steps over plain instructions of live code.
func (s *scanner) plain(r *wasm.Reader) error {
	b, from := s.bytes[:r.End()], r.Offset()
	at, height, highest, lowest, fuel := from, s.height, s.heightMax, s.height, uint64(0)
	for at < len(b) {
		op := plainOps[b[at]]
		end := plainEnd(b, at, op.kind)
		if end == 0 {
			break
		}
		fuel += uint64(op.cost)
		height += int(op.height)
		highest, lowest = max(highest, height), min(lowest, height)
		at = end
	}
	if lowest < 0 {
		return errOperand(from)
	}
	s.height, s.heightMax = height, highest
	s.fuel += fuel
	r.Skip(at - from)
	return nil
}

// plain steps over plain instructions.
func (l *lap) plain(r *wasm.Reader) {
	b, from := l.bytes[:r.End()], r.Offset()
	at := from
	for at < len(b) {
		op := plainOps[b[at]]
		end := plainEnd(b, at, op.kind)
		if end == 0 {
			break
		}
		if !l.dead {
			l.now.fuel += int(op.cost)
		}
		at = end
	}
	r.Skip(at - from)
}
