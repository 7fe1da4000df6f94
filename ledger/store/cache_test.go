package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// cacheCheck drives a store whose cache is small and compares all that updates
// and views read with a map.
type cacheCheck struct {
	*rapid.T
	config    Config
	store     *Store
	state     map[string]string
	snapshots [][]byte
	states    []map[string]string
}

// TestCache mixes updates that end in every way with restores, full disks and
// openings.
func TestCache(t *testing.T) {
	sequential(t)
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := mkdirTemp()
		if err != nil {
			t.Fatal(err)
		}
		defer removeAll(dir)
		c := &cacheCheck{T: t, config: testConfig(filepath.Join(dir, "store")), state: map[string]string{}}
		c.config.RecordCacheBytes = rapid.SampledFrom([]int64{0, 100, 600, 1500, 1 << 20}).Draw(t, "cache")
		c.config.SyncLog = false
		c.store = openRapid(t, c.config)
		defer func() {
			if err := c.store.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			c.step()
			held := c.store.generation.cache
			if n := held.recent.bytes + held.older.bytes; n > c.config.RecordCacheBytes {
				t.Fatalf("%d bytes in the cache", n)
			}
		}
	})
}

func (c *cacheCheck) step() {
	switch rapid.SampledFrom([]string{"update", "update", "update", "fail", "panic", "full", "snapshot", "restore", "open"}).Draw(c.T, "step") {
	case "update":
		next := maps.Clone(c.state)
		if err := c.update(next, nil); err != nil {
			c.Fatal(err)
		}
		c.state = next
	case "fail":
		if err := c.update(maps.Clone(c.state), errors.ErrUnsupported); !errors.Is(err, errors.ErrUnsupported) {
			c.Fatal(err)
		}
	case "panic":
		func() {
			defer func() { _ = recover() }()
			_ = c.store.Update(c.store.Applied()+1, func(tx ledger.Tx) error {
				c.use(tx, maps.Clone(c.state))
				panic("in an update")
			})
		}()
	case "full":
		c.store.config.DiskReserveBytes = math.MaxInt64
		if err := c.update(maps.Clone(c.state), nil); !Retryable(err) {
			c.Fatal(err)
		}
		c.store.config.DiskReserveBytes = 0
	case "snapshot":
		s, err := c.store.Snapshot(Header{})
		if err != nil {
			c.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := s.WriteTo(&b); err != nil {
			c.Fatal(err)
		}
		_ = s.Close()
		c.snapshots, c.states = append(c.snapshots, b.Bytes()), append(c.states, c.state)
	case "restore":
		if len(c.snapshots) == 0 {
			return
		}
		i := rapid.IntRange(0, len(c.snapshots)-1).Draw(c.T, "which")
		if _, err := c.store.Restore(bytes.NewReader(c.snapshots[i])); err != nil {
			c.Fatal(err)
		}
		c.state = c.states[i]
	case "open":
		if err := c.store.Close(); err != nil {
			c.Fatal(err)
		}
		c.store = openRapid(c.T, c.config)
	}
	if got, _, err := contentOf(c.store); err != nil || !cmp.Equal(c.state, got) {
		c.Fatalf("view: %v, %s", err, cmp.Diff(c.state, got))
	}
}

// update makes changes in state and in the store, and ends with an error.
func (c *cacheCheck) update(state map[string]string, end error) error {
	return c.store.Update(c.store.Applied()+1, func(tx ledger.Tx) error {
		c.use(tx, state)
		return end
	})
}

// use reads and writes a few keys of tx, which is in the given state. A view
// meanwhile sees what is committed.
func (c *cacheCheck) use(tx ledger.Tx, state map[string]string) {
	for range rapid.IntRange(0, 12).Draw(c.T, "uses") {
		key := rapid.StringMatching(`[a-h]`).Draw(c.T, "key")
		value := bytes.Repeat([]byte(key), rapid.SampledFrom([]int{0, 1, 40, 90, 300, cacheValueBytesMax + 1}).Draw(c.T, "bytes"))
		var err error
		switch rapid.IntRange(0, 5).Draw(c.T, "use") {
		case 0:
			err = tx.Delete([]byte(key))
			delete(state, key)
		case 1, 2:
			err = tx.Set([]byte(key), value)
			state[key] = string(value)
		default:
			var got []byte
			got, err = tx.Get([]byte(key))
			if want, ok := state[key]; string(got) != want || (got != nil) != ok {
				c.Fatalf("key %q is %.20q, want %.20q", key, got, want)
			}
		}
		if err != nil {
			c.Fatal(err)
		}
	}
	if got, _, err := contentOf(c.store); err != nil || !cmp.Equal(c.state, got) {
		c.Fatalf("view in an update: %v, %s", err, cmp.Diff(c.state, got))
	}
}

// TestCacheHits reads a record and one that does not exist, in several updates.
func TestCacheHits(t *testing.T) {
	s := openTest(t, testConfig(t.TempDir()))
	key := func(i int) []byte { return fmt.Appendf(nil, "key/%d", i) }
	read := func(tx ledger.Tx) error { return errors.Join(agree(tx, key(1)), agree(tx, key(1)), agree(tx, key(2))) }
	// There is nothing, then what the database has to be asked for once.
	for i, want := range []int{0, 1, 2} {
		hits := 0
		err := s.Update(uint64(i+1), func(tx ledger.Tx) error {
			if err := read(tx); err != nil {
				return err
			}
			hits = s.generation.cache.hits
			return tx.Set(key(1), binary.BigEndian.AppendUint32(nil, uint32(i)))
		})
		if err != nil || hits != want {
			t.Errorf("update %d: %d hits, want %d, %v", i, hits, want, err)
		}
	}
}

// TestLargeUpdate commits more writes than one transaction of Badger takes, in
// the order of a loader, and opens the store again.
func TestLargeUpdate(t *testing.T) {
	c := testConfig(t.TempDir())
	s := openTest(t, c)
	writes := 2 * int(s.generation.db.MaxBatchCount())
	key := func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }
	for index, each := range []func(tx ledger.Tx, i int) error{
		func(tx ledger.Tx, i int) error { return tx.Set(key(i), key(i)) },
		func(tx ledger.Tx, i int) error {
			if i%3 == 0 {
				return tx.Delete(key(i))
			}
			return tx.Set(key(i), nil)
		},
	} {
		err := s.Update(uint64(index+1), func(tx ledger.Tx) error {
			for i := range writes {
				if err := each(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	for i := range writes {
		if i%3 != 0 {
			want[string(key(i))] = ""
		}
	}
	for range 2 {
		if got, index := content(t, s); index != 2 || !maps.Equal(want, got) {
			t.Errorf("%d keys at %d, want %d at 2", len(got), index, len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if s, err = Open(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
