package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
)

// TestUnreachable: a node that makes no offers is unreachable after a while, and up
// when it makes them again; what an operator has said stays.
func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(3, 4)
		g.mustDo(&ledger.SetNodeState{Node: nodeID(1), State: ledger.NodeDraining})
		g.open()
		g.wait(time.Minute)
		g.silent[0], g.silent[1] = true, true
		last := g.board.offers[p2p.NodeID(nodeID(0))].At
		after := time.Duration(g.config.Params.OfferAgeNanosMax) + g.config.SilenceMax
		g.wait(time.Until(last.Add(after - time.Millisecond)))
		g.expect("state just before", int(g.state(0)), int(ledger.NodeUp))
		g.wait(2 * g.config.BoardInterval)
		for i, want := range []ledger.NodeState{ledger.NodeUnreachable, ledger.NodeDraining, ledger.NodeUp} {
			g.expect("state", int(g.state(i)), int(want))
		}
		g.silent[0], g.silent[1] = false, false
		g.offer(0, 4)
		g.offer(1, 4)
		g.wait(2 * g.config.BoardInterval)
		for i, want := range []ledger.NodeState{ledger.NodeUp, ledger.NodeDraining, ledger.NodeUp} {
			g.expect("state after", int(g.state(i)), int(want))
		}
		g.expect("commands", g.count(&ledger.SetNodeState{}), 2)
	})
}

// TestDeparted: a node that says itself that it goes is not taken for back because
// of the offer that it has left, only because of a new one.
func TestDeparted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 4)
		g.open()
		g.wait(time.Minute)
		g.silent[0] = true
		g.wait(time.Second)
		g.mustDo(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeUnreachable})
		g.wait(3 * g.config.BoardInterval)
		g.expect("state", int(g.state(0)), int(ledger.NodeUnreachable))
		g.silent[0] = false
		g.offer(0, 4)
		g.wait(2 * g.config.BoardInterval)
		g.expect("state after an offer", int(g.state(0)), int(ledger.NodeUp))
	})
}

// TestStatesCross: an operator who drains a node while the scheduler is about to
// say that it is silent, or back, has the last word.
func TestStatesCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 4)
		drain := &ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeDraining}
		crossed := 0
		g.fail = func(c ledger.Command) error {
			if set, ok := c.(*ledger.SetNodeState); ok && set.State != ledger.NodeDraining && set.Node == nodeID(0) {
				crossed++
				g.apply(drain)
			}
			return nil
		}
		g.open()
		g.wait(time.Minute)
		g.silent[0] = true
		g.wait(time.Duration(g.config.Params.OfferAgeNanosMax) + g.config.SilenceMax + beat)
		g.expect("drained as it falls silent", int(g.state(0)), int(ledger.NodeDraining))
		g.mustDo(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeUnreachable, From: []ledger.NodeState{ledger.NodeDraining}})
		g.wait(beat) // an offer of the same moment would be one that it has left
		g.silent[0] = false
		g.offer(0, 4)
		g.wait(2 * g.config.BoardInterval)
		g.expect("drained as it returns", int(g.state(0)), int(ledger.NodeDraining))
		g.expect("commands that crossed", crossed, 2)
	})
}

// TestNewLeaderWaits: a new leader, whose board is empty, takes nobody for silent
// before it has waited, and lets nodes renew before leases run out.
func TestNewLeaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 4)
		g.mustDo(&ledger.Submit{Job: jobID(0), Spec: spec(1)})
		g.mustDo(&ledger.Place{Placements: []ledger.Placement{{Job: jobID(0), Count: 1, Slots: 1, Node: nodeID(0), Expiry: stamp(time.Now().Add(time.Second))}}})
		offers := g.board.offers
		g.board.offers = map[p2p.NodeID]capacity.Entry{}
		<-time.After(time.Minute)
		g.open()
		<-time.After(3 * time.Second)
		g.renew()
		g.board.mu.Lock()
		g.board.offers = offers
		g.board.mu.Unlock()
		g.offer(0, 4)
		g.offer(1, 4)
		g.wait(g.config.SettleWait)
		g.expect("changes of nodes", g.count(&ledger.SetNodeState{}), 0)
		g.expect("tasks out", out(g.job(jobID(0))), 1)
		if leases := g.leases(0); len(leases) != 1 || leases[0].State == ledger.LeaseUnreachable {
			t.Errorf("leases are %+v, want the one from before", leases)
		}
	})
}

