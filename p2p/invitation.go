package p2p

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	ma "github.com/multiformats/go-multiaddr"
)

// invitationPrefix begins the text of an invitation.
const invitationPrefix = "dug1"

// InvitationID names an invitation; it is random, and thereby hard to guess.
type InvitationID [8]byte

// String returns the id in hexadecimal.
func (id InvitationID) String() string { return hex.EncodeToString(id[:]) }

// Contact is a member that an invitation may be shown to.
type Contact struct {
	Node NodeID
	// Addresses are multiaddrs without the id, at most ContactAddressesMax.
	Addresses []string
}

// Invitation lets whoever shows it become a member. Contacts are not signed: they
// only say where to knock, and who knocks checks the membership of who opens
// before the invitation is shown.
type Invitation struct {
	Grid GridID
	ID   InvitationID
	// Role is what who joins will be.
	Role Role
	// Since is when it was signed, Until its end, to the second.
	Since, Until time.Time
	// Uses is how many nodes may join with it, 1 to UsesMax.
	Uses uint32
	// Admin is the membership of the admin that signed, nil when the grid's key
	// has.
	Admin     *Membership
	Signature [64]byte
	Contacts  []Contact
}

// Verify says whether the invitation is good now, as far as it can tell without
// the count of its uses. The errors are ErrWrongGrid, ErrNotAdmin, ErrSignature,
// ErrClock, ErrInvitationExpired and ErrExpelled.
func (v *Invitation) Verify(grid GridID, now time.Time, expelled *Expulsions) error {
	if v.Grid != grid {
		return fmt.Errorf("verify invitation: %w", ErrWrongGrid)
	}
	if err := verifySigned(v.body(), domainInvitation, v.Signature, grid, v.Admin, v.Since); err != nil {
		return fmt.Errorf("verify invitation: %w", err)
	}
	switch {
	case v.Since.After(now.Add(ClockSkewMax)):
		return fmt.Errorf("verify invitation: %w: it was made at %s, this node's clock shows %s", ErrClock, clock(v.Since), clock(now))
	case now.After(v.Until):
		return fmt.Errorf("verify invitation: %w: at %s, this node's clock shows %s", ErrInvitationExpired, clock(v.Until), clock(now))
	}
	if err := expelled.voids(v.Admin, v.Since); err != nil {
		return fmt.Errorf("verify invitation: %w", err)
	}
	return nil
}

// body is what is signed after the domain.
func (v *Invitation) body() []byte {
	b := append([]byte{encodingVersion}, v.Grid[:]...)
	b = append(b, v.ID[:]...)
	b = append(b, byte(v.Role))
	b = appendTime(b, v.Since)
	b = binary.AppendUvarint(b, toUnix(v.Until)-toUnix(v.Since))
	b = binary.AppendUvarint(b, uint64(v.Uses))
	return appendAdmin(b, v.Admin)
}

// Encode returns what DecodeInvitation reads: the signed part, which is shown to
// a member, without the contacts.
func (v *Invitation) Encode() []byte { return append(v.body(), v.Signature[:]...) }

// DecodeInvitation reads what Encode returned. It verifies nothing.
func DecodeInvitation(b []byte) (*Invitation, error) {
	if len(b) > invitationBytesMax {
		return nil, fmt.Errorf("decode invitation: %w: %d bytes", ErrMalformed, len(b))
	}
	r := reader{b: b}
	v := r.invitation()
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("decode invitation: %w", err)
	}
	return v, nil
}

func (r *reader) invitation() *Invitation {
	var v Invitation
	r.version()
	r.fixed(v.Grid[:])
	r.fixed(v.ID[:])
	v.Role = r.role()
	v.Since = r.time()
	v.Until = fromUnix(toUnix(v.Since) + r.uvarint(timeMax-toUnix(v.Since)))
	v.Uses = uint32(r.uvarint(UsesMax))
	v.Admin = r.admin(v.Grid)
	r.fixed(v.Signature[:])
	return &v
}

