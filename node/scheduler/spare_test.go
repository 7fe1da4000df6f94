package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// slow starts a job of which all tasks but the last of the node have ended, each
// after a second.
func slow(g *grid, spares uint32) ledger.JobID {
	return slowOf(g, spec(8), spares)
}

// slowOf is slow for a job of eight tasks.
func slowOf(g *grid, s ledger.JobSpec, spares uint32) ledger.JobID {
	s.SparesMax = spares
	id := g.submit(s)
	g.mustDo(&ledger.Place{Placements: []ledger.Placement{
		{Job: id, Start: 0, Count: 6, Slots: 1, Node: nodeID(1), Expiry: stamp(time.Now().Add(time.Hour))},
		{Job: id, Start: 6, Count: 2, Slots: 2, Node: nodeID(0), Expiry: stamp(time.Now().Add(time.Hour))},
	}})
	g.mustDo(&ledger.Report{Node: nodeID(1), Leases: []ledger.LeaseReport{{
		Epoch: 1, Runs: []ledger.Run{{Count: 6, State: ledger.TaskSucceeded, Usage: ledger.Usage{WallNanos: 6e9}}},
	}}})
	return id
}

// TestStraggler: a task that takes much longer than the others gets a second
// attempt on another node that has room; the first that ends it has ended it.
func TestStraggler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 2)
		id := slow(g, 1)
		g.open()
		// Two tasks in two slots, twice the average of a second, and five more.
		g.wait(6 * time.Second)
		g.expect("spares before it is late", int(g.job(id).Spares), 0)
		g.wait(3 * time.Second)
		g.expect("spares", int(g.job(id).Spares), 1)
		g.expect("proposed", g.metric("spares_total", "ok"), 1)
		spare := g.leases(1)
		if len(spare) != 1 || !spare[0].Spare || spare[0].Tasks.First != 6 {
			t.Fatalf("leases of the other node are %+v", spare)
		}
		g.finish(1)
		g.wait(3 * time.Second)
		if spare = g.leases(1); len(spare) != 1 || spare[0].Tasks.First != 7 {
			t.Fatalf("leases of the other node are %+v, want the next straggler's", spare)
		}
		g.finish(1)
		if j := g.job(id); j.State != ledger.JobSucceeded || len(g.leases(0)) != 0 {
			t.Errorf("job is %+v", j)
		}
	})
}

// TestNoStraggler: no second attempt is placed that the job does not allow, that
// could take room from what waits, that no node has room for, or that failed.
func TestNoStraggler(t *testing.T) {
	for name, c := range map[string]struct {
		spares uint32
		before func(g *grid, id ledger.JobID)
		want   int
	}{
		"control":     {1, func(*grid, ledger.JobID) {}, 1},
		"not allowed": {0, func(*grid, ledger.JobID) {}, 0},
		"others wait": {1, func(g *grid, _ ledger.JobID) {
			s := spec(1)
			s.Constraints = []ledger.Constraint{{Label: "zone", Value: "moon"}}
			g.submit(s)
		}, 0},
		"no room": {1, func(g *grid, _ ledger.JobID) {
			other := g.submit(spec(2))
			g.mustDo(&ledger.Place{Placements: []ledger.Placement{{Job: other, Count: 2, Slots: 2, Node: nodeID(1), Expiry: stamp(time.Now().Add(time.Hour))}}})
		}, 0},
		"draining": {1, func(g *grid, _ ledger.JobID) {
			g.mustDo(&ledger.SetNodeState{Node: nodeID(1), State: ledger.NodeDraining})
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGrid(t)
				g.add(2, 2)
				id := slow(g, c.spares)
				c.before(g, id)
				g.open()
				g.wait(time.Minute)
				g.expect("spares of which nobody was heard", int(g.job(id).Spares), 0)
				g.expect("proposed", g.metric("spares_total", ""), 2*c.want)
			})
		})
	}
}

// TestSpareBound: no second attempt goes to a node that is not given the job's secrets.
func TestSpareBound(t *testing.T) {
	for to, want := range map[int]int{0: 0, 1: 2} {
		synctest.Test(t, func(t *testing.T) {
			g := newGrid(t)
			g.add(2, 2)
			setSecret(g, 1, nodeID(to))
			slowOf(g, confiding(8), 1)
			g.open()
			g.wait(time.Minute)
			g.expect("proposed", g.metric("spares_total", ""), want)
		})
	}
}

// TestSpareOnce: a second attempt that failed is not repeated.
func TestSpareOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 2)
		id := slow(g, 1)
		g.open()
		for range 3 {
			g.wait(10 * time.Second)
			for _, l := range g.leases(1) {
				r, _, err := g.Do(g.Context(), &ledger.Report{Node: nodeID(1), Leases: []ledger.LeaseReport{{
					Epoch: l.Epoch, Runs: []ledger.Run{{First: l.Open.First, Count: 1, State: ledger.TaskFailed}},
				}}})
				if err != nil || r.Items[0].Code != ledger.CodeSettled {
					t.Fatalf("a second attempt that failed: %+v, %v", r, err)
				}
			}
		}
		g.expect("proposed: one for each task", g.metric("spares_total", "ok"), 2)
		g.expect("spares", int(g.job(id).Spares), 0)
		g.expect("tasks out", out(g.job(id)), 2)
	})
}

// TestStragglersLimit: a look that does not get to the leases of every node is counted.
func TestStragglersLimit(t *testing.T) {
	for more, counted := range map[uint32]bool{0: false, 1: true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGrid(t)
			g.add(2, 2*spareLeasesMax)
			id := g.submit(spec(spareLeasesMax + more))
			place := func(first, count uint32, node int) {
				c := &ledger.Place{}
				for i := range count {
					c.Placements = append(c.Placements, ledger.Placement{
						Job: id, Start: first + i, Count: 1, Slots: 1, Node: nodeID(node), Expiry: stamp(time.Now().Add(time.Hour)),
					})
				}
				g.mustDo(c)
			}
			place(0, spareLeasesMax, 0)
			if more > 0 {
				place(spareLeasesMax, more, 1)
			}
			g.open()
			g.wait(Default().SpareAfter + 3*time.Second)
			if n := g.metric("stragglers_limit_reached_total", ""); n > 0 != counted {
				t.Errorf("%d leases: counted %d times, want that: %t", spareLeasesMax+more, n, counted)
			}
		})
	}
}
