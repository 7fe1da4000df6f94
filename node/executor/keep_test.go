package executor

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/task"
)

// scanned is a ledger that counts the scans of this node's leases.
type scanned struct {
	Ledger
	scans atomic.Int32
}

func (s *scanned) View(f func(tx ledger.Tx) error) (uint64, error) {
	return s.Ledger.View(func(tx ledger.Tx) error { return f(scannedTx{tx, s}) })
}

type scannedTx struct {
	ledger.Tx
	s *scanned
}

func (t scannedTx) Scan(prefix, from []byte, visit func(key, value []byte) bool) error {
	if bytes.HasPrefix(prefix, ledger.LeasePrefix(self)) {
		t.s.scans.Add(1)
	}
	return t.Tx.Scan(prefix, from, visit)
}

// TestLooksAtChanges: however many leases come and go beside one that stays, those that
// were are not stepped over.
func TestLooksAtChanges(t *testing.T) {
	g := newGrid(t)
	release := make(chan struct{})
	g.box.run = func(a attempt) task.Outcome {
		if a.attempt == 0 && a.index == 1 {
			<-release
		}
		return exit(0)
	}
	s := &scanned{Ledger: g.faults}
	g.open(func(c *Config) { c.Ledger = s })
	long := g.submit(2, &jobspec.Program{}, nil)
	g.place(long, 0, 2, 2)
	for range 20 {
		id := g.submit(1, &jobspec.Program{}, nil)
		g.place(id, 0, 1, 1)
		g.finished(id)
	}
	close(release)
	if n := s.scans.Load(); n != 1 {
		t.Errorf("leases were scanned %d times, want once, at the beginning", n)
	}
}

// deaf is a ledger of which nothing is heard until open is closed, and then that what
// was to be heard is gone.
type deaf struct {
	Ledger
	open chan struct{}
	mu   sync.Mutex
	told map[string]bool
}

func (d *deaf) Watch(ctx context.Context, prefix []byte, from uint64, visit func(uint64, []replica.Change) error) error {
	select {
	case <-d.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	told := d.told[string(prefix)]
	d.told[string(prefix)] = true
	d.mu.Unlock()
	if !told {
		return replica.ErrTooOld
	}
	return d.Ledger.Watch(ctx, prefix, from, visit)
}

// TestGap: leases that came and went while nothing was heard are found out.
func TestGap(t *testing.T) {
	g := newGrid(t)
	begun, ended := make(chan struct{}), make(chan struct{})
	g.box.run = func(a attempt) task.Outcome {
		if a.index != 1 {
			return exit(0)
		}
		close(begun)
		defer close(ended)
		return a.cancelled()
	}
	gone := g.submit(2, &jobspec.Program{}, nil)
	g.do(&ledger.Place{Placements: []ledger.Placement{{
		Job: gone, Node: self, Count: 2, Slots: 2, Expiry: ledger.Time(time.Now().Add(time.Hour).UnixNano()),
	}}})
	d := &deaf{Ledger: g.faults, open: make(chan struct{}), told: map[string]bool{}}
	g.open(func(c *Config) {
		c.Ledger = d
		c.RenewInterval, c.BeginAfter, c.Lease = time.Hour, time.Hour, 3*time.Hour
	})
	<-begun
	epoch := g.leases()[0].Epoch
	g.do(&ledger.Release{Node: self, Epochs: []ledger.Epoch{epoch}, Cause: ledger.CauseReleased}, &ledger.Cancel{Job: gone})
	fresh := g.submit(1, &jobspec.Program{}, nil)
	g.place(fresh, 0, 1, 1)
	close(d.open)
	<-ended
	if j := g.finished(fresh); j.State != ledger.JobSucceeded {
		t.Errorf("a lease that was granted meanwhile: job is %s", j.State)
	}
}
