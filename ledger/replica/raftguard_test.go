package replica

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// newGuarded returns a guarded log over log, the snapshots beside it, and a
// function that begins its instance's end.
func newGuarded(t *testing.T, log RaftLog) (guardedLog, *snapshots, func()) {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	config := &Config{HeartbeatTimeout: 10 * time.Millisecond, RaftLog: log, Dir: t.TempDir()}
	snaps := &snapshots{config: config, book: &book{}}
	started, ending := make(chan struct{}), make(chan struct{})
	close(started)
	stall := newStall(config, slog.New(slog.DiscardHandler), m, func() {})
	fault := func(err error) { t.Error(err) }
	return guardedLog{RaftLog: log, stall: stall, snapshot: snaps.last, fault: fault, started: started, ending: ending}, snaps,
		func() { close(ending) }
}

// TestReceivedSnapshotEndsInAKnownTerm restores a snapshot into a log that has
// other entries. The last entry's term is known then, also when the leader asks
// again; a snapshot that is older is refused, and one that is not restored yet
// says nothing.
func TestReceivedSnapshotEndsInAKnownTerm(t *testing.T) {
	log := raft.NewInmemStore()
	g, snaps, _ := newGuarded(t, log)
	for _, index := range []uint64{34, 35, 159, 160} {
		if err := log.StoreLog(&raft.Log{Index: index, Term: 6}); err != nil {
			t.Fatal(err)
		}
	}
	var l raft.Log
	for _, pending := range []bool{true, false} {
		if err := snaps.put(meta{index: 158, term: 5, pending: pending}); err != nil {
			t.Fatal(err)
		}
		err := g.GetLog(158, &l)
		if pending && !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("before it is restored: %v", err)
		}
		if !pending && (err != nil || l.Index != 158 || l.Term != 5) {
			t.Errorf("after it was restored: %v, %+v", err, l)
		}
	}
	for _, missing := range []uint64{36, 157, 161} {
		if err := g.GetLog(missing, &l); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("entry %d: %v", missing, err)
		}
	}
	if err := log.StoreLog(&raft.Log{Index: 157, Term: 5}); err != nil {
		t.Fatal(err)
	}
	if err := g.GetLog(158, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("behind an entry that others may be sent: %v", err)
	}
	if _, err := snaps.Create(1, 143, 5, raft.Configuration{}, 1, nil); !errors.Is(err, ErrTooOld) {
		t.Errorf("older snapshot: %v", err)
	}
	if _, err := snaps.Create(1, 158, 5, raft.Configuration{}, 1, nil); err != nil {
		t.Errorf("the same snapshot: %v", err)
	}
}

// fullLog has no room until it was asked some times.
type fullLog struct {
	*raft.InmemStore
	refusals int
}

func (f *fullLog) StoreLogs(entries []*raft.Log) error {
	if f.refusals--; f.refusals >= 0 {
		return ErrNoRoom
	}
	return f.InmemStore.StoreLogs(entries)
}

// TestEntriesThatWereCutOffAreReplaced has no room for what replaces a cut-off
// end of the log. Raft would go on as if that end were still there: it gets no
// answer until there is room. At any other time it gets the error.
func TestEntriesThatWereCutOffAreReplaced(t *testing.T) {
	log := &fullLog{InmemStore: raft.NewInmemStore()}
	g, _, end := newGuarded(t, log)
	g.cut = new(cut)
	var entries []*raft.Log
	for index := uint64(1); index <= 9; index++ {
		entries = append(entries, &raft.Log{Index: index, Term: 1})
	}
	if err := g.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	next := []*raft.Log{{Index: 7, Term: 2}}
	for _, test := range []struct {
		name        string
		first, last uint64
		want        error
	}{
		{"beginning", 1, 3, ErrNoRoom},
		{"end", 7, 9, nil},
	} {
		if err := g.DeleteRange(test.first, test.last); err != nil {
			t.Fatal(err)
		}
		log.refusals = 2
		if err := g.StoreLogs(next); !errors.Is(err, test.want) {
			t.Errorf("%s is cut off: %v, want %v", test.name, err, test.want)
		}
	}
	if last, _ := g.LastIndex(); last != 7 {
		t.Errorf("last entry is %d", last)
	}
	log.refusals = 2
	if err := g.StoreLogs([]*raft.Log{{Index: 8, Term: 2}}); !errors.Is(err, ErrNoRoom) {
		t.Errorf("behind what was replaced: %v", err)
	}
	if err := g.DeleteRange(7, 7); err != nil {
		t.Fatal(err)
	}
	log.refusals = 1 << 30
	end()
	returned, ended := false, make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.StoreLogs(next)
		returned = true
	}()
	if <-ended; returned {
		t.Error("Raft got an answer")
	}
}
