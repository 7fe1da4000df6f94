package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/cespare/xxhash/v2"
)

// A snapshot is one stream, the same for Raft, followers and backup files.
// Numbers are little-endian; every sum is xxHash64.
//
//	magic    "dugnad\x00s"
//	header   version u16, length u32, body, sum u64 of magic to body
//	         body: index u64, time i64 (ns since 1970), uvarint length + grid,
//	         uvarint length + writer
//	block*   'B', records u32, length u32, body, sum u64 of 'B' to body
//	         body: records: uvarint key length, uvarint value length, key, value
//	end      'E', records u64, bytes of keys and values u64,
//	         sum u64 of all sums before, sum u64 of 'E' to that sum
//
// Keys ascend through all blocks. Nothing follows the end.
const (
	snapshotMagic   = "dugnad\x00s"
	snapshotVersion = 1

	headerBytesMax = 4 << 10
	// blockBytes is where the writer ends a block; blockBytesMax is the most
	// that a reader takes into memory: one record beyond blockBytes.
	blockBytes    = 256 << 10
	blockBytesMax = blockBytes + KeyBytesMax + ValueBytesMax + 2*binary.MaxVarintLen64
)

// Header says what a snapshot is of.
type Header struct {
	// Index is the update up to which the state goes.
	Index uint64
	// Time is when it was taken, Grid whose it is, Writer what program wrote
	// it. Snapshot and Restore hand them on without looking; together they are
	// at most 4 KiB.
	Time   time.Time
	Grid   string
	Writer string
}

// Totals are the counts at the end of a snapshot.
type Totals struct {
	Records uint64
	// Bytes are those of keys and values.
	Bytes uint64
}

// FormatError says where a snapshot is damaged. It wraps ErrCorrupt.
type FormatError struct {
	// Offset is the byte at which the damaged part begins.
	Offset int64
	What   string
	cause  error
}

// Error implements error.
func (e *FormatError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("snapshot at byte %d: %s: %v", e.Offset, e.What, e.cause)
	}
	return fmt.Sprintf("snapshot at byte %d: %s", e.Offset, e.What)
}

// Unwrap makes every FormatError an ErrCorrupt.
func (e *FormatError) Unwrap() []error {
	if e.cause != nil {
		return []error{ErrCorrupt, e.cause}
	}
	return []error{ErrCorrupt}
}

// encoder writes a snapshot.
type encoder struct {
	w       io.Writer
	written int64
	block   []byte
	count   uint32
	totals  Totals
	all     hash.Hash64
}

func newEncoder(w io.Writer, h Header) (*encoder, error) {
	e := &encoder{w: w, all: xxhash.New()}
	body := binary.LittleEndian.AppendUint64(nil, h.Index)
	var nanos int64
	if !h.Time.IsZero() {
		nanos = h.Time.UnixNano()
	}
	body = binary.LittleEndian.AppendUint64(body, uint64(nanos))
	for _, s := range []string{h.Grid, h.Writer} {
		body = append(binary.AppendUvarint(body, uint64(len(s))), s...)
	}
	if len(body) > headerBytesMax {
		return nil, fmt.Errorf("%w: snapshot header of %d bytes, at most %d", ErrTooLarge, len(body), headerBytesMax)
	}
	b := append([]byte(nil), snapshotMagic...)
	b = binary.LittleEndian.AppendUint16(b, snapshotVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return e, e.write(append(b, body...))
}

// write writes a part and its sum.
func (e *encoder) write(part []byte) error {
	sum := binary.LittleEndian.AppendUint64(nil, xxhash.Sum64(part))
	e.all.Write(sum)
	for _, p := range [][]byte{part, sum} {
		n, err := e.w.Write(p)
		e.written += int64(n)
		if err != nil {
			return fmt.Errorf("write snapshot: %w", classify(err))
		}
	}
	return nil
}

// blockHead is the length of what precedes a block's body.
const blockHead = 9

// add appends a record. Keys must ascend.
func (e *encoder) add(key, value []byte) error {
	if e.count == 0 {
		e.block = append(e.block[:0], make([]byte, blockHead)...)
	}
	e.block = binary.AppendUvarint(e.block, uint64(len(key)))
	e.block = binary.AppendUvarint(e.block, uint64(len(value)))
	e.block = append(append(e.block, key...), value...)
	e.count++
	e.totals.Records++
	e.totals.Bytes += uint64(len(key) + len(value))
	if len(e.block) < blockBytes {
		return nil
	}
	return e.flush()
}

func (e *encoder) flush() error {
	if e.count == 0 {
		return nil
	}
	e.block[0] = 'B'
	binary.LittleEndian.PutUint32(e.block[1:], e.count)
	binary.LittleEndian.PutUint32(e.block[5:], uint32(len(e.block)-blockHead))
	e.count = 0
	return e.write(e.block)
}

func (e *encoder) end() error {
	if err := e.flush(); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint64([]byte{'E'}, e.totals.Records)
	b = binary.LittleEndian.AppendUint64(b, e.totals.Bytes)
	return e.write(binary.LittleEndian.AppendUint64(b, e.all.Sum64()))
}

// decoder reads a snapshot and believes nothing.
type decoder struct {
	r      *bufio.Reader
	offset int64 // of the part at hand
	size   int64 // of the part so far
	sum    *xxhash.Digest
	all    hash.Hash64
	totals Totals
	last   []byte
	block  []byte
}

// newDecoder reads the header.
func newDecoder(r io.Reader) (*decoder, Header, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 64<<10), sum: xxhash.New(), all: xxhash.New()}
	var h Header
	fixed := make([]byte, len(snapshotMagic)+6)
	if err := d.read(fixed, "header"); err != nil {
		return nil, h, err
	}
	if !bytes.HasPrefix(fixed, []byte(snapshotMagic)) {
		return nil, h, d.bad("not a snapshot of a ledger")
	}
	fixed = fixed[len(snapshotMagic):]
	if v := binary.LittleEndian.Uint16(fixed); v != snapshotVersion {
		return nil, h, d.bad(fmt.Sprintf("version is %d, this program reads %d", v, snapshotVersion))
	}
	n := binary.LittleEndian.Uint32(fixed[2:])
	if n < 18 || n > headerBytesMax {
		return nil, h, d.bad(fmt.Sprintf("header of %d bytes", n))
	}
	body := make([]byte, n)
	if err := d.read(body, "header"); err != nil {
		return nil, h, err
	}
	if err := d.check("header"); err != nil {
		return nil, h, err
	}
	h.Index = binary.LittleEndian.Uint64(body)
	if nanos := int64(binary.LittleEndian.Uint64(body[8:])); nanos != 0 {
		h.Time = time.Unix(0, nanos)
	}
	rest := body[16:]
	for _, s := range []*string{&h.Grid, &h.Writer} {
		size, k := binary.Uvarint(rest)
		if k <= 0 || size > uint64(len(rest)-k) {
			return nil, h, d.bad("header's texts")
		}
		*s, rest = string(rest[k:k+int(size)]), rest[k+int(size):]
	}
	if len(rest) > 0 {
		return nil, h, d.bad("header is too long")
	}
	return d, h, nil
}