// fill starts a grid of nodes with one slot each, on all of which tasks run.
func fill(t *testing.T, nodes int, change func(*Config)) (g *grid, id ledger.JobID) {
	t.Helper()
	g = newGrid(t)
	g.add(nodes, 1)
	if change != nil {
		change(&g.config)
	}
	g.open()
	g.wait(2 * g.config.SettleWait)
	id = g.submit(spec(uint32(nodes)))
	synctest.Wait()
	g.expect("tasks out", out(g.job(id)), nodes)
	return g, id
}

// run lets time go by while nodes renew.
func (g *grid) run(d time.Duration) {
	g.Helper()
	for ; d > 0; d -= time.Second {
		g.renew()
		g.wait(time.Second)
	}
}

// TestBrakeLimits: when more than a quarter of the nodes vanish, what they had is
// placed again a few tasks a second, and everything else at once.
func TestBrakeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, id := fill(t, 20, func(c *Config) { c.ReplacePerSecond = 2 })
		g.add(20, 1)
		for i := range 12 {
			g.silent[i] = true
		}
		g.run(11 * time.Second)
		g.expect("brake", g.metric("brake", ""), int(gripLimited))
		placed := func() int { return out(g.job(id)) - 8 }
		early := placed()
		if early > 6 {
			t.Errorf("%d lost tasks are placed again at once", early)
		}
		fresh := g.submit(spec(4))
		g.wait(time.Millisecond)
		g.expect("fresh tasks out", out(g.job(fresh)), 4)
		g.run(2 * time.Second)
		if n := placed() - early; n < 3 || n > 6 {
			t.Errorf("%d lost tasks are placed again in two seconds, at 2 a second", n)
		}
		g.run(10 * time.Second)
		g.expect("lost tasks placed in the end", placed(), 12)
		g.expect("held tasks", g.metric("held_tasks", ""), 0)
	})
}

// TestFewLost: the loss of a few nodes does not put the brake on.
func TestFewLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, id := fill(t, 20, func(c *Config) { c.ReplacePerSecond = 1 })
		g.add(10, 1)
		for i := range 4 {
			g.silent[i] = true
		}
		g.run(12 * time.Second)
		g.expect("tasks out", out(g.job(id)), 20)
		g.run(30 * time.Second)
		g.expect("brake", g.metric("brake", ""), int(gripNone))
		g.expect("silent nodes", g.metric("silent_nodes", ""), 4)
	})
}

// TestBrakeStops: while most of the grid is silent nothing is placed again that was
// lost; fresh jobs are. What is back after a moment goes on.
func TestBrakeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, id := fill(t, 10, func(c *Config) { c.StopWindow = time.Minute })
		for i := range 8 {
			g.silent[i] = true
		}
		g.run(20 * time.Second)
		g.expect("brake", g.metric("brake", ""), int(gripStopped))
		g.finish(8)
		g.finish(9)
		g.wait(time.Second)
		started := out(g.job(id))
		fresh := g.submit(spec(1))
		g.wait(time.Millisecond)
		g.expect("fresh tasks out", out(g.job(fresh)), 1)
		g.run(20 * time.Second)
		g.expect("lost tasks placed", out(g.job(id)), started)
		for i := range 8 {
			g.silent[i] = false
			g.offer(i, 1)
		}
		g.run(3 * time.Second)
		g.expect("brake after", g.metric("brake", ""), int(gripNone))
		g.expect("lost tasks placed after", out(g.job(id)), 8)
	})
}

// TestBrakeLetsGo: nodes that stay away are taken for gone, and what they had goes
// to the others.
func TestBrakeLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, id := fill(t, 4, func(c *Config) { c.StopWindow, c.VanishedWindow = time.Minute, 2*time.Minute })
		for i := range 3 {
			g.silent[i] = true
		}
		g.run(30 * time.Second)
		g.finish(3)
		g.run(10 * time.Second)
		g.expect("brake", g.metric("brake", ""), int(gripStopped))
		g.expect("tasks out", out(g.job(id)), 0)
		g.run(time.Minute)
		g.expect("brake later", g.metric("brake", ""), int(gripLimited))
		g.expect("tasks out later", out(g.job(id)), 1)
		g.run(2 * time.Minute)
		g.expect("brake in the end", g.metric("brake", ""), int(gripNone))
	})
}
