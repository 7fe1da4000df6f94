// Package secret seals a tenant's secrets, so that the ledger, which every node has a
// copy of, can keep them: a value with a key of its own, and that key to each custodian.
// It moves nothing and keeps nothing.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/dugnad/dugnad/ledger"
)

// ValueBytesMax bounds a value.
const ValueBytesMax = 64 << 10

// sealDomain begins what is sealed along with everything of this package.
const sealDomain = "dugnad secret v1\n"

var (
	// ErrValue is returned for a value that a guest cannot be given. Its text does not
	// show the value.
	ErrValue = errors.New("the value is not fit for a secret")
	// ErrSealed is returned for what cannot be opened: it was sealed to another key, or
	// for another tenant, name, value or list of nodes, or has been changed.
	ErrSealed = errors.New("what was sealed cannot be opened")
	// ErrCard is returned for a card that is none, or not a custodian's of the grid.
	ErrCard = errors.New("not a custodian's card")
)

// Check returns ErrValue for a value that no variable can have.
func Check(value []byte) error {
	switch {
	case len(value) == 0:
		return fmt.Errorf("%w: it is empty", ErrValue)
	case len(value) > ValueBytesMax:
		return fmt.Errorf("%w: it has more than %d bytes", ErrValue, ValueBytesMax)
	case !utf8.Valid(value) || strings.IndexByte(string(value), 0) >= 0:
		return fmt.Errorf("%w: it holds a zero byte or is not UTF-8: encode such data, with base64 for instance", ErrValue)
	}
	return nil
}

// Binding is what a value is sealed for. Whoever changes any of it in the ledger has
// something that does not open.
type Binding struct {
	Tenant ledger.TenantID
	Name   ledger.SecretName
	ID     [16]byte
	Nodes  []ledger.NodeID
}

// BindingOf returns what a secret of the ledger claims to be sealed for.
func BindingOf(s *ledger.Secret) Binding {
	return Binding{Tenant: s.Tenant, Name: s.Name, ID: s.ID, Nodes: s.Nodes}
}

// bytes is the same for no two bindings.
func (b *Binding) bytes() []byte {
	out := append([]byte(sealDomain), b.ID[:]...)
	field := func(text string) {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(text))), text...)
	}
	field(string(b.Tenant))
	field(string(b.Name))
	for _, n := range b.Nodes {
		field(string(n))
	}
	return out
}

// DataKey opens one value.
type DataKey [32]byte

// String hides the key.
func (DataKey) String() string { return "key (hidden)" }

// Format hides the key, whatever the verb.
func (k DataKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// Seal seals a value with a new key, and that to custodians.
func Seal(value []byte, b Binding, to []Custodian) (sealed []byte, keys []ledger.SecretKey, err error) {
	if err := Check(value); err != nil {
		return nil, nil, err
	}
	var k DataKey
	defer clear(k[:])
	_, _ = rand.Read(k[:]) // it never fails
	aead, err := k.aead()
	if err != nil {
		return nil, nil, fmt.Errorf("seal secret: %w", err)
	}
	keys, err = k.Wrap(b, to)
	return aead.Seal(nil, nil, value, b.bytes()), keys, err
}

// Wrap seals the key to custodians, in their order.
func (k DataKey) Wrap(b Binding, to []Custodian) (keys []ledger.SecretKey, err error) {
	for _, c := range to {
		sealed, err := hpke.Seal(c.public, hpke.HKDFSHA256(), hpke.AES256GCM(), b.bytes(), k[:])
		if err != nil {
			return nil, fmt.Errorf("seal key to %s: %w", c.Node, err)
		}
		keys = append(keys, ledger.SecretKey{Node: c.Node, Sealed: sealed})
	}
	return keys, nil
}

// Open opens a value.
func (k DataKey) Open(b Binding, sealed []byte) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, fmt.Errorf("open secret: %w", err)
	}
	value, err := aead.Open(nil, nil, sealed, b.bytes())
	if err != nil {
		return nil, fmt.Errorf("open secret %s: %w", b.Name, ErrSealed)
	}
	return value, Check(value)
}

func (k DataKey) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
