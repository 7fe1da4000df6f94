package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// addNamed registers a node that has its own label, as real ones do.
func (g *grid) addNamed(labels ...ledger.Label) {
	g.add(1, 4, append(labels, ledger.Label{Name: ledger.LabelNode, Value: string(nodeID(g.nodes))})...)
}

// daemonOrder creates a daemon of one task on each node.
func (g *grid) daemonOrder(n byte, constraints ...ledger.Constraint) ledger.OrderID {
	g.Helper()
	id := ledger.OrderID{0: 1, 15: n}
	s := spec(1)
	s.Constraints = constraints
	g.mustDo(&ledger.CreateOrder{Order: id, Kind: ledger.OrderDaemon, Spec: s})
	return id
}

// TestDaemon: each matching node has one job, whatever comes, goes and fails.
func TestDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		gpu := ledger.Label{Name: "gpu", Value: "yes"}
		g.addNamed(gpu)
		g.addNamed()
		g.open()
		all, some := g.daemonOrder(1), g.daemonOrder(2, ledger.Constraint{Label: "gpu", Value: "yes"})
		g.wait(time.Second)
		leases := func(want ...int) {
			t.Helper()
			for i, n := range want {
				if got := len(g.leases(i)); got != n {
					t.Errorf("node %d has %d leases, want %d", i, got, n)
				}
			}
		}
		leases(2, 1)
		wait := func(d time.Duration) {
			t.Helper()
			for ; d > 0; d -= min(d, time.Second) {
				g.renewAny()
				g.wait(min(d, time.Second))
			}
		}
		g.addNamed(gpu)
		wait(2 * time.Second)
		leases(2, 1, 2)
		// One ends: the next comes after a moment, on the same node.
		g.finish(1)
		leases(2, 0, 2)
		wait(500 * time.Millisecond)
		leases(2, 0, 2)
		wait(3 * time.Second)
		leases(2, 1, 2)
		// One drains, another leader comes: its jobs are stopped, the others stay.
		g.mustDo(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeDraining})
		wait(3 * time.Second)
		g.expect("stopped", g.count(&ledger.Cancel{}), 2)
		g.elect(true)
		wait(3 * time.Second)
		g.expect("open", int(g.order(all).Open), 3)
		g.finish(0) // It reports what it was told to stop.
		wait(3 * time.Second)
		leases(0, 1, 2)
		g.expect("open", int(g.order(all).Open), 2)
		// One is gone for good.
		g.silent[2] = true
		g.mustDo(&ledger.SetNodeState{Node: nodeID(2), State: ledger.NodeGone})
		wait(3 * time.Second)
		g.expect("open", int(g.order(all).Open), 1)
		g.expect("open with label", int(g.order(some).Open), 0)
		// The first comes back.
		g.mustDo(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeUp})
		wait(5 * time.Second)
		leases(2, 1)
		before := g.count(&ledger.Fire{}) + g.count(&ledger.Cancel{})
		wait(5 * time.Second)
		g.expect("commands for nothing", g.count(&ledger.Fire{})+g.count(&ledger.Cancel{}), before)
		g.mustDo(&ledger.SetOrderState{Order: all, State: ledger.OrderEnded})
		wait(5 * time.Second)
		g.expect("open", int(g.order(all).Open), 2) // Until their nodes have reported.
		g.finish(0)
		g.finish(1)
		wait(time.Second)
		g.expect("too early", g.metric("runs_total", ledger.CodeRunEarly.String()), 0)
		g.expect("open in the end", int(g.order(all).Open), 0)
	})
}

// renewAny renews leases, also of jobs that are being stopped.
func (g *grid) renewAny() {
	g.Helper()
	for i := range g.nodes {
		var epochs []ledger.Epoch
		for _, l := range g.leases(i) {
			epochs = append(epochs, l.Epoch)
		}
		if len(epochs) == 0 || g.silent[i] {
			continue
		}
		g.memoryLedger.mu.Lock()
		g.apply(&ledger.Renew{Node: nodeID(i), Epochs: epochs, Expiry: stamp(time.Now().Add(beat))})
		g.memoryLedger.mu.Unlock()
	}
}
