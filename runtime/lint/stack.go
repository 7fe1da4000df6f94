package lint

import (
	"math"
)

// index reads an unsigned integer; a malformed one gives the greatest value,
// which is never a valid index.
func (b *body) index(buf []byte) uint32 {
	if b.pc < b.end && buf[b.pc] < 0x80 {
		b.pc++
		return uint32(buf[b.pc-1])
	}
	return b.longIndex(buf)
}

// longIndex is index for more than one byte.
func (b *body) longIndex(buf []byte) uint32 {
	if b.pc+1 < b.end && buf[b.pc+1] < 0x80 {
		b.pc += 2
		return uint32(buf[b.pc-2]&0x7f) | uint32(buf[b.pc-1])<<7
	}
	r := b.reader.At(b.pc)
	x, err := r.U32()
	if err != nil {
		return math.MaxUint32
	}
	b.pc = r.Offset()
	return x
}

// skip passes over a signed integer of 32 or 64 bits.
func (b *body) skip(buf []byte, wide bool) bool {
	// 4 bytes have 28 bits, which no integer lacks room for.
	for at := b.pc; at < min(b.pc+4, b.end); at++ {
		if buf[at] < 0x80 {
			b.pc = at + 1
			return true
		}
	}
	r := b.reader.At(b.pc)
	var err error
	if wide {
		_, err = r.S64()
	} else {
		_, err = r.S32()
	}
	if err == nil {
		b.pc = r.Offset()
	}
	return err == nil
}

func (b *body) push(t byte) { b.ops = append(b.ops, t) }

func (b *body) pushAll(ts []byte) { b.ops = append(b.ops, ts...) }

// pop takes an operand of type t.
func (b *body) pop(t byte) bool {
	n := len(b.ops) - 1
	if n < b.floor {
		return b.dead
	}
	got := b.ops[n]
	b.ops = b.ops[:n]
	return got == t || got == unknown || t == unknown
}

// popAny takes an operand of any type.
func (b *body) popAny() (byte, bool) {
	n := len(b.ops) - 1
	if n < b.floor {
		return unknown, b.dead
	}
	got := b.ops[n]
	b.ops = b.ops[:n]
	return got, true
}

// popAll takes operands of types ts, the last one first.
func (b *body) popAll(ts []byte) bool {
	for i := len(ts) - 1; i >= 0; i-- {
		if !b.pop(ts[i]) {
			return false
		}
	}
	return true
}

// apply takes the operands of s and leaves its result.
func (b *body) apply(s *signature) bool {
	n := len(b.ops) - int(s.params)
	if n >= b.floor {
		switch s.params {
		case 1:
			if b.ops[n] != s.param[0] {
				return b.applySlowly(s)
			}
		case 2:
			if b.ops[n] != s.param[0] || b.ops[n+1] != s.param[1] {
				return b.applySlowly(s)
			}
		default:
			return b.applySlowly(s)
		}
		b.ops = b.ops[:n]
		if s.results != 0 {
			b.ops = append(b.ops, s.result)
		}
		return true
	}
	return b.applySlowly(s)
}

func (b *body) applySlowly(s *signature) bool {
	if !b.popAll(s.param[:s.params]) {
		return false
	}
	if s.results != 0 {
		b.push(s.result)
	}
	return true
}

// unreachable marks the rest of the innermost frame as never reached.
func (b *body) unreachable() {
	b.ops = b.ops[:b.floor]
	b.dead = true
	b.ctrl[len(b.ctrl)-1].dead = true
}

// enter opens a frame and leaves its parameters on the stack.
func (b *body) enter(op byte, params, results []byte) {
	b.floor, b.dead = len(b.ops), false
	b.ctrl = grown(b.ctrl)
	// Field by field: a frame that is made and copied is read before it is written.
	f := &b.ctrl[len(b.ctrl)-1]
	f.op, f.dead, f.height, f.params, f.results = op, false, b.floor, params, results
	b.pushAll(params)
}

// grown returns s with one more element, whatever was there before.
func grown[T any](s []T) []T {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var t T
	return append(s, t)
}

// leave closes the innermost frame, whose results must be all that it left. The
// frame is there until the next is entered.
func (b *body) leave() (*frame, bool) {
	f := &b.ctrl[len(b.ctrl)-1]
	if !b.popAll(f.results) || len(b.ops) != f.height {
		return f, false
	}
	b.ctrl = b.ctrl[:len(b.ctrl)-1]
	if n := len(b.ctrl); n > 0 {
		b.floor, b.dead = b.ctrl[n-1].height, b.ctrl[n-1].dead
	}
	return f, true
}
