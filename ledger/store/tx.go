package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/dugnad/dugnad/ledger"
)

// Keys in the state database begin with a byte that says whose they are.
const (
	spaceOwn  = 0 // the store's
	spaceData = 1 // the state machine's
)

// tx implements ledger.Tx on a snapshot and, for an update, an overlay.
type tx struct {
	read *badger.Txn
	// overlay and cache are nil in a transaction that only reads.
	overlay *overlay
	cache   *cache
	// floors are those of the generation, index is whose state is read; found are the
	// floors that an update has come upon.
	floors   *floors
	index    uint64
	found    []floor
	scanning int
	ended    bool
	key      []byte
}

// run calls f and ends the transaction, also when f panics.
func (t *tx) run(f func(tx ledger.Tx) error) error {
	defer t.read.Discard()
	defer func() { t.ended = true }()
	return f(t)
}

// stored returns key as it is in the database; valid until the next call.
func (t *tx) stored(key []byte) []byte {
	t.key = append(append(t.key[:0], spaceData), key...)
	return t.key
}

// Get implements ledger.Tx.
func (t *tx) Get(key []byte) ([]byte, error) {
	if t.ended {
		return nil, ErrEnded
	}
	k := t.stored(key)
	if t.overlay == nil {
		return get(t.read, k)
	}
	if w := t.overlay.get(k); w != nil {
		return w.value, nil
	}
	if value := t.cache.get(k); value != nil {
		return value, nil
	}
	value, err := get(t.read, k)
	t.cache.add(k, value)
	return value, err
}

// get returns the value of key, nil when there is none.
func get(read *badger.Txn, key []byte) ([]byte, error) {
	item, err := read.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get: %w", classify(err))
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("get: %w", classify(err))
	}
	if value == nil {
		value = []byte{}
	}
	return value, nil
}

// Set implements ledger.Tx.
func (t *tx) Set(key, value []byte) error {
	if len(value) > ValueBytesMax {
		return fmt.Errorf("%w: value of %d bytes, at most %d", ErrTooLarge, len(value), ValueBytesMax)
	}
	if value == nil {
		value = []byte{}
	}
	return t.put(key, value)
}

// Delete implements ledger.Tx.
func (t *tx) Delete(key []byte) error { return t.put(key, nil) }

func (t *tx) put(key, value []byte) error {
	switch {
	case t.ended:
		return ErrEnded
	case t.overlay == nil || t.scanning > 0:
		return ErrReadOnly
	case len(key) > KeyBytesMax:
		return fmt.Errorf("%w: key of %d bytes, at most %d", ErrTooLarge, len(key), KeyBytesMax)
	}
	t.overlay.put(t.stored(key), value)
	return nil
}

// Scan implements ledger.Tx.
func (t *tx) Scan(prefix, from []byte, visit func(key, value []byte) bool) error {
	if t.ended {
		return ErrEnded
	}
	t.scanning++
	defer func() { t.scanning-- }()
	prefix = append([]byte{spaceData}, prefix...)
	start := prefix
	if bytes.Compare(from, prefix[1:]) > 0 {
		start = append([]byte{spaceData}, from...)
	}
	if !bytes.HasPrefix(start, prefix) {
		return nil // from lies behind every key with the prefix
	}
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	// Without the prefix the iterator would go on behind the last key, through
	// all that was deleted there.
	o.Prefix = prefix
	it := t.read.NewIterator(o)
	defer it.Close()
	s := &scan{it: it, prefix: prefix, visit: visit}
	if t.overlay != nil && t.overlay.count > 0 {
		c := t.overlay.from(start)
		s.pending = &c
	}
	whole := len(start) == len(prefix)
	if whole {
		start = t.floors.find(prefix, t.index)
		s.finds = t.overlay != nil
	}
	it.Seek(start)
	err := s.run()
	if s.first != nil {
		// What this update has deleted is there at t.index.
		t.found = append(t.found, floor{prefix, s.first, t.index + 1})
	}
	return err
}

// scan merges what is stored with what is pending.
type scan struct {
	it      *badger.Iterator
	pending *cursor
	prefix  []byte
	visit   func(key, value []byte) bool
	value   []byte
	// first is a copy of the first key that there is, when finds asks for it.
	first []byte
	finds bool
}

func (s *scan) run() error {
	for {
		w := s.peek()
		stored := s.it.ValidForPrefix(s.prefix)
		if w == nil && !stored {
			return nil
		}
		order := 1 // what is pending comes first
		if w == nil {
			order = -1
		} else if stored {
			order = bytes.Compare(s.it.Item().Key(), w.key)
		}
		if order < 0 {
			item := s.it.Item()
			var err error
			if s.value, err = item.ValueCopy(s.value[:0]); err != nil {
				return fmt.Errorf("scan: %w", classify(err))
			}
			if s.value == nil {
				s.value = []byte{}
			}
			if !s.show(item.Key(), s.value) {
				return nil
			}
			s.it.Next()
			continue
		}
		if order == 0 {
			s.it.Next()
		}
		s.pending.next()
		if w.value != nil && !s.show(w.key, w.value) {
			return nil
		}
	}
}

func (s *scan) show(key, value []byte) bool {
	if s.finds {
		s.finds = false
		s.first = bytes.Clone(key)
	}
	return s.visit(key[1:], value)
}

func (s *scan) peek() *write {
	if s.pending == nil {
		return nil
	}
	if w := s.pending.peek(); w != nil && bytes.HasPrefix(w.key, s.prefix) {
		return w
	}
	return nil
}
