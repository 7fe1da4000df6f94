package executor

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/dugnad/dugnad/ledger"
)

// A journal is journalMagic and records: the length of the body and its CRC,
// four bytes each, little-endian, and the body, whose first byte is its kind. A
// record of kind recordRun puts a run at the end of the queue; recordTaken says
// that the ledger has taken so many from its front.
const (
	journalMagic = "dugnad executor journal 1\n"
	frameBytes   = 8

	recordRun   = 1
	recordTaken = 2

	// runBytesMax bounds the body of a record.
	runBytesMax = 160
	// digestless and digested say whether a run's digest follows; with sized, what it
	// stores and what it exchanged with the world outside come behind that.
	digestless, digested = 0, 1
	sized                = 2
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// entry is a run that waits for the ledger.
type entry struct {
	job   ledger.JobID
	epoch ledger.Epoch
	run   ledger.Run
	// bytes is what it takes in the journal.
	bytes int64
	// whole keeps it from being joined with others: it may have been sent
	// before, by an earlier process.
	whole bool
	// next is the task of the lease behind the run.
	next uint32
}

// appendRun appends the record of e to b.
func appendRun(b []byte, e *entry) []byte {
	start := len(b)
	b = append(b, make([]byte, frameBytes)...)
	b = append(b, recordRun)
	b = append(b, e.job[:]...)
	b = binary.AppendUvarint(b, uint64(e.epoch))
	b = binary.AppendUvarint(b, uint64(e.run.First))
	b = binary.AppendUvarint(b, uint64(e.run.Count))
	terminal := byte(0)
	if e.run.Terminal {
		terminal = 1
	}
	b = append(b, byte(e.run.State), e.run.Exit, terminal)
	b = binary.AppendUvarint(b, e.run.Usage.Fuel)
	b = binary.AppendUvarint(b, e.run.Usage.MemoryByteSeconds)
	b = binary.AppendUvarint(b, e.run.Usage.WallNanos)
	has := byte(digestless)
	if e.run.Digest != [32]byte{} {
		has = digested
	}
	if e.run.StoredBytes|e.run.Usage.EgressBytes != 0 {
		has |= sized
	}
	if b = append(b, has); has&digested != 0 {
		b = append(b, e.run.Digest[:]...)
	}
	if has&sized != 0 {
		b = binary.AppendUvarint(b, e.run.StoredBytes)
		b = binary.AppendUvarint(b, e.run.Usage.EgressBytes)
	}
	return seal(b, start)
}

// appendTaken appends the record that n runs were taken.
func appendTaken(b []byte, n int) []byte {
	start := len(b)
	b = append(b, make([]byte, frameBytes)...)
	b = append(b, recordTaken)
	return seal(binary.AppendUvarint(b, uint64(n)), start)
}

// seal fills in the frame of the record that begins at start.
func seal(b []byte, start int) []byte {
	body := b[start+frameBytes:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(body, crcTable))
	return b
}

// cutRecord takes a record's body off the front of b, if there is a whole one.
func cutRecord(b []byte) (body, rest []byte, ok bool) {
	if len(b) < frameBytes {
		return nil, nil, false
	}
	n, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	b = b[frameBytes:]
	if n == 0 || n > runBytesMax || uint64(n) > uint64(len(b)) || crc32.Checksum(b[:n], crcTable) != sum {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// readJournal returns the runs that wait according to the bytes of a journal,
// and how many of the bytes are sound; the others are a torn tail. It returns
// ErrJournal for what another version has written: a whole record of a kind or
// with values that are not known here.
func readJournal(b []byte) (waiting []entry, sound int, err error) {
	if len(b) < len(journalMagic) {
		return nil, 0, nil
	}
	if string(b[:len(journalMagic)]) != journalMagic {
		return nil, 0, fmt.Errorf("%w: it does not begin as a journal", ErrJournal)
	}
	rest := b[len(journalMagic):]
	for len(rest) > 0 {
		body, after, ok := cutRecord(rest)
		if !ok {
			break
		}
		size := int64(len(rest) - len(after))
		if waiting, err = replay(waiting, body, size); err != nil {
			return nil, 0, fmt.Errorf("read record at %d: %w", len(b)-len(rest), err)
		}
		rest = after
	}
	return waiting, len(b) - len(rest), nil
}

func replay(waiting []entry, body []byte, size int64) ([]entry, error) {
	c := cursor{b: body[1:]}
	switch body[0] {
	case recordRun:
		e := c.entry()
		if c.bad || len(c.b) != 0 {
			return nil, fmt.Errorf("%w: a run is malformed", ErrJournal)
		}
		e.bytes, e.whole = size, true
		return append(waiting, e), nil
	case recordTaken:
		n := c.uvarint(uint64(len(waiting)))
		if c.bad || len(c.b) != 0 {
			return nil, fmt.Errorf("%w: more runs are taken than wait", ErrJournal)
		}
		return waiting[n:], nil
	}
	return nil, fmt.Errorf("%w: kind %d is not known", ErrJournal, body[0])
}

// cursor reads the fields of a body; bad says that they were not all there.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > most {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) raw(to []byte) {
	if len(c.b) < len(to) {
		c.bad, c.b = true, nil
		return
	}
	copy(to, c.b)
	c.b = c.b[len(to):]
}

func (c *cursor) entry() (e entry) {
	const any64 = ^uint64(0)
	c.raw(e.job[:])
	e.epoch = ledger.Epoch(c.uvarint(any64))
	e.run.First = uint32(c.uvarint(ledger.CountMax - 1))
	e.run.Count = uint32(c.uvarint(ledger.LeaseTasksMax))
	var flags [3]byte
	c.raw(flags[:])
	e.run.State, e.run.Exit, e.run.Terminal = ledger.TaskState(flags[0]), flags[1], flags[2] == 1
	c.bad = c.bad || e.run.Count == 0 || !e.run.State.Final() || flags[2] > 1
	e.run.Usage.Fuel = c.uvarint(any64)
	e.run.Usage.MemoryByteSeconds = c.uvarint(any64)
	e.run.Usage.WallNanos = c.uvarint(any64)
	var has [1]byte
	c.raw(has[:])
	c.bad = c.bad || has[0] > digested|sized
	if has[0]&digested != 0 {
		c.raw(e.run.Digest[:])
	}
	if has[0]&sized != 0 {
		e.run.StoredBytes = c.uvarint(ledger.AmountMax)
		e.run.Usage.EgressBytes = c.uvarint(any64)
	}
	return e
}
