package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dugnad/dugnad/ledger"
)

// compacting counts Badger's compactors in this process.
func compacting() int {
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			return bytes.Count(stacks[:n], []byte("levelsController).runCompactor("))
		}
		stacks = make([]byte, 2*len(stacks))
	}
}

// compacts waits until so many compactors run: one that has said that it ends is seen
// for a moment longer.
func compacts(t *testing.T, want int, when string) {
	t.Helper()
	n := compacting()
	for start := time.Now(); n != want && time.Since(start) < 2*time.Minute; n = compacting() {
		runtime.Gosched()
	}
	if n != want {
		t.Fatalf("%s: %d compactors run, want %d", when, n, want)
	}
}

// rested maintains a store until its compactors rest.
func rested(t *testing.T, s *Store, k *keeper) {
	t.Helper()
	for start := time.Now(); time.Since(start) < 2*time.Minute; {
		if err := s.maintain(k); err != nil {
			t.Fatal(err)
		}
		if s.raft.compactors.resting() && s.generation.compactors.resting() {
			return
		}
	}
	t.Fatalf("the compactors do not rest, although nothing is written: %+v, %+v", s.generation.db.Levels(), s.raft.db.Levels())
}

// bulk writes a value of 64 KiB at an index, to the state or to the log.
type bulk struct {
	store *Store
	value []byte
}

func newBulk(s *Store) bulk { return bulk{s, bytes.Repeat([]byte("neighbours"), 6500)} }

func bulkKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func (b bulk) update(t *testing.T, index uint64) {
	t.Helper()
	err := b.store.Update(index, func(tx ledger.Tx) error {
		return tx.Set(bulkKey(index), b.value)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b bulk) log(t *testing.T, index uint64) {
	t.Helper()
	if err := b.store.Raft().StoreLog(&raft.Log{Index: index, Data: b.value}); err != nil {
		t.Fatal(err)
	}
}

func TestCompactorsRest(t *testing.T) {
	c := Default(t.TempDir())
	c.SyncLog = false
	s := openTest(t, c)
	const running = 2 * compactorsPerDB
	compacts(t, running, "in an open store")
	var k keeper
	b := newBulk(s)
	b.update(t, 1)
	rested(t, s, &k)
	compacts(t, 0, "at rest")

	// Few writes do not wake them; level 0 cannot fill by those.
	b.update(t, 2)
	b.log(t, 2)
	if err := s.maintain(&k); err != nil {
		t.Fatal(err)
	}
	compacts(t, 0, "after two small writes")
	for what, write := range map[string]func(*testing.T, uint64){"state": b.update, "log": b.log} {
		for i := uint64(3); i < 3+uint64(s.config.MemTableBytes/(64<<10)); i++ {
			write(t, i)
		}
		resting := map[string]bool{"state": s.generation.compactors.resting(), "log": s.raft.compactors.resting()}
		if resting[what] {
			t.Fatalf("compactors of the %s rest after a whole table in memory was written", what)
		}
	}
	s.generation.compactors.wake() // they do run when it has returned
	s.raft.compactors.wake()
	compacts(t, running, "after many writes")
	rested(t, s, &k)
	if err := s.Close(); err != nil {
		t.Fatalf("close at rest: %v", err)
	}
	compacts(t, 0, "after Close")
}

// TestRestDoesNotBlockWriters writes more than level 0 takes, from a rest on, and
// without any maintenance meanwhile.
func TestRestDoesNotBlockWriters(t *testing.T) {
	c := Default(t.TempDir())
	c.SyncLog = false
	s := openTest(t, c)
	var k keeper
	b := newBulk(s)
	b.update(t, 1)
	rested(t, s, &k)
	tables := int64(levelZeroStall + 6) // and those in memory, and one that is flushed
	last := uint64(tables * c.MemTableBytes / (64 << 10))
	for i := uint64(2); i <= last; i++ {
		b.update(t, i)
	}
	rested(t, s, &k)
	// A flush may still be under way, so it need not be below levelZeroTables.
	if l := s.generation.db.Levels()[0]; l.NumTables >= levelZeroStall {
		t.Errorf("level 0 is full at rest: %+v", l)
	}
	err := s.View(func(tx ledger.Tx) error {
		for i := uint64(1); i <= last; i++ {
			v, err := tx.Get(bulkKey(i))
			if err != nil {
				return err
			}
			if !bytes.Equal(v, b.value) {
				return errors.New("a value is another one")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
