package replica_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// keepData writes a new folder of testdata/kept.
func keepData(t *testing.T) {
	names, err := filepath.Glob("testdata/kept/*")
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, name := range names {
		n, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		last = max(last, n)
	}
	k := keptData{filepath.Join("testdata", "kept", strconv.Itoa(last+1))}
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var dir string
	stores := &openStores{open: onDiskIn(t, func(d string) { dir = d }), byID: map[string]replica.Store{}}
	c := keptCluster(t, stores)
	r := c.Found(1, 1)[0]
	fill(t, r)
	k.write(t, "digest.txt", func(w io.Writer) error {
		_, err := io.WriteString(w, digestLine(t, stores.byID[ledgertest.Name(0)]))
		return err
	})
	k.write(t, "backup.gz", func(w io.Writer) error {
		packed := gzip.NewWriter(w)
		if _, err := r.Backup(within(t), packed); err != nil {
			return err
		}
		return packed.Close()
	})
	c.Stop(0)
	k.write(t, "store.tar.gz", func(w io.Writer) error { return pack(w, dir) })
}

// fill brings work of all kinds into the book.
func fill(t *testing.T, r *replica.Replica) {
	propose := func(command []byte) ([]byte, error) {
		result, _, err := r.Propose(context.Background(), command)
		return result, err
	}
	w := newWorker(1, 1, propose)
	if err := w.found(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := w.round(); err != nil {
			t.Fatal(err)
		}
	}
	c := &chaos{random: rand.New(rand.NewPCG(1, 1)), now: bookStart, view: func(f func(tx ledger.Tx) error) error {
		_, err := r.View(f)
		return err
	}}
	for queue, n := c.founding(), 0; n < 400; n++ {
		if len(queue) == 0 {
			next, err := c.command()
			if err != nil {
				t.Fatal(err)
			}
			queue = append(queue, next)
		}
		if _, err := propose(ledger.Encode(ledger.Envelope{Now: c.now, Body: queue[0]})); err != nil {
			t.Fatal(err)
		}
		queue = queue[1:]
	}
}

func (k keptData) write(t *testing.T, name string, write func(w io.Writer) error) {
	t.Helper()
	f, err := os.Create(filepath.Join(k.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// pack writes the files below dir, but for the lock.
func pack(w io.Writer, dir string) error {
	packed := gzip.NewWriter(w)
	archive := tar.NewWriter(packed)
	var paths []string
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "LOCK" {
			paths = append(paths, path)
		}
		return err
	}); err != nil {
		return err
	}
	slices.Sort(paths)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(b))}); err != nil {
			return err
		}
		if _, err := archive.Write(b); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return packed.Close()
}
