package scheduler

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
)

var _ Ledger = (*book.Book)(nil)

var _ Board = (*capacity.Board)(nil)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// openBook opens a ledger on disk.
func openBook(t testing.TB, id string) *book.Book {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := replica.Default()
	c.ID, c.Address, c.Listener = id, listener.Addr().String(), listener
	c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	c.HeartbeatTimeout, c.LeaseTimeout = 500*time.Millisecond, 400*time.Millisecond
	c.HealInterval, c.StableAfter = 50*time.Millisecond, 0
	b, err := book.Open(t.Context(), book.Config{Dir: t.TempDir(), Replica: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBook(t, b) })
	return b
}

func closeBook(t testing.TB, b *book.Book) {
	t.Helper()
	if b.Err() != nil {
		return
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// openScheduler starts a scheduler, which is closed before its ledger.
func openScheduler(t testing.TB, b *book.Book, board Board) *Scheduler {
	t.Helper()
	config := Default()
	config.Ledger, config.Board, config.Registerer = b, board, prometheus.NewRegistry()
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

// stop closes a scheduler; it may be done again.
func stop(t testing.TB, s *Scheduler) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// found makes the grid with nodes that have slots and make offers.
func found(ctx context.Context, t testing.TB, b *book.Book, board *handBoard, nodes int, slots uint32) {
	t.Helper()
	if err := b.Found(ctx); err != nil {
		t.Fatal(err)
	}
	must(ctx, t, b, &ledger.CreateTenant{Tenant: "t", Weight: 1, BandMax: ledger.BandTop})
	must(ctx, t, b, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 100})
	board.offers = map[p2p.NodeID]capacity.Entry{}
	for i := range nodes {
		must(ctx, t, b, &ledger.RegisterNode{Node: nodeID(i), Capacity: room(slots)})
		id, now, all := p2p.NodeID(nodeID(i)), time.Now(), room(slots)
		board.mu.Lock()
		board.offers[id] = capacity.Entry{
			Node: id, At: now.Add(time.Hour), Until: now.Add(time.Hour),
			Offer: capacity.Offer{MemoryBytes: all.MemoryBytes, FuelRate: all.FuelRate, Slots: slots, DiskBytes: 1 << 30},
		}
		board.mu.Unlock()
	}
}

func must(ctx context.Context, t testing.TB, b *book.Book, c ledger.Command) {
	t.Helper()
	r, _, err := b.Do(ctx, c)
	if err != nil || r.Code != ledger.CodeOK {
		t.Fatalf("%T: %v %s, %v", c, r.Code, r.What, err)
	}
}

// leased returns when a job's tasks are all leased.
func leased(ctx context.Context, t testing.TB, b *book.Book, id ledger.JobID) {
	t.Helper()
	done := context.Canceled
	look := func() (all bool, index uint64) {
		index, err := b.View(func(tx ledger.Tx) error {
			j, err := ledger.FindJob(tx, id)
			all = j.Tasks[ledger.TaskLeased] == j.Count
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all, index
	}
	all, index := look()
	if all {
		return
	}
	err := b.Watch(ctx, ledger.EventPrefix(id), index, func(uint64, []replica.Change) error {
		if all, _ := look(); all {
			return done
		}
		return nil
	})
	if ctx.Err() != nil || err != done { //nolint:errorlint // it is returned as it is
		t.Fatalf("wait for job %v: %v", id, err)
	}
}

// TestMembers: three members have a scheduler each; the leader's works, and when it
// ends the next leader's.
func TestMembers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	board := &handBoard{}
	type both struct {
		*book.Book
		*Scheduler
	}
	var members []both
	for _, id := range []string{"a", "b", "c"} {
		b := openBook(t, id)
		members = append(members, both{b, openScheduler(t, b, board)})
	}
	found(ctx, t, members[0].Book, board, 3, 100)
	for _, m := range members[1:] {
		if err := m.Join(ctx, []string{members[0].Members()[0].Address}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range members {
		// The answer to a follower comes when the leader has applied it.
		must(ctx, t, members[i].Book, &ledger.Submit{Job: jobID(i), Spec: spec(10)})
		leased(ctx, t, members[0].Book, jobID(i))
	}
	for !voting(members[1].Book, 3) || !voting(members[2].Book, 3) {
		select {
		case <-members[1].Changed():
		case <-time.After(50 * time.Millisecond):
		}
		if ctx.Err() != nil {
			t.Fatal("three voters do not come about")
		}
	}
	stop(t, members[0].Scheduler)
	closeBook(t, members[0].Book)
	must(ctx, t, members[1].Book, &ledger.Submit{Job: jobID(10), Spec: spec(10)})
	if err := waitJob(ctx, members[2].Book, jobID(10)); err != nil {
		t.Fatal(err)
	}
	leased(ctx, t, members[2].Book, jobID(10))
}

func voting(b *book.Book, voters int) bool {
	n := 0
	for _, m := range b.Members() {
		if m.Voter {
			n++
		}
	}
	return n == voters
}

// waitJob returns when a member knows a job.
func waitJob(ctx context.Context, b *book.Book, id ledger.JobID) error {
	_, err := b.Read(ctx, func(tx ledger.Tx) error {
		_, err := ledger.FindJob(tx, id)
		return err
	})
	return err
}
