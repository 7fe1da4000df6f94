package capacity

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree is a network whose nodes are publishers: each node's parent is the one
// before it by fanOut, as in a heap, unless a test says otherwise.
type tree struct {
	t          *testing.T
	network    *p2ptest.Network
	nodes      []*p2ptest.Node
	publishers []*Publisher
	registries []*prometheus.Registry

	mu      sync.Mutex
	parents []int
}

const fanOut = 8

func newTree(t *testing.T, n int) *tree {
	tr := &tree{t: t, network: p2ptest.New(t, p2ptest.Config{Latency: 20 * time.Millisecond, BrokenAfter: 5 * time.Second})}
	tr.nodes = tr.network.AddMany(n)
	for i := range tr.nodes {
		tr.parents = append(tr.parents, (i-1)/fanOut)
	}
	tr.parents[0] = -1
	for i := range tr.nodes {
		tr.registries = append(tr.registries, prometheus.NewRegistry())
		p, err := Open(t.Context(), tr.config(i))
		if err != nil {
			t.Fatal(err)
		}
		tr.publishers = append(tr.publishers, p)
	}
	return tr
}

func (tr *tree) config(i int) Config {
	c := Default()
	c.Network, c.Grid = tr.nodes[i], testGrid
	c.Sign, c.Verify = signer(tr.nodes[i].Self()), verify
	c.Registerer = tr.registries[i]
	c.Parent = func() (p2p.NodeID, bool) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if tr.parents[i] < 0 {
			return "", false
		}
		return tr.nodes[tr.parents[i]].Self(), true
	}
	return c
}

func (tr *tree) setParent(i, parent int) {
	tr.mu.Lock()
	tr.parents[i] = parent
	tr.mu.Unlock()
	tr.publishers[i].ParentChanged()
}

func (tr *tree) close() {
	for _, p := range tr.publishers {
		if err := p.Close(); err != nil {
			tr.t.Error(err)
		}
	}
	for _, n := range tr.nodes {
		if err := n.Close(); err != nil {
			tr.t.Error(err)
		}
	}
}

func (tr *tree) offerAll(slots uint32) {
	for _, p := range tr.publishers {
		if err := p.SetOffer(Offer{Slots: slots, Labels: []Label{{"zone", "oslo"}}}); err != nil {
			tr.t.Fatal(err)
		}
	}
}

// until waits in the bubble's time for done, and returns how long that took.
func (tr *tree) until(what string, done func() bool) time.Duration {
	tr.t.Helper()
	began := time.Now()
	for !done() {
		if time.Since(began) > 5*time.Minute {
			tr.t.Fatalf("not after 5m: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
	return time.Since(began)
}

func (tr *tree) slots(root, node int) uint32 {
	e, _ := tr.publishers[root].Board().Find(tr.nodes[node].Self())
	return e.Offer.Slots
}

// sum adds up a counter over all nodes.
func (tr *tree) sum(name string) (total float64) {
	for _, r := range tr.registries {
		families, err := r.Gather()
		if err != nil {
			tr.t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				for _, m := range f.GetMetric() {
					total += m.GetCounter().GetValue()
				}
			}
		}
	}
	return total
}

// TestTwoHundredNodes is a grid at rest, and a change in it.
func TestTwoHundredNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		tr := newTree(t, n)
		defer tr.close()
		tr.offerAll(1)
		filter := bytes.Repeat([]byte{5}, 1<<10)
		for _, p := range tr.publishers {
			if err := p.SetHeld(filter); err != nil {
				t.Fatal(err)
			}
		}
		took := tr.until("all nodes on the root's board", func() bool { return len(tr.publishers[0].Board().List()) == n })
		t.Logf("all on the board after %v", took)

		const beats = 2
		<-time.After(Default().Beat)
		before := tr.sum("dugnad_capacity_sent_bytes_total")
		<-time.After(beats * Default().Beat)
		rate := (tr.sum("dugnad_capacity_sent_bytes_total") - before) / n / (beats * Default().Beat).Seconds()
		t.Logf("at rest each node sends %.0f bytes/s", rate)
		// The filter, which has not changed, is not sent again.
		if rate > 100 {
			t.Errorf("at rest each node sends %.0f bytes/s, at most 100", rate)
		}
		if err := tr.publishers[n-1].SetOffer(Offer{Slots: 77}); err != nil {
			t.Fatal(err)
		}
		took = tr.until("the change is on the root's board", func() bool { return tr.slots(0, n-1) == 77 })
		t.Logf("a change is on the board after %v", took)
		if took > 2*time.Second {
			t.Errorf("a change took %v, at most 2s", took)
		}
		if e, ok := tr.publishers[0].Board().Find(tr.nodes[n-1].Self()); !ok || !bytes.Equal(e.Held, filter) {
			t.Error("the filter is gone")
		}
	})
}

