package p2p

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
)

func TestIdentityIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	first := must[Key](t)(LoadIdentity(dir))
	second := must[Key](t)(LoadIdentity(dir))
	if first.NodeID() != second.NodeID() {
		t.Fatalf("the node was %s and is %s", first.NodeID(), second.NodeID())
	}
	info, err := os.Stat(filepath.Join(dir, nodeKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("files besides the key: %v, %v", entries, err)
	}
	key, err := first.NodeID().key()
	if err != nil || key != first.public() {
		t.Fatalf("the id does not stand for the key: %v", err)
	}
}

func TestGridKeyIsNotMadeByLoading(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadGridKey(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v", err)
	}
	founded := must[Key](t)(FoundGrid(dir))
	loaded := must[Key](t)(LoadGridKey(dir))
	if founded.GridID() != loaded.GridID() {
		t.Fatal("another grid was founded")
	}
	if parsed := must[GridID](t)(ParseGridID(founded.GridID().String())); parsed != founded.GridID() {
		t.Fatalf("grid read as %s", parsed)
	}
}

func TestOneOfManyMakesTheKey(t *testing.T) {
	dir := t.TempDir()
	ids := make([]NodeID, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			key, err := LoadIdentity(dir)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = key.NodeID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two nodes in one directory: %v", ids)
		}
	}
}

func TestKeyFilesRefused(t *testing.T) {
	rsa, _, err := crypto.GenerateRSAKeyPair(2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := must[[]byte](t)(crypto.MarshalPrivateKey(rsa))
	good := func() []byte {
		dir := t.TempDir()
		must[Key](t)(LoadIdentity(dir))
		return must[[]byte](t)(os.ReadFile(filepath.Join(dir, nodeKeyFile)))
	}()
	for _, c := range []struct {
		name string
		b    []byte
		mode os.FileMode
		want error
	}{
		{"readable by the group", good, 0o640, ErrKeyMode},
		{"readable by all", good, 0o604, ErrKeyMode},
		{"empty", nil, 0o600, ErrKey},
		{"garbage", []byte("-----BEGIN PRIVATE KEY-----"), 0o600, ErrKey},
		{"cut off", good[:len(good)-1], 0o600, ErrKey},
		{"RSA", other, 0o600, ErrKey},
		{"huge", bytes.Repeat([]byte{8}, 1<<20), 0o600, ErrKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, nodeKeyFile)
			if err := os.WriteFile(path, c.b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadIdentity(dir); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if b := must[[]byte](t)(os.ReadFile(path)); !bytes.Equal(b, c.b) {
				t.Fatal("the file was changed")
			}
		})
	}
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, nodeKeyFile), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(dir); !errors.Is(err, ErrKey) {
			t.Fatalf("error %v", err)
		}
	})
}

func FuzzKey(f *testing.F) {
	key := testKey(f, 1)
	private := must[crypto.PrivKey](f)(key.libp2p())
	f.Add(must[[]byte](f)(crypto.MarshalPrivateKey(private)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, err := parseKey(b); err == nil {
			_ = key.NodeID()
		} else if !errors.Is(err, ErrKey) {
			t.Fatal(err)
		}
	})
}

// TestDerive: what is derived for a purpose is the same each time, and another one for
// another purpose or key.
func TestDerive(t *testing.T) {
	hosts := make([]*Host, 2)
	for i := range hosts {
		key, err := NewKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		hosts[i] = &Host{key: key}
	}
	derive := func(h *Host, purpose string) [32]byte {
		out, err := h.Derive(purpose)
		if err != nil || out == [32]byte{} {
			t.Fatalf("%x, %v", out, err)
		}
		return out
	}
	one := derive(hosts[0], "one")
	if one != derive(hosts[0], "one") || one == derive(hosts[0], "two") || one == derive(hosts[1], "one") {
		t.Error("what is derived does not follow from key and purpose alone")
	}
}
