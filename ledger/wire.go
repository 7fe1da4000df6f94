package ledger

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// wire writes or reads the fields of a record, in one order that is written
// down once for both directions. Integers are varints, texts and lists are
// length-prefixed. An encoding begins with its version; a field that is added
// later goes to the end, behind `if w.since(2, it is set)`, and no field is ever
// removed, so that every version reads what those before it have written. What
// uses no field of a later version is written as before, byte for byte: replicas
// of the earlier program go on as long as nobody uses what they do not know.
// A decoder allocates in proportion to its input, but for masks, which take up
// to LeaseTasksMax bits.
type wire struct {
	decoding bool
	version  uint8
	// newest is the latest version that the fields so far know, needed the one
	// that a field which is set asks for.
	newest, needed uint8
	buf            []byte // what was written, or what is left to read
	err            error  // the first error while reading
}

// wireVersion is the latest version of an encoding.
const wireVersion = 3

// fielder is a value whose fields go through a wire.
type fielder interface{ fields(w *wire) }

// encode returns v in the lowest version that holds all of it.
func encode(v fielder) []byte {
	w := wire{buf: make([]byte, 0, 128)}
	return w.encode(v)
}

// encode does the same in a buffer that the next call uses again.
func (w *wire) encode(v fielder) []byte {
	w.write(func() {
		w.buf = append(w.buf[:0], w.version)
		v.fields(w)
	})
	return w.buf
}

// write calls what writes an encoding, again when it turns out to need a later
// version.
func (w *wire) write(whole func()) {
	w.version, w.needed = 1, 1
	whole()
	if w.needed > w.version {
		w.version = w.needed
		whole()
	}
}

// since reports whether the fields that a version has added are part of the
// encoding. Writing, they are when one of them is set.
func (w *wire) since(version uint8, set bool) bool {
	w.newest = max(w.newest, version)
	if set && !w.decoding {
		w.needed = max(w.needed, version)
	}
	return w.version >= version
}

// unknown reports whether the version that is read is one in which what was read
// has no fields yet: a later program wrote it.
func (w *wire) unknown() bool { return w.version == 0 || w.version > max(w.newest, 1) }

// decode reads v from what encode has made.
func decode(b []byte, v fielder) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	w := wire{decoding: true, version: b[0], buf: b[1:]}
	if w.version <= wireVersion {
		v.fields(&w)
	}
	if w.unknown() {
		return fmt.Errorf("%w: version %d, want 1 to %d", ErrMalformed, w.version, max(w.newest, 1))
	}
	if w.err == nil && len(w.buf) != 0 {
		w.fail("trailing bytes")
	}
	return w.err
}

func (w *wire) fail(what string) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	w.buf = nil
}

func (w *wire) u64(p *uint64) {
	if !w.decoding {
		w.buf = binary.AppendUvarint(w.buf, *p)
		return
	}
	v, n := binary.Uvarint(w.buf)
	if n <= 0 {
		w.fail("number")
		return
	}
	*p, w.buf = v, w.buf[n:]
}

func (w *wire) i64(p *int64) {
	if !w.decoding {
		w.buf = binary.AppendVarint(w.buf, *p)
		return
	}
	v, n := binary.Varint(w.buf)
	if n <= 0 {
		w.fail("number")
		return
	}
	*p, w.buf = v, w.buf[n:]
}

func (w *wire) u32(p *uint32) {
	v := uint64(*p)
	w.u64(&v)
	if w.decoding {
		if v > 1<<32-1 {
			w.fail("number above 32 bits")
			return
		}
		*p = uint32(v)
	}
}

func (w *wire) u8(p *uint8) {
	if !w.decoding {
		w.buf = append(w.buf, *p)
		return
	}
	if len(w.buf) == 0 {
		w.fail("byte")
		return
	}
	*p, w.buf = w.buf[0], w.buf[1:]
}

func (w *wire) bool(p *bool) {
	var v uint8
	if *p {
		v = 1
	}
	w.u8(&v)
	if w.decoding {
		if v > 1 {
			w.fail("neither true nor false")
		}
		*p = v == 1
	}
}

func (w *wire) time(p *Time) { w.i64((*int64)(p)) }

// fixed writes or reads exactly len(p) bytes.
func (w *wire) fixed(p []byte) {
	if !w.decoding {
		w.buf = append(w.buf, p...)
		return
	}
	if len(w.buf) < len(p) {
		w.fail("short")
		return
	}
	w.buf = w.buf[copy(p, w.buf):]
}

