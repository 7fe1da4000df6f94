// Package p2ptest tests what runs on a p2p.Network: a network in memory, with
// faults made on purpose, and the suite that it and the real one both pass.
//
// Everything waits by channels, conditions and package time, so it works inside
// of a testing/synctest bubble, where latency costs nothing.
package p2ptest

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// The defaults of Config.
const (
	BufferBytes = 64 << 10
	StreamsMax  = 1024
)

var (
	// ErrUnreachable is returned by Open when the member is not there, is
	// closed, or could not be dialled for Config.BrokenAfter.
	ErrUnreachable = errors.New("member is unreachable")
	// ErrBroken is returned by the streams of a connection that was lost.
	ErrBroken = errors.New("connection is broken")
	// ErrReset is returned by a stream that either side has reset.
	ErrReset = errors.New("stream was reset")
)

// Config says how a network behaves. Zero fields get the defaults.
type Config struct {
	// BufferBytes bounds what is under way in one direction of a stream.
	BufferBytes int
	// StreamsMax bounds the streams of one protocol that one node has opened to
	// another; the next Open waits.
	StreamsMax int
	// Latency is the time from a write to its arrival, of links that Latency
	// was not called for.
	Latency time.Duration
	// BrokenAfter is how long a link may be blocked before its connection is
	// lost at both ends. Zero: for ever.
	BrokenAfter time.Duration
}

// Network connects nodes in memory.
type Network struct {
	config Config

	mu    sync.Mutex
	nodes map[p2p.NodeID]*Node
	// changed is closed, and replaced, when something happened that an Open
	// may wait for.
	changed     chan struct{}
	connections map[pair]*connection
	latency     map[pair]time.Duration
	blocked     map[direction]bool
	cut         map[p2p.NodeID]bool
}

// pair is two nodes, the lesser id first.
type pair struct{ a, b p2p.NodeID }

func pairOf(a, b p2p.NodeID) pair { return pair{min(a, b), max(a, b)} }

// direction is from one node to another.
type direction struct{ from, to p2p.NodeID }

// connection carries the streams between two nodes.
type connection struct {
	pair    pair
	streams map[*stream]bool
	// fuse breaks the connection when a link was blocked for too long.
	fuse *time.Timer
}

// New returns a network without nodes. All that are added are closed when the
// test ends.
func New(t testing.TB, c Config) *Network {
	t.Helper()
	c.BufferBytes = cmp.Or(c.BufferBytes, BufferBytes)
	c.StreamsMax = cmp.Or(c.StreamsMax, StreamsMax)
	n := &Network{
		config: c, nodes: make(map[p2p.NodeID]*Node), changed: make(chan struct{}),
		connections: make(map[pair]*connection), latency: make(map[pair]time.Duration),
		blocked: make(map[direction]bool), cut: make(map[p2p.NodeID]bool),
	}
	t.Cleanup(func() {
		n.mu.Lock()
		var all []*Node
		for _, node := range n.nodes {
			all = append(all, node)
		}
		n.mu.Unlock()
		for _, node := range all {
			if err := node.Close(); err != nil {
				t.Errorf("close %s: %v", node.id, err)
			}
		}
	})
	return n
}

// Add adds a member. An id that was closed before comes back as a new node.
func (n *Network) Add(id p2p.NodeID, role p2p.Role) *Node {
	node := newNode(n, id, role)
	n.mu.Lock()
	defer n.mu.Unlock()
	if was := n.nodes[id]; was != nil && !was.closed {
		panic(fmt.Sprintf("node %s is there already", id))
	}
	n.nodes[id] = node
	n.wake()
	return node
}

// AddMany adds count workers, named n0, n1 and so on.
func (n *Network) AddMany(count int) []*Node {
	out := make([]*Node, count)
	for i := range out {
		out[i] = n.Add(p2p.NodeID(fmt.Sprintf("n%d", i)), p2p.RoleWorker)
	}
	return out
}

