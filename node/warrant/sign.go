package warrant

import (
	"errors"

	"github.com/MetaMask/go-did-it/crypto"
	signing "github.com/MetaMask/go-did-it/crypto/ed25519"
	varsig "github.com/ucan-wg/go-varsig"
)

// rootKey gives the library a root's signature and not its key, which stays where it
// is kept.
type rootKey struct{ root Signer }

var errHash = errors.New("an Ed25519 key signs with SHA-512 only")

// Equal implements crypto.PrivateKey.
func (k rootKey) Equal(other crypto.PrivateKey) bool {
	o, ok := other.(rootKey)
	return ok && o.root.Public() == k.root.Public()
}

// Public implements crypto.PrivateKey.
func (k rootKey) Public() crypto.PublicKey {
	public := k.root.Public()
	key, err := signing.PublicKeyFromBytes(public[:])
	if err != nil {
		panic(err) // it takes 32 bytes
	}
	return key
}

// ToPKCS8DER implements crypto.PrivateKey: there is nothing to write.
func (k rootKey) ToPKCS8DER() []byte { return nil }

// ToPKCS8PEM implements crypto.PrivateKey: there is nothing to write.
func (k rootKey) ToPKCS8PEM() string { return "" }

// Varsig implements crypto.PrivateKeySigningBytes.
func (k rootKey) Varsig(opts ...crypto.SigningOption) varsig.Varsig {
	return signing.PrivateKey{}.Varsig(opts...)
}

// SignToBytes implements crypto.PrivateKeySigningBytes.
func (k rootKey) SignToBytes(message []byte, opts ...crypto.SigningOption) ([]byte, error) {
	if crypto.CollectSigningOptions(opts).HashOrDefault(crypto.SHA512) != crypto.SHA512 {
		return nil, errHash
	}
	signature := k.root.Sign(message)
	return signature[:], nil
}
