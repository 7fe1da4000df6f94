package p2p

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Sign signs a message of a package below p2p with the node's key. The message
// begins with a purpose of its own, so that nothing signed for one is good for
// another: memberships, invitations and expulsions have theirs.
func (h *Host) Sign(message []byte) ([]byte, error) {
	return h.key.Sign(message), nil
}

// Sign signs a message as Host.Sign does.
func (k Key) Sign(message []byte) []byte {
	signature := k.sign(message)
	return signature[:]
}

// PublicKey verifies what Sign signs. It is the key that Self names.
func (h *Host) PublicKey() [32]byte { return h.key.public() }

// VerifyBy returns ErrSignature when signature is not the node's for message.
func VerifyBy(id NodeID, message, signature []byte) error {
	key, err := id.key()
	if err != nil {
		return fmt.Errorf("verify signature: %w", errors.Join(ErrSignature, err))
	}
	if !ed25519.Verify(key[:], message, signature) {
		return fmt.Errorf("%w: %s", ErrSignature, id)
	}
	return nil
}

// Derive returns a secret of the node's for a purpose of a package below p2p: always the
// same one, from which neither the node's key follows nor what is for another purpose.
func (h *Host) Derive(purpose string) (out [32]byte, err error) {
	b, err := hkdf.Key(sha256.New, h.key.private.Seed(), nil, purpose, len(out))
	if err != nil {
		return out, fmt.Errorf("derive a secret: %w", err)
	}
	return [32]byte(b), nil
}