func (w *wire) bytes(p *[]byte) {
	if !w.decoding {
		w.buf = binary.AppendUvarint(w.buf, uint64(len(*p)))
		w.buf = append(w.buf, *p...)
		return
	}
	if b := w.take(); len(b) > 0 {
		*p = append([]byte(nil), b...)
	}
}

// text writes or reads a string type.
func text[S ~string](w *wire, p *S) {
	if !w.decoding {
		w.buf = binary.AppendUvarint(w.buf, uint64(len(*p)))
		w.buf = append(w.buf, *p...)
		return
	}
	*p = S(w.take())
}

// take reads a length-prefixed part, without copying it.
func (w *wire) take() []byte {
	var n uint64
	w.u64(&n)
	if n > uint64(len(w.buf)) {
		w.fail("length beyond the end")
		return nil
	}
	b := w.buf[:n]
	w.buf = w.buf[n:]
	return b
}

// list writes or reads a slice, one call of each per element. Every element
// takes at least one byte.
func list[T any](w *wire, p *[]T, each func(*T)) {
	n := uint64(len(*p))
	w.u64(&n)
	if w.decoding {
		if n > uint64(len(w.buf)) {
			w.fail("list beyond the end")
			return
		}
		if n > 0 {
			// Grown step by step: an element in memory is larger than a byte.
			*p = make([]T, 0, min(n, 16))
		}
		for ; n > 0 && w.err == nil; n-- {
			var v T
			each(&v)
			*p = append(*p, v)
		}
		return
	}
	for i := range *p {
		each(&(*p)[i])
	}
}

// The forms of a range.
const (
	rangeWhole = iota
	rangeRuns  // lengths of stretches in and out by turns, the last one left out
	rangeBits  // a bit per task from First on, the lowest bit first
)

func (w *wire) tasks(r *Range) {
	if w.decoding {
		*r = w.readRange()
		return
	}
	span := r.End - r.First
	w.u32(&r.First)
	w.u32(&span)
	if r.mask == nil {
		w.buf = append(w.buf, rangeWhole)
		return
	}
	mark := len(w.buf)
	w.buf = append(w.buf, rangeRuns)
	limit := mark + 1 + int(span+7)/8
	last := r.First
	r.Runs(func(first, end uint32) {
		if len(w.buf) > limit {
			return
		}
		if first > r.First {
			w.buf = binary.AppendUvarint(w.buf, uint64(first-last))
		}
		w.buf = binary.AppendUvarint(w.buf, uint64(end-first))
		last = end
	})
	if len(w.buf) < limit {
		return
	}
	w.buf = append(w.buf[:mark], rangeBits)
	w.buf = append(w.buf, make([]byte, (span+7)/8)...)
	raw := w.buf[mark+1:]
	from := base(r.First)
	for i, word := range r.mask {
		for ; word != 0; word &= word - 1 {
			at := from + uint32(i*64+bits.TrailingZeros64(word)) - r.First
			raw[at/8] |= 1 << (at % 8)
		}
	}
}

func (w *wire) readRange() Range {
	var first, span uint32
	var form uint8
	w.u32(&first)
	w.u32(&span)
	w.u8(&form)
	if w.err != nil {
		return Range{}
	}
	switch {
	case first > CountMax || span > CountMax-first || form > rangeBits,
		form == rangeWhole && span == 0 && first != 0,
		form != rangeWhole && (span == 0 || span > LeaseTasksMax):
		w.fail("range")
		return Range{}
	case form == rangeWhole:
		return Tasks(first, first+span)
	}
	words := newWords(first, first+span)
	if form == rangeRuns {
		// The encoder takes fewer bytes than bits would; so must what is read.
		for at, in := uint32(0), true; at < span; in = !in {
			var n uint32
			w.u32(&n)
			if w.err != nil || n == 0 || n > span-at {
				w.fail("stretch of a range")
				return Range{}
			}
			if in {
				Tasks(first+at, first+at+n).fill(words, base(first))
			}
			at += n
		}
	} else {
		raw := make([]byte, (span+7)/8)
		w.fixed(raw)
		for i := range span {
			if at := first + i - base(first); raw[i/8]>>(i%8)&1 == 1 {
				words[at/64] |= 1 << (at % 64)
			}
		}
	}
	r := tight(words, base(first))
	if r.First != first || r.End != first+span || r.mask == nil {
		w.fail("range that is not tight")
		return Range{}
	}
	return r
}
