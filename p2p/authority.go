package p2p

import (
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// redemptionsFile holds the count of the invitations' uses.
const redemptionsFile = "redemptions"

// Authority invites and expels: it holds the grid's key, or the membership of an
// admin with that node's key. It counts the uses of the invitations that it has
// signed, and redeems no others, so that no two authorities count the same one.
// It is safe for concurrent use.
type Authority struct {
	signer   signer
	log      *redemptions
	expelled *Expulsions
	now      func() time.Time
	random   io.Reader
}

// OpenAuthority opens the authority of the grid's key.
func OpenAuthority(dir string, grid Key, expelled *Expulsions) (*Authority, error) {
	return openAuthority(dir, signer{grid: grid.GridID(), key: grid}, expelled, time.Now)
}

// OpenAdmin opens the authority of an admin. The error is ErrNotAdmin when the
// membership, which was verified before, is none of an admin or not signed by
// the grid's key: a chain has two links at most.
func OpenAdmin(dir string, node Key, membership *Membership, expelled *Expulsions) (*Authority, error) {
	if membership.Role != RoleAdmin || membership.Admin != nil || membership.Node != node.NodeID() {
		return nil, fmt.Errorf("open authority: %w", ErrNotAdmin)
	}
	return openAuthority(dir, signer{grid: membership.Grid, key: node, admin: membership}, expelled, time.Now)
}

func openAuthority(dir string, s signer, expelled *Expulsions, now func() time.Time) (*Authority, error) {
	log, err := openRedemptions(filepath.Join(dir, redemptionsFile), now())
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	return &Authority{signer: s, log: log, expelled: expelled, now: now, random: rand.Reader}, nil
}

// Root returns the key that the authority signs with, and the membership that makes it
// an admin's; nil when it is the grid's.
func (a *Authority) Root() (public [32]byte, admin *Membership) {
	return a.signer.key.public(), a.signer.admin
}

// SignToken signs the delegation of a tenant's token, which is a CBOR map: nothing else
// that is signed with this key begins like one.
func (a *Authority) SignToken(delegation []byte) [64]byte { return a.signer.key.sign(delegation) }

// Close closes the file that counts. It is idempotent.
func (a *Authority) Close() error { return a.log.close() }

// Invite signs an invitation for uses nodes, good until expires. Only the grid's key
// can invite an admin: ErrNotAdmin.
func (a *Authority) Invite(role Role, expires time.Time, uses int, contacts []Contact) (*Invitation, error) {
	now := a.now()
	switch {
	case !role.valid():
		return nil, fmt.Errorf("invite: %w: %s", ErrMalformed, role)
	case role == RoleAdmin && a.signer.admin != nil:
		return nil, fmt.Errorf("invite: %w: only the founder's node can invite an admin", ErrNotAdmin)
	case uses < 1 || uses > UsesMax:
		return nil, fmt.Errorf("invite: %w: %d uses, from 1 to %d are possible", ErrFull, uses, UsesMax)
	case !expires.After(now):
		return nil, fmt.Errorf("invite: %w: at %s", ErrInvitationExpired, clock(expires))
	case expires.After(now.Add(InvitationLifeMax)):
		return nil, fmt.Errorf("invite: %w: an invitation lasts %d days at most", ErrFull, InvitationLifeMax/(24*time.Hour))
	case len(contacts) > ContactsMax:
		return nil, fmt.Errorf("invite: %w: %d contacts, the limit is %d", ErrFull, len(contacts), ContactsMax)
	}
	v := Invitation{Role: role, Since: a.afterExpulsions(now), Until: expires, Uses: uint32(uses), Contacts: contacts}
	if _, err := io.ReadFull(a.random, v.ID[:]); err != nil {
		return nil, fmt.Errorf("invite: %w", err)
	}
	return a.signer.invite(v), nil
}

// expulsionRecent is how much later than now an expulsion may be for an invitation
// to be made later still: times are to the second.
const expulsionRecent = 5 * time.Second

// afterExpulsions returns now, or the second after an expulsion that was just made:
// an invitation of that second would not let the outcast return.
func (a *Authority) afterExpulsions(now time.Time) time.Time {
	if a.expelled == nil {
		return now
	}
	at := now
	for _, node := range a.expelled.Nodes() {
		since, _ := a.expelled.Out(node)
		if next := since.Add(time.Second); next.After(at) && next.Before(now.Add(expulsionRecent)) {
			at = next
		}
	}
	return at
}

// Redeem makes the node a member, as the invitation says, and counts that use on
// disk before it returns. The same node may come again and counts once. The
// errors are those of Invitation.Verify, ErrExpelled for the node,
// ErrInvitationUnknown and ErrInvitationUsedUp.
func (a *Authority) Redeem(v *Invitation, node NodeID) (*Membership, error) {
	now := a.now()
	if err := v.Verify(a.signer.grid, now, a.expelled); err != nil {
		return nil, fmt.Errorf("redeem: %w", err)
	}
	if !a.signed(v) {
		return nil, fmt.Errorf("redeem: %w", ErrInvitationUnknown)
	}
	if err := a.expelled.check(node); err != nil {
		return nil, fmt.Errorf("redeem: %w", err)
	}
	key, err := node.key()
	if err != nil {
		return nil, fmt.Errorf("redeem: %w", err)
	}
	if err := a.log.add(redemption{v.ID, key, v.Until}, v.Uses); err != nil {
		return nil, fmt.Errorf("redeem: %w", err)
	}
	return a.signer.member(node, v.Role, now, time.Time{}), nil
}

// signed says whether this authority has signed the invitation, which is known
// to be signed by somebody who may.
func (a *Authority) signed(v *Invitation) bool {
	if v.Admin == nil || a.signer.admin == nil {
		return v.Admin == nil && a.signer.admin == nil
	}
	return v.Admin.Node == a.signer.admin.Node
}

// Expel signs that the node is out. The entry counts once it is in the list of
// expulsions.
func (a *Authority) Expel(node NodeID) (Expulsion, error) {
	if _, err := node.key(); err != nil {
		return Expulsion{}, fmt.Errorf("expel: %w", err)
	}
	if a.signer.admin != nil {
		if node == a.signer.admin.Node {
			return Expulsion{}, fmt.Errorf("expel: %w: an admin cannot expel itself", ErrNotAdmin)
		}
		if since, out := a.expelled.Out(a.signer.admin.Node); out {
			return Expulsion{}, fmt.Errorf("expel: %w: this node, since %s", ErrExpelled, clock(since))
		}
	}
	return a.signer.expel(node, a.now()), nil
}
