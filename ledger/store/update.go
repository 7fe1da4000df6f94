package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/dugnad/dugnad/ledger"
)

// appliedKey holds, at the version of each update, that update's mark.
var appliedKey = []byte{spaceOwn, 'a'}

// mark is the last write of an update: with it the update is whole.
type mark struct {
	// index is the update's, previous that of the one before it.
	index, previous uint64
}

func (m mark) append(b []byte) []byte {
	b = append(b, 1)
	b = binary.BigEndian.AppendUint64(b, m.index)
	return binary.BigEndian.AppendUint64(b, m.previous)
}

func parseMark(b []byte) (mark, error) {
	if len(b) != 17 || b[0] != 1 {
		return mark{}, fmt.Errorf("%w: mark of an update is %x", ErrCorrupt, b)
	}
	return mark{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])}, nil
}

// Update calls f with a transaction and commits what it wrote together with
// index, which must be above Applied: all of it or, after an error, nothing. An
// error of f is returned as it is. ErrDiskFull without a Fault can be tried
// again with the same index and the same writes.
//
// A crash can undo the last updates, never one in the middle: repeat those
// above Applied from the log.
func (s *Store) Update(index uint64, f func(tx ledger.Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	s.mu.Lock()
	g, applied := s.generation, s.applied
	s.mu.Unlock()
	if index <= applied {
		return fmt.Errorf("%w: %d, applied is %d", ErrStale, index, applied)
	}
	t := &tx{read: g.db.NewTransactionAt(applied, false), overlay: &overlay{}}
	if err := t.run(f); err != nil {
		return err
	}
	if err := s.commit(g, mark{index, applied}, t.overlay); err != nil {
		return fmt.Errorf("commit %d: %w", index, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = index
	return nil
}

// commit writes the overlay at the version of its index, in as many Badger
// transactions as it takes, the mark in the last. A failure in the middle leaves
// versions that nobody reads, and that the same update writes again.
func (s *Store) commit(g *generation, m mark, o *overlay) error {
	txn := g.db.NewTransactionAt(m.previous, true)
	defer func() { txn.Discard() }()
	one := func(w write) error {
		if w.value == nil {
			return txn.Delete(w.key)
		}
		return txn.Set(w.key, w.value)
	}
	put := func(w write) error {
		err := one(w)
		if !errors.Is(err, badger.ErrTxnTooBig) {
			return err
		}
		if err := s.send(txn, m.index); err != nil {
			return err
		}
		txn = g.db.NewTransactionAt(m.previous, true)
		return one(w)
	}
	for _, chunk := range o.chunks {
		for _, w := range chunk {
			if err := put(w); err != nil {
				return classify(err)
			}
		}
	}
	if err := put(write{appliedKey, m.append(nil)}); err != nil {
		return classify(err)
	}
	return s.send(txn, m.index)
}

// send commits txn at a version. Should Badger never answer, because it cannot
// flush, the store's fault is the answer. After an error nobody knows what is on
// disk: the store takes no more writes.
func (s *Store) send(txn *badger.Txn, version uint64) error {
	done := make(chan error, 1)
	if err := txn.CommitAt(version, func(err error) { done <- err }); err != nil {
		return classify(err)
	}
	select {
	case err := <-done:
		if err != nil {
			return s.fail(classify(err))
		}
		return nil
	case <-s.failed:
		return s.Fault()
	}
}

// lastWhole returns the newest index up to which no update is missing, and the
// newest of all. Badger writes its tables out in order, so that everything below
// durable, their highest version, is there; above it the marks tell.
func (g *generation) lastWhole(durable uint64) (whole, newest uint64, err error) {
	read := g.db.NewTransactionAt(math.MaxUint64, false)
	defer read.Discard()
	o := badger.DefaultIteratorOptions
	o.AllVersions, o.PrefetchValues = true, false
	it := read.NewKeyIterator(appliedKey, o)
	defer it.Close()
	var after mark // the mark above the one at hand
	for it.Rewind(); it.Valid(); it.Next() {
		var m mark
		err := it.Item().Value(func(b []byte) (err error) {
			m, err = parseMark(b)
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		switch {
		case newest == 0:
			whole, newest = m.index, m.index
		case after.previous != m.index && after.previous >= durable:
			whole = m.index
		}
		if m.index < durable {
			return whole, newest, nil
		}
		after = m
	}
	if after.previous != 0 && after.previous >= durable {
		whole = 0 // the first update that is left has lost the one before it
	}
	return whole, newest, nil
}
