package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// tempRoot is where tests make folders that need not survive a machine: memory, where
// there is a file system of it with room, because what such tests cost else is mostly
// waiting for a disk to sync what nobody will read; or the system's temporary folder.
var tempRoot = sync.OnceValue(func() string {
	const memory, room = "/dev/shm", 2 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || int64(fs.Bavail)*fs.Bsize < room {
		return ""
	}
	return memory
})

func mkdirTemp() (string, error) { return os.MkdirTemp(tempRoot(), "store") }

// tempDir is t.TempDir below tempRoot.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := mkdirTemp()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(dir) })
	return dir
}

func removeAll(dir string) { _ = os.RemoveAll(dir) }

func openRapid(t *rapid.T, c Config) *Store {
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// blocks returns the bytes that a file takes, which for a mapped log is less
// than its length.
func blocks(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// copyStore copies the files below a directory, leaving holes.
func copyStore(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, path[len(from):])
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		writeSparse(t, target, readSparse(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// readSparse returns a file's content without reading the hole at its end.
func readSparse(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	for at := int64(0); ; {
		if at, err = unix.Seek(int(f.Fd()), at, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			return b
		}
		end, err2 := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(b[at:end], at); err != nil {
			t.Fatal(err)
		}
		at = end
	}
}

// writeSparse writes a file with a hole for the zeros at its end.
func writeSparse(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, withoutZeros(b), 0o600), os.Truncate(path, int64(len(b)))); err != nil {
		t.Fatal(err)
	}
}

// withoutZeros returns b without the zeros at its end, or with fewer than a page of
// them: logs end with many megabytes of zeros, which are looked at a page at a time.
func withoutZeros(b []byte) []byte {
	var zeros [4096]byte
	for len(b) >= len(zeros) && bytes.Equal(b[len(b)-len(zeros):], zeros[:]) {
		b = b[:len(b)-len(zeros)]
	}
	return b
}

// change is a toy state machine: what it writes at an index depends on the index
// only, so that the state up to any index can be computed.
func change(index uint64, set func(key, value []byte) error, del func(key []byte) error) error {
	r := rand.New(rand.NewPCG(index, 3))
	count, size := 1+r.IntN(6), 20
	switch {
	case index%97 == 0:
		count, size = 40, 64<<10 // more than one transaction of the smallest store
	case index%11 == 0:
		count, size = 200, 100
	}
	for range count {
		key := []byte{byte(r.IntN(16)), byte(r.IntN(32))}
		var err error
		if r.IntN(4) == 0 {
			err = del(key)
		} else {
			value := make([]byte, size)
			fill(value, r)
			err = set(key, value)
		}
		if err != nil {
			return err
		}
	}
	return set([]byte("index"), []byte{byte(index >> 24), byte(index >> 16), byte(index >> 8), byte(index)})
}

// fill makes a value of random bytes.
func fill(value []byte, r *rand.Rand) {
	var word [8]byte
	for len(value) > 0 {
		binary.LittleEndian.PutUint64(word[:], r.Uint64())
		value = value[copy(value, word[:]):]
	}
}

// apply makes the change of an index. Before its first writes and after them it
// compares two ways to read a key: one asks the cache, the other does not.
func apply(index uint64) func(tx ledger.Tx) error {
	return func(tx ledger.Tx) error {
		writes := 0
		compare := func(key []byte, write func() error) error {
			if writes++; writes > 5 {
				return write()
			}
			return errors.Join(agree(tx, key), write(), agree(tx, key))
		}
		return change(index,
			func(key, value []byte) error { return compare(key, func() error { return tx.Set(key, value) }) },
			func(key []byte) error { return compare(key, func() error { return tx.Delete(key) }) })
	}
}

// agree returns an error when Get and Scan differ about a key.
func agree(tx ledger.Tx, key []byte) error {
	got, err := tx.Get(key)
	if err != nil {
		return err
	}
	var want []byte
	err = tx.Scan(key, nil, func(k, v []byte) bool {
		if bytes.Equal(k, key) {
			want = append([]byte{}, v...)
		}
		return false // the key itself comes first
	})
	if err == nil && (!bytes.Equal(got, want) || (got == nil) != (want == nil)) {
		err = fmt.Errorf("key %q: got %.20q, scanned %.20q", key, got, want)
	}
	return err
}

// model is the state after the first so many indices.
type model struct {
	index uint64
	state map[string]string
}

// at moves the model, which must not go back.
func (m *model) at(index uint64) map[string]string {
	if m.state == nil || index < m.index {
		*m = model{state: map[string]string{}}
	}
	for m.index < index {
		m.index++
		_ = change(m.index, func(k, v []byte) error { m.state[string(k)] = string(v); return nil },
			func(k []byte) error { delete(m.state, string(k)); return nil })
	}
	return m.state
}

type countWriter struct{ n int64 }

func (w *countWriter) Write(b []byte) (int, error) {
	w.n += int64(len(b))
	return len(b), nil
}

// used returns the bytes that a directory takes on disk.
func used(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Badger removes files meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			n += blocks(info)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sequential skips a test of one goroutine when tests are to be short, as they are
// under the race detector: that makes it ten times slower and finds nothing.
func sequential(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("one goroutine at a time")
	}
}