// Text returns the invitation as it is sent to people: one word.
func (v *Invitation) Text() (string, error) {
	b := v.Encode()
	if len(v.Contacts) > ContactsMax {
		return "", fmt.Errorf("write invitation: %w: %d contacts, the limit is %d", ErrFull, len(v.Contacts), ContactsMax)
	}
	b = append(b, byte(len(v.Contacts)))
	for _, c := range v.Contacts {
		if len(c.Addresses) > ContactAddressesMax {
			return "", fmt.Errorf("write invitation: %w: %d addresses, the limit is %d", ErrFull, len(c.Addresses), ContactAddressesMax)
		}
		if v.Admin != nil && c.Node == v.Admin.Node {
			b = append(b, contactAdmin)
		} else {
			if _, err := c.Node.key(); err != nil {
				return "", fmt.Errorf("write invitation: %w", err)
			}
			b = appendNode(append(b, contactOther), c.Node)
		}
		b = append(b, byte(len(c.Addresses)))
		for _, text := range c.Addresses {
			a, err := ma.NewMultiaddr(text)
			if err != nil || len(a.Bytes()) > AddressBytesMax {
				return "", fmt.Errorf("write invitation: %w: address %q", ErrMalformed, text)
			}
			b = appendBytes(b, a.Bytes())
		}
	}
	return invitationPrefix + textEncoding.EncodeToString(append(b, checksum(b)...)), nil
}

// The ways to name a contact in the text.
const (
	contactOther = iota // its key follows
	contactAdmin        // the admin that signed
)

// ParseInvitation reads what Text returned; white space and case do not matter.
// The error is ErrInvitationTypo when the text was not copied whole, ErrVersion
// for a later version's. It verifies no signature.
func ParseInvitation(text string) (*Invitation, error) {
	if len(text) > 4*invitationBytesMax {
		return nil, fmt.Errorf("read invitation: %w: %d characters", ErrInvitationTypo, len(text))
	}
	text = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return -1
		}
		return unicode.ToLower(c)
	}, text)
	rest, ok := strings.CutPrefix(text, invitationPrefix)
	if !ok {
		return nil, fmt.Errorf("read invitation: %w: it does not begin with %s", ErrInvitationTypo, invitationPrefix)
	}
	b, err := textEncoding.DecodeString(rest)
	if err != nil {
		return nil, fmt.Errorf("read invitation: %w: %w", ErrInvitationTypo, err)
	}
	// The last letter may carry bits that belong to no byte.
	if len(b) < checksumBytes || len(b) > invitationBytesMax || textEncoding.EncodeToString(b) != rest {
		return nil, fmt.Errorf("read invitation: %w: it has %d characters", ErrInvitationTypo, len(text))
	}
	body := b[:len(b)-checksumBytes]
	if string(checksum(body)) != string(b[len(body):]) {
		return nil, fmt.Errorf("read invitation: %w: its checksum differs", ErrInvitationTypo)
	}
	r := reader{b: body}
	v := r.invitation()
	v.Contacts = r.contacts(v.Admin)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("read invitation: %w", err)
	}
	return v, nil
}

func (r *reader) contacts(admin *Membership) []Contact {
	n := r.u8()
	if n > ContactsMax {
		r.fail("contacts")
	}
	var out []Contact
	for ; n > 0 && r.err == nil; n-- {
		var c Contact
		switch how := r.u8(); {
		case how == contactOther:
			c.Node = r.node()
		case how == contactAdmin && admin != nil:
			c.Node = admin.Node
		default:
			r.fail("contact")
		}
		addresses := r.u8()
		if addresses > ContactAddressesMax {
			r.fail("addresses")
		}
		for ; addresses > 0 && r.err == nil; addresses-- {
			c.Addresses = append(c.Addresses, r.address())
		}
		out = append(out, c)
	}
	return out
}

// address takes a multiaddr and returns its text.
func (r *reader) address() string {
	b := r.bytes(AddressBytesMax)
	if r.err != nil {
		return ""
	}
	a, err := ma.NewMultiaddrBytes(b)
	if err != nil || len(a) == 0 {
		r.fail("address")
		return ""
	}
	return a.String()
}

// checksumBytes is enough to tell a typo; a forgery is told by the signature.
const checksumBytes = 4

func checksum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte("dugnad invitation text v1\n"), b...))
	return sum[:checksumBytes]
}

// invite signs an invitation.
func (s *signer) invite(v Invitation) *Invitation {
	v.Grid, v.Admin = s.grid, s.admin
	v.Since, v.Until = fromUnix(toUnix(v.Since)), fromUnix(toUnix(v.Until))
	v.Signature = s.sign(domainInvitation, v.body())
	return &v
}
