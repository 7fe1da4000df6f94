package keeper

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

// nodesPage bounds the nodes that are read at once.
const nodesPage = 1024

// circle is the other nodes of the grid that work, as the ledger lists them.
type circle struct {
	mu      sync.Mutex
	nodes   []seat
	read    time.Time
	avoided map[ledger.NodeID]avoidance
}

// avoidance says until when a node is asked last, and for how long that was.
type avoidance struct {
	until time.Time
	wait  time.Duration
}

// seat is a node in the circle; number is made of its name.
type seat struct {
	node   ledger.NodeID
	number uint64
	up     bool
}

// score says how much a node is the right one for an object: the node that scores
// highest is asked first, and another one leads for about as many objects.
func (s *seat) score(h content.Hash) uint64 {
	x := s.number ^ binary.LittleEndian.Uint64(h[:])
	// The finaliser of MurmurHash3: each bit depends on all.
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func newSeat(n *ledger.Node) seat {
	f := fnv.New64a()
	_, _ = f.Write([]byte(n.ID))
	return seat{node: n.ID, number: f.Sum64(), up: n.State == ledger.NodeUp}
}

// others returns the other nodes of the grid that are up or drain.
func (k *Keeper) others() []seat {
	c := &k.circle
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.read) < k.config.NodesAge {
		return c.nodes
	}
	var seats []seat
	err := k.eachNode(func(n *ledger.Node) {
		if n.ID != k.config.Self && (n.State == ledger.NodeUp || n.State == ledger.NodeDraining) && k.config.Usable(n.ID, 0) {
			seats = append(seats, newSeat(n))
		}
	})
	if err != nil {
		k.log.Warn("nodes of the grid cannot be looked up", "err", err)
		return c.nodes
	}
	maps.DeleteFunc(c.avoided, func(id ledger.NodeID, _ avoidance) bool {
		return !slices.ContainsFunc(seats, func(s seat) bool { return s.node == id })
	})
	c.nodes, c.read = seats, time.Now()
	return seats
}

// eachNode visits all nodes of the ledger.
func (k *Keeper) eachNode(visit func(n *ledger.Node)) error {
	_, err := k.config.Ledger.View(func(tx ledger.Tx) error {
		for after := ledger.NodeID(""); ; {
			list, err := ledger.Nodes(tx, after, nodesPage)
			for i := range list {
				visit(&list[i])
			}
			if err != nil || len(list) < nodesPage {
				return err
			}
			after = list[len(list)-1].ID
		}
	})
	return err
}

// ranked returns the seats in the order in which nodes are asked for an object.
func ranked(seats []seat, h content.Hash) []seat {
	out := slices.Clone(seats)
	slices.SortFunc(out, func(a, b seat) int {
		return cmp.Or(cmp.Compare(b.score(h), a.score(h)), cmp.Compare(a.node, b.node))
	})
	return out
}

// Holders returns the nodes that probably hold an object beside the one that has
// reported it, the likeliest first: at most three, and never this node.
func (k *Keeper) Holders(h content.Hash) []p2p.NodeID {
	list := ranked(k.others(), h)
	out := make([]p2p.NodeID, 0, holdersMax)
	for _, s := range list[:min(len(list), holdersMax)] {
		out = append(out, p2p.NodeID(s.node))
	}
	return out
}

// targets returns the nodes that are to be asked to keep an object of so many
// bytes, in order: those that did not answer of late come last.
func (k *Keeper) targets(h content.Hash, bytes int64) []ledger.NodeID {
	list := slices.DeleteFunc(ranked(k.others(), h), func(s seat) bool { return !s.up || !k.config.Usable(s.node, bytes) })
	now := time.Now()
	var first, last []ledger.NodeID
	k.circle.mu.Lock()
	defer k.circle.mu.Unlock()
	for _, s := range list {
		if now.Before(k.circle.avoided[s.node].until) {
			last = append(last, s.node)
			continue
		}
		first = append(first, s.node)
	}
	all := append(first, last...)
	return all[:min(len(all), triesMax)]
}

// avoid has a node asked last for a while, which doubles when it fails again.
func (k *Keeper) avoid(node ledger.NodeID) {
	c := &k.circle
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	was := c.avoided[node]
	if now.Before(was.until) {
		return // several requests have failed at once
	}
	wait := min(max(2*was.wait, k.config.AvoidFor), k.config.AvoidMax)
	c.avoided[node] = avoidance{now.Add(wait), wait}
}

// trust ends what avoid has begun.
func (k *Keeper) trust(node ledger.NodeID) {
	k.circle.mu.Lock()
	defer k.circle.mu.Unlock()
	delete(k.circle.avoided, node)
}
