package store

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// filled makes a store whose log and state are in tables, closes it, and returns
// its configuration.
func filled(t testing.TB) Config {
	t.Helper()
	c := testConfig(t.TempDir())
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
	const count = 50
	c := testConfig(t.TempDir())
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
		damaged := testConfig(t.TempDir())
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

// TestPowerLoss damages the state's write-ahead log as a machine does that stops
// before the system has written every page, and expects an earlier state, whole.
func TestPowerLoss(t *testing.T) {
	const indices = 90
	c := testConfig(t.TempDir())
	s := openTest(t, c)
	for i := uint64(1); i <= indices; i++ {
		if err := s.Update(i, apply(i)); err != nil {
			t.Fatal(err)
		}
	}
	wal, err := os.ReadFile(one(t, c, "state/1/*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	ends := walRecords(t, wal)
	if len(ends) != indices {
		t.Fatalf("%d transactions in the log, want %d", len(ends), indices)
	}
	written := ends[len(ends)-1]
	half := ends[indices/2-1]
	damages := map[string]func(first []byte) (second []byte){
		"nothing": func([]byte) []byte { return nil },
		"end lost": func(b []byte) []byte {
			clear(b[rand.IntN(written):])
			return nil
		},
		"page lost": func(b []byte) []byte {
			at := rand.IntN(written) &^ 4095
			clear(b[max(at, 20):min(at+4096, len(b))])
			return nil
		},
		"two logs": func(b []byte) []byte {
			second := append(slices.Clone(b[:20]), b[half:]...)
			clear(b[half:])
			return second
		},
		"end of the first of two logs": func(b []byte) []byte {
			second := append(slices.Clone(b[:20]), b[half:]...)
			clear(b[20+rand.IntN(half-20):])
			return second
		},
		"all of the first of two logs": func(b []byte) []byte {
			second := append(slices.Clone(b[:20]), b[half:]...)
			clear(b[20:])
			return second
		},
	}
	var m model
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			for range 4 {
				damaged := testConfig(t.TempDir())
				if err := os.CopyFS(damaged.Dir, os.DirFS(c.Dir)); err != nil {
					t.Fatal(err)
				}
				first := bytes.Clone(wal)
				second := damage(first)
				path := one(t, damaged, "state/1/*.mem")
				if err := os.WriteFile(path, first, 0o600); err != nil {
					t.Fatal(err)
				}
				if second != nil {
					second = append(second, make([]byte, len(first)-len(second))...)
					if err := os.WriteFile(filepath.Join(filepath.Dir(path), "00099.mem"), second, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				s, err := Open(context.Background(), damaged)
				if err != nil {
					t.Fatal(err)
				}
				wantState(t, s, &m)
				back := s.Applied()
				if (name == "nothing" || name == "two logs") != (back == indices) || (name == "all of the first of two logs") != (back == 0) && back == 0 {
					t.Errorf("applied is %d of %d", back, indices)
				}
				for i := back + 1; i <= indices+5; i++ {
					if err := s.Update(i, apply(i)); err != nil {
						t.Fatal(err)
					}
				}
				wantState(t, s, &m)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s, err = Open(context.Background(), damaged)
				if err != nil {
					t.Fatal(err)
				}
				wantState(t, s, &m)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
