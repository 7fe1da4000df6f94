package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/book/booktest"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/p2p"
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

// await waits until the ledger shows something.
func (b *book) await(what string, is func(tx ledger.Tx) bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	found := errors.New("found")
	err := b.Watch(ctx, nil, 0, func(uint64, []replica.Change) error {
		ok := false
		_, err := b.View(func(tx ledger.Tx) error {
			ok = is(tx)
			return nil
		})
		if ok {
			err = found
		}
		return err
	})
	if !errors.Is(err, found) {
		b.t.Fatalf("%s: not within %s", what, patience)
	}
}

// grid is some nodes and the ledger that they share.
type grid struct {
	*book
	key   p2p.Key
	nodes map[p2p.NodeID]*node
}

// node is one of them; Call carries its questions to the others.
type node struct {
	*Custodian
	grid     *grid
	id       ledger.NodeID
	key      p2p.Key
	registry *prometheus.Registry
	log      *said
	// wrong, when set, stands in for the answers of this node.
	wrong func(request []byte) ([]byte, error)
}

// said is what a node has logged.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func newGrid(t testing.TB) *grid {
	t.Helper()
	key, err := p2p.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &grid{book: &book{booktest.New(t), t}, key: key, nodes: map[p2p.NodeID]*node{}}
	g.Must(&ledger.CreateTenant{Tenant: "acme", Weight: 1}, &ledger.CreateTenant{Tenant: "zeta", Weight: 1}, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	return g
}

// read verifies a card.
func (g *grid) read(card []byte) (secret.Custodian, error) {
	return secret.ReadCard(card, g.key.GridID(), time.Now(), nil)
}

// add makes a node, which runs tasks and may be an admin's.
func (g *grid) add(admin bool, change func(*Config)) *node {
	g.t.Helper()
	key, err := p2p.NewKey(rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	n := &node{grid: g, key: key, id: ledger.NodeID(key.NodeID()), registry: prometheus.NewRegistry(), log: &said{}}
	c := Default()
	c.Self, c.Ledger, c.Peers, c.Read, c.Registerer, c.TurnInterval = n.id, g.book, n, g.read, n.registry, time.Millisecond
	c.Log = slog.New(slog.NewTextHandler(n.log, nil))
	seed := [32]byte{}
	_, _ = rand.Read(seed[:])
	if c.Key, err = secret.NewKey(seed); err == nil && admin {
		c.Card, err = c.Key.Card(g.key.GridID(), p2p.Found(g.key, key, time.Now()).Encode(), func(m []byte) ([]byte, error) { return key.Sign(m), nil })
	}
	if err != nil {
		g.t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	g.nodes[key.NodeID()] = n
	g.Must(&ledger.RegisterNode{Node: n.id, Capacity: ledger.Resources{Slots: 8, MemoryBytes: 1 << 30}})
	if n.Custodian, err = Open(g.t.Context(), c); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = n.Close() })
	if admin {
		g.await("a card", func(tx ledger.Tx) bool {
			list, err := ledger.Custodians(tx)
			return err == nil && slices.ContainsFunc(list, func(l ledger.Custodian) bool { return l.Node == n.id && bytes.Equal(l.Card, c.Card) })
		})
	}
	return n
}

// Call implements Peers: from n to another node.
func (n *node) Call(ctx context.Context, to p2p.NodeID, method string, request []byte) ([]byte, error) {
	other := n.grid.nodes[to]
	switch {
	case method != keyMethod || other == nil:
		return nil, fmt.Errorf("call %s of %s: %w", method, to, rpc.ErrUnavailable)
	case other.wrong != nil:
		return other.wrong(request)
	}
	return other.answer(ctx, rpc.Request{From: p2p.NodeID(n.id), Role: p2p.RoleWorker, Method: method, Body: request})
}

// refused returns how many requests the node has refused with a code.
func (n *node) refused(code string) (count float64) {
	n.grid.t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		n.grid.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "dugnad_custodian_keys_refused_total" && m.GetLabel()[0].GetValue() == code {
				count = m.GetCounter().GetValue()
			}
		}
	}
	return count
}

// put keeps a secret that is sealed to all custodians that the ledger has.
func (g *grid) put(tenant ledger.TenantID, name ledger.SecretName, value string, nodes ...ledger.NodeID) secret.Binding {
	g.t.Helper()
	b := secret.Binding{Tenant: tenant, Name: name, Nodes: nodes}
	_, _ = rand.Read(b.ID[:])
	var to []secret.Custodian
	if _, err := g.View(func(tx ledger.Tx) error {
		list, err := ledger.Custodians(tx)
		for _, l := range list {
			c, err := g.read(l.Card)
			if err != nil {
				return err
			}
			to = append(to, c)
		}
		return err
	}); err != nil {
		g.t.Fatal(err)
	}
	sealed, keys, err := secret.Seal([]byte(value), b, to)
	if err != nil {
		g.t.Fatal(err)
	}
	g.Must(&ledger.PutSecret{Tenant: tenant, Name: name, ID: b.ID, Nodes: nodes, Keys: keys, Value: sealed})
	return b
}

// job submits a job that names secrets, and gives it to a node.
func (g *grid) job(n byte, tenant ledger.TenantID, on ledger.NodeID, secrets ...ledger.SecretName) (ledger.JobID, ledger.Epoch) {
	g.t.Helper()
	id := ledger.JobID{15: n}
	g.Must(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
		Tenant: tenant, Module: ledger.ModuleID{1}, Count: 1, FuelMax: 1, Task: ledger.Resources{Slots: 1}, Retry: ledger.Retry{AttemptsMax: 1}, Secrets: secrets,
	}})
	g.Must(&ledger.Place{Placements: []ledger.Placement{{Job: id, Count: 1, Node: on, Slots: 1, Expiry: g.Now() + ledger.Time(time.Hour)}}})
	var leases []ledger.Lease
	if _, err := g.View(func(tx ledger.Tx) (err error) {
		leases, err = ledger.LeasesOf(tx, on, 0, 100)
		return err
	}); err != nil {
		g.t.Fatal(err)
	}
	i := slices.IndexFunc(leases, func(l ledger.Lease) bool { return l.Job == id })
	if i < 0 {
		g.t.Fatalf("the job is not on %s: %+v", on, leases)
	}
	return id, leases[i].Epoch
}
