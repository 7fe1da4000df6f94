// Package p2p is a node's presence on the network: its key, its membership in a
// grid, the peers that it finds and the streams between them. It knows no jobs.
//
// DESIGN.md beside this file explains how a connection comes about, what is
// signed by whom, and what a stranger can cost.
package p2p

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// NodeID names a node: the text form of its libp2p peer id.
type NodeID string

// GridID names a grid: the founder's Ed25519 public key.
type GridID [32]byte

// Role is what a member may do. The numbers are signed: they never change.
type Role uint8

// The roles, each of which may do what those before it may.
const (
	// RoleClient connects and asks, but gives nothing.
	RoleClient Role = 1 + iota
	// RoleWorker gives capacity.
	RoleWorker
	// RoleAdmin invites and expels.
	RoleAdmin
)

// Member is another member as this node knows it.
type Member struct {
	ID   NodeID
	Role Role
	// Name is what its operator calls it, up to NameBytesMax bytes; not unique.
	Name string
	// Addresses are multiaddrs without the id, best first.
	Addresses []string
	// Seen is when a connection to it was last open.
	Seen time.Time
	// Connected says whether one is open now.
	Connected bool
}

// textEncoding is base32 in small letters: read over a telephone, typed in any
// case, selected with a double click.
var textEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the grid's key in base32.
func (g GridID) String() string { return textEncoding.EncodeToString(g[:]) }

// ParseGridID reads what String returned.
func ParseGridID(text string) (GridID, error) {
	var g GridID
	b, err := textEncoding.DecodeString(strings.ToLower(text))
	if err != nil || len(b) != len(g) {
		return GridID{}, fmt.Errorf("read grid %q: %w", plain(text, 64), ErrMalformed)
	}
	copy(g[:], b)
	return g, nil
}

// prefix is the short form of the grid's key in names on the wire, where two
// grids that met by chance would only cost each other a refused connection.
func (g GridID) prefix() string {
	sum := sha256.Sum256(append([]byte("dugnad grid prefix v1\n"), g[:]...))
	return hex.EncodeToString(sum[:6])
}

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case RoleClient:
		return "client"
	case RoleWorker:
		return "worker"
	case RoleAdmin:
		return "admin"
	default:
		return fmt.Sprintf("role %d", uint8(r))
	}
}

// valid says whether the role is one of the three.
func (r Role) valid() bool { return r >= RoleClient && r <= RoleAdmin }

// peer returns the id as libp2p has it.
func (id NodeID) peer() (peer.ID, error) {
	p, err := peer.Decode(string(id))
	if err != nil {
		return "", fmt.Errorf("read node id %q: %w", plain(string(id), 64), ErrMalformed)
	}
	return p, nil
}

// key returns the Ed25519 public key that the id stands for.
func (id NodeID) key() ([32]byte, error) {
	p, err := id.peer()
	if err != nil {
		return [32]byte{}, err
	}
	return keyOf(p)
}

// keyOf returns the Ed25519 public key that a peer id stands for.
func keyOf(p peer.ID) ([32]byte, error) {
	var key [32]byte
	public, err := p.ExtractPublicKey()
	if err != nil || public.Type() != crypto.Ed25519 {
		return key, fmt.Errorf("read node id %s: %w: not an Ed25519 key", p, ErrMalformed)
	}
	raw, err := public.Raw()
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("read node id %s: %w: not an Ed25519 key", p, ErrMalformed)
	}
	copy(key[:], raw)
	return key, nil
}

// nodeOf returns the id of the node with that Ed25519 public key.
func nodeOf(key [32]byte) (NodeID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(key[:])
	if err != nil {
		return "", fmt.Errorf("read node key: %w", err)
	}
	p, err := peer.IDFromPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("read node key: %w", err)
	}
	return idOf(p), nil
}

func idOf(p peer.ID) NodeID { return NodeID(p.String()) }