// TestRootMoves: a new root knows the grid at once.
func TestRootMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTree(t, 20)
		defer tr.close()
		tr.offerAll(3)
		tr.until("all at the old root", func() bool { return len(tr.publishers[0].Board().List()) == 20 })
		tr.setParent(1, -1)
		tr.setParent(0, 1)
		for i := 2; i < 20; i++ {
			tr.setParent(i, 1)
		}
		took := tr.until("all at the new root", func() bool { return len(tr.publishers[1].Board().List()) == 20 })
		if took > 2*time.Second {
			t.Errorf("the new root knew all after %v, at most 2s", took)
		}
	})
}

// TestCutOff: a node that is gone leaves the board, and comes back.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTree(t, 3)
		defer tr.close()
		tr.offerAll(3)
		tr.until("all there", func() bool { return len(tr.publishers[0].Board().List()) == 3 })
		tr.network.Cut(tr.nodes[2].Self())
		took := tr.until("the node is gone", func() bool { return len(tr.publishers[0].Board().List()) == 2 })
		if most := beatsPerTTL * Default().Beat; took > most {
			t.Errorf("gone after %v, at most %v", took, most)
		}
		tr.network.Restore(tr.nodes[2].Self())
		tr.until("the node is back", func() bool { return tr.slots(0, 2) == 3 })
	})
}

// TestRestart: what a node says after a restart counts, not what it said before.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTree(t, 2)
		defer tr.close()
		tr.offerAll(3)
		tr.until("there", func() bool { return tr.slots(0, 1) == 3 })
		if err := tr.publishers[1].Close(); err != nil {
			t.Fatal(err)
		}
		if err := tr.publishers[1].SetOffer(Offer{}); !errors.Is(err, ErrClosed) {
			t.Errorf("a closed publisher says %v", err)
		}
		<-time.After(time.Second)
		p, err := Open(t.Context(), tr.config(1))
		if err != nil {
			t.Fatal(err)
		}
		tr.publishers[1] = p
		if err := p.SetOffer(Offer{Slots: 4}); err != nil {
			t.Fatal(err)
		}
		tr.until("the new offer", func() bool { return tr.slots(0, 1) == 4 })
	})
}

func frame(batch []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(batch))), batch...)
}

func inBatch(raw []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(raw))), raw...) }

