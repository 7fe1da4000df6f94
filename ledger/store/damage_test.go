package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// filled makes a store whose log and state are in tables, closes it, and returns
// its configuration.
func filled(t testing.TB) Config {
	t.Helper()
	c := testConfig(tempDir(t))
	s := openTest(t, c)
	for i := uint64(1); i <= 100; i++ {
		if err := errors.Join(s.Raft().StoreLog(entry(i, 1)), s.Update(i, apply(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// one returns the only file that the pattern names below the store.
func one(t testing.TB, c Config, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(c.Dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	return names[len(names)-1]
}

func TestCorruptFiles(t *testing.T) {
	sequential(t)
	flip := func(from func(size int) int) func(b []byte) []byte {
		return func(b []byte) []byte { b[from(len(b))] ^= 0x10; return b }
	}
	cases := []struct {
		name, file string
		damage     func(b []byte) []byte
	}{
		{"state block", "state/1/*.sst", flip(func(int) int { return 100 })},
		{"state index", "state/1/*.sst", flip(func(n int) int { return n - 60 })},
		{"state footer", "state/1/*.sst", flip(func(n int) int { return n - 4 })},
		{"state sum", "state/1/*.sst", flip(func(n int) int { return n - 6 })},
		{"state cut", "state/1/*.sst", func(b []byte) []byte { return b[:len(b)/2] }},
		{"state empty", "state/1/*.sst", func([]byte) []byte { return nil }},
		{"raft block", "raft/*.sst", flip(func(int) int { return 50 })},
		{"raft index", "raft/*.sst", flip(func(n int) int { return n - 50 })},
		{"raft footer length", "raft/*.sst", flip(func(n int) int { return n - 1 })},
		{"manifest", "raft/MANIFEST", flip(func(int) int { return 20 })},
		{"manifest's magic", "state/1/MANIFEST", flip(func(int) int { return 1 })},
		{"current", "state/CURRENT", func([]byte) []byte { return []byte("1") }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			config := filled(t)
			path := one(t, config, c.file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(context.Background(), config)
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("open: %v, want ErrCorrupt", err)
			} else if !bytes.Contains([]byte(err.Error()), []byte(filepath.Base(path))) {
				t.Errorf("open: %v does not name %s", err, path)
			}
			if err == nil {
				_ = s.Close()
			}
		})
	}
	newer := func(b []byte) []byte { b[7]++; return b }
	for name, damage := range map[string]func(b []byte) []byte{
		"state/CURRENT": func([]byte) []byte { return []byte("dugnad state 2\n1\n") }, "state/1/MANIFEST": newer, "raft/MANIFEST": newer,
	} {
		t.Run(name+" is newer", func(t *testing.T) {
			config := filled(t)
			path := one(t, config, name)
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, damage(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(context.Background(), config)
			if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) || !bytes.Contains([]byte(err.Error()), []byte(path)) {
				t.Errorf("open: %v, want ErrVersion of %s", err, path)
			}
			if err == nil {
				_ = s.Close()
			}
		})
	}
	for _, name := range []string{"state/1/*.sst", "raft/*.sst", "raft/MANIFEST"} {
		t.Run(name+" is missing", func(t *testing.T) {
			config := filled(t)
			if err := os.Remove(one(t, config, name)); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(context.Background(), config); !errors.Is(err, ErrCorrupt) {
				t.Errorf("open: %v, want ErrCorrupt", err)
				if err == nil {
					_ = s.Close()
				}
			}
		})
	}
}

// TestDamageWhileOpen damages a table under an open store. Badger answers reads
// of such a block with "not found", so that somebody has to look for it.
func TestDamageWhileOpen(t *testing.T) {
	c := filled(t)
	c.BlockCacheBytes = 0
	s := openTest(t, c)
	f, err := os.OpenFile(one(t, c, "state/1/*.sst"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 200); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.VerifyDisk(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("verify: %v, want ErrCorrupt", err)
	}
	snapshot, err := s.Snapshot(Header{})
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	if _, err := snapshot.WriteTo(&bytes.Buffer{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("snapshot: %v, want ErrCorrupt", err)
	}
}

// TestDamagedLog damages the Raft log's write-ahead log. The end of it can be cut
// off by a crash; the middle cannot.
func TestDamagedLog(t *testing.T) {
	sequential(t)
	const count = 50
	c := testConfig(tempDir(t))
	s := openTest(t, c)
	for i := uint64(1); i <= count; i++ {
		if err := s.Raft().StoreLogs(entries(2*i-1, 2*i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	wal, err := os.ReadFile(one(t, c, "raft/*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	ends := append([]int{walHead}, walRecords(t, wal)...)
	if len(ends) != count+1 {
		t.Fatalf("%d transactions in the log, want %d", len(ends)-1, count)
	}
	wal = wal[:ends[count]+4096]
	for at := walHead; at < ends[count]; at += 13 {
		damaged := testConfig(tempDir(t))
		dir := filepath.Join(damaged.Dir, "raft")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(wal)
		b[at] ^= 0x24
		if err := os.WriteFile(filepath.Join(dir, "00001.mem"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		err := verifyLogs(context.Background(), dir)
		if last := at >= ends[count-1]; last != (err == nil) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d of %v: %v", at, ends[count-1:], err)
		}
		// The same, but everything behind it was never written.
		i, _ := slices.BinarySearch(ends, at+1)
		clear(b[ends[i]:])
		if err := os.WriteFile(filepath.Join(dir, "00001.mem"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := verifyLogs(context.Background(), dir); err != nil {
			t.Errorf("byte %d in the last transaction: %v", at, err)
		}
		if at%(13*40) != walHead%(13*40) {
			continue
		}
		s := openTest(t, damaged)
		if last := bounds(t, s.Raft())[1]; last != 2*uint64(i-1) {
			t.Errorf("byte %d: log ends at %d, want %d", at, last, 2*(i-1))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEmptyLogs leaves what Badger leaves when it is killed while it makes or
// removes a log.
func TestEmptyLogs(t *testing.T) {
	c := filled(t)
	for _, name := range []string{"00001.mem", "00050.mem", "000050.vlog"} {
		for _, dir := range []string{"raft", "state/1"} {
			if err := os.WriteFile(filepath.Join(c.Dir, dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var m model
	continues(t, c, &m, 100, 120)
	if got := bounds(t, openTest(t, c).Raft()); got != [2]uint64{1, 100} {
		t.Errorf("log's bounds are %v, want 1 to 100", got)
	}
}

// TestVerifyRemovedTable verifies a table that was cut under the reader, as
// compaction cuts those that it has replaced: it is damaged, and the process lives.
func TestVerifyRemovedTable(t *testing.T) {
	c := filled(t)
	path := one(t, c, "state/1/*.sst")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	index, err := readIndex(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{info.Size() / 2, 0} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if err := verifyBlocks(f, index); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("blocks of a table cut to %d bytes: %v", size, err)
		}
		if _, err := verifyTable(path, true); !errors.Is(err, ErrCorrupt) {
			t.Errorf("table cut to %d bytes: %v, want ErrCorrupt", size, err)
		}
	}
}
