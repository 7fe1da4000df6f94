package keeper

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/book/booktest"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/dugnad/dugnad/p2p/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds a wait; it is no measure of speed.
const patience = 2 * time.Minute

// book is a ledger that all nodes share.
type book struct {
	*booktest.Book
	t testing.TB
}

// job submits a job and returns its id.
func (b *book) job(n byte) ledger.JobID {
	b.t.Helper()
	id := ledger.JobID{15: n}
	b.Must(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
		Tenant: "acme", Module: ledger.ModuleID{1}, Count: 1, FuelMax: 1,
		Task: ledger.Resources{MemoryBytes: 1, FuelRate: 1, Slots: 1}, Retry: ledger.Retry{AttemptsMax: 1},
	}})
	return id
}

// finish ends a job by a report of a node, with a result.
func (b *book) finish(id ledger.JobID, by ledger.NodeID, h content.Hash) {
	b.t.Helper()
	b.Must(&ledger.Place{Placements: []ledger.Placement{{Job: id, Count: 1, Slots: 1, Node: by, Expiry: b.Now() + ledger.Time(time.Hour)}}})
	var leases []ledger.Lease
	if _, err := b.View(func(tx ledger.Tx) (err error) {
		leases, err = ledger.LeasesOf(tx, by, 0, 10)
		return err
	}); err != nil || len(leases) != 1 {
		b.t.Fatal(leases, err)
	}
	b.Must(&ledger.Report{Node: by, Leases: []ledger.LeaseReport{{
		Epoch: leases[0].Epoch, Runs: []ledger.Run{{Count: 1, State: ledger.TaskSucceeded, Digest: h}},
	}}})
}

// prune lets so much time pass that the jobs that have ended are forgotten.
func (b *book) prune() {
	b.t.Helper()
	b.Advance(time.Duration(ledger.RetentionNanos))
	b.Must(&ledger.Tick{})
}

// grid is nodes that share a ledger.
type grid struct {
	t       testing.TB
	book    *book
	network *p2ptest.Network
	nodes   []*node
}

type node struct {
	g      *grid
	id     ledger.NodeID
	dir    string
	self   *p2ptest.Node
	rpc    *rpc.Endpoint
	store  *content.Store
	keeper *Keeper
	// serving is what answers other nodes.
	serving atomic.Pointer[Keeper]
	// change changes the configurations of what is opened.
	change func(*Config, *content.Config)
}

// newGrid makes a ledger with a tenant and a module, and nodes that it knows.
func newGrid(t testing.TB, nodes int, change func(*Config, *content.Config)) *grid {
	t.Helper()
	b := &book{booktest.New(t), t}
	b.Must(&ledger.CreateTenant{Tenant: "acme", Weight: 1, BandMax: 7}, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	g := &grid{t: t, book: b, network: p2ptest.New(t, p2ptest.Config{})}
	for range nodes {
		g.add(change).register()
	}
	return g
}

// add opens a node that the ledger does not know.
func (g *grid) add(change func(*Config, *content.Config)) *node {
	g.t.Helper()
	id := p2p.NodeID(fmt.Sprint("n", len(g.nodes)))
	n := &node{g: g, id: ledger.NodeID(id), dir: g.t.TempDir(), self: g.network.Add(id, p2p.RoleWorker), change: change}
	g.nodes = append(g.nodes, n)
	n.open()
	g.t.Cleanup(n.close)
	return n
}

func (n *node) register() {
	n.g.book.Must(&ledger.RegisterNode{Node: n.id, Capacity: ledger.Resources{MemoryBytes: 1 << 30, FuelRate: 1 << 30, Slots: 4}})
}

func testConfig() Config {
	c := Default()
	c.CopyTimeout, c.CallTimeout, c.FetchTimeout = patience, patience, patience
	c.LookInterval, c.PageInterval, c.AvoidFor, c.AvoidMax = 10*time.Millisecond, time.Millisecond, time.Millisecond, time.Millisecond
	c.BackoffMin, c.BackoffMax = time.Millisecond, 10*time.Millisecond
	c.NodesAge, c.ReserveBytes = time.Nanosecond, 0
	return c
}

func (n *node) open() {
	t := n.g.t
	t.Helper()
	c, s, r := testConfig(), content.Default(n.dir), rpc.Default()
	s.Network, s.DiskReserveBytes, s.BytesMax, s.ObjectBytesMax = n.self, 0, 64<<20, 16<<20
	if n.change != nil {
		n.change(&c, &s)
	}
	var err error
	if n.store, err = content.Open(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	r.Network, r.Methods = n.self, Methods(n.serving.Load)
	if n.rpc, err = rpc.Open(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	c.Self, c.Ledger, c.Objects, c.Peers = n.id, n.g.book, n.store, n.rpc
	if n.keeper, err = Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	n.serving.Store(n.keeper)
}

func (n *node) close() {
	if n.keeper == nil {
		return
	}
	for _, err := range []error{n.keeper.Close(), n.rpc.Close(), n.store.Close()} {
		if err != nil {
			n.g.t.Error(err)
		}
	}
	n.keeper = nil
	n.serving.Store(nil)
}

// done reports whether nothing of a node's is without a copy.
func (n *node) done() bool {
	n.keeper.mu.Lock()
	defer n.keeper.mu.Unlock()
	return len(n.keeper.alone) == 0
}

// put stores an object for an owner.
func (n *node) put(b []byte, owner string) content.Hash {
	n.g.t.Helper()
	h, _, err := n.store.Put(n.g.t.Context(), bytes.NewReader(b), owner)
	if err != nil {
		n.g.t.Fatal(err)
	}
	return h
}

// keepers returns the nodes that hold an object pinned for an owner.
func (g *grid) keepers(h content.Hash, owner string) (list []ledger.NodeID) {
	for _, n := range g.nodes {
		if n.keeper != nil && n.store.Has(h) && slices.Contains(n.store.OwnersOf(h), owner) {
			list = append(list, n.id)
		}
	}
	return list
}

// await waits until something is so.
func (g *grid) await(what string, is func() bool) {
	g.t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			g.t.Fatalf("not in time: %s", what)
		}
	}
}

// noise returns bytes that follow from a seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func ownerOf(id ledger.JobID) string { return result.Owner(id) }
