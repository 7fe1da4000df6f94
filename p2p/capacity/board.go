package capacity

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// Entry is what a board knows of a node.
type Entry struct {
	Node  p2p.NodeID
	Offer Offer
	// Held is the filter of the node's last holding, nil when there is none.
	// It is shared: it must not be changed.
	Held []byte
	// At is when the offer arrived, by this node's clock.
	At time.Time
	// Until is when it expires, by this node's clock.
	Until time.Time
}

// Board keeps the latest offer and holding of each node.
type Board struct {
	grid   p2p.GridID
	max    int
	verify func(node p2p.NodeID, message, signature []byte) error
	now    func() time.Time

	mu    sync.Mutex
	nodes map[p2p.NodeID]*standing
}

// standing is a node on the board, by kind of record.
type standing struct {
	offer   Offer
	held    []byte
	arrived time.Time
	latest  [kindHolding + 1]received
}

// received is the latest record of a node and kind.
type received struct {
	raw      []byte
	sequence uint64
	// until is when it expires. Its number is remembered until over, when any
	// replay of it is refused by its time.
	until, over time.Time
}

func newBoard(c *Config) *Board {
	return &Board{grid: c.Grid, max: c.NodesMax, verify: c.Verify, now: c.now, nodes: map[p2p.NodeID]*standing{}}
}

// slot is a place on the board: the latest record of a node and kind.
type slot struct {
	node p2p.NodeID
	kind kind
}

// put takes a record as it came over the wire, which it keeps, and returns where.
func (b *Board) put(raw []byte) (slot, error) {
	rec, err := decodeRecord(raw)
	if err != nil {
		return slot{}, err
	}
	now := b.now()
	// A clock that is behind shortens no record, and a record that was held up
	// on its way is not good for much longer than it says.
	over := rec.at.Add(rec.ttl + ClockSkewMax)
	if ahead := rec.at.Sub(now); ahead > ClockSkewMax {
		return slot{}, fmt.Errorf("%w: %v ahead, at most %v", ErrFuture, ahead.Round(time.Millisecond), ClockSkewMax)
	}
	if !over.After(now) {
		return slot{}, fmt.Errorf("%w: %v ago", ErrExpired, now.Sub(over).Round(time.Millisecond))
	}
	if b.known(&rec) {
		return slot{}, ErrReplayed
	}
	var offer Offer
	if rec.kind == kindOffer {
		if len(rec.body) > OfferBytesMax {
			return slot{}, fmt.Errorf("%w: offer of %d bytes", ErrMalformed, len(rec.body))
		}
		if offer, err = decodeOffer(rec.body); err != nil {
			return slot{}, err
		}
	}
	if err := b.verify(rec.node, rec.message(b.grid, rec.signed), rec.signature); err != nil {
		return slot{}, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return slot{rec.node, rec.kind}, b.keep(&rec, offer, now, over)
}

// known says whether a record as new as this one is there already, which is
// cheaper to find out than whether it is genuine.
func (b *Board) known(rec *record) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.nodes[rec.node]
	return s != nil && s.latest[rec.kind].raw != nil && rec.sequence <= s.latest[rec.kind].sequence
}

func (b *Board) keep(rec *record, offer Offer, now, over time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.nodes[rec.node]
	if s == nil {
		if len(b.nodes) >= b.max && b.sweep(now) == 0 {
			return fmt.Errorf("%w: %d nodes", ErrFull, b.max)
		}
		s = &standing{}
		b.nodes[rec.node] = s
	}
	latest := &s.latest[rec.kind]
	if latest.raw != nil && rec.sequence <= latest.sequence {
		return ErrReplayed
	}
	*latest = received{raw: rec.raw, sequence: rec.sequence, until: now.Add(rec.ttl), over: over}
	if over.Before(latest.until) {
		latest.until = over
	}
	if rec.kind == kindHolding {
		s.held = rec.body
		return nil
	}
	s.offer, s.arrived = offer, now
	return nil
}

// sweep forgets nodes of which no record could be replayed, and returns how many.
func (b *Board) sweep(now time.Time) (n int) {
	for id, s := range b.nodes {
		gone := true
		for k := range s.latest {
			gone = gone && !s.latest[k].over.After(now)
		}
		if gone {
			delete(b.nodes, id)
			n++
		}
	}
	return n
}

// Forget takes a node off the board, and what is remembered against replays: whoever
// calls has Config.Verify refuse its records from now on.
func (b *Board) Forget(id p2p.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, id)
}

// raw returns the record in a place, nil when it is no longer good.
func (b *Board) raw(at slot, now time.Time) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.nodes[at.node]
	if s == nil || !s.latest[at.kind].until.After(now) {
		return nil
	}
	return s.latest[at.kind].raw
}

// Find returns what is known of a node; ok is false when it has no offer that
// is still good.
func (b *Board) Find(id p2p.NodeID) (e Entry, ok bool) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.nodes[id]
	if s == nil || !s.latest[kindOffer].until.After(now) {
		return Entry{}, false
	}
	return s.entry(id), true
}

func (s *standing) entry(id p2p.NodeID) Entry {
	return Entry{Node: id, Offer: s.offer, Held: s.held, At: s.arrived, Until: s.latest[kindOffer].until}
}

// List returns the nodes with an offer that is still good, sorted by id.
func (b *Board) List() []Entry {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	list := make([]Entry, 0, len(b.nodes))
	for id, s := range b.nodes {
		if s.latest[kindOffer].until.After(now) {
			list = append(list, s.entry(id))
		}
	}
	slices.SortFunc(list, func(x, y Entry) int { return cmp.Compare(x.Node, y.Node) })
	return list
}

// slots returns the places in which there is a record.
func (b *Board) slots() []slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]slot, 0, len(b.nodes))
	for id, s := range b.nodes {
		for k := range s.latest {
			if s.latest[k].raw != nil {
				list = append(list, slot{id, kind(k)})
			}
		}
	}
	return list
}

func (b *Board) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.nodes)
}
