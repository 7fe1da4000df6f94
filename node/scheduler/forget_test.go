package scheduler

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/p2p"
)

// TestNothingForgotten does things at random to a grid. Whenever it has come to
// rest, a plan that is made from nothing finds nothing to place: no change that
// could help a job was missed. The brake, which holds things back, is off.
func TestNothingForgotten(t *testing.T) {
	const seeds, steps = 8, 100
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			g := newGrid(t)
			g.config.StopWindow, g.config.VanishedMin = 0, 1<<20
			if seed%2 == 1 {
				g.config.Queue = ledger.QueueLimit{Jobs: 6, TenantJobs: 5, Ranges: 2}
				g.config.Params.PlacementsMax, g.config.Params.JobPlacementsMax = 4, 2
			}
			g.commit = time.Duration(seed%3) * time.Millisecond
			g.add(3, 4)
			g.open()
			r := rand.New(rand.NewPCG(seed, 0))
			for step := range steps {
				what := g.something(r)
				g.rest()
				if left := g.forgotten(); len(left) > 0 {
					t.Fatalf("seed %d, step %d: after %s a plan has %+v", seed, step, what, left)
				}
			}
			if n := g.metric("placements_total", "ok"); n < steps/4 {
				t.Errorf("seed %d: %d placements, the test does too little", seed, n)
			}
		})
	}
}

// rest lets everything happen that is due.
func (g *grid) rest() {
	g.Helper()
	for range 3 {
		g.renew()
		g.beats()
		g.wait(1100 * time.Millisecond)
	}
}

// something does one or several things to the grid, and names the last.
func (g *grid) something(r *rand.Rand) (what string) {
	g.Helper()
	for range 1 + r.IntN(4) {
		i := r.IntN(g.nodes)
		switch r.IntN(11) {
		case 0, 1, 2:
			what = "a job"
			g.submit(g.draw(r))
		case 3, 4, 5:
			what = "tasks that end"
			g.finish(i)
		case 6:
			what = "tasks that fail"
			g.spoil(i)
		case 7:
			what = "tasks that are handed back"
			for _, l := range g.leases(i) {
				g.mustDo(&ledger.Release{Node: nodeID(i), Epochs: []ledger.Epoch{l.Epoch}, Cause: ledger.CauseReleased})
			}
		case 8:
			what = "another offer"
			if !g.silent[i] {
				g.offer(i, uint32(r.IntN(7)))
			}
		case 9:
			what = "another state"
			g.mustDo(&ledger.SetNodeState{Node: nodeID(i), State: ledger.NodeState(r.IntN(3))})
		case 10:
			what = "silence, or its end"
			g.silent[i] = !g.silent[i]
		}
	}
	return what
}

func (g *grid) draw(r *rand.Rand) ledger.JobSpec {
	s := spec(1 + uint32(r.IntN(12)))
	s.Task.Slots = 1 + uint32(r.IntN(3))
	s.Band = uint8(r.IntN(3))
	s.LossGraceNanos = int64(r.IntN(2)) * int64(time.Second)
	if r.IntN(3) == 0 {
		s.Retry.BackoffNanos, s.Retry.BackoffMaxNanos = int64(time.Second), int64(time.Minute)
	}
	return s
}

// spoil reports the tasks of a node's leases as failed.
func (g *grid) spoil(i int) {
	g.Helper()
	for _, l := range g.leases(i) {
		g.mustDo(&ledger.Report{Node: nodeID(i), Leases: []ledger.LeaseReport{{
			Epoch: l.Epoch, Runs: []ledger.Run{{First: l.Open.First, Count: l.Open.Count(), State: ledger.TaskFailed}},
		}}})
	}
}

// lost returns the nodes that get nothing as they have let a lease run out.
func (g *grid) lost() map[ledger.NodeID]bool {
	lost, done := map[ledger.NodeID]bool{}, make(chan struct{})
	g.Scheduler.mu.Lock()
	l := g.current
	g.Scheduler.mu.Unlock()
	l.calls <- func() {
		defer close(done)
		for id, s := range l.board.of {
			lost[id] = l.brake.lostBy(id, s.at)
		}
	}
	<-done
	return lost
}

// forgotten makes a plan of the ledger and the board as they are.
func (g *grid) forgotten() (placements []ledger.Placement) {
	g.Helper()
	offers := map[p2p.NodeID]bool{}
	for _, e := range g.board.List() {
		offers[e.Node] = true
	}
	lost := g.lost()
	if _, err := g.View(func(tx ledger.Tx) error {
		b, err := ledger.NewBacklog(tx, g.config.Queue)
		if err != nil {
			return err
		}
		var s placement.Snapshot
		in, err := s.Read(tx, b, g.config.Params, stamp(time.Now()), func(n *placement.Node) {
			e, listed := g.board.offers[p2p.NodeID(n.ID)]
			if !listed || !offers[e.Node] || lost[n.ID] {
				return
			}
			n.Offer = placement.Offer{At: stamp(e.At), DiskBytes: e.Offer.DiskBytes, Free: ledger.Resources{
				MemoryBytes: e.Offer.MemoryBytes, FuelRate: e.Offer.FuelRate, Slots: e.Offer.Slots, ScratchBytes: n.Capacity.ScratchBytes,
			}.Minus(n.Reserved)}
		})
		placements = placement.Plan(in).Placements
		return err
	}); err != nil {
		g.Fatal(err)
	}
	return placements
}
