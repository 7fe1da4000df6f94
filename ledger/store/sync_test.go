package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// platter is a disk that holds of the state's logs only what was synced. Tables
// and the manifest Badger syncs itself, before it removes a log.
type platter struct {
	t        *testing.T
	dir      string // the state's
	logs     map[string][]byte
	manifest []byte
	calls    int
}

func (p *platter) sync(path string) error {
	p.calls++
	switch {
	case filepath.Dir(path) == p.dir && strings.HasSuffix(path, ".mem"):
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			p.t.Error(err)
		}
		p.logs[filepath.Base(path)] = b
	case path == p.dir:
		b, err := os.ReadFile(filepath.Join(p.dir, "MANIFEST"))
		if err != nil {
			p.t.Error(err)
		}
		p.manifest = b
	}
	return syncFile(path)
}

// image makes a store of what is on the platter. Of what came later it keeps
// each page for which keep says so.
func (p *platter) image(keep func() bool) Config {
	p.t.Helper()
	later := map[string][]byte{}
	for name := range p.logs {
		if b, err := os.ReadFile(filepath.Join(p.dir, name)); err == nil {
			later[name] = b
		}
	}
	c := testConfig(tempDir(p.t))
	to := filepath.Join(c.Dir, "state", "1")
	if err := os.MkdirAll(to, 0o700); err != nil {
		p.t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(p.dir, "*.sst"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, path := range append(tables, filepath.Join(p.dir, "KEYREGISTRY"), filepath.Join(p.dir, "..", "CURRENT")) {
		target := filepath.Join(to, filepath.Base(path))
		if filepath.Base(path) == "CURRENT" {
			target = filepath.Join(c.Dir, "state", "CURRENT")
		}
		writeSparse(p.t, target, readSparse(p.t, path))
	}
	writeSparse(p.t, filepath.Join(to, "MANIFEST"), p.manifest)
	for name, b := range p.logs {
		b = bytes.Clone(b)
		for at := 0; at+4096 <= min(len(b), len(later[name])); at += 4096 {
			if page := later[name][at : at+4096]; !bytes.Equal(b[at:at+4096], page) && keep() {
				copy(b[at:], page)
			}
		}
		writeSparse(p.t, filepath.Join(to, name), b)
	}
	return c
}

// TestSync takes power away some updates after a Sync. The first seeds stay
// within one table in memory, the others go on to a second one.
func TestSync(t *testing.T) {
	sequential(t)
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 4))
			s := openTest(t, testConfig(tempDir(t)))
			p := &platter{t: t, dir: s.generation.dir, logs: map[string][]byte{}}
			s.syncFile = p.sync
			synced := 1 + r.Uint64N(90)
			if seed >= 3 {
				synced += 300 // 8 MB are written by then
			}
			total := synced + 1 + r.Uint64N(5)
			for i := uint64(1); i <= total; i++ {
				if err := s.Update(i, apply(i)); err != nil {
					t.Fatal(err)
				}
				if i != synced && r.IntN(100) > 0 {
					continue
				}
				if err := s.Sync(); err != nil {
					t.Fatal(err)
				}
				calls := p.calls
				if err := s.Sync(); err != nil || p.calls != calls {
					t.Errorf("second Sync: %v, %d calls of fsync", err, p.calls-calls)
				}
				if i > synced {
					synced = i
				}
			}
			var m model
			continues(t, p.image(func() bool { return false }), &m, synced, total+5)
			back := openTest(t, p.image(func() bool { return r.IntN(2) == 0 }))
			if back.Applied() < synced || back.Applied() > total {
				t.Errorf("applied is %d, want %d to %d", back.Applied(), synced, total)
			}
			wantState(t, back, &m)
		})
	}
}

// TestSyncOrder expects every log to be synced, also the full ones whose table is
// not there yet, and then the names.
func TestSyncOrder(t *testing.T) {
	s := openTest(t, testConfig(tempDir(t)))
	dir := s.generation.dir
	for _, name := range []string{"00000.mem", "00099.mem"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("full"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	s.syncFile = func(path string) error {
		got = append(got, path[len(dir):])
		return syncFile(path)
	}
	if err := errors.Join(s.Update(1, set("k", "v")), s.Sync()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/00000.mem", "/00001.mem", "/00099.mem", ""}, got); diff != "" {
		t.Error(diff)
	}
}

// TestSyncFails expects a fault: the system may have dropped what it could not
// write, and says so only once.
func TestSyncFails(t *testing.T) {
	c := testConfig(tempDir(t))
	s := openTest(t, c)
	if err := errors.Join(s.Sync(), s.Update(1, set("k", "v"))); err != nil {
		t.Fatal(err)
	}
	s.syncFile = func(path string) error { return &fs.PathError{Op: "sync", Path: path, Err: syscall.EIO} }
	for range 2 {
		if err := s.Sync(); !errors.Is(err, ErrFault) || !errors.Is(err, syscall.EIO) {
			t.Errorf("sync: %v, want ErrFault and EIO", err)
		}
		s.syncFile = syncFile
	}
	if err := s.Update(2, set("k", "w")); !errors.Is(err, ErrFault) {
		t.Errorf("update: %v, want ErrFault", err)
	}
	if err := s.Raft().StoreLog(entry(1, 1)); !errors.Is(err, ErrFault) {
		t.Errorf("log: %v, want ErrFault", err)
	}
	if got, index := content(t, s); got["k"] != "v" || index != 1 {
		t.Errorf("%v at %d", got, index)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); !errors.Is(err, ErrClosed) {
		t.Errorf("sync after close: %v, want ErrClosed", err)
	}
	s = openTest(t, c)
	if err := errors.Join(s.Update(2, set("k", "w")), s.Sync()); err != nil {
		t.Error(err)
	}
}
