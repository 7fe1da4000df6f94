package p2p

import (
	"crypto/ed25519"
	"fmt"
	"time"
)

// The domains keep a signature over one kind of statement from being one over
// another.
const (
	domainMembership = "dugnad membership v1\n"
	domainInvitation = "dugnad invitation v1\n"
	domainExpulsion  = "dugnad expulsion v1\n"
	domainDeputy     = "dugnad deputy v1\n"
)

// Membership says that a node is in a grid. It is signed by the grid's key, or by
// an admin whose own membership, signed by the grid's key, it encloses.
type Membership struct {
	Grid GridID
	Node NodeID
	Role Role
	// Since is when it was signed, to the second.
	Since time.Time
	// Until is its end; zero means never.
	Until time.Time
	// Admin is the membership of the admin that signed, nil when the grid's key
	// has. The admin's own has none.
	Admin     *Membership
	Signature [64]byte
}

// Verify says whether m makes its node a member of grid now, as far as expelled
// says. The errors are ErrWrongGrid, ErrNotAdmin, ErrSignature, ErrClock,
// ErrExpired and ErrExpelled.
func (m *Membership) Verify(grid GridID, now time.Time, expelled *Expulsions) error {
	if m.Grid != grid {
		return fmt.Errorf("verify membership: %w", ErrWrongGrid)
	}
	if err := verifySigned(m.body(), domainMembership, m.Signature, grid, m.Admin, m.Since); err != nil {
		return fmt.Errorf("verify membership: %w", err)
	}
	switch {
	case m.Since.After(now.Add(ClockSkewMax)):
		return fmt.Errorf("verify membership: %w: it begins at %s, this node's clock shows %s", ErrClock, clock(m.Since), clock(now))
	case !m.Until.IsZero() && now.After(m.Until.Add(ClockSkewMax)):
		return fmt.Errorf("verify membership: %w: at %s, this node's clock shows %s", ErrExpired, clock(m.Until), clock(now))
	}
	if err := expelled.check(m.Node); err != nil {
		return fmt.Errorf("verify membership: %w", err)
	}
	if err := expelled.voids(m.Admin, m.Since); err != nil {
		return fmt.Errorf("verify membership: %w", err)
	}
	return nil
}

// Encode returns what DecodeMembership reads.
func (m *Membership) Encode() []byte {
	return append(m.body(), m.Signature[:]...)
}

// body is everything but the signature: what is signed after the domain.
func (m *Membership) body() []byte {
	b := append([]byte{encodingVersion}, m.Grid[:]...)
	b = appendNode(b, m.Node)
	b = append(b, byte(m.Role))
	b = appendTime(b, m.Since)
	b = appendTime(b, m.Until)
	return appendAdmin(b, m.Admin)
}

// DecodeMembership reads what Encode returned. It verifies nothing.
func DecodeMembership(b []byte) (*Membership, error) {
	if len(b) > membershipBytesMax {
		return nil, fmt.Errorf("decode membership: %w: %d bytes", ErrMalformed, len(b))
	}
	r := reader{b: b}
	var m Membership
	r.version()
	r.fixed(m.Grid[:])
	m.Node = r.node()
	m.Role = r.role()
	m.Since, m.Until = r.time(), r.time()
	m.Admin = r.admin(m.Grid)
	r.fixed(m.Signature[:])
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("decode membership: %w", err)
	}
	return &m, nil
}

func (r *reader) role() Role {
	role := Role(r.u8())
	if r.err == nil && !role.valid() {
		r.fail("role")
	}
	return role
}

// appendAdmin appends the membership of the admin that signs, without what is
// known from the statement around it.
func appendAdmin(b []byte, admin *Membership) []byte {
	if admin == nil {
		return append(b, 0)
	}
	b = appendNode(append(b, 1), admin.Node)
	b = append(b, byte(admin.Role))
	b = appendTime(b, admin.Since)
	b = appendTime(b, admin.Until)
	return append(b, admin.Signature[:]...)
}

func (r *reader) admin(grid GridID) *Membership {
	switch r.u8() {
	case 0:
		return nil
	case 1:
	default:
		r.fail("admin")
		return nil
	}
	m := Membership{Grid: grid, Node: r.node(), Role: r.role()}
	m.Since, m.Until = r.time(), r.time()
	r.fixed(m.Signature[:])
	if r.err != nil {
		return nil
	}
	return &m
}

// verifySigned says whether body was signed, at that time, by the grid's key or by
// the admin.
func verifySigned(body []byte, domain string, signature [64]byte, grid GridID, admin *Membership, at time.Time) error {
	signer := [32]byte(grid)
	if admin != nil {
		var err error
		if signer, err = admin.Node.key(); err != nil {
			return err
		}
	}
	message := append([]byte(domain), body...)
	if !ed25519.Verify(signer[:], message, signature[:]) {
		return ErrSignature
	}
	if admin == nil {
		return nil
	}
	if admin.Admin != nil || admin.Grid != grid {
		return fmt.Errorf("%w: the admin's own membership", ErrSignature)
	}
	if err := verifySigned(admin.body(), domainMembership, admin.Signature, grid, nil, admin.Since); err != nil {
		return fmt.Errorf("%w: the admin's own membership", err)
	}
	switch {
	case admin.Role != RoleAdmin:
		return ErrNotAdmin
	case at.Before(admin.Since.Add(-ClockSkewMax)), !admin.Until.IsZero() && at.After(admin.Until):
		return fmt.Errorf("%w: at the time of signing, %s", ErrNotAdmin, clock(at))
	}
	return nil
}

// signer signs for a grid: with its key, or as an admin.
type signer struct {
	grid  GridID
	key   Key
	admin *Membership // nil when key is the grid's
}

func (s *signer) sign(domain string, body []byte) [64]byte {
	return s.key.sign(append([]byte(domain), body...))
}

// member signs a membership.
func (s *signer) member(node NodeID, role Role, since, until time.Time) *Membership {
	m := &Membership{
		Grid: s.grid, Node: node, Role: role,
		Since: fromUnix(toUnix(since)), Until: fromUnix(toUnix(until)), Admin: s.admin,
	}
	m.Signature = s.sign(domainMembership, m.body())
	return m
}

// Found signs the membership of the founder's own node.
func Found(grid, node Key, now time.Time) *Membership {
	s := signer{grid: grid.GridID(), key: grid}
	return s.member(node.NodeID(), RoleAdmin, now, time.Time{})
}
