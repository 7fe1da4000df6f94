package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
)

// Sign signs a message of a package below p2p with the node's key. The message
// begins with a purpose of its own, so that nothing signed for one is good for
// another: memberships, invitations and expulsions have theirs.
func (h *Host) Sign(message []byte) ([]byte, error) {
	signature := h.key.sign(message)
	return signature[:], nil
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
