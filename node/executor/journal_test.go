package executor

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

func drawEntry(r *rand.Rand) entry {
	e := entry{epoch: ledger.Epoch(r.Uint64N(1 << 40)), run: ledger.Run{
		First: r.Uint32N(ledger.CountMax), Count: 1 + r.Uint32N(ledger.LeaseTasksMax), State: ledger.TaskFailed,
		Exit: uint8(r.UintN(20)), Terminal: r.UintN(2) == 0,
		Usage: ledger.Usage{Fuel: r.Uint64(), MemoryByteSeconds: r.Uint64(), WallNanos: r.Uint64N(1 << 50)},
	}}
	e.job[3] = byte(r.UintN(256))
	if r.UintN(2) == 0 {
		e.run.Digest[7] = 1 + byte(r.UintN(255))
		e.run.StoredBytes = r.Uint64N(2) * r.Uint64N(ledger.AmountMax)
	}
	if r.UintN(2) == 0 {
		e.run.Usage.EgressBytes = r.Uint64()
	}
	return e
}

// same compares what is stored of entries.
func same(a, b []entry) bool {
	return slices.EqualFunc(a, b, func(x, y entry) bool { return x.job == y.job && x.epoch == y.epoch && x.run == y.run })
}

// TestJournal keeps a queue for a while, and opens its journal again and again:
// whole, and cut off at any byte.
func TestJournal(t *testing.T) {
	dir, r := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	j, waiting, err := openJournal(dir)
	if err != nil || len(waiting) != 0 {
		t.Fatal(waiting, err)
	}
	q := newQueue(j, nil, 1<<20)
	for round := range 400 {
		n := 1 + r.IntN(20)
		list := make([]entry, n)
		for i := range list {
			list[i] = drawEntry(r)
		}
		if err := q.push(list, false); err != nil {
			t.Fatal(err)
		}
		if n := r.IntN(len(q.waiting) + 1); n > 0 {
			if err := q.taken(&batch{n: n}); err != nil {
				t.Fatal(err)
			}
		}
		if round%40 == 0 {
			if err := q.close(); err != nil {
				t.Fatal(err)
			}
			tail := []byte{1, 2, 3}
			b, err := os.ReadFile(j.name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(j.name, append(b, tail[:r.IntN(4)]...), 0o600); err != nil {
				t.Fatal(err)
			}
			again, waiting, err := openJournal(dir)
			if err != nil || !same(waiting, q.waiting) {
				t.Fatalf("%d runs wait, %d were found: %v", len(q.waiting), len(waiting), err)
			}
			q, j = newQueue(again, waiting, 1<<20), again
		}
	}
	b, err := os.ReadFile(j.name)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != j.size || j.size > 2*q.bytes+2*journalSlack {
		t.Errorf("%d bytes, %d known, %d wait", len(b), j.size, q.bytes)
	}
	whole, _, err := readJournal(b)
	if err != nil || !same(whole, q.waiting) {
		t.Fatal(err)
	}
	for n := range len(b) {
		if _, sound, err := readJournal(b[:n]); err != nil || sound > n {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if err := q.close(); err != nil {
		t.Fatal(err)
	}
}

// TestJournalFull: what does not fit is not taken, and nothing of it kept.
func TestJournalFull(t *testing.T) {
	j, _, err := openJournal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	q := newQueue(j, nil, 100)
	one, two := []entry{drawEntry(r)}, []entry{drawEntry(r)}
	if err := q.push(one, false); err != nil {
		t.Fatal(err)
	}
	if err := q.push(two, false); !errors.Is(err, ErrJournalFull) || !same(q.waiting, one) {
		t.Errorf("%v, %d wait", err, len(q.waiting))
	}
	if err := q.push(two, true); err != nil || len(q.waiting) != 2 {
		t.Errorf("%v, %d wait", err, len(q.waiting))
	}
	if err := q.close(); err != nil {
		t.Fatal(err)
	}
}

// TestJournalBroken: after a write that went wrong the file is written anew.
func TestJournalBroken(t *testing.T) {
	dir, r := t.TempDir(), rand.New(rand.NewPCG(5, 6))
	j, _, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue(j, nil, 1<<20)
	if err := j.f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.push([]entry{drawEntry(r), drawEntry(r)}, false); err == nil {
		t.Fatal("a closed file was written to")
	}
	if err := q.taken(&batch{n: 1}); err != nil {
		t.Fatal(err)
	}
	if err := q.close(); err != nil {
		t.Fatal(err)
	}
	_, waiting, err := openJournal(dir)
	if err != nil || !same(waiting, q.waiting) {
		t.Errorf("%d runs, %v", len(waiting), err)
	}
}

// TestJournalOfAnother version is left alone.
func TestJournalOfAnother(t *testing.T) {
	dir := t.TempDir()
	b := seal(append([]byte(journalMagic), append(make([]byte, frameBytes), 99)...), len(journalMagic))
	for _, b := range [][]byte{b, []byte("dugnad executor journal 2\nand what it holds")} {
		name := filepath.Join(dir, journalName)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openJournal(dir); !errors.Is(err, ErrJournal) {
			t.Errorf("opened: %v", err)
		}
		if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, b) {
			t.Errorf("it was changed: %v", err)
		}
	}
}

// TestJoin: runs beside each other become one, in any order, unless they may have
// been sent before.
func TestJoin(t *testing.T) {
	run := func(first, count uint32, whole bool) entry {
		return entry{epoch: 1, next: first + count, whole: whole, run: ledger.Run{First: first, Count: count, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: uint64(count)}}}
	}
	got := join([]entry{run(5, 1, false), run(0, 2, false), run(3, 2, false), run(2, 1, false), run(6, 1, true), run(7, 1, false)})
	want := []entry{run(0, 6, false), run(6, 1, true), run(7, 1, false)}
	if !same(got, want) {
		t.Errorf("%+v", got)
	}
}

// FuzzJournal: any bytes are read without harm, and what they say waits is said
// again by the journal that is written of it.
func FuzzJournal(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	b := []byte(journalMagic)
	for range 3 {
		e := drawEntry(r)
		b = appendRun(b, &e)
	}
	f.Add(appendTaken(b, 2))
	f.Add([]byte(journalMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		waiting, sound, err := readJournal(b)
		if err != nil {
			if !errors.Is(err, ErrJournal) || waiting != nil {
				t.Fatal(err)
			}
			return
		}
		if sound > len(b) {
			t.Fatalf("%d of %d bytes are sound", sound, len(b))
		}
		again := encodeRuns([]byte(journalMagic), slices.Clone(waiting))
		if got, n, err := readJournal(again); err != nil || n != len(again) || !same(got, waiting) {
			t.Fatalf("%d runs became %d: %v", len(waiting), len(got), err)
		}
	})
}
