package secret

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
)

// kem is how keys are sealed to custodians: X25519 and ML-KEM-768 together. What the
// ledger has may lie on strangers' disks for decades.
func kem() hpke.KEM { return hpke.MLKEM768X25519() }

// cardDomain begins what a custodian signs.
const (
	cardDomain  = "dugnad custodian v1\n"
	cardVersion = 1
)

// Key is a custodian's private key.
type Key struct{ private hpke.PrivateKey }

// NewKey makes the key that belongs to a seed.
func NewKey(seed [32]byte) (Key, error) {
	private, err := kem().DeriveKeyPair(seed[:])
	if err != nil {
		return Key{}, fmt.Errorf("make custodian's key: %w", err)
	}
	return Key{private}, nil
}

// String hides the key.
func (Key) String() string { return "key (hidden)" }

// Format hides the key, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// Unwrap opens the key to a value. The error is ErrSealed.
func (k Key) Unwrap(b Binding, sealed []byte) (DataKey, error) {
	opened, err := hpke.Open(k.private, hpke.HKDFSHA256(), hpke.AES256GCM(), b.bytes(), sealed)
	if err != nil || len(opened) != len(DataKey{}) {
		return DataKey{}, fmt.Errorf("open key to secret %s: %w", b.Name, ErrSealed)
	}
	defer clear(opened)
	return DataKey(opened), nil
}

// Custodian is who a key can be sealed to: an admin of the grid.
type Custodian struct {
	Node   ledger.NodeID
	public hpke.PublicKey
}

// Card makes the card of the admin that has the key: its membership, encoded, which the
// grid's key has signed, and its public key, which the admin's own has.
func (k Key) Card(grid p2p.GridID, membership []byte, sign func(message []byte) ([]byte, error)) ([]byte, error) {
	public := k.private.PublicKey().Bytes()
	signature, err := sign(cardMessage(grid, public))
	if err != nil {
		return nil, fmt.Errorf("make custodian's card: %w", err)
	}
	card := []byte{cardVersion}
	for _, part := range [][]byte{membership, public, signature} {
		card = append(binary.BigEndian.AppendUint16(card, uint16(len(part))), part...)
	}
	return card, nil
}

func cardMessage(grid p2p.GridID, public []byte) []byte {
	return append(append([]byte(cardDomain), grid[:]...), public...)
}

// ReadCard verifies a card: its node is an admin of the grid now, as far as expelled
// says, which may be nil, and has signed the key. The error wraps ErrCard, and those of
// p2p.Membership.Verify.
func ReadCard(card []byte, grid p2p.GridID, now time.Time, expelled *p2p.Expulsions) (c Custodian, err error) {
	return readCard(card, grid, func(m *p2p.Membership) error { return m.Verify(grid, now, expelled) })
}

// ReadCardBy is ReadCard for who verifies memberships otherwise.
func ReadCardBy(card []byte, grid p2p.GridID, verify func(membership []byte) error) (c Custodian, err error) {
	return readCard(card, grid, func(m *p2p.Membership) error { return verify(m.Encode()) })
}

func readCard(card []byte, grid p2p.GridID, verify func(m *p2p.Membership) error) (c Custodian, err error) {
	parts, err := cutCard(card)
	if err != nil {
		return c, err
	}
	m, err := p2p.DecodeMembership(parts[0])
	if err == nil {
		err = verify(m)
	}
	if err != nil {
		return c, fmt.Errorf("read card: %w: %w", ErrCard, err)
	}
	// An admin's membership is signed by the grid's key itself.
	if m.Role != p2p.RoleAdmin || m.Admin != nil || m.Grid != grid {
		return c, fmt.Errorf("read card: %w: %s is no admin of the grid", ErrCard, m.Node)
	}
	if err := p2p.VerifyBy(m.Node, cardMessage(grid, parts[1]), parts[2]); err != nil {
		return c, fmt.Errorf("read card: %w: %w", ErrCard, err)
	}
	public, err := kem().NewPublicKey(parts[1])
	if err != nil {
		return c, fmt.Errorf("read card: %w: its key is none", ErrCard)
	}
	return Custodian{Node: ledger.NodeID(m.Node), public: public}, nil
}

// cutCard takes a card apart.
func cutCard(card []byte) (parts [3][]byte, err error) {
	if len(card) == 0 || len(card) > ledger.CardBytesMax || card[0] != cardVersion {
		return parts, fmt.Errorf("read card: %w: %d bytes", ErrCard, len(card))
	}
	rest := card[1:]
	for i := range parts {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return parts, fmt.Errorf("read card: %w: it is cut short", ErrCard)
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		parts[i], rest = rest[2:n], rest[n:]
	}
	if len(rest) > 0 {
		return parts, fmt.Errorf("read card: %w: it goes on behind its end", ErrCard)
	}
	return parts, nil
}
