package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
)

// patient is long enough that nothing in a test happens because of it.
const patient = time.Hour

// accusation is a call of Config.Report.
type accusation struct {
	holder p2p.NodeID
	reason Reason
}

func (a accusation) String() string { return fmt.Sprintf("{%s %s}", a.holder, a.reason) }

// peer is a store on a network in memory.
type peer struct {
	*Store
	id      p2p.NodeID
	metrics *prometheus.Registry

	mu          sync.Mutex
	accusations []accusation
}

func (p *peer) accused() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.accusations)
}

// metric returns the sum of a counter.
func (p *peer) metric(t testing.TB, name string) (sum float64) {
	t.Helper()
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "dugnad_content_"+name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// patientConfig never asks anybody twice because of time.
func patientConfig(dir string) Config {
	c := testConfig(dir)
	c.ChunkTimeout, c.StealAfter, c.Patience, c.IdleTimeout, c.SpreadWindow = patient, patient, patient, patient, patient
	return c
}

func newPeer(t testing.TB, network p2p.Network, change func(*Config)) *peer {
	t.Helper()
	p := &peer{id: network.Self(), metrics: prometheus.NewRegistry()}
	c := patientConfig(t.TempDir())
	c.Network, c.Registerer = network, p.metrics
	c.Report = func(holder p2p.NodeID, _ Hash, reason Reason) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.accusations = append(p.accusations, accusation{holder, reason})
	}
	if change != nil {
		change(&c)
	}
	p.Store = openStore(t, c)
	return p
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// fetch fetches an object, and fails unless it is b.
func (p *peer) fetch(t testing.TB, b []byte, holders ...p2p.NodeID) {
	t.Helper()
	if err := p.tryFetch(deadline(t), b, holders...); err != nil {
		t.Fatal(err)
	}
}

func (p *peer) tryFetch(ctx context.Context, b []byte, holders ...p2p.NodeID) error {
	o, err := p.Fetch(ctx, Sum(b), FetchOptions{Holders: holders})
	if err != nil {
		return err
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, b) {
		return errors.New("fetched object differs")
	}
	return o.Verify()
}

func TestFetch(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(3)
	a, b, c := newPeer(t, nodes[0], nil), newPeer(t, nodes[1], nil), newPeer(t, nodes[2], nil)
	for i, size := range []int{0, 1, 5000, ChunkBytes, ChunkBytes + 1, 9*ChunkBytes + 77} {
		object := noise(uint64(i), size)
		put(t, a.Store, object, "")
		b.fetch(t, object, a.id)
		c.fetch(t, object, a.id, b.id)
		c.fetch(t, object)
	}
	if a.accused()+b.accused()+c.accused() != "[][][]" {
		t.Fatal(a.accused(), b.accused(), c.accused())
	}
}

// TestFetchSources: without hints, the finder's members are asked, then all that
// are connected.
func TestFetchSources(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(3)
	a := newPeer(t, nodes[0], nil)
	object := noise(1, 100)
	put(t, a.Store, object, "")
	finder := newPeer(t, nodes[1], func(c *Config) {
		c.Finder = func(context.Context, Hash) []p2p.NodeID { return []p2p.NodeID{a.id, "nobody"} }
	})
	finder.fetch(t, object)
	if _, err := finder.Remove(Sum(object)); err != nil {
		t.Fatal(err)
	}
	connected := newPeer(t, nodes[2], nil)
	if err := connected.tryFetch(deadline(t), object); !errors.Is(err, ErrNoHolder) {
		t.Fatal(err)
	}
	// A first stream makes the connection.
	if _, err := connected.Fetch(deadline(t), Sum([]byte("none")), FetchOptions{Holders: []p2p.NodeID{a.id}}); !errors.Is(err, ErrNoHolder) {
		t.Fatal(err)
	}
	connected.fetch(t, object)
}

// TestFetchOwner: quota and bounds of a fetched object.
func TestFetchOwner(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(2)
	a := newPeer(t, nodes[0], nil)
	b := newPeer(t, nodes[1], func(c *Config) { c.OwnerBytesMax, c.BytesMax = 3<<20, 4<<20+4096 })
	small, large, huge := noise(1, 2<<20), noise(2, 2<<20), noise(3, 5<<20)
	for _, object := range [][]byte{small, large, huge} {
		put(t, a.Store, object, "")
	}
	wants := func(object []byte, options FetchOptions, want error) {
		t.Helper()
		options.Holders = []p2p.NodeID{a.id}
		o, err := b.Fetch(deadline(t), Sum(object), options)
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		if err == nil {
			_ = o.Close()
		}
	}
	wants(small, FetchOptions{Owner: "x"}, nil)
	if b.OwnerBytes("x") != 2<<20 {
		t.Fatal(b.OwnerBytes("x"))
	}
	wants(large, FetchOptions{Owner: "x"}, ErrQuota)
	wants(large, FetchOptions{BytesMax: 100}, ErrTooLarge)
	wants(huge, FetchOptions{}, ErrFull)
	wants(huge, FetchOptions{Owner: string(make([]byte, 200))}, ErrOwner)
	if err := b.Unpin(Sum(small), "x"); err != nil {
		t.Fatal(err)
	}
	wants(large, FetchOptions{Owner: "x"}, nil)
}

// TestFetchShared: calls for one object share one fetch.
func TestFetchShared(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(2)
	a := newPeer(t, nodes[0], nil)
	b := newPeer(t, nodes[1], nil)
	object := noise(1, 3*ChunkBytes)
	put(t, a.Store, object, "")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { b.fetch(t, object, a.id) })
	}
	wg.Wait()
	if sent := a.metric(t, "sent_bytes_total"); sent != float64(len(object)) {
		t.Fatal("sent", sent)
	}
}

// TestOriginSpreads: twenty nodes that fetch a module of 2.5 MB from one origin
// at the same time leave it fewer than five times.
func TestOriginSpreads(t *testing.T) {
	const fetchers = 20
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(1 + fetchers)
	origin := newPeer(t, nodes[0], nil)
	object := noise(1, 2_500_000)
	put(t, origin.Store, object, "")
	var wg sync.WaitGroup
	for _, n := range nodes[1:] {
		p := newPeer(t, n, nil)
		wg.Go(func() {
			if err := p.tryFetch(deadline(t), object, origin.id); err != nil {
				t.Errorf("%s: %v", p.id, err)
			}
		})
	}
	wg.Wait()
	copies := origin.metric(t, "sent_bytes_total") / float64(len(object))
	t.Logf("left the origin %.2f times", copies)
	if copies >= 5 || copies < 1 {
		t.Fatal("copies:", copies)
	}
}
