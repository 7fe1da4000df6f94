package p2p

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// The files of a data directory that hold keys.
const (
	nodeKeyFile = "node.key"
	gridKeyFile = "grid.key"
	// keyBytesMax bounds a key file; an Ed25519 key takes 68.
	keyBytesMax = 256
)

// Key is an Ed25519 private key: a node's, or the founder's of a grid.
type Key struct{ private ed25519.PrivateKey }

// NewKey makes a key from 32 random bytes of random.
func NewKey(random io.Reader) (Key, error) {
	_, private, err := ed25519.GenerateKey(random)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	return Key{private}, nil
}

// NodeID returns the id of the node that has this key.
func (k Key) NodeID() NodeID {
	id, err := nodeOf(k.public())
	if err != nil {
		panic(err) // the key was made by NewKey or checked by parseKey
	}
	return id
}

// GridID returns the id of the grid that was founded with this key.
func (k Key) GridID() GridID { return GridID(k.public()) }

func (k Key) public() (out [32]byte) {
	copy(out[:], k.private.Public().(ed25519.PublicKey))
	return out
}

// zero says whether there is no key.
func (k Key) zero() bool { return len(k.private) == 0 }

func (k Key) sign(message []byte) (out [64]byte) {
	copy(out[:], ed25519.Sign(k.private, message))
	return out
}

// libp2p returns the key as libp2p takes it.
func (k Key) libp2p() (crypto.PrivKey, error) {
	private, err := crypto.UnmarshalEd25519PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	return private, nil
}

// LoadIdentity returns the node's key that is kept in dir, and makes both when
// they are not there. It refuses a file that others may read (ErrKeyMode) and
// one that holds no key (ErrKey): a node that lost its key is another node, so
// that nothing is ever written over an existing file.
func LoadIdentity(dir string) (Key, error) { return loadOrMake(dir, nodeKeyFile) }

// FoundGrid returns the grid's key that is kept in dir, and makes both when they
// are not there. Whoever has this file is the founder.
func FoundGrid(dir string) (Key, error) { return loadOrMake(dir, gridKeyFile) }

// LoadGridKey returns the grid's key that is kept in dir. The error is
// fs.ErrNotExist where this node is not the founder's.
func LoadGridKey(dir string) (Key, error) { return loadKey(filepath.Join(dir, gridKeyFile)) }

func loadOrMake(dir, name string) (Key, error) {
	path := filepath.Join(dir, name)
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Key{}, fmt.Errorf("make data directory: %w", err)
	}
	if key, err = NewKey(rand.Reader); err != nil {
		return Key{}, err
	}
	private, err := key.libp2p()
	if err != nil {
		return Key{}, err
	}
	b, err := crypto.MarshalPrivateKey(private)
	if err != nil {
		return Key{}, fmt.Errorf("encode key: %w", err)
	}
	switch err := createFile(path, b); {
	case errors.Is(err, fs.ErrExist):
		return loadKey(path) // another process was first
	case err != nil:
		return Key{}, err
	}
	return key, nil
}

func loadKey(path string) (Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Key{}, fmt.Errorf("read key %s: %w", path, ErrKey)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return Key{}, fmt.Errorf("read key %s: %w: its mode is %04o, make it 0600", path, ErrKeyMode, mode)
	}
	b, err := io.ReadAll(io.LimitReader(file, keyBytesMax+1))
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	key, err := parseKey(b)
	if err != nil {
		return Key{}, fmt.Errorf("read key %s: %w", path, err)
	}
	return key, nil
}

func parseKey(b []byte) (Key, error) {
	if len(b) == 0 || len(b) > keyBytesMax {
		return Key{}, fmt.Errorf("%w: it has %d bytes", ErrKey, len(b))
	}
	private, err := crypto.UnmarshalPrivateKey(b)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	raw, err := private.Raw()
	if err != nil || private.Type() != crypto.Ed25519 || len(raw) != ed25519.PrivateKeySize {
		return Key{}, fmt.Errorf("%w: it holds a key of type %s, not Ed25519", ErrKey, private.Type())
	}
	return Key{raw}, nil
}
