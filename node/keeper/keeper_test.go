package keeper

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

// TestResult: small and large results are on a second node before Result returns,
// where Holders of any node says.
func TestResult(t *testing.T) {
	g := newGrid(t, 3, nil)
	id := g.book.job(1)
	for i, size := range []int{1, 1000, SmallBytesMax, SmallBytesMax + 1, 3 << 20} {
		b := noise(uint64(i), size)
		h := content.Sum(b)
		if size > SmallBytesMax {
			g.nodes[0].put(b, ownerOf(id))
			g.nodes[0].keeper.Result(t.Context(), id, h, int64(size), nil)
		} else {
			g.nodes[0].keeper.Result(t.Context(), id, h, int64(size), b)
			g.nodes[0].put(b, ownerOf(id))
		}
		list := g.keepers(h, ownerOf(id))
		if len(list) != 2 || list[0] != "n0" {
			t.Fatalf("object of %d bytes is kept by %s", size, list)
		}
		if first := g.nodes[0].keeper.Holders(h)[0]; ledger.NodeID(first) != list[1] {
			t.Errorf("object of %d bytes is kept by %s, it is said %s", size, list, first)
		}
		for _, n := range g.nodes[1:] {
			if n.id == list[1] {
				o, err := n.store.Open(h, true)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(o); err != nil || content.Sum(got) != h {
					t.Error(len(got), err)
				}
				_ = o.Close()
			} else if !slices.Contains(n.keeper.Holders(h), p2p.NodeID(list[1])) {
				t.Errorf("%s says that %s have it", n.id, n.keeper.Holders(h))
			}
		}
	}
	g.await("nothing is without a copy", g.nodes[0].done)
}

// TestLater: work goes on when nobody can keep a copy, which is made as soon as
// somebody can: another node, one that answers again, or has room again, also after
// a restart.
func TestLater(t *testing.T) {
	g := newGrid(t, 1, func(c *Config, _ *content.Config) {
		c.CallTimeout, c.CopyTimeout = 50*time.Millisecond, 100*time.Millisecond
	})
	first := g.nodes[0]
	id := g.book.job(1)
	result := func(seed uint64) content.Hash {
		b := noise(seed, 100)
		h := first.put(b, ownerOf(id))
		first.keeper.Result(t.Context(), id, h, 100, b)
		return h
	}
	both := func(h content.Hash) func() bool {
		return func() bool { return len(g.keepers(h, ownerOf(id))) == 2 }
	}
	alone := result(1)
	if first.close(); first.keeper == nil {
		first.open()
	}
	second := g.add(nil)
	second.register()
	g.await("a copy by a node that came later", both(alone))
	g.network.Cut("n1")
	unreached := result(2)
	if list := g.keepers(unreached, ownerOf(id)); len(list) != 1 {
		t.Fatalf("kept by %s", list)
	}
	g.network.Restore("n1")
	g.await("a copy by a node that is back", both(unreached))
	g.await("nothing is without a copy", first.done)
}

// TestLost: when a node is lost, whoever has the other copy makes a new one, of what
// it ran itself and of what it kept for others.
func TestLost(t *testing.T) {
	g := newGrid(t, 4, nil)
	id := g.book.job(1)
	var hashes []content.Hash
	for i := range 40 {
		b := noise(uint64(i), 100)
		n := g.nodes[i%4]
		h := n.put(b, ownerOf(id))
		n.keeper.Result(t.Context(), id, h, 100, b)
		hashes = append(hashes, h)
	}
	lost := g.nodes[3]
	lost.close()
	if err := lost.self.Close(); err != nil {
		t.Fatal(err)
	}
	g.book.Must(&ledger.SetNodeState{Node: lost.id, State: ledger.NodeGone})
	g.await("two copies of all", func() bool {
		return !slices.ContainsFunc(hashes, func(h content.Hash) bool { return len(g.keepers(h, ownerOf(id))) < 2 })
	})
	for i, h := range hashes {
		if list := g.keepers(h, ownerOf(id)); len(list) > 2 {
			t.Errorf("object %d is kept by %s", i, list)
		}
	}
}