// TestHostileChildren: each is cut off, and the honest ones are heard.
func TestHostileChildren(t *testing.T) {
	offer := (&Offer{Slots: 9}).encode()
	now := func() stamp {
		return stamp{kind: kindOffer, node: "victim", sequence: 1 << 62, at: time.Now(), ttl: time.Minute}
	}
	tests := []struct {
		name string
		send func(t *testing.T) []byte
	}{
		{"garbage", func(*testing.T) []byte { return frame([]byte("no batch at all")) }},
		{"claims 4 GiB", func(*testing.T) []byte { return []byte{255, 255, 255, 255, 1} }},
		{"empty frame", func(*testing.T) []byte { return frame(nil) }},
		{"forged", func(t *testing.T) []byte {
			var all []byte
			for i := range forgedMax + 1 {
				s := now()
				s.sequence += uint64(i)
				raw, err := seal(testGrid, s, offer, signer("somebody else"))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, frame(inBatch(raw))...)
			}
			return all
		}},
		{"other grid", func(t *testing.T) []byte {
			return frame(bytes.Repeat(inBatch(sealed(t, p2p.GridID{7}, now(), offer)), forgedMax+1))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTree(t, 2)
				defer tr.close()
				evil := tr.network.Add("evil", p2p.RoleWorker)
				defer func() { _ = evil.Close() }()
				s, err := evil.Open(t.Context(), tr.nodes[0].Self(), protocol)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write(tt.send(t)); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("the stream ended with %v, want a reset", err)
				}
				tr.offerAll(3)
				tr.until("the honest one", func() bool { return tr.slots(0, 1) == 3 })
				if _, ok := tr.publishers[0].Board().Find("victim"); ok {
					t.Error("a forged offer is on the board")
				}
			})
		})
	}
}

// TestChildren: clients give nothing, and there is a limit.
func TestChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTree(t, 1)
		defer tr.close()
		ended := func(s p2p.Stream) error {
			_, err := s.Read(make([]byte, 1))
			return err
		}
		client := tr.network.Add("client", p2p.RoleClient)
		defer func() { _ = client.Close() }()
		s, err := client.Open(t.Context(), tr.nodes[0].Self(), protocol)
		if err != nil {
			t.Fatal(err)
		}
		if ended(s) == nil {
			t.Error("a client may send offers")
		}
		worker := tr.network.Add("worker", p2p.RoleWorker)
		defer func() { _ = worker.Close() }()
		for range Default().ChildrenMax + 1 {
			if _, err := worker.Open(t.Context(), tr.nodes[0].Self(), protocol); err != nil {
				t.Fatal(err)
			}
		}
		refused := func() bool { return tr.sum("dugnad_capacity_children_refused_total") == 2 }
		tr.until("one child too many is refused", refused)
		synctest.Wait()
		if !refused() {
			t.Error("more children than one were refused")
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	tr := &tree{network: p2ptest.New(t, p2ptest.Config{})}
	tr.nodes, tr.registries, tr.parents = tr.network.AddMany(1), []*prometheus.Registry{prometheus.NewRegistry()}, []int{-1}
	t.Cleanup(func() { _ = tr.nodes[0].Close() })
	for i, spoil := range []func(c *Config){
		func(c *Config) { c.Network = nil },
		func(c *Config) { c.Sign = nil },
		func(c *Config) { c.Beat = 0 },
		func(c *Config) { c.Beat = TTLMax },
		func(c *Config) { c.BatchInterval = c.Beat + 1 },
		func(c *Config) { c.RetryInterval = 0 },
		func(c *Config) { c.NodesMax = 0 },
	} {
		c := tr.config(0)
		spoil(&c)
		if _, err := Open(context.Background(), c); err == nil {
			t.Errorf("case %d: opened", i)
		}
	}
	p, err := Open(t.Context(), tr.config(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if err := p.SetHeld(make([]byte, FilterBytesMax+1)); err == nil {
		t.Error("a filter that is too large was taken")
	}
	if families, _ := tr.registries[0].Gather(); !slices.Equal(families, nil) {
		t.Error("metrics are left behind")
	}
}

// FuzzBatch: a child can send anything.
func FuzzBatch(f *testing.F) {
	s := stamp{kind: kindOffer, node: "n1", sequence: 5, at: start, ttl: 30 * time.Second}
	f.Add(inBatch(sealed(f, testGrid, s, (&Offer{}).encode())))
	f.Fuzz(func(t *testing.T, batch []byte) {
		b, _ := testBoard(1)
		m, err := newMetrics(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		p := &Publisher{board: b, metrics: m, changed: make(chan struct{}, 1)}
		p.take(batch)
		// Nobody signs here but the node of the seed.
		for id := range b.nodes {
			if id != s.node {
				t.Errorf("%q is on the board", id)
			}
		}
	})
}
