package p2p

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Expulsion says that a node is out of a grid for ever. What the node, if it is an
// admin, signs from Since on is void.
type Expulsion struct {
	Node NodeID
	// Since is when it was signed, to the second.
	Since time.Time
	// Admin is the membership of the admin that signed, nil when the grid's key
	// has.
	Admin     *Membership
	Signature [64]byte
}

// digest stands for a list of expulsions when two members compare theirs.
type digest [16]byte

// Expulsions is all that a node knows to be signed. It only grows: two lists are
// joined by adding what each has, in any order, so that admins who expel at
// the same time do not undo one another, and nobody can take an entry back. An
// expulsion by an admin who was itself expelled before counts for nothing; that
// is decided anew at each change, from the whole list. It is safe for concurrent
// use; a nil one is empty.
type Expulsions struct {
	grid GridID

	mu      sync.RWMutex
	entries map[expulsionKey]Expulsion
	out     map[NodeID]time.Time
	encoded []byte
	digest  digest
}

// expulsionKey is one signature over one node: "" is the grid's.
type expulsionKey struct{ node, signer NodeID }

func (x *Expulsion) key() expulsionKey {
	k := expulsionKey{node: x.Node}
	if x.Admin != nil {
		k.signer = x.Admin.Node
	}
	return k
}

// NewExpulsions returns an empty list.
func NewExpulsions(grid GridID) *Expulsions {
	e := &Expulsions{grid: grid, entries: map[expulsionKey]Expulsion{}}
	e.settle()
	return e
}