// Latency sets the time from a write to its arrival between a and b, of streams
// that are opened from now on.
func (n *Network) Latency(a, b p2p.NodeID, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency[pairOf(a, b)] = d
}

// Block holds up all that goes from one node to the other, and nothing that
// comes back, until Unblock or Heal.
func (n *Network) Block(from, to p2p.NodeID) {
	n.set(func() { n.blocked[direction{from, to}] = true })
}

// Unblock lets what goes from one node to the other arrive again, what was held
// up first.
func (n *Network) Unblock(from, to p2p.NodeID) {
	n.set(func() { delete(n.blocked, direction{from, to}) })
}

// Partition holds up all that goes between the one group and the other.
func (n *Network) Partition(one, other []p2p.NodeID) {
	n.set(func() {
		for _, a := range one {
			for _, b := range other {
				n.blocked[direction{a, b}], n.blocked[direction{b, a}] = true, true
			}
		}
	})
}

// Cut holds up all that goes to and from a node.
func (n *Network) Cut(id p2p.NodeID) { n.set(func() { n.cut[id] = true }) }

// Restore undoes Cut.
func (n *Network) Restore(id p2p.NodeID) { n.set(func() { delete(n.cut, id) }) }

// Heal undoes every Block, Partition and Cut.
func (n *Network) Heal() { n.set(func() { clear(n.blocked); clear(n.cut) }) }

// Break loses the connection between a and b, with all its streams, at once.
// The next Open makes another.
func (n *Network) Break(a, b p2p.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.connections[pairOf(a, b)]; c != nil {
		n.lose(c)
	}
}

// set changes which links are blocked, and tells every stream.
func (n *Network) set(change func()) {
	var then []func()
	n.mu.Lock()
	change()
	for _, c := range n.connections {
		for s := range c.streams {
			then = append(then, s.out.block(n.stopped(s.local.id, s.remote.id))...)
			then = append(then, s.in.block(n.stopped(s.remote.id, s.local.id))...)
		}
		n.setFuse(c)
	}
	n.wake()
	n.mu.Unlock()
	run(then)
}

// setFuse starts or stops the time after which a blocked connection is lost.
func (n *Network) setFuse(c *connection) {
	cut := n.stopped(c.pair.a, c.pair.b) || n.stopped(c.pair.b, c.pair.a)
	switch {
	case !cut && c.fuse != nil:
		c.fuse.Stop()
		c.fuse = nil
	case cut && c.fuse == nil && n.config.BrokenAfter > 0:
		var fuse *time.Timer
		fuse = time.AfterFunc(n.config.BrokenAfter, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if c.fuse == fuse && n.connections[c.pair] == c {
				n.lose(c)
			}
		})
		c.fuse = fuse
	}
}

// stopped says whether what goes from one node to the other is held up.
func (n *Network) stopped(from, to p2p.NodeID) bool {
	return n.blocked[direction{from, to}] || n.cut[from] || n.cut[to]
}

func (n *Network) latencyOf(p pair) time.Duration {
	if d, ok := n.latency[p]; ok {
		return d
	}
	return n.config.Latency
}

// connect notes that there is a connection, and tells both nodes.
func (n *Network) connect(p pair) *connection {
	c := &connection{pair: p, streams: make(map[*stream]bool)}
	n.connections[p] = c
	a, b := n.nodes[p.a], n.nodes[p.b]
	a.known[b.id], b.known[a.id] = b.role, a.role
	a.tell(b.id, true)
	b.tell(a.id, true)
	n.setFuse(c)
	return c
}

// lose ends a connection at both ends.
func (n *Network) lose(c *connection) {
	if c.fuse != nil {
		c.fuse.Stop()
	}
	delete(n.connections, c.pair)
	for s := range c.streams {
		s.fail(ErrBroken)
		n.forget(s)
	}
	n.nodes[c.pair.a].tell(c.pair.b, false)
	n.nodes[c.pair.b].tell(c.pair.a, false)
	n.wake()
}

// wake lets every Open that waits look again.
func (n *Network) wake() {
	close(n.changed)
	n.changed = make(chan struct{})
}
