package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeRouter maps ports in memory, but for what fail says.
type fakeRouter struct {
	mu      sync.Mutex
	outside netip.Addr
	taken   map[uint16]bool
	mapped  map[Port]uint16
	fail    func(ctx context.Context, question string) error
	changed chan struct{}
}

func newFakeRouter() *fakeRouter {
	return &fakeRouter{
		outside: netip.MustParseAddr("11.77.0.3"), taken: map[uint16]bool{}, mapped: map[Port]uint16{},
		fail:    func(context.Context, string) error { return nil },
		changed: make(chan struct{}, 1),
	}
}

func (f *fakeRouter) external(ctx context.Context) (netip.Addr, error) {
	return f.outside, f.fail(ctx, "external")
}

func (f *fakeRouter) inner() netip.Addr { return netip.MustParseAddr("192.168.77.2") }

func (f *fakeRouter) add(ctx context.Context, p Port, outer uint16) (uint16, error) {
	if err := f.fail(ctx, "add "+p.Protocol); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taken[outer] {
		return 0, fmt.Errorf("%w: conflict", ErrRefused)
	}
	f.mapped[p] = outer
	return outer, nil
}

func (f *fakeRouter) remove(ctx context.Context, p Port, outer uint16) error {
	if err := f.fail(ctx, "remove"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mapped[p] == outer {
		delete(f.mapped, p)
	}
	return nil
}

func (f *fakeRouter) String() string { return "fake" }

func (f *fakeRouter) all() map[Port]uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[Port]uint16{}
	for p, outer := range f.mapped {
		out[p] = outer
	}
	return out
}

var twoPorts = []Port{{"tcp", 4610}, {"udp", 4610}}

// start opens a Mapper on a router, and returns a channel of the number of mappings.
func start(t *testing.T, r router, ports []Port) (*Mapper, <-chan int) {
	t.Helper()
	counts := make(chan int, 100)
	m := open(Config{Ports: func() []Port { return ports }, Mapped: func(n int) { counts <- n }},
		func(context.Context) (router, error) { return r, nil })
	t.Cleanup(func() { m.Close() })
	return m, counts
}

func await(t *testing.T, counts <-chan int, want int) {
	t.Helper()
	late := time.After(2 * time.Minute)
	for {
		select {
		case n := <-counts:
			if n == want {
				return
			}
		case <-late:
			t.Fatalf("never %d mappings", want)
		}
	}
}

// Ports are mapped, told, and removed at the end: each of a protocol of its own.
func TestMapper(t *testing.T) {
	r := newFakeRouter()
	m, counts := start(t, r, twoPorts)
	await(t, counts, 2)
	for _, p := range twoPorts {
		outside, ok := m.Outside(p)
		if !ok || outside.Addr() != r.outside || outside.Port() != r.all()[p] || outside.Port() < 10000 {
			t.Errorf("%v is at %v, %v; the router maps %v", p, outside, ok, r.all())
		}
	}
	if _, ok := m.Outside(Port{"tcp", 1}); ok || !m.Found() {
		t.Error("a port is mapped that nobody asked for, or none")
	}
	m.Close()
	m.Close()
	if left := r.all(); len(left) > 0 || m.Found() {
		t.Errorf("%v are left", left)
	}
}

// A port that the router gives to somebody else is left to them, and the same one is
// had again after a restart.
func TestOuterPort(t *testing.T) {
	r := newFakeRouter()
	first := outerPort(r.inner(), 4610, 0)
	r.taken[first] = true
	var had []uint16
	for range 2 {
		m, counts := start(t, r, twoPorts[:1])
		await(t, counts, 1)
		outside, _ := m.Outside(twoPorts[0])
		had = append(had, outside.Port())
		m.Close()
	}
	if want := outerPort(r.inner(), 4610, 1); !slices.Equal(had, []uint16{want, want}) {
		t.Errorf("the ports are %d, want %d", had, want)
	}
	if outerPort(netip.MustParseAddr("192.168.77.3"), 4610, 0) == first {
		t.Error("two machines want the same port")
	}
}

// A router that maps one protocol only maps that one.
func TestRefusedInPart(t *testing.T) {
	r := newFakeRouter()
	r.fail = func(_ context.Context, question string) error {
		if question == "add tcp" {
			return ErrRefused
		}
		return nil
	}
	m, counts := start(t, r, twoPorts)
	await(t, counts, 1)
	if _, ok := m.Outside(twoPorts[1]); !ok {
		t.Error("the other is not mapped")
	}
}

// An address that is none outside is not told.
func TestNoOutside(t *testing.T) {
	for _, text := range []string{"192.168.1.1", "100.64.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.1.1", "2001:db8::1"} {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("%s is taken for an address outside", text)
		}
	}
	r := newFakeRouter()
	r.outside = netip.MustParseAddr("10.0.0.1")
	m := open(Config{}, nobody)
	defer m.Close()
	if err := m.renew(t.Context(), r, twoPorts); !errors.Is(err, ErrMalformed) || len(r.all()) > 0 {
		t.Errorf("renew: %v, mapped %v", err, r.all())
	}
}

// nobody finds no router.
func nobody(context.Context) (router, error) { return nil, errNoRouter }

// A router that falls silent does not keep the Mapper from closing.
func TestSilentRouter(t *testing.T) {
	r := newFakeRouter()
	silent := make(chan string, 10)
	r.fail = func(ctx context.Context, question string) error {
		if question == "add tcp" {
			return nil
		}
		if question == "external" {
			return nil
		}
		silent <- question
		<-ctx.Done()
		return ctx.Err()
	}
	m, counts := start(t, r, twoPorts)
	await(t, counts, 1)
	if question := <-silent; question != "add udp" {
		t.Errorf("it is asked to %s", question)
	}
	before := time.Now()
	m.Close()
	t.Logf("closed after %v", time.Since(before))
}
