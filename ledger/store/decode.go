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
		return nil, h, &FormatError{What: fmt.Sprintf("version is %d, this program reads %d", v, snapshotVersion), cause: ErrVersion}
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
