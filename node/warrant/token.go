// Package warrant is a tenant's right to use a grid: a chain of signed delegations
// from the grid's key to the holder's, which anybody verifies who knows the grid's
// key, and which its holder narrows without asking anybody.
//
// The delegations and invocations are those of UCAN 1.0, read, signed and verified
// by go-ucan. This package bounds them before they are read, accepts the conditions
// that it knows and no others, and is pure but for two memories: of chains that were
// verified, and of proofs that were used.
package warrant

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	did "github.com/MetaMask/go-did-it"
	signing "github.com/MetaMask/go-did-it/crypto/ed25519"
	didkey "github.com/MetaMask/go-did-it/verifiers/did-key"
)

// The limits of what is read, all of which bound it before it is parsed.
const (
	// LinksMax bounds the delegations of a chain: a token can be narrowed seven times.
	LinksMax = 8
	// LinkBytesMax bounds one delegation, as it is encoded.
	LinkBytesMax = 4 << 10
	// AdminBytesMax bounds what proves that the chain's root is an admin's key.
	AdminBytesMax = 1 << 10
	// ModulesMax bounds the modules that one delegation names.
	ModulesMax = 16
	// ProofBytesMax bounds a proof, as it is encoded.
	ProofBytesMax = 16 << 10
	// callBytesMax bounds the invocation in a proof, depthMax what nests in it or in
	// a delegation.
	callBytesMax = 2 << 10
	depthMax     = 8
)

// The commands of a tenant. One covers another when that is below it.
const (
	// All is everything that a tenant may do.
	All = "/"
	// Run is to submit, to stop what was submitted, to push modules, and to read.
	Run = "/run"
	// Read is to read what the tenant has.
	Read = "/read"
)

// Prefix is what the text of every token begins with, for whoever looks for secrets
// where they should not be.
const Prefix = "dugnad_"

// The reasons why a token, or a proof, is not good.
var (
	// ErrMalformed is returned for what cannot be read, or is larger than it may be.
	ErrMalformed = errors.New("it cannot be read")
	// ErrTooLong is returned with ErrMalformed for a chain of too many delegations.
	ErrTooLong = errors.New("it has too many delegations")
	// ErrForged is returned when a signature is not that of the key that it should be
	// of, or a delegation was made by somebody who did not hold the one before.
	ErrForged = errors.New("it is not signed by whom it says")
	// ErrWidened is returned when a delegation, or a call, asks for more than the one
	// before it gives.
	ErrWidened = errors.New("it asks for more than it was given")
	// ErrCondition is returned for a delegation with a condition that this version
	// does not know.
	ErrCondition = errors.New("it has a condition that this version does not know")
	// ErrExpired is returned when the token, or the proof, is over or has not begun.
	ErrExpired = errors.New("it is not good at this time")
	// ErrOtherGrid is returned when the chain begins with another key than the grid's
	// or that of one of its admins.
	ErrOtherGrid = errors.New("it is of another grid")
	// ErrOtherCall is returned for a proof that was made for another host, method or
	// path.
	ErrOtherCall = errors.New("it was made for another request")
	// ErrReplayed is returned for a proof that was used before.
	ErrReplayed = errors.New("it was used before")
	// ErrFull is returned when as many proofs are remembered as there is room for.
	ErrFull = errors.New("too many proofs are remembered")
)

// Token is a chain with the private key of its holder: a secret. What prints it
// prints that it is hidden; Text is the only way to its text.
type Token struct {
	chain Chain
	key   Key
	// opened is nil for the zero Token.
	opened *opened
}

// Key is a holder's private key.
type Key struct{ private signing.PrivateKey }

// NewKey makes a key.
func NewKey() (Key, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand.Reader, seed); err != nil {
		return Key{}, fmt.Errorf("make a token's key: %w", err)
	}
	return keyFrom(seed)
}

func keyFrom(seed []byte) (Key, error) {
	private, err := signing.PrivateKeyFromSeed(seed)
	if err != nil {
		return Key{}, fmt.Errorf("read a token's key: %w", ErrMalformed)
	}
	return Key{private}, nil
}

// Public returns the public key.
func (k Key) Public() (out [32]byte) {
	copy(out[:], k.private.Public().(signing.PublicKey).ToBytes())
	return out
}

