package store

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Snapshot is the state at one index. It stays as it is, and costs disk space
// for what is overwritten meanwhile, until Close.
type Snapshot struct {
	header Header
	view   *view
	once   sync.Once
}

// Snapshot takes a snapshot; the header's index is filled in. It is quick: the
// work is in WriteTo. The store's Close waits for the snapshot's.
func (s *Store) Snapshot(h Header) (*Snapshot, error) {
	v, err := s.acquireView()
	if err != nil {
		return nil, err
	}
	h.Index = v.index
	return &Snapshot{header: h, view: v}, nil
}

// Header returns the header, with the index.
func (s *Snapshot) Header() Header { return s.header }

// Index returns the update up to which the snapshot goes.
func (s *Snapshot) Index() uint64 { return s.header.Index }

// WriteTo writes the snapshot. It can be called several times until Close, and
// writes the same bytes each time. The tables that it was read from are verified
// before the end is written, because Badger leaves a damaged block out without
// a word.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	e, err := newEncoder(w, s.header)
	if err != nil {
		return 0, err
	}
	db := s.view.generation.db
	read := db.NewTransactionAt(s.header.Index, false)
	defer read.Discard()
	if err := eachRecord(read, e.add); err != nil {
		return e.written, err
	}
	if err := verifyOpen(db); err != nil {
		return e.written, fmt.Errorf("verify what was read: %w", err)
	}
	return e.written, e.end()
}

// Close lets go of the snapshot.
func (s *Snapshot) Close() error {
	s.once.Do(s.view.release)
	return nil
}

// eachRecord calls f with every key and value of the state machine.
func eachRecord(read *badger.Txn, f func(key, value []byte) error) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{spaceData}
	it := read.NewIterator(o)
	defer it.Close()
	var value []byte
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		var err error
		if value, err = item.ValueCopy(value[:0]); err != nil {
			return fmt.Errorf("read state: %w", classify(err))
		}
		if err := f(item.Key()[1:], value); err != nil {
			return err
		}
	}
	return nil
}

// ReadHeader reads a snapshot's header.
func ReadHeader(r io.Reader) (Header, error) {
	_, h, err := newDecoder(r)
	return h, err
}

// Verify reads a whole snapshot and returns what is in it, or what is wrong.
func Verify(r io.Reader) (Header, Totals, error) {
	d, h, err := newDecoder(r)
	if err != nil {
		return h, Totals{}, err
	}
	err = d.each(func(_, _ []byte) error { return nil })
	return h, d.totals, err
}

// Records calls f with the records of a snapshot, in order. Only when it returns
// nil was the snapshot whole.
func Records(r io.Reader, f func(key, value []byte) error) (Header, Totals, error) {
	d, h, err := newDecoder(r)
	if err != nil {
		return h, Totals{}, err
	}
	err = d.each(f)
	return h, d.totals, err
}

// Restore replaces the state by a snapshot; Applied becomes the snapshot's
// index, whether it is higher or lower. It builds a new database beside the
// present one and switches when all of it is durable: after an error or a crash
// the store is as before. Views and snapshots that are open keep what they see.
// The Raft log is not touched.
func (s *Store) Restore(r io.Reader) (Header, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.writable(); err != nil {
		return Header{}, err
	}
	d, h, err := newDecoder(r)
	if err != nil {
		return h, err
	}
	s.mu.Lock()
	old := s.generation
	s.mu.Unlock()
	b, err := s.newBuilder(old.number+1, h.Index)
	if err != nil {
		return h, err
	}
	if err := d.each(b.add); err != nil {
		return h, errors.Join(fmt.Errorf("restore: %w", err), b.abandon())
	}
	g, err := b.finish()
	if err != nil {
		return h, err
	}
	s.mu.Lock()
	s.generation, s.applied = g, h.Index
	s.mu.Unlock()
	old.obsolete.Store(true)
	old.release()
	return h, nil
}

// builder fills a new generation with sorted records.
type builder struct {
	store      *Store
	generation *generation
	index      uint64
	stream     *badger.StreamWriter
	buffer     *z.Buffer
	pending    int
}

// builderBytes is what a builder collects before it hands it to Badger.
const builderBytes = 1 << 20

// recordOverhead is about what a record takes there beside its bytes.
const recordOverhead = 64

func (s *Store) newBuilder(number, index uint64) (*builder, error) {
	g, err := s.openGeneration(number)
	if err != nil {
		return nil, err
	}
	b := &builder{store: s, generation: g, index: index, stream: g.db.NewStreamWriter()}
	if err := b.stream.Prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare state: %w", classify(err)), b.abandon())
	}
	b.buffer = z.NewBuffer(2*builderBytes, "restore")
	if index > 0 {
		b.put(appliedKey, mark{index: index}.append(nil))
	}
	return b, nil
}

func (b *builder) put(key, value []byte) {
	badger.KVToBuffer(&pb.KV{Key: key, Value: value, Version: b.index, StreamId: 1}, b.buffer)
	b.pending += len(key) + len(value) + recordOverhead
}

// add appends a record.
func (b *builder) add(key, value []byte) error {
	if b.index == 0 {
		return &FormatError{What: "records at index 0"}
	}
	b.put(append([]byte{spaceData}, key...), value)
	if b.pending < builderBytes {
		return nil
	}
	if err := b.store.room(); err != nil {
		return err
	}
	return b.flush()
}

func (b *builder) flush() error {
	if b.pending == 0 {
		return nil
	}
	err := b.stream.Write(b.buffer)
	b.buffer.Reset()
	b.pending = 0
	return classify(err)
}

// abandon removes what was built.
func (b *builder) abandon() error {
	if b.buffer != nil {
		b.stream.Cancel()
	}
	return b.drop()
}

func (b *builder) drop() error {
	if b.buffer != nil {
		_ = b.buffer.Release()
		b.buffer = nil
	}
	b.generation.obsolete.Store(true)
	b.generation.release()
	return nil
}

// finish makes the new generation durable and the one that counts.
func (b *builder) finish() (*generation, error) {
	err := b.flush()
	if err == nil {
		err = classify(b.stream.Flush())
	} else {
		b.stream.Cancel()
	}
	if err == nil {
		err = classify(b.store.syncFile(b.generation.dir))
	}
	if err == nil {
		err = b.store.setCurrent(b.generation.number)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("finish state: %w", err), b.drop())
	}
	_ = b.buffer.Release()
	b.generation.synced = b.index // tables are synced when they are made
	return b.generation, nil
}
