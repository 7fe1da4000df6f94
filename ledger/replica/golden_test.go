package replica_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/disk"
	"github.com/dugnad/dugnad/ledger/replica/machine"
)

// rewriteFlag keeps what this version writes, beside what earlier ones wrote.
var rewriteFlag = flag.Bool("rewrite", false, "add this version's data to testdata/kept; what is there is never changed")

// keptData is a folder of testdata/kept. It holds what one version of a member
// left when it was closed: its store in store.tar.gz, a backup in backup.gz, and
// in digest.txt the index and the digest of the state, which are those of both.
type keptData struct{ dir string }

// TestKeptData opens, replays and restores what this and earlier versions wrote.
func TestKeptData(t *testing.T) {
	if *rewriteFlag {
		keepData(t)
	}
	names, err := filepath.Glob("testdata/kept/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no data was kept: %v", err)
	}
	for _, name := range names {
		k := keptData{name}
		t.Run(filepath.Base(name)+"/state", k.testState)
		t.Run(filepath.Base(name)+"/log", k.testLog)
		t.Run(filepath.Base(name)+"/backup", k.testBackup)
	}
}

// testState opens the store and looks at its state.
func (k keptData) testState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	k.unpack(t, dir)
	k.compare(t, disk.Store{Store: openStore(t, dir)})
}

// testLog takes the state away and has a member make it anew from the log.
func (k keptData) testLog(t *testing.T) {
	stores := &openStores{open: onDiskIn(t, func(dir string) {
		if _, err := os.Stat(dir); err == nil {
			return
		}
		k.unpack(t, dir)
		if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
			t.Fatal(err)
		}
	}), byID: map[string]replica.Store{}}
	c := keptCluster(t, stores)
	r := c.Open(0)
	index, _ := k.digest(t)
	if err := r.Wait(within(t), index); err != nil {
		t.Fatal(err)
	}
	k.compare(t, stores.byID[ledgertest.Name(0)])
	goesOn(t, r)
}

// testBackup restores the backup and founds a grid with it.
func (k keptData) testBackup(t *testing.T) {
	f, err := os.Open(filepath.Join(k.dir, "backup.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	s := disk.Store{Store: openStore(t, t.TempDir())}
	if _, err := s.Restore(bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	k.compare(t, s)
	c := keptCluster(t, &openStores{open: onDisk(t, false), byID: map[string]replica.Store{}})
	config, closeStores, err := c.Config(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Restore(within(t), config, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	if err := closeStores(); err != nil {
		t.Fatal(err)
	}
	goesOn(t, c.Open(0))
}

// goesOn expects a member to take commands on what it has.
func goesOn(t *testing.T, r *replica.Replica) {
	t.Helper()
	w := newWorker(1, 200, func(command []byte) ([]byte, error) {
		result, _, err := r.Propose(within(t), command)
		return result, err
	})
	if err := w.found(); err != nil {
		t.Fatal(err)
	}
	if err := w.round(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(within(t), func(tx ledger.Tx) error {
		if err := w.verify(tx); err != nil {
			return err
		}
		return ledger.Check(tx)
	}); err != nil {
		t.Error(err)
	}
}

// digest reads the index and the digest that belong to the data.
func (k keptData) digest(t *testing.T) (index uint64, sum string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(k.dir, "digest.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &index, &sum); err != nil {
		t.Fatal(err)
	}
	return index, sum
}

// digestLine is what digest reads.
func digestLine(t *testing.T, s replica.Store) string {
	t.Helper()
	var own [32]byte
	index, err := s.ViewAt(func(tx ledger.Tx) (err error) {
		own, err = sum(tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintln(index, hex.EncodeToString(own[:]))
}

func (k keptData) compare(t *testing.T, s replica.Store) {
	t.Helper()
	index, sum := k.digest(t)
	if got, want := digestLine(t, s), fmt.Sprintln(index, sum); got != want {
		t.Errorf("state is %swas written as %s", got, want)
	}
}

func (k keptData) unpack(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(filepath.Join(k.dir, "store.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(unpacked); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || !filepath.IsLocal(h.Name) {
			t.Fatalf("%q in the archive: %v", h.Name, err)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// onDiskIn is onDisk with something done to a member's folder before it is
// opened.
func onDiskIn(t *testing.T, prepare func(dir string)) func(id string) (replica.Store, replica.RaftLog, func() error, error) {
	dir := t.TempDir()
	return func(id string) (replica.Store, replica.RaftLog, func() error, error) {
		prepare(filepath.Join(dir, id))
		s := openStore(t, filepath.Join(dir, id))
		d := disk.Store{Store: s}
		return d, d.Raft(), s.Close, nil
	}
}

func keptCluster(t *testing.T, stores *openStores) *ledgertest.Cluster {
	return ledgertest.NewCluster(t, ledgertest.ClusterConfig{
		Machine: machine.Ledger{}, Open: stores.Open, Configure: func(c *replica.Config) { c.VotersMax = 1 },
	})
}
