package warrant

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"
)

// The limits of what a Verifier remembers.
const (
	// ChainsMax bounds the chains that were verified and are kept: the one that was
	// used longest ago makes room.
	ChainsMax = 4096
	// ReadsMax bounds the proofs to read that were verified and are kept, in the same way.
	ReadsMax = 4096
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
	chains recent[*opened]
	reads  recent[*seen]
	used   map[[16]byte]struct{}
	// order has what is in used, in the order in which it is forgotten, held how much
	// of it each tenant has.
	order []spent
	held  map[string]int
}

// seen is a proof to read that was verified.
type seen struct {
	opened *opened
	host   string
	until  time.Time
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
		chains: recent[*opened]{limit: ChainsMax}, reads: recent[*seen]{limit: ReadsMax},
		used: map[[16]byte]struct{}{}, held: map[string]int{},
	}
}

// Stats is what a Verifier holds.
type Stats struct{ Chains, Reads, Proofs int }

// Stats counts what is remembered.
func (v *Verifier) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Stats{v.chains.count(), v.reads.count(), len(v.used)}
}

// Verify returns what a proof, as it stands in Authorization, allows its sender in a
// call. Whether the delegations were revoked is for the caller to look up. The errors
// are those of this package.
func (v *Verifier) Verify(text string, call Call, now time.Time) (Grant, error) {
	if len(text) > proofTextMax {
		return Grant{}, fmt.Errorf("read proof: %w: %d bytes, the limit is %d", ErrMalformed, len(text), proofTextMax)
	}
	sum := sha256.Sum256([]byte(text))
	v.mu.Lock()
	was, known := v.reads.get(sum)
	v.mu.Unlock()
	if known && reads(call) && was.host == strings.ToLower(call.Host) && !now.After(was.until) {
		return was.opened.grant, v.Still(&was.opened.grant, now)
	}
	p, err := parseProof(text)
	if err != nil {
		return Grant{}, err
	}
	o, err := v.open(p.chain, now)
	if err != nil {
		return Grant{}, err
	}
	made, err := o.verify(p, call, now)
	if err != nil {
		return Grant{}, err
	}
	if made.once {
		return o.grant, v.spend(made, o.grant.Tenant, now)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads.put(sum, &seen{o, strings.ToLower(call.Host), made.until})
	return o.grant, nil
}

// Known returns the id of the first delegation of the chain in a proof, as it stands in
// Authorization, when that chain was verified before. Nothing else of the proof is looked
// at, not even whether its sender holds the token: that is enough to refuse a request, and
// never to do one.
func (v *Verifier) Known(text string) (first [32]byte, known bool) {
	if len(text) > proofTextMax {
		return first, false
	}
	p, err := parseProof(text)
	if err != nil {
		return first, false
	}
	sum := sha256.Sum256(p.chain)
	v.mu.Lock()
	defer v.mu.Unlock()
	o, known := v.chains.get(sum)
	if known {
		first = o.grant.IDs[0]
	}
	return first, known
}

// Still returns an error when a grant of Verify is not good any more. Whether its
// delegations were revoked is for the caller to look up, as it is there.
func (v *Verifier) Still(g *Grant, now time.Time) error {
	if err := v.roots.accept(g.Root, g.admin, now); err != nil {
		return err
	}
	return g.at(now)
}

// open returns the chain, verified now or before.
func (v *Verifier) open(encoded []byte, now time.Time) (*opened, error) {
	sum := sha256.Sum256(encoded)
	v.mu.Lock()
	o, known := v.chains.get(sum)
	v.mu.Unlock()
	if known {
		return o, v.Still(&o.grant, now)
	}
	c, err := DecodeChain(encoded)
	if err != nil {
		return nil, err
	}
	o, err = c.open(func(root [32]byte) error { return v.roots.accept(root, c.admin, now) })
	if err == nil {
		err = o.grant.at(now)
	}
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.chains.put(sum, o)
	return o, nil
}

// spend remembers that a proof was used, until it would not be good any more.
func (v *Verifier) spend(once *verified, tenant string, now time.Time) error {
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
