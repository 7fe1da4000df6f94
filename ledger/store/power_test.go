package store

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestPowerLoss damages the state's write-ahead log as a machine does that stops
// before the system has written every page, and expects the state before the
// first update that was damaged.
func TestPowerLoss(t *testing.T) {
	sequential(t)
	t.Parallel()
	const indices = 90
	c := testConfig(tempDir(t))
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
	written, half := ends[indices-1], ends[indices/2-1]
	split := func(b []byte) (second []byte) {
		second = append(slices.Clone(b[:walHead]), b[half:]...)
		clear(b[half:])
		return second
	}
	var m model
	for _, d := range []struct {
		name   string
		seeds  uint64
		damage func(r *rand.Rand, first []byte) (second []byte)
	}{
		{"nothing", 1, func(*rand.Rand, []byte) []byte { return nil }},
		{"end lost", 4, func(r *rand.Rand, b []byte) []byte {
			clear(b[walHead+r.IntN(written-walHead):])
			return nil
		}},
		{"page lost", 4, func(r *rand.Rand, b []byte) []byte {
			at := r.IntN(written) &^ 4095
			clear(b[max(at, walHead) : at+4096])
			return nil
		}},
		{"two logs", 1, func(_ *rand.Rand, b []byte) []byte { return split(b) }},
		{"end of the first of two logs", 4, func(r *rand.Rand, b []byte) []byte {
			second := split(b)
			clear(b[walHead+r.IntN(half-walHead):])
			return second
		}},
		{"all of the first of two logs", 1, func(_ *rand.Rand, b []byte) []byte {
			second := split(b)
			clear(b[walHead:])
			return second
		}},
	} {
		for seed := range d.seeds {
			t.Run(fmt.Sprintf("%s, seed %d", d.name, seed), func(t *testing.T) {
				first := bytes.Clone(wal)
				second := d.damage(rand.New(rand.NewPCG(seed, 1)), first)
				// What the first log lost, the second one continues or not.
				want := wholeBefore(ends, differ(wal, first))
				if second != nil && want == indices/2 {
					want = indices
				}
				damaged := testConfig(tempDir(t))
				copyStore(t, c.Dir, damaged.Dir)
				path := one(t, damaged, "state/1/*.mem")
				writeSparse(t, path, first)
				if second != nil {
					writeSparse(t, filepath.Join(filepath.Dir(path), "00099.mem"), second)
				}
				continues(t, damaged, &m, uint64(want), indices+5)
			})
		}
	}
}

// TestPowerLossParts damages the end of the log before another at every part of
// an update that took several of Badger's transactions.
func TestPowerLossParts(t *testing.T) {
	sequential(t)
	t.Parallel()
	c := testConfig(tempDir(t))
	s := openTest(t, c)
	large := func(tx ledger.Tx) error {
		for i := range 40 {
			if err := tx.Set([]byte{'k', byte(i)}, make([]byte, 64<<10)); err != nil {
				return err
			}
		}
		return nil
	}
	for i, f := range []func(tx ledger.Tx) error{set("k", "1"), large, set("k", "3")} {
		if err := s.Update(uint64(i+1), f); err != nil {
			t.Fatal(err)
		}
	}
	wal, err := os.ReadFile(one(t, c, "state/1/*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	ends := walRecords(t, wal)
	if len(ends) < 5 {
		t.Fatalf("%d transactions, want several for the second update", len(ends))
	}
	for i, end := range ends[:len(ends)-1] {
		for _, lost := range []int{0, 1} {
			want, keys := 1, 1
			switch {
			case lost == 0:
				want, keys = 3, 41
			case i == 0:
				want, keys = 0, 0
			}
			damaged := testConfig(tempDir(t))
			copyStore(t, c.Dir, damaged.Dir)
			first, second := bytes.Clone(wal), append(slices.Clone(wal[:walHead]), wal[end:]...)
			clear(first[end-lost:])
			path := one(t, damaged, "state/1/*.mem")
			writeSparse(t, path, first)
			writeSparse(t, filepath.Join(filepath.Dir(path), "00099.mem"), second)
			for range 2 {
				s, err := Open(context.Background(), damaged)
				if err != nil {
					t.Fatal(err)
				}
				if got, index := content(t, s); index != uint64(want) || len(got) != keys {
					t.Errorf("%d bytes lost of transaction %d: %d keys at %d, want %d at %d", lost, i, len(got), index, keys, want)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// differ returns the first byte in which two logs of the same length differ.
func differ(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// wholeBefore returns how many transactions end at or before a byte.
func wholeBefore(ends []int, at int) int {
	n, found := slices.BinarySearch(ends, at)
	if found {
		n++
	}
	return n
}

// continues opens a store, expects the state at an index, goes on to another and
// opens it again.
func continues(t *testing.T, c Config, m *model, want, to uint64) {
	t.Helper()
	for _, want := range []uint64{want, to} {
		s, err := Open(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if s.Applied() != want {
			t.Errorf("applied is %d, want %d", s.Applied(), want)
		}
		wantState(t, s, m)
		for i := s.Applied() + 1; i <= to; i++ {
			if err := s.Update(i, apply(i)); err != nil {
				t.Fatal(err)
			}
		}
		wantState(t, s, m)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