// TestRetention: what is pinned for a job is given up on every node when the ledger
// forgets the job, also by a node that was away, and so is what nothing names.
func TestRetention(t *testing.T) {
	g := newGrid(t, 3, nil)
	id, other := g.book.job(1), g.book.job(2)
	keep := func(id ledger.JobID, seed uint64) content.Hash {
		b := noise(seed, 100)
		h := g.nodes[0].put(b, ownerOf(id))
		g.nodes[0].keeper.Result(t.Context(), id, h, 100, b)
		return h
	}
	h, orphan, open := keep(id, 1), keep(id, 2), keep(other, 3)
	g.book.finish(id, "n0", h)
	nobody := ownerOf(ledger.JobID{9})
	stray := g.nodes[1].put(noise(4, 100), nobody)
	away := g.nodes[slices.IndexFunc(g.nodes[1:], func(n *node) bool { return n.store.Has(h) })+1]
	for _, n := range g.nodes {
		n.close()
		n.open()
	}
	g.await("what nothing names is given up", func() bool {
		return len(g.keepers(stray, nobody)) == 0 && len(g.keepers(orphan, ownerOf(id))) == 0
	})
	if a, b := g.keepers(h, ownerOf(id)), g.keepers(open, ownerOf(other)); len(a) != 2 || len(b) != 2 {
		t.Fatalf("kept by %s and %s", a, b)
	}
	away.close()
	g.book.prune()
	g.await("it is given up", func() bool { return len(g.keepers(h, ownerOf(id))) == 0 })
	if away.open(); !away.store.Has(h) {
		t.Fatal("the copy is gone before anybody gave it up")
	}
	g.await("it is given up by the node that was away", func() bool { return len(g.keepers(h, ownerOf(id))) == 0 })
	if list := g.keepers(open, ownerOf(other)); len(list) != 2 {
		t.Errorf("the result of a job that runs is kept by %s", list)
	}
}

// TestModules: a module is held by two, and given up by each when no job names it
// and it was not used for long; the last one has the ledger forget it.
func TestModules(t *testing.T) {
	idle := func(c *Config, _ *content.Config) {
		c.ModuleIdle, c.ModuleGrace, c.SweepInterval = 1, 1, time.Millisecond
	}
	g := newGrid(t, 2, nil)
	b := noise(1, 5000)
	h := g.nodes[0].put(b, ModuleOwner)
	unknown := g.nodes[0].put(noise(2, 10), ModuleOwner)
	m := ledger.ModuleID(h)
	g.book.Must(&ledger.PutModule{Module: m, Bytes: 5000, Holder: "n0"})
	node, err := g.nodes[0].keeper.Module(t.Context(), h, 5000)
	if err != nil || node != "n1" || len(g.keepers(h, ModuleOwner)) != 2 {
		t.Fatal(node, err, g.keepers(h, ModuleOwner))
	}
	g.book.Must(&ledger.AddHolder{Module: m, Node: node})
	id := ledger.JobID{15: 1}
	g.book.Must(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
		Tenant: "acme", Module: m, Count: 1, FuelMax: 1,
		Task: ledger.Resources{MemoryBytes: 1, FuelRate: 1, Slots: 1}, Retry: ledger.Retry{AttemptsMax: 1},
	}})
	for _, n := range g.nodes {
		n.close()
		n.change = idle
		n.open()
	}
	g.await("one that the ledger does not know is given up", func() bool { return len(g.keepers(unknown, ModuleOwner)) == 0 })
	if list := g.keepers(h, ModuleOwner); len(list) != 2 {
		t.Fatalf("a module that a job names is kept by %s", list)
	}
	g.book.finish(id, "n0", content.Hash{5})
	g.book.prune()
	g.await("the ledger has forgotten it", func() bool {
		_, err := g.book.View(func(tx ledger.Tx) error {
			_, err := ledger.FindModule(tx, m)
			return err
		})
		return errors.Is(err, ledger.ErrNotFound)
	})
	g.await("nobody keeps it", func() bool { return len(g.keepers(h, ModuleOwner)) == 0 })
}

// TestSpread: each node leads for about as many objects, and when one goes, only
// those that it led for have another leader.
func TestSpread(t *testing.T) {
	const nodes, objects = 7, 7000
	var seats []seat
	for i := range nodes {
		seats = append(seats, newSeat(&ledger.Node{ID: ledger.NodeID(fmt.Sprint("node", i))}))
	}
	leads := map[ledger.NodeID]int{}
	for i := range objects {
		h := content.Sum(fmt.Append(nil, i))
		list := ranked(seats, h)
		leads[list[0].node]++
		if with := ranked(seats[:nodes-1], h); list[0].node != seats[nodes-1].node && with[0] != list[0] {
			t.Fatalf("object %d: %s instead of %s", i, with[0].node, list[0].node)
		}
	}
	for node, n := range leads {
		if n < objects/nodes*8/10 || n > objects/nodes*12/10 {
			t.Errorf("%s leads for %d of %d objects", node, n, objects)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"Self":         func(c *Config) { c.Self = "" },
		"Ledger":       func(c *Config) { c.Ledger = nil },
		"BackoffMin":   func(c *Config) { c.BackoffMin = c.BackoffMax + 1 },
		"ReserveBytes": func(c *Config) { c.ReserveBytes = -1 },
		"CopyTimeout":  func(c *Config) { c.CopyTimeout = 0 },
	} {
		c := Default()
		c.Self, c.Ledger, c.Objects, c.Peers = "n", &book{}, &content.Store{}, &fakePeers{}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&c); c.Validate() == nil {
			t.Errorf("%s is not refused", name)
		}
	}
}
