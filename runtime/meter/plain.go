package meter

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// plainOp is what the passes have to know of a plain instruction: most code is
// made of instructions that do nothing to control flow, and need no decoding.
// The three words are held against the eight bytes that begin with the opcode:
// where one ends is computed and not decided, because a processor cannot
// foresee what instruction comes next.
type plainOp struct {
	// ends has the top bits of the bytes in which the instruction ends if they
	// are clear, last that of the byte in which it ends in any case.
	ends, last uint64
	// deny has the bits that must be clear in bytes that need no decoding.
	deny uint32
	// local is 1 in the byte that is the index of a local.
	local uint32
	// usual is the bit of the byte in which it mostly ends, usually its length then.
	usual   uint32
	usually uint8
	cost    uint8
	// height is what it adds to the operands.
	height int8
}

// plainBytes is how many bytes are looked at for one instruction: what is
// longer has to be decoded.
const plainBytes = 8

const topBits = 0x8080808080808080

// plainOps has an entry for each opcode of one byte. Those of other
// instructions end nowhere.
var plainOps = func() (t [256]plainOp) {
	for op := range wasm.Opcode(len(t)) {
		info := wasm.Lookup(op)
		if info == nil {
			continue
		}
		p := plainOp{cost: costs[op], height: int8(operands(op, info))}
		switch {
		case op == wasm.OpLocalGet || op == wasm.OpLocalSet || op == wasm.OpLocalTee:
			// Its index is one byte, and one more is a byte as well.
			p.last, p.local, p.deny = 1<<15, 1<<8, 1<<15
		case op == wasm.OpDrop || op == wasm.OpSelect:
			p.last = 1 << 7
		case op == wasm.OpGlobalGet || op == wasm.OpGlobalSet:
			p.ends = topBits &^ 0xff
		case info.Special:
			continue
		case info.Imm == wasm.ImmNone:
			p.last = 1 << 7
		case info.Imm == wasm.ImmMemArg:
			// An alignment of one byte, and an offset.
			p.ends, p.deny = topBits&^0xffff, 0xe000
		case info.Imm == wasm.ImmI32 || info.Imm == wasm.ImmI64:
			p.ends = topBits &^ 0xff
		default:
			continue
		}
		p.usually = uint8(bits.TrailingZeros64(p.ends|p.last)+1) >> 3
		p.usual = 1 << (8*p.usually - 1)
		t[op] = p
	}
	return t
}()

// end has a bit where the instruction ends that w begins with. It is 0 when that
// has to be decoded, and so it has when denies says so.
func (p *plainOp) end(w uint64) uint64 { return ^w&p.ends | p.last }

func (p *plainOp) denies(w uint64) bool { return (uint32(w)|(uint32(w)+p.local))&p.deny != 0 }

// length returns the length of an instruction from what end returned. Where it is
// as usual, what comes next can be looked at before the end is known.
func (p *plainOp) length(end uint64) int {
	if uint32(end)&p.usual != 0 {
		return int(p.usually)
	}
	return (bits.TrailingZeros64(end) + 1) >> 3
}

// plainStop returns where the last instruction of a body may begin that is looked
// at: eight bytes of the module are read. One that reaches beyond the body's end
// is no worse than a body that stops there.
func (m *module) plainStop(r *wasm.Reader) int { return min(r.End(), len(m.bytes)-plainBytes+1) }

// plain writes plain instructions, up to the first other one or where a check is
// due.
func (f *function) plain(r *wasm.Reader) {
	from := r.Offset()
	if fuel := f.copyPlain(r, checkEvery-f.since.check); r.Offset() > from {
		f.spend(fuel)
		f.ranFrom, f.ranTo = from, r.Offset()
	}
}

// copyPlain copies plain instructions that cost at most so much, and returns what
// they cost. Locals behind the parameters have moved by one. What it skips is
// copied as it is: an integer that is too long stays one.
func (f *function) copyPlain(r *wasm.Reader, most int) int {
	f.out = slices.Grow(f.out, r.Len()+plainBytes)
	b, out, done := f.bytes, f.out[:cap(f.out)], len(f.out)
	at, stop := r.Offset(), f.plainStop(r)
	state, left := int64(f.state), int32(most)
	for at < stop {
		w := binary.LittleEndian.Uint64(b[at : at+plainBytes : at+plainBytes])
		op := &plainOps[byte(w)]
		end := op.end(w)
		if end == 0 || op.denies(w) || int32(op.cost) > left {
			break
		}
		left -= int32(op.cost)
		moved := uint64(op.local) &^ uint64((int64(w>>8&0xff)-state)>>63)
		binary.LittleEndian.PutUint64(out[done:done+plainBytes:done+plainBytes], w+moved)
		n := op.length(end)
		at += n
		done += n
	}
	f.out = out[:done]
	r.Skip(at - r.Offset())
	return most - int(left)
}

// plain steps over plain instructions of live code.
func (s *scanner) plain(r *wasm.Reader) error {
	b, at, stop := s.bytes, r.Offset(), s.plainStop(r)
	height, highest, signs, fuel := s.height, s.heightMax, 0, 0
	for at < stop {
		w := binary.LittleEndian.Uint64(b[at : at+plainBytes : at+plainBytes])
		op := &plainOps[byte(w)]
		end := op.end(w)
		if end == 0 || op.denies(w) {
			break
		}
		fuel += int(op.cost)
		height += int(op.height)
		highest = max(highest, height)
		signs |= height
		at += op.length(end)
	}
	if signs < 0 {
		return errOperand(r.Offset())
	}
	s.height, s.heightMax = height, highest
	s.fuel += uint64(fuel)
	r.Skip(at - r.Offset())
	return nil
}

// plain steps over plain instructions.
func (l *lap) plain(r *wasm.Reader) {
	b, at, stop := l.bytes, r.Offset(), l.plainStop(r)
	fuel := 0
	for at < stop {
		w := binary.LittleEndian.Uint64(b[at : at+plainBytes : at+plainBytes])
		op := &plainOps[byte(w)]
		end := op.end(w)
		if end == 0 || op.denies(w) {
			break
		}
		fuel += int(op.cost)
		at += op.length(end)
	}
	if !l.dead {
		l.now.fuel += fuel
	}
	r.Skip(at - r.Offset())
}