func (d *decoder) bad(what string) error { return &FormatError{Offset: d.offset, What: what} }

// read fills b from the part at hand.
func (d *decoder) read(b []byte, what string) error {
	n, err := io.ReadFull(d.r, b)
	d.size += int64(n)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Offset: d.offset + d.size, What: what + " is cut off"}
	case err != nil:
		return fmt.Errorf("read snapshot: %w", err)
	}
	_, _ = d.sum.Write(b)
	return nil
}

// check reads the part's sum and goes on to the next part.
func (d *decoder) check(what string) error {
	want := d.sum.Sum64()
	var sum [8]byte
	if err := d.read(sum[:], what); err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint64(sum[:]); got != want {
		return d.bad(fmt.Sprintf("%s: sum is %016x, content gives %016x", what, got, want))
	}
	d.all.Write(sum[:])
	d.offset += d.size
	d.size = 0
	d.sum.Reset()
	return nil
}

// each calls f with every record, in order, and returns nil only when the
// snapshot is whole to its last byte. Key and value are valid during the call.
func (d *decoder) each(f func(key, value []byte) error) error {
	for {
		var kind [1]byte
		if err := d.read(kind[:], "next block"); err != nil {
			return err
		}
		switch kind[0] {
		case 'B':
			if err := d.eachInBlock(f); err != nil {
				return err
			}
		case 'E':
			return d.readEnd()
		default:
			return d.bad(fmt.Sprintf("block of unknown kind %#02x", kind[0]))
		}
	}
}

func (d *decoder) eachInBlock(f func(key, value []byte) error) error {
	var head [blockHead - 1]byte
	if err := d.read(head[:], "block"); err != nil {
		return err
	}
	count, n := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	if n > blockBytesMax || count == 0 || uint64(count)*2 > uint64(n) {
		return d.bad(fmt.Sprintf("block of %d records in %d bytes", count, n))
	}
	if cap(d.block) < int(n) {
		d.block = make([]byte, n)
	}
	body := d.block[:n]
	start := d.offset
	if err := d.read(body, "block"); err != nil {
		return err
	}
	if err := d.check("block"); err != nil {
		return err
	}
	bad := func(what string) error { return &FormatError{Offset: start, What: what} }
	for range count {
		keyLen, a := binary.Uvarint(body)
		if a <= 0 {
			return bad("record's key length")
		}
		valueLen, b := binary.Uvarint(body[a:])
		if b <= 0 {
			return bad("record's value length")
		}
		body = body[a+b:]
		if keyLen > KeyBytesMax || valueLen > ValueBytesMax || keyLen+valueLen > uint64(len(body)) {
			return bad(fmt.Sprintf("record of %d and %d bytes", keyLen, valueLen))
		}
		key, value := body[:keyLen], body[keyLen:keyLen+valueLen]
		body = body[keyLen+valueLen:]
		if d.totals.Records > 0 && bytes.Compare(key, d.last) <= 0 {
			return bad("keys do not ascend")
		}
		d.last = append(d.last[:0], key...)
		d.totals.Records++
		d.totals.Bytes += keyLen + valueLen
		if err := f(key, value); err != nil {
			return err
		}
	}
	if len(body) > 0 {
		return bad(fmt.Sprintf("%d bytes behind a block's last record", len(body)))
	}
	return nil
}

func (d *decoder) readEnd() error {
	all := d.all.Sum64()
	var b [24]byte
	if err := d.read(b[:], "end"); err != nil {
		return err
	}
	if err := d.check("end"); err != nil {
		return err
	}
	got := Totals{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
	if got != d.totals {
		return d.bad(fmt.Sprintf("end counts %+v, there were %+v", got, d.totals))
	}
	if binary.LittleEndian.Uint64(b[16:]) != all {
		return d.bad("end's sum of all blocks does not match: one is missing or moved")
	}
	if _, err := d.r.ReadByte(); err == nil {
		return d.bad("data behind the end")
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read snapshot: %w", err)
	}
	return nil
}
