package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Network is a network in memory whose faults are scripted. Its connections are
// like TCP's: what is sent into a blocked direction is held and arrives when it
// is open again; connecting through one waits. Safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	random    *rand.Rand
	listeners map[string]*listener
	blocked   map[link]bool
	delays    map[link]time.Duration
	conns     map[*Conn]struct{}
	bytes     map[link]uint64
	// changed is closed and replaced when a rule changes.
	changed chan struct{}
}

// link is a direction between two addresses; "*" stands for all.
type link struct{ from, to string }

// NewNetwork returns a network without faults. seed drives its delays.
func NewNetwork(seed uint64) *Network {
	return &Network{
		random: rand.New(rand.NewPCG(seed, 1)), listeners: map[string]*listener{}, blocked: map[link]bool{},
		delays: map[link]time.Duration{}, conns: map[*Conn]struct{}{}, bytes: map[link]uint64{}, changed: make(chan struct{}),
	}
}

// Block holds up everything from one address to another, one way.
func (n *Network) Block(from, to string) {
	n.change(func() { n.blocked[link{from, to}] = true })
}

// Isolate blocks address from and to all others.
func (n *Network) Isolate(address string) {
	n.change(func() { n.blocked[link{address, "*"}], n.blocked[link{"*", address}] = true, true })
}

// Partition blocks, both ways, everything between members of different groups.
func (n *Network) Partition(groups ...[]string) {
	n.change(func() {
		for i, a := range groups {
			for k, b := range groups {
				for _, from := range a {
					for _, to := range b {
						if i != k {
							n.blocked[link{from, to}] = true
						}
					}
				}
			}
		}
	})
}

// Delay holds each piece from one address to another up to most; "*" stands for
// all addresses. Pieces of one connection stay in order, those of different ones
// do not.
func (n *Network) Delay(from, to string, most time.Duration) {
	n.change(func() { n.delays[link{from, to}] = most })
}

// Heal takes all blocks and delays away.
func (n *Network) Heal() {
	n.change(func() {
		clear(n.blocked)
		clear(n.delays)
	})
}

// Cut closes the connections between a and b; "*" stands for all addresses.
func (n *Network) Cut(a, b string) {
	n.mu.Lock()
	var cut []*Conn
	for c := range n.conns {
		if matches(a, c.local) && matches(b, c.remote) || matches(b, c.local) && matches(a, c.remote) {
			cut = append(cut, c)
		}
	}
	n.mu.Unlock()
	for _, c := range cut {
		_ = c.Close()
	}
}

func matches(pattern, address string) bool { return pattern == "*" || pattern == address }

// Bytes returns how much was sent from one address to another.
func (n *Network) Bytes(from, to string) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bytes[link{from, to}]
}

func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// isBlocked needs mu.
func (n *Network) isBlocked(from, to string) bool {
	return n.blocked[link{from, to}] || n.blocked[link{from, "*"}] || n.blocked[link{"*", to}]
}

// delay needs mu.
func (n *Network) delay(from, to string) time.Duration {
	most := max(n.delays[link{from, to}], n.delays[link{from, "*"}], n.delays[link{"*", to}], n.delays[link{"*", "*"}])
	if most == 0 {
		return 0
	}
	return time.Duration(n.random.Int64N(int64(most) + 1))
}

// listener implements net.Listener.
type listener struct {
	network *Network
	address string
	offered chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

// Listen makes address reachable.
func (n *Network) Listen(address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, syscall.EADDRINUSE)
	}
	l := &listener{network: n, address: address, offered: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.offered:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		delete(l.network.listeners, l.address)
		l.network.mu.Unlock()
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return netAddr(l.address) }

type netAddr string

// Network implements net.Addr.
func (netAddr) Network() string { return "memory" }

// String implements net.Addr.
func (a netAddr) String() string { return string(a) }

// Dial returns the dial function of the member at from.
func (n *Network) Dial(from string) func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		for {
			n.mu.Lock()
			held, changed, l := n.isBlocked(from, address) || n.isBlocked(address, from), n.changed, n.listeners[address]
			n.mu.Unlock()
			if held {
				select {
				case <-changed:
					continue
				case <-ctx.Done():
					return nil, fmt.Errorf("dial %s: %w", address, context.Cause(ctx))
				}
			}
			if l == nil {
				return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
			}
			return n.connect(ctx, from, l)
		}
	}
}

func (n *Network) connect(ctx context.Context, from string, l *listener) (net.Conn, error) {
	there, back := newHalf(n, from, l.address), newHalf(n, l.address, from)
	near := &Conn{network: n, local: from, remote: l.address, out: there, in: back}
	far := &Conn{network: n, local: l.address, remote: from, out: back, in: there}
	n.mu.Lock()
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	n.mu.Unlock()
	var err error
	select {
	case l.offered <- far:
		return near, nil
	case <-l.closed:
		err = syscall.ECONNREFUSED
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = near.Close()
	_ = far.Close()
	return nil, fmt.Errorf("dial %s: %w", l.address, err)
}

// errReset is what the other end of a closed connection gets when it writes.
var errReset = errors.New("connection reset")
