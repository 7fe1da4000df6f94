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
	// parts is how many Badger transactions come before the one with the mark.
	parts uint32
}

// append encodes a mark: version 1 has no parts.
func (m mark) append(b []byte) []byte {
	version := byte(1)
	if m.parts > 0 {
		version = 2
	}
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, m.index)
	b = binary.BigEndian.AppendUint64(b, m.previous)
	if version == 2 {
		b = binary.BigEndian.AppendUint32(b, m.parts)
	}
	return b
}

func (m mark) write() write { return write{appliedKey, m.append(nil)} }

func parseMark(b []byte) (mark, error) {
	var m mark
	switch {
	case len(b) == 17 && b[0] == 1:
	case len(b) == 21 && b[0] == 2:
		m.parts = binary.BigEndian.Uint32(b[17:])
	default:
		return mark{}, fmt.Errorf("%w: mark of an update is %x", ErrCorrupt, b)
	}
	m.index, m.previous = binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])
	return m, nil
}

// partKey returns the key that the given part of an update, from 0 on, has at the
// version of its index: the part may be in a write-ahead log whose end is lost,
// and the mark in the next one.
func partKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{spaceOwn, 'p'}, number)
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
	t := &tx{read: g.db.NewTransactionAt(applied, false), overlay: &overlay{}, cache: g.cache, floors: &g.floors, index: applied}
	defer func() { s.meter.cached(g.cache) }()
	if err := t.run(f); err != nil {
		return err
	}
	if err := s.commit(g, mark{index: index, previous: applied}, t.overlay); err != nil {
		return fmt.Errorf("commit %d: %w", index, err)
	}
	_ = t.overlay.each(g.cache.follow)
	g.floors.follow(t.found, t.overlay)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = index
	return nil
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
	good := false  // that is of an update that is there with all its parts
	for it.Rewind(); it.Valid(); it.Next() {
		var m mark
		err := it.Item().Value(func(b []byte) (err error) {
			m, err = parseMark(b)
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		newest = max(newest, m.index)
		if !good || after.previous != m.index && after.previous >= durable {
			whole = m.index
		}
		if m.index < durable {
			return whole, newest, nil
		}
		if good, err = g.complete(m); err != nil {
			return 0, 0, err
		}
		after = m
	}
	if !good || after.previous != 0 && after.previous >= durable {
		whole = 0 // the first update that is left has lost the one before it
	}
	return whole, newest, nil
}

// complete reports whether all parts of an update are there.
func (g *generation) complete(m mark) (bool, error) {
	read := g.db.NewTransactionAt(m.index, false)
	defer read.Discard()
	for number := range m.parts {
		item, err := read.Get(partKey(number))
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read part of an update: %w", classify(err))
		case item.Version() != m.index:
			return false, nil
		}
	}
	return true, nil
}
