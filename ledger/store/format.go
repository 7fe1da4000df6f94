package store

import (
	"encoding/binary"
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
