package ledger

import (
	"crypto/ed25519"
	"fmt"
)

// receiptDomain keeps signatures of reports apart from others by the same key.
const receiptDomain = "dugnad report v1\n"

// Sign makes the report a receipt: sign returns an Ed25519 signature of 64 bytes by the
// key that the node has registered with. Nothing of the report may change afterwards.
func (c *Report) Sign(sign func(message []byte) ([]byte, error)) error {
	signature, err := sign(c.message())
	if err != nil {
		return fmt.Errorf("sign report: %w", err)
	}
	if len(signature) != len(c.Signature) {
		return fmt.Errorf("sign report: the signature has %d bytes, want %d", len(signature), len(c.Signature))
	}
	copy(c.Signature[:], signature)
	return nil
}

// SignedBy reports whether a key has signed the report.
func (c *Report) SignedBy(key [32]byte) bool {
	return ed25519.Verify(key[:], c.message(), c.Signature[:])
}

// message is what is signed: the report as it would be sent without a signature. Who has
// ordered the attempts, and when they were reported, is not part of it: the epochs are
// given once.
func (c *Report) message() []byte {
	unsigned := *c
	unsigned.Signature = [64]byte{}
	return append([]byte(receiptDomain), encode(&unsigned)...)
}
