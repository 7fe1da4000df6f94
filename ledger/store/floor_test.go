package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// floored draws updates and scans, and has a model of what there is.
type floored struct {
	t     *rapid.T
	store *Store
	state map[string]bool
	index uint64
}

func (f *floored) n(high int) int { return rapid.IntRange(0, high).Draw(f.t, "n") }

func (f *floored) prefix() string {
	return rapid.SampledFrom([]string{"", "a", "ab", "b"}).Draw(f.t, "prefix")
}

// key returns one of a few.
func (f *floored) key() string {
	return fmt.Sprintf("%s%02d", rapid.SampledFrom([]string{"a", "ab", "b"}).Draw(f.t, "table"), f.n(30))
}

// lowest returns the first key with some prefix.
func (f *floored) lowest(state map[string]bool) string {
	prefix := f.prefix()
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if strings.HasPrefix(key, prefix) {
			return key
		}
	}
	return prefix + "00"
}

// scan compares what a transaction reads with the model, up to some key.
func (f *floored) scan(tx ledger.Tx, state map[string]bool) {
	prefix, limit := f.prefix(), f.n(3)+1
	var want, got []string
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if strings.HasPrefix(key, prefix) && len(want) < limit {
			want = append(want, key)
		}
	}
	err := tx.Scan([]byte(prefix), nil, func(key, _ []byte) bool {
		got = append(got, string(key))
		return len(got) < limit
	})
	if err != nil || !slices.Equal(got, want) {
		f.t.Fatalf("scan of %q reads %q, %v, want %q", prefix, got, err, want)
	}
}

var errTurned = errors.New("changed my mind")

// update writes, deletes and scans, and may come to nothing.
func (f *floored) update() {
	state := maps.Clone(f.state)
	f.index += uint64(f.n(2)) + 1
	err := f.store.Update(f.index, func(tx ledger.Tx) error {
		for range f.n(8) {
			switch f.n(5) {
			case 0, 1:
				f.scan(tx, state)
			case 2, 3:
				key := f.key()
				state[key] = true
				if err := tx.Set([]byte(key), []byte{1}); err != nil {
					return err
				}
			default:
				key := f.lowest(state)
				delete(state, key)
				if err := tx.Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		if f.n(4) == 0 {
			return errTurned
		}
		return nil
	})
	switch {
	case err == nil:
		f.state = state
	case !errors.Is(err, errTurned):
		f.t.Fatal(err)
	}
}

// look scans in a view, while updates go on.
func (f *floored) look(depth int) {
	state := maps.Clone(f.state)
	err := f.store.View(func(tx ledger.Tx) error {
		for range f.n(3) {
			switch {
			case f.n(1) == 0:
				f.update()
			case depth < 3:
				f.look(depth + 1)
			}
			f.scan(tx, state)
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestFloors: whatever is written, deleted and read, also by views of older states,
// and of updates that come to nothing, a scan misses no key.
func TestFloors(t *testing.T) {
	c := Default(t.TempDir())
	c.SyncLog = false
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// What is there and the floors that are known go on from one history to the next.
	f := &floored{store: s, state: map[string]bool{}}
	rapid.Check(t, func(rt *rapid.T) {
		f.t = rt
		for range f.n(60) {
			if f.n(2) == 0 {
				f.look(0)
			} else {
				f.update()
			}
		}
	})
}

// TestFloorRises: a queue whose low end is deleted is scanned from its first key on, by
// views as well, and at most floorsMax prefixes are remembered.
func TestFloorRises(t *testing.T) {
	c := Default(t.TempDir())
	c.SyncLog = false
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := func(table byte, i int) []byte { return fmt.Appendf([]byte{table}, "%04d", i) }
	first := func(tx ledger.Tx, table byte) (k []byte) {
		if err := tx.Scan([]byte{table}, nil, func(key, _ []byte) bool {
			k = bytes.Clone(key)
			return false
		}); err != nil {
			t.Fatal(err)
		}
		return k
	}
	index := uint64(0)
	update := func(f func(tx ledger.Tx) error) {
		index++
		if err := s.Update(index, f); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		update(func(tx ledger.Tx) error {
			if i > 0 {
				if got := first(tx, 'T'); !bytes.Equal(got, key('T', i-1)) {
					t.Fatalf("first is %q", got)
				}
			}
			return errors.Join(tx.Delete(key('T', i-1)), tx.Set(key('T', i), []byte{1}))
		})
	}
	floors := &s.generation.floors
	if got := floors.find([]byte{spaceData, 'T'}, index); !bytes.Equal(got[1:], key('T', 98)) {
		t.Errorf("after 99 were deleted scans begin at %q", got)
	}
	update(func(tx ledger.Tx) error { return tx.Set(key('T', 7), []byte{1}) })
	if got := floors.find([]byte{spaceData, 'T'}, index); !bytes.Equal(got[1:], key('T', 7)) {
		t.Errorf("after a write below it scans begin at %q", got)
	}
	update(func(tx ledger.Tx) error {
		for table := byte('a'); table < 'a'+2*floorsMax; table++ {
			if err := tx.Set(key(table, 0), []byte{1}); err != nil {
				return err
			}
			first(tx, table)
		}
		return nil
	})
	if n := len(floors.list); n != floorsMax {
		t.Errorf("%d floors are kept, want %d", n, floorsMax)
	}
}