// Out says whether the node is out, and since when.
func (e *Expulsions) Out(node NodeID) (since time.Time, out bool) {
	if e == nil {
		return time.Time{}, false
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	since, out = e.out[node]
	return since, out
}

// Nodes returns the nodes that are out, sorted.
func (e *Expulsions) Nodes() []NodeID {
	if e == nil {
		return nil
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Sorted(maps.Keys(e.out))
}

// voids returns ErrExpelled for what an admin signed at that time or later than
// its own expulsion.
func (e *Expulsions) voids(admin *Membership, signed time.Time) error {
	if admin == nil {
		return nil
	}
	if since, out := e.Out(admin.Node); out && !signed.Before(since) {
		return fmt.Errorf("%w: the admin that signed it, since %s", ErrExpelled, clock(since))
	}
	return nil
}

// Add takes over what is valid of list and not yet known, and says whether
// anything was. The first error, of which there may be several, comes with it.
func (e *Expulsions) Add(list []Expulsion, now time.Time) (changed bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range list {
		x := &list[i]
		if _, known := e.entries[x.key()]; known {
			continue
		}
		if wrong := e.admit(x, now); wrong != nil {
			if err == nil {
				err = fmt.Errorf("add expulsion of %s: %w", x.Node, wrong)
			}
			continue
		}
		e.entries[x.key()] = *x
		changed = true
	}
	if changed {
		e.settle()
	}
	return changed, err
}

// admit checks one entry by itself. e.mu is held.
func (e *Expulsions) admit(x *Expulsion, now time.Time) error {
	if err := verifySigned(x.body(e.grid), domainExpulsion, x.Signature, e.grid, x.Admin, x.Since); err != nil {
		return err
	}
	if x.Since.After(now.Add(ClockSkewMax)) {
		return fmt.Errorf("%w: it was signed at %s, this node's clock shows %s", ErrClock, clock(x.Since), clock(now))
	}
	same, admins := 0, map[NodeID]bool{}
	for k := range e.entries {
		if (k.signer == "") == (x.Admin == nil) {
			same++
		}
		admins[k.signer] = true
	}
	if same >= ExpulsionsMax {
		return fmt.Errorf("%w: %d expulsions", ErrFull, same)
	}
	if signer := x.key().signer; signer != "" && !admins[signer] && len(admins) >= ExpulsionAdminsMax {
		return fmt.Errorf("%w: %d admins have expelled", ErrFull, len(admins))
	}
	return nil
}

// settle works out who is out, and the encoding. e.mu is held.
func (e *Expulsions) settle() {
	order := slices.SortedFunc(maps.Values(e.entries), func(a, b Expulsion) int {
		return cmp.Or(
			cmp.Compare(boolRank(a.Admin != nil), boolRank(b.Admin != nil)),
			a.Since.Compare(b.Since), cmp.Compare(a.Node, b.Node), bytes.Compare(a.Signature[:], b.Signature[:]))
	})
	e.out = make(map[NodeID]time.Time, len(order))
	for _, x := range order {
		if x.Admin != nil {
			if since, out := e.out[x.Admin.Node]; out && !x.Since.Before(since) {
				continue
			}
		}
		if since, out := e.out[x.Node]; !out || x.Since.Before(since) {
			e.out[x.Node] = x.Since
		}
	}
	e.encoded = encodeExpulsions(e.grid, order)
	sum := sha256.Sum256(e.encoded)
	e.digest = digest(sum[:16])
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// state returns the encoding and what stands for it.
func (e *Expulsions) state() ([]byte, digest) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.encoded, e.digest
}

// Encode returns what DecodeExpulsions reads; the same bytes for the same list.
func (e *Expulsions) Encode() []byte {
	b, _ := e.state()
	return slices.Clone(b)
}

func (x *Expulsion) body(grid GridID) []byte {
	b := append([]byte{encodingVersion}, grid[:]...)
	b = appendNode(b, x.Node)
	b = appendTime(b, x.Since)
	return appendAdmin(b, x.Admin)
}

// encodeExpulsions writes the admins that have signed, once each, and the entries
// with the number of their signer: 0 for the grid's key, n for the n-th admin.
func encodeExpulsions(grid GridID, list []Expulsion) []byte {
	var admins []*Membership
	numbers := map[[64]byte]int{}
	for i := range list {
		if a := list[i].Admin; a != nil && numbers[a.Signature] == 0 {
			admins = append(admins, a)
			numbers[a.Signature] = len(admins)
		}
	}
	b := append([]byte{encodingVersion}, grid[:]...)
	b = binary.AppendUvarint(b, uint64(len(admins)))
	for _, a := range admins {
		b = appendAdmin(b, a)
	}
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		x := &list[i]
		number := 0
		if x.Admin != nil {
			number = numbers[x.Admin.Signature]
		}
		b = appendTime(appendNode(b, x.Node), x.Since)
		b = binary.AppendUvarint(b, uint64(number))
		b = append(b, x.Signature[:]...)
	}
	return b
}

// DecodeExpulsions reads what Encode returned. It verifies no signature: Add does.
func DecodeExpulsions(b []byte, grid GridID) ([]Expulsion, error) {
	if len(b) > expulsionsBytesMax {
		return nil, fmt.Errorf("decode expulsions: %w: %d bytes", ErrMalformed, len(b))
	}
	r := reader{b: b}
	var of GridID
	r.version()
	r.fixed(of[:])
	if r.err == nil && of != grid {
		return nil, fmt.Errorf("decode expulsions: %w", ErrWrongGrid)
	}
	var admins []*Membership
	for n := r.uvarint(2 * ExpulsionAdminsMax); n > 0 && r.err == nil; n-- {
		a := r.admin(grid)
		if a == nil {
			r.fail("admin")
		}
		admins = append(admins, a)
	}
	var list []Expulsion
	for n := r.uvarint(2 * ExpulsionsMax); n > 0 && r.err == nil; n-- {
		x := Expulsion{Node: r.node(), Since: r.time()}
		if number := r.uvarint(uint64(len(admins))); number > 0 && r.err == nil {
			x.Admin = admins[number-1]
		}
		r.fixed(x.Signature[:])
		list = append(list, x)
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("decode expulsions: %w", err)
	}
	return list, nil
}

// expel signs an expulsion.
func (s *signer) expel(node NodeID, since time.Time) Expulsion {
	x := Expulsion{Node: node, Since: fromUnix(toUnix(since)), Admin: s.admin}
	x.Signature = s.sign(domainExpulsion, x.body(s.grid))
	return x
}
