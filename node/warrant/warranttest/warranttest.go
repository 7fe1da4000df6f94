// Package warranttest makes tokens for tests, of grids that there are not.
package warranttest

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/warrant"
)

// Root is the key of a grid.
type Root struct{ private ed25519.PrivateKey }

// New makes a key.
func New(tb testing.TB) Root {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return Root{private}
}

// Public implements warrant.Signer.
func (r Root) Public() [32]byte { return [32]byte(r.private.Public().(ed25519.PublicKey)) }

// Sign implements warrant.Signer.
func (r Root) Sign(message []byte) [64]byte { return [64]byte(ed25519.Sign(r.private, message)) }

// Token makes a tenant's token, narrowed if the limits are any.
func (r Root) Token(tb testing.TB, tenant string, l warrant.Limits) warrant.Token {
	tb.Helper()
	key, err := warrant.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	chain, err := warrant.Found(r, nil, key.Public(), tenant, time.Time{})
	if err != nil {
		tb.Fatal(err)
	}
	token, err := warrant.New(chain, key)
	if err == nil && (l.Command != "" || l.Modules != nil || !l.Until.IsZero()) {
		token, err = token.Narrow(l)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return token
}
