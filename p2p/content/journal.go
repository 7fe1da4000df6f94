package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"sync"
)

// pinRecord says how often an owner pins an object from now on.
type pinRecord struct {
	hash  Hash
	size  int64
	owner string
	count uint32
}

// A record on disk: pinMark, hash, size, count, length of the owner's name, the
// name, CRC-32C of all that. Numbers are big-endian.
const (
	pinMark     = 'p'
	pinHead     = 1 + len(Hash{}) + 8 + 4 + 1
	pinBytesMax = pinHead + OwnerNameBytesMax + 4

	// journalSlack is the number of records from which a journal that holds
	// more than twice what it needs is written anew.
	journalSlack = 4096
)

func (r pinRecord) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, pinMark)
	b = append(b, r.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = binary.BigEndian.AppendUint32(b, r.count)
	b = append(b, byte(len(r.owner)))
	b = append(b, r.owner...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parsePin reads the record at the start of b; n is zero if there is none.
func parsePin(b []byte) (r pinRecord, n int) {
	if len(b) < pinHead || b[0] != pinMark {
		return r, 0
	}
	name := int(b[pinHead-1])
	n = pinHead + name + 4
	if name < 1 || name > OwnerNameBytesMax || len(b) < n || crc32.Checksum(b[:n-4], castagnoli) != binary.BigEndian.Uint32(b[n-4:]) {
		return r, 0
	}
	size := binary.BigEndian.Uint64(b[1+len(Hash{}):])
	if size > ObjectBytesMax {
		return r, 0
	}
	r = pinRecord{hash: Hash(b[1:]), size: int64(size), owner: string(b[pinHead : n-4])}
	r.count = binary.BigEndian.Uint32(b[1+len(Hash{})+8:])
	return r, n
}

// parseJournal gives apply every whole record of b in order, and returns the
// bytes that belong to none. Behind damage it goes on with the next record that
// has its checksum: a pin too many is better than one that is lost.
func parseJournal(b []byte, apply func(pinRecord)) (records, damaged int) {
	for len(b) > 0 {
		r, n := parsePin(b)
		if n == 0 {
			b, damaged = b[1:], damaged+1
			continue
		}
		apply(r)
		b, records = b[n:], records+1
	}
	return records, damaged
}

// journal is the file of pins: appended to, synced for several at once, and
// written anew when most of it is history.
type journal struct {
	path, dir string

	// mu guards what follows; the store's lock is taken before it.
	mu      sync.Mutex
	f       *os.File
	bytes   int64
	records int
	buffer  []byte
	written uint64

	// syncing is held while the file is synced, and taken before mu.
	syncing sync.Mutex
	synced  uint64
}

// openJournal reads the pins, and writes the journal anew if it was damaged.
func (s *Store) openJournal() error {
	s.pins = &journal{path: s.dir(journalFile), dir: s.config.Dir}
	if err := os.Remove(s.pins.path + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(s.pins.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.pins.f = f
	b, err := io.ReadAll(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	records, damaged := parseJournal(b, s.apply)
	s.pins.records, s.pins.bytes = records, int64(len(b))
	if damaged > 0 {
		s.log.Warn("journal of pins was damaged or cut off", "bytes", damaged, "pins", s.pinCount)
	}
	if damaged > 0 || len(b) == 0 || s.pins.bloated(s.pinCount) {
		if err := s.pins.rewrite(s.records); err != nil {
			return errors.Join(err, s.pins.f.Close())
		}
	}
	return nil
}

// bloated reports whether most of the journal is history.
func (j *journal) bloated(live int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.records > journalSlack && j.records > 2*live
}

// append writes a record and returns the number to commit.
func (j *journal) append(r pinRecord) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buffer = r.appendTo(j.buffer[:0])
	if _, err := j.f.Write(j.buffer); err != nil {
		// Half a record would be skipped when the journal is read, but the
		// room is wanted.
		return 0, errors.Join(fmt.Errorf("write journal of pins: %w", err), j.f.Truncate(j.bytes))
	}
	j.bytes += int64(len(j.buffer))
	j.records++
	j.written++
	return j.written, nil
}

// commit returns when the record of that number is on disk. Calls that wait for
// one another share a sync.
func (j *journal) commit(seq uint64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= seq {
		return nil
	}
	j.mu.Lock()
	f, written := j.f, j.written
	j.mu.Unlock()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync journal of pins: %w", err)
	}
	j.synced = written
	return nil
}

// compact writes the journal anew, under the store's lock. If that fails the
// old one goes on.
func (s *Store) compact() {
	j := s.pins
	// Not while a sync runs: it has the old file.
	if !j.syncing.TryLock() {
		return
	}
	defer j.syncing.Unlock()
	if err := j.rewrite(s.records); err != nil {
		s.log.Warn("journal of pins stays long", "records", j.records, "error", err)
		return
	}
	j.synced = j.written
}

// rewrite replaces the file by one that holds these records only.
func (j *journal) rewrite(records iter.Seq[pinRecord]) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b []byte
	count := 0
	for r := range records {
		b = r.appendTo(b)
		count++
	}
	f, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(j.path+".new", j.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	old := j.f
	j.f, j.bytes, j.records = f, int64(len(b)), count
	_ = old.Close()
	return syncDir(j.dir)
}

// close syncs and ends the journal.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.f.Sync(), j.f.Close())
}