// String hides the key.
func (Key) String() string { return "key (hidden)" }

// Format hides the key from every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

func (k Key) name() did.DID { return didkey.FromPrivateKey(k.private) }

// nameOf returns the name that UCAN has for an Ed25519 key.
func nameOf(public [32]byte) did.DID {
	key, err := signing.PublicKeyFromBytes(public[:])
	if err != nil {
		panic(err) // it takes 32 bytes
	}
	return didkey.FromPublicKey(key)
}

// New puts a token together. The chain must end with the key.
func New(chain Chain, key Key) (Token, error) {
	o, err := chain.open(nil)
	if err != nil {
		return Token{}, err
	}
	if !o.holder().Equal(key.name()) {
		return Token{}, fmt.Errorf("make a token: %w: the last delegation is for another key", ErrForged)
	}
	return Token{chain, key, o}, nil
}

// textVersion is the first byte of a token and of a proof.
const textVersion = 1

// Text returns the token's text, one word, which Parse reads. It is a secret.
func (t Token) Text() string {
	b := append([]byte{textVersion}, t.key.private.Seed()...)
	return Prefix + base64.RawURLEncoding.EncodeToString(append(b, t.chain.Encode()...))
}

// textBytesMax bounds a token's text.
const textBytesMax = len(Prefix) + (1+ed25519.SeedSize+chainBytesMax)*4/3 + 4

// Parse reads what Text has returned, and looks whether the chain holds together. It
// does not know of which grid it is, nor whether it is over.
func Parse(text string) (Token, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), Prefix)
	if !ok || len(text) > textBytesMax {
		return Token{}, fmt.Errorf("read token: %w: it is one word of at most %d bytes that begins with %s", ErrMalformed, textBytesMax, Prefix)
	}
	// The library's error would quote a byte of the secret.
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) < 1+ed25519.SeedSize {
		return Token{}, fmt.Errorf("read token: %w: a part is missing or changed", ErrMalformed)
	}
	if b[0] != textVersion {
		return Token{}, fmt.Errorf("read token: %w: it is of version %d, this program knows %d", ErrMalformed, b[0], textVersion)
	}
	key, err := keyFrom(b[1 : 1+ed25519.SeedSize])
	if err != nil {
		return Token{}, err
	}
	chain, err := DecodeChain(b[1+ed25519.SeedSize:])
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	t, err := New(chain, key)
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	return t, nil
}

// tokens matches the texts of tokens, whole or not.
var tokens = regexp.MustCompile(Prefix + `[A-Za-z0-9_-]{16,}`)

// Redact hides the tokens in a text.
func Redact(text string) string { return tokens.ReplaceAllString(text, Token{}.String()) }

// Chain returns the part that is no secret.
func (t Token) Chain() Chain { return t.chain }

// Grant returns what the token allows.
func (t Token) Grant() Grant { return t.opened.grant }

// String hides the token.
func (Token) String() string { return Prefix + "(hidden)" }

// Format hides the token from every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue hides the token.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText hides the token.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Grant is what a chain allows: what all of its delegations allow together.
type Grant struct {
	Tenant  string
	Command string
	// Modules are the only ones, as sha256:HEX, in ascending order; nil is any.
	Modules []string
	// Since and Until bound when it is good, to the second; zero is no bound.
	Since, Until time.Time
	// IDs name the delegations, the root's first: each is the SHA-256 of one, by which
	// it is revoked with all that were made of it.
	IDs [][32]byte
	// Root is the key that the chain begins with: the grid's, or with Admin that of an
	// admin.
	Root  [32]byte
	Admin bool
	// admin proves that the root is an admin's key.
	admin []byte
}

// Allows reports whether a command is within the grant.
func (g *Grant) Allows(command string) bool { return covers(g.Command, command) }

// at returns ErrExpired when the grant is not good at a time.
func (g *Grant) at(now time.Time) error {
	switch {
	case !g.Until.IsZero() && now.After(g.Until):
		return fmt.Errorf("%w: it was good until %s", ErrExpired, g.Until.UTC().Format(time.RFC3339))
	case !g.Since.IsZero() && now.Before(g.Since):
		return fmt.Errorf("%w: it is good from %s", ErrExpired, g.Since.UTC().Format(time.RFC3339))
	}
	return nil
}
