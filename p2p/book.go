package p2p

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	bookFile = "members"
	// bookKept is how long a member that was not seen is remembered.
	bookKept = 30 * 24 * time.Hour
	// bookEntryBytesMax bounds an entry of the file, for the limit on the file.
	bookEntryBytesMax = 64 + NameBytesMax + recordBytesMax + AddressesMax*(AddressBytesMax+2)
)

// entry is what the book knows of a node.
type entry struct {
	// role is 0 for a node that was heard of and never met.
	role Role
	// met says that its membership was verified since this host was opened.
	met  bool
	name string
	// record is its signed peer record, addresses are those in it. heard is where
	// others have said that it is: that never displaces what it says itself.
	record           []byte
	addresses, heard []ma.Multiaddr
	seen             time.Time
	expelled         digest
	session          [8]byte
	// connections are open; retry says when to dial again, after so many failures.
	connections int
	retry       time.Time
	failures    int
}

// book is the list of members that all ways of discovery feed. It is safe for
// concurrent use.
type book struct {
	mu      sync.Mutex
	max     int
	entries map[peer.ID]*entry
	open    int // entries with a connection
}

func newBook(limit int) *book { return &book{max: limit, entries: map[peer.ID]*entry{}} }

// at returns the node's entry, made if need be; nil when the book is full of nodes
// that matter more. b.mu is held.
func (b *book) at(id peer.ID, met bool) *entry {
	if e := b.entries[id]; e != nil {
		return e
	}
	if len(b.entries) >= b.max && !b.evict(met) {
		return nil
	}
	e := &entry{}
	b.entries[id] = e
	return e
}

// evict makes room: by a node that was never met, or else, for one that is, by
// the member that has been away for longest. b.mu is held.
func (b *book) evict(met bool) bool {
	var worst peer.ID
	for id, e := range b.entries {
		if e.connections > 0 || !met && e.role != 0 {
			continue
		}
		if worst == "" || e.seen.Before(b.entries[worst].seen) {
			worst = id
		}
	}
	if worst == "" {
		return false
	}
	delete(b.entries, worst)
	return true
}

// where returns all addresses that the node may have.
func (e *entry) where() []ma.Multiaddr {
	out := slices.Clone(e.addresses)
	for _, a := range e.heard {
		if !ma.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// meet notes what a hello said.
func (b *book) meet(id peer.ID, role Role, n news, now time.Time) error {
	addresses, err := recordAddresses(n.record, id)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.at(id, true)
	if e == nil {
		return fmt.Errorf("%w: %d members are connected", ErrFull, b.max)
	}
	e.role, e.met, e.name, e.expelled, e.seen = role, true, n.name, n.expelled, now
	e.failures, e.retry = 0, time.Time{}
	if len(addresses) > 0 {
		e.record, e.addresses, e.heard = slices.Clone(n.record), addresses, nil
	}
	return nil
}

// restarted notes the session of a member that was met, and says whether it had
// another one before.
func (b *book) restarted(id peer.ID, session [8]byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, zero := b.entries[id], [8]byte{}
	if e == nil || session == zero || session == e.session {
		return false
	}
	had := e.session != zero
	e.session = session
	return had
}

// move notes the record that a connected member has sent since the hello.
func (b *book) move(id peer.ID, signed []byte) error {
	addresses, err := recordAddresses(signed, id)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil && e.met && len(addresses) > 0 {
		e.record, e.addresses = slices.Clone(signed), addresses
	}
	return nil
}

// hear notes where a node is said to be, and says whether that is new.
func (b *book) hear(id peer.ID, addresses []ma.Multiaddr) (isNew bool) {
	addresses = addresses[:min(len(addresses), AddressesMax)]
	if len(addresses) == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.at(id, false)
	if e == nil || e.connections > 0 {
		return false
	}
	known := e.where()
	isNew = slices.ContainsFunc(addresses, func(a ma.Multiaddr) bool { return !ma.Contains(known, a) })
	if isNew {
		e.heard = addresses
		e.retry, e.failures = time.Time{}, 0
	}
	return isNew
}

// connected counts a connection up or down. It returns the number that is open
// now, and false for a node that the book does not know.
func (b *book) connected(id peer.ID, change int, now time.Time) (open int, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil {
		return 0, false
	}
	before := e.connections
	e.connections = max(0, before+change)
	b.open += boolRank(e.connections > 0) - boolRank(before > 0)
	e.seen = now
	return e.connections, true
}

// failed notes that a dial came to nothing, and when the next one may be. The wait
// doubles. Where many nodes are known the longest wait is longer, so that a node
// that lacks neighbours dials about one a second, unless it has none at all.
func (b *book) failed(id peer.ID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil {
		return
	}
	longest := retryMax
	if b.open > 0 {
		longest *= time.Duration(max(1, len(b.entries)/16))
	}
	e.failures++
	e.retry = now.Add(jitter(min(retryFirst<<min(e.failures-1, 20), longest)))
}

// retryNow forgets failures: the network may have come back.
func (b *book) retryNow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		e.retry, e.failures = time.Time{}, 0
	}
}

// forget removes a node that is out.
func (b *book) forget(id peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil {
		b.open -= boolRank(e.connections > 0)
		delete(b.entries, id)
	}
}

// roleOf returns the role of a node that was met.
func (b *book) roleOf(id peer.ID) (Role, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil && e.met {
		return e.role, true
	}
	return 0, false
}

// addresses returns where a node is, as far as is known.
func (b *book) addresses(id peer.ID) []ma.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil {
		return e.where()
	}
	return nil
}

// digestOf returns what stood for the list of expulsions that a member had when it
// last said so; note changes it.
func (b *book) digestOf(id peer.ID) digest {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil {
		return e.expelled
	}
	return digest{}
}

func (b *book) note(id peer.ID, expelled digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil {
		e.expelled = expelled
	}
}

// online returns the connected members, sorted by id.
func (b *book) online() []peer.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []peer.ID
	for id, e := range b.entries {
		if e.connections > 0 {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// candidates returns up to n nodes that may be dialled now, members before nodes
// that were only heard of, in random order, and when the next may be if none may.
func (b *book) candidates(n int, now time.Time) (out []peer.ID, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.entries {
		switch {
		case e.connections > 0 || len(e.addresses)+len(e.heard) == 0:
		case e.retry.After(now):
			if next.IsZero() || e.retry.Before(next) {
				next = e.retry
			}
		default:
			out = append(out, id)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	slices.SortStableFunc(out, func(x, y peer.ID) int {
		return cmp.Compare(boolRank(b.entries[x].role == 0), boolRank(b.entries[y].role == 0))
	})
	return out[:min(n, len(out))], next
}
