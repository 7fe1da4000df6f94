package warrant

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// The limits of what a Verifier remembers.
const (
	// ChainsMax bounds the chains that were verified and are kept: the one that was
	// used longest ago makes room.
	ChainsMax = 4096
	// ProofsMax bounds the proofs for one request that are remembered until they are
	// over, of which one tenant may have ProofsTenantMax.
	ProofsMax       = 1 << 20
	ProofsTenantMax = 1 << 18
)

// Roots says whose chains are good.
type Roots struct {
	// Grid is the grid's key.
	Grid [32]byte
	// Admin returns the key of the admin that a chain's proof is about, while it is an
	// admin of the grid. It is asked at every use. nil accepts none.
	Admin func(proof []byte, now time.Time) ([32]byte, error)
}

// accept reports whether a key is that of a root.
func (r *Roots) accept(root [32]byte, admin []byte, now time.Time) error {
	if len(admin) == 0 {
		if root != r.Grid {
			return fmt.Errorf("%w: its root is not the grid's key", ErrOtherGrid)
		}
		return nil
	}
	if r.Admin == nil {
		return fmt.Errorf("%w: no admin's tokens are taken here", ErrOtherGrid)
	}
	key, err := r.Admin(admin, now)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrOtherGrid, err)
	case key != root:
		return fmt.Errorf("%w: its root is not the admin's key", ErrForged)
	}
	return nil
}

// Verifier verifies proofs. It is safe for concurrent use.
type Verifier struct {
	roots Roots
	// since is when it began to remember which proofs were used, to the second.
	since time.Time

	mu     sync.Mutex
	chains map[[32]byte]*list.Element
	recent list.List // of *kept, the one used last in front
	used   map[[16]byte]struct{}
	// order has what is in used, in the order in which it is forgotten, held how much
	// of it each tenant has.
	order []spent
	held  map[string]int
}

type kept struct {
	sum    [32]byte
	opened *opened
}

type spent struct {
	id     [16]byte
	tenant string
	until  int64 // in seconds since 1970
}

// NewVerifier makes a verifier that knows of no proof that was used before now: it
// refuses those that were made before and are good once.
func NewVerifier(roots Roots, now time.Time) *Verifier {
	return &Verifier{
		roots: roots, since: now.Truncate(time.Second),
		chains: map[[32]byte]*list.Element{}, used: map[[16]byte]struct{}{}, held: map[string]int{},
	}
}

// Stats is what a Verifier holds.
type Stats struct{ Chains, Proofs int }

// Stats counts what is remembered.
func (v *Verifier) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Stats{len(v.chains), len(v.used)}
}

// Verify returns what a proof, as it stands in Authorization, allows its sender in a
// call. Whether the delegations were revoked is for the caller to look up. The errors
// are those of this package.
func (v *Verifier) Verify(text string, call Call, now time.Time) (Grant, error) {
	p, err := parseProof(text)
	if err != nil {
		return Grant{}, err
	}
	o, err := v.open(p.chain, now)
	if err != nil {
		return Grant{}, err
	}
	once, err := o.verify(p, call, now)
	if err != nil {
		return Grant{}, err
	}
	if once != nil {
		if err := v.spend(once, o.grant.Tenant, now); err != nil {
			return Grant{}, err
		}
	}
	return o.grant, nil
}

// open returns the chain, verified now or before.
func (v *Verifier) open(encoded []byte, now time.Time) (*opened, error) {
	sum := sha256.Sum256(encoded)
	c, err := DecodeChain(encoded)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	at, known := v.chains[sum]
	if known {
		v.recent.MoveToFront(at)
	}
	v.mu.Unlock()
	if known {
		o := at.Value.(*kept).opened
		return o, v.roots.accept(o.grant.Root, c.admin, now)
	}
	o, err := c.open(func(root [32]byte) error { return v.roots.accept(root, c.admin, now) })
	if err != nil {
		return nil, err
	}
	if err := o.grant.at(now); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.chains[sum]; !known {
		v.chains[sum] = v.recent.PushFront(&kept{sum, o})
	}
	if len(v.chains) > ChainsMax {
		last := v.recent.Remove(v.recent.Back()).(*kept)
		delete(v.chains, last.sum)
	}
	return o, nil
}

// spend remembers that a proof was used, until it would not be good any more.
func (v *Verifier) spend(once *single, tenant string, now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(now.Unix())
	switch _, was := v.used[once.id]; {
	case was:
		return fmt.Errorf("%w: make another one for each request", ErrReplayed)
	case once.made.Before(v.since):
		return fmt.Errorf("%w, or may have been: it was made before this node started: make another one", ErrReplayed)
	case len(v.used) >= ProofsMax || v.held[tenant] >= ProofsTenantMax:
		return fmt.Errorf("%w: the limit is %d, of which a tenant may have %d", ErrFull, ProofsMax, ProofsTenantMax)
	}
	v.used[once.id] = struct{}{}
	v.held[tenant]++
	v.order = append(v.order, spent{once.id, tenant, now.Add(ProofLife+clockSkewMax).Unix() + 1})
	return nil
}

// forget drops the proofs that are over.
func (v *Verifier) forget(now int64) {
	n := 0
	for ; n < len(v.order) && v.order[n].until < now; n++ {
		s := v.order[n]
		delete(v.used, s.id)
		if v.held[s.tenant]--; v.held[s.tenant] == 0 {
			delete(v.held, s.tenant)
		}
	}
	if v.order = v.order[n:]; len(v.order) == 0 {
		v.order = nil // gives the memory back
	}
}
