package node

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// brokenAfter is how long a link may be cut before its connections are lost, as
// they are in production when nothing is heard for a while.
const brokenAfter = 2 * time.Second

// memoryGrid is a grid in this process. All that its nodes say to one another goes
// through a network in memory: calls, offers, objects and the ledger. Their hosts
// are real, and only let members join.
type memoryGrid struct {
	network *p2ptest.Network
	nodes   []*memoryNode
}

// memoryNode is a node of a memoryGrid.
type memoryNode struct {
	*Node
	name   string
	id     p2p.NodeID
	member p2p.Network
	gate   gate
	clock  clock
	client *client.Client
	// held are the steps that the gate holds it at.
	held lines
}

// newMemoryGrid opens nodes, and waits until all vote.
func newMemoryGrid(ctx context.Context, t *testing.T, count int) *memoryGrid {
	t.Helper()
	g := &memoryGrid{network: p2ptest.New(t, p2ptest.Config{BrokenAfter: brokenAfter})}
	for i := range count {
		n := &memoryNode{name: fmt.Sprint("n", i), held: lines{grew: make(chan struct{})}}
		n.gate.say = func(s step, key string) { n.held.add(gateKey(s, key)) }
		c := testConfig(filepath.Join(t.TempDir(), n.name))
		c.Host.Name, c.Found = n.name, i == 0
		c.Offer.Slots, c.Offer.MemoryBytes = childSlots, childMemoryBytes
		c.alter = func(part any) {
			hasten(part)
			n.gate.alter(part)
			n.clock.alter(part)
			n.join(g.network, part)
		}
		if i > 0 {
			c.Invitation = invite(ctx, t, g.nodes[0].Node)
		}
		n.Node = openNode(ctx, t, c)
		t.Cleanup(n.gate.release)
		n.client = apiOf(t, n.Node)
		g.nodes = append(g.nodes, n)
	}
	g.whole(ctx, t)
	return g
}

// join puts a part of a node into the network in memory.
func (n *memoryNode) join(network *p2ptest.Network, part any) {
	switch c := part.(type) {
	case *rpc.Config: // the first part that opens
		n.id = c.Network.Self()
		c.Network = network.Add(n.id, p2p.RoleWorker)
		n.member = c.Network
	case *content.Config:
		c.Network = n.member
	case *capacity.Config:
		c.Network = n.member
	case *book.Config:
		_ = c.Replica.Listener.Close() // nobody has accepted from it
		c.Replica.Listener = listenIn(n.member)
		c.Replica.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			id, _, _ := strings.Cut(address, "@")
			return n.member.Open(ctx, p2p.NodeID(id), ledgerProtocol)
		}
	}
}

// memoryListener accepts the ledger's streams.
type memoryListener struct {
	member  p2p.Network
	streams chan p2p.Stream
	closed  chan struct{}
	once    sync.Once
}

func listenIn(member p2p.Network) *memoryListener {
	l := &memoryListener{member: member, streams: make(chan p2p.Stream), closed: make(chan struct{})}
	member.Handle(ledgerProtocol, func(s p2p.Stream) {
		kept := &keptStream{Stream: s, ended: make(chan struct{})}
		select {
		case l.streams <- kept:
		case <-l.closed:
			return
		}
		select { // the stream is reset when this returns
		case <-kept.ended:
		case <-l.closed:
		}
	})
	return l
}

// Accept implements net.Listener.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case s := <-l.streams:
		return s, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.member.Handle(ledgerProtocol, nil)
	})
	return nil
}

// Addr implements net.Listener.
func (l *memoryListener) Addr() net.Addr {
	return &net.UnixAddr{Name: string(l.member.Self()), Net: "memory"}
}

// keptStream says when it was closed.
type keptStream struct {
	p2p.Stream
	ended chan struct{}
	once  sync.Once
}

func (s *keptStream) Close() error {
	err := s.Stream.Close()
	s.once.Do(func() { close(s.ended) })
	return err
}

// whole waits until every node finds that all are up and vote.
func (g *memoryGrid) whole(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range g.nodes {
		until(ctx, t, n.name+" sees all nodes vote", func() error { return wholeAt(ctx, n.client, len(g.nodes)) })
	}
}

// alike waits until all nodes have the same ledger, and verifies each.
func (g *memoryGrid) alike(ctx context.Context, t *testing.T) {
	t.Helper()
	until(ctx, t, "all have the same ledger", func() error {
		seen := map[string]bool{}
		for _, n := range g.nodes {
			index, digest, err := digestOf(n.Node)
			if err != nil {
				t.Fatalf("%s: its ledger is wrong: %v", n.name, err)
			}
			seen[fmt.Sprint(index, " ", digest)] = true
		}
		if len(seen) > 1 {
			return fmt.Errorf("%w: %v", errNotYet, seen)
		}
		return nil
	})
}

// reached waits until a task of a job is held in its output.
func (n *memoryNode) reached(ctx context.Context, t *testing.T, job string) {
	t.Helper()
	for {
		_, grew := n.held.find(gateKey(stepRunning, job))
		if grew == nil {
			return
		}
		select {
		case <-grew:
		case <-ctx.Done():
			t.Fatalf("%s does not run job %s in time", n.name, job)
		}
	}
}
