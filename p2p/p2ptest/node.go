package p2ptest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// Node is a member of a Network. It implements p2p.Network.
type Node struct {
	network *Network
	id      p2p.NodeID
	role    p2p.Role

	// The fields below are guarded by the network's lock.
	closed   bool
	handlers map[string]*handling
	known    map[p2p.NodeID]p2p.Role
	opened   map[use]int
	watchers []*watcher
	events   []event
	// telling says that a goroutine passes events on; told is signalled when
	// it passed one.
	telling bool
	told    *sync.Cond

	goroutines sync.WaitGroup
}

// use is what StreamsMax bounds.
type use struct {
	to       p2p.NodeID
	protocol string
}

// handling is a handler and its calls.
type handling struct {
	f     func(p2p.Stream)
	calls sync.WaitGroup
}

// watcher is one call of Notify.
type watcher struct {
	f    func(p2p.NodeID, bool)
	gone bool
	// called says that f runs now.
	called bool
}

type event struct {
	id p2p.NodeID
	up bool
}

func newNode(n *Network, id p2p.NodeID, role p2p.Role) *Node {
	return &Node{
		network: n, id: id, role: role, handlers: make(map[string]*handling),
		known: make(map[p2p.NodeID]p2p.Role), opened: make(map[use]int), told: sync.NewCond(&n.mu),
	}
}

// Self implements p2p.Network.
func (n *Node) Self() p2p.NodeID { return n.id }

// Open implements p2p.Network. While the link is blocked it opens streams on
// the connection that is there, but makes none.
func (n *Node) Open(ctx context.Context, to p2p.NodeID, protocol string) (p2p.Stream, error) {
	net := n.network
	began := time.Now()
	for dialled := false; ; {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("open %s to %s: %w", protocol, to, err)
		}
		net.mu.Lock()
		s, far, wait, err := n.tryOpen(to, protocol, began, dialled)
		changed := net.changed
		net.mu.Unlock()
		switch {
		case err != nil:
			return nil, fmt.Errorf("open %s to %s: %w", protocol, to, err)
		case s != nil:
			s.out.sendThen(parcel{then: []func(){far.serve}})
			return s, nil
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-timer:
			dialled = true
		case <-changed:
		}
	}
}

// tryOpen returns both ends of a new stream; or how long to wait, or nothing,
// which means until something changes. It is called with the network's lock
// held.
func (n *Node) tryOpen(to p2p.NodeID, protocol string, began time.Time, dialled bool) (s, far *stream, wait time.Duration, err error) {
	net := n.network
	other := net.nodes[to]
	if n.closed || other == nil || other.closed || other == n {
		return nil, nil, 0, ErrUnreachable
	}
	p := pairOf(n.id, to)
	c := net.connections[p]
	if c == nil {
		blocked := net.stopped(n.id, to) || net.stopped(to, n.id)
		left := net.config.BrokenAfter - time.Since(began)
		latency := 2 * net.latencyOf(p)
		switch {
		case blocked && net.config.BrokenAfter == 0:
			return nil, nil, 0, nil
		case blocked && left <= 0:
			return nil, nil, 0, ErrUnreachable
		case blocked:
			return nil, nil, left, nil
		case latency > 0 && !dialled:
			return nil, nil, latency, nil
		}
		c = net.connect(p)
	}
	u := use{to, protocol}
	if n.opened[u] >= net.config.StreamsMax {
		return nil, nil, 0, nil
	}
	n.opened[u]++
	s, far = newStreams(c, n, other, protocol)
	c.streams[s], c.streams[far] = true, true
	return s, far, 0, nil
}

// serve calls the handler for a stream that has arrived.
func (s *stream) serve() {
	n := s.local.network
	n.mu.Lock()
	h := s.local.handlers[s.protocol]
	if h == nil || s.local.closed || !s.connection.streams[s] {
		n.mu.Unlock()
		s.reset()
		return
	}
	h.calls.Add(1)
	s.local.goroutines.Add(1)
	n.mu.Unlock()
	go func() {
		defer s.local.goroutines.Done()
		defer h.calls.Done()
		defer func() {
			if !s.done.Load() {
				s.reset()
			}
		}()
		h.f(s)
	}()
}

// Handle implements p2p.Network.
func (n *Node) Handle(protocol string, handler func(p2p.Stream)) {
	n.network.mu.Lock()
	was := n.handlers[protocol]
	delete(n.handlers, protocol)
	if handler != nil {
		n.handlers[protocol] = &handling{f: handler}
	}
	n.network.mu.Unlock()
	if handler == nil && was != nil {
		was.calls.Wait()
	}
}

// RoleOf implements p2p.Network.
func (n *Node) RoleOf(id p2p.NodeID) (p2p.Role, bool) {
	n.network.mu.Lock()
	defer n.network.mu.Unlock()
	role, ok := n.known[id]
	return role, ok
}

// Connected implements p2p.Network.
func (n *Node) Connected() []p2p.NodeID {
	n.network.mu.Lock()
	defer n.network.mu.Unlock()
	var out []p2p.NodeID
	for p := range n.network.connections {
		switch n.id {
		case p.a:
			out = append(out, p.b)
		case p.b:
			out = append(out, p.a)
		}
	}
	slices.Sort(out)
	return out
}

// Notify implements p2p.Network. cancel must not be called by f.
func (n *Node) Notify(f func(id p2p.NodeID, up bool)) (cancel func()) {
	w := &watcher{f: f}
	n.network.mu.Lock()
	defer n.network.mu.Unlock()
	n.watchers = append(n.watchers, w)
	return func() {
		n.network.mu.Lock()
		defer n.network.mu.Unlock()
		w.gone = true
		n.watchers = slices.DeleteFunc(n.watchers, func(x *watcher) bool { return x == w })
		for w.called {
			n.told.Wait()
		}
	}
}

// tell has the watchers called. It is called with the network's lock held.
func (n *Node) tell(id p2p.NodeID, up bool) {
	n.events = append(n.events, event{id, up})
	if n.telling {
		return
	}
	n.telling = true
	n.goroutines.Add(1)
	go n.tellAll()
}

// tellAll passes events on until there are none.
func (n *Node) tellAll() {
	defer n.goroutines.Done()
	n.network.mu.Lock()
	defer n.network.mu.Unlock()
	for len(n.events) > 0 {
		e := n.events[0]
		n.events = n.events[1:]
		for _, w := range slices.Clone(n.watchers) {
			if w.gone {
				continue
			}
			w.called = true
			n.network.mu.Unlock()
			w.f(e.id, e.up)
			n.network.mu.Lock()
			w.called = false
			n.told.Broadcast()
		}
	}
	n.telling = false
}

// Close loses all connections of the node and returns when its handlers have.
// From then on it cannot be reached.
func (n *Node) Close() error {
	n.network.mu.Lock()
	if !n.closed {
		n.closed = true
		for p, c := range n.network.connections {
			if p.a == n.id || p.b == n.id {
				n.network.lose(c)
			}
		}
		n.network.wake()
	}
	n.network.mu.Unlock()
	n.goroutines.Wait()
	return nil
}
