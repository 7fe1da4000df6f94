package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/ledger"
)

// snapshotOf returns the bytes of a snapshot with the given records.
func snapshotOf(t testing.TB, h Header, records ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	e, err := newEncoder(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		k, v, _ := strings.Cut(r, "=")
		if err := e.add([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.end(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func take(t testing.TB, s *Store, h Header) []byte {
	t.Helper()
	snapshot, err := s.Snapshot(h)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	var b bytes.Buffer
	n, err := snapshot.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d, %v", b.Len(), n, err)
	}
	return b.Bytes()
}

func TestSnapshotRoundTrip(t *testing.T) {
	source := openTest(t, testConfig(t.TempDir()))
	var m model
	for i := uint64(1); i <= 120; i++ {
		if err := source.Update(i, apply(i)); err != nil {
			t.Fatal(err)
		}
	}
	h := Header{Grid: "grid of Ås", Writer: "test 1", Time: time.Unix(17, 4)}
	snapshot, err := source.Snapshot(h)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(121); i <= 200; i++ { // the snapshot stays at 120
		if err := source.Update(i, apply(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := source.maintain(&keeper{}); err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	_, err1 := snapshot.WriteTo(&first)
	_, err2 := snapshot.WriteTo(&second)
	if err := errors.Join(err1, err2, snapshot.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same snapshot gives different bytes")
	}
	h.Index = 120
	got, totals, err := Verify(bytes.NewReader(first.Bytes()))
	if err != nil || totals.Records != uint64(len(m.at(120))) {
		t.Errorf("%+v, %v, want %d records", totals, err, len(m.at(120)))
	}
	if diff := cmp.Diff(h, got); diff != "" {
		t.Error(diff)
	}

	dir := t.TempDir()
	target := openTest(t, testConfig(dir))
	for i := uint64(1); i <= 300; i++ { // further, and something else
		if err := target.Update(i, set(fmt.Sprint(i), "x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := target.Restore(iotest.HalfReader(bytes.NewReader(first.Bytes()))); err != nil {
		t.Fatal(err)
	}
	wantState(t, target, &m)
	for range 2 {
		for i := target.Applied() + 1; i <= 200; i++ {
			if err := target.Update(i, apply(i)); err != nil {
				t.Fatal(err)
			}
		}
		wantState(t, target, &m)
		if !bytes.Equal(take(t, target, Header{}), take(t, source, Header{})) {
			t.Error("the same state at the same index gives different bytes")
		}
		if err := target.Close(); err != nil {
			t.Fatal(err)
		}
		target = openTest(t, testConfig(dir))
	}
}

func TestRestoreKeepsViews(t *testing.T) {
	s := openTest(t, testConfig(t.TempDir()))
	if err := s.Update(3, set("old", "1")); err != nil {
		t.Fatal(err)
	}
	err := s.View(func(tx ledger.Tx) error {
		if _, err := s.Restore(bytes.NewReader(snapshotOf(t, Header{Index: 9}, "new=1"))); err != nil {
			return err
		}
		v, err := tx.Get([]byte("old"))
		if string(v) != "1" {
			t.Errorf("open view sees %q", v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, index := content(t, s)
	if diff := cmp.Diff(map[string]string{"new": "1"}, got); diff != "" || index != 9 {
		t.Errorf("at %d: %s", index, diff)
	}
	if err := s.Update(10, set("new", "2")); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreEmpty(t *testing.T) {
	s := openTest(t, testConfig(t.TempDir()))
	empty := take(t, s, Header{})
	if err := s.Update(1, set("k", "v")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(bytes.NewReader(empty)); err != nil {
		t.Fatal(err)
	}
	if got, index := content(t, s); len(got) != 0 || index != 0 {
		t.Errorf("%v at %d", got, index)
	}
	if err := s.Update(1, set("k", "v")); err != nil {
		t.Fatal(err)
	}
}

// sealed replaces the part's last eight bytes by its sum.
func sealed(part []byte) []byte {
	body := part[:len(part)-8]
	return binary.LittleEndian.AppendUint64(bytes.Clone(body), xxhash.Sum64(body))
}

func TestSnapshotDamage(t *testing.T) {
	good := snapshotOf(t, Header{Index: 9, Grid: "g"}, "a=1", "b=2", "c=")
	head := 8 + 6 + 16 + 3 + 8
	block := len(good) - head - 33
	at := func(i int, b byte) []byte { d := bytes.Clone(good); d[i] = b; return d }
	twice := append(append(bytes.Clone(good[:head+block]), good[head:head+block]...), good[head+block:]...)
	unsorted := bytes.Clone(good)
	unsorted[head+blockHead+2] = 'x'
	copy(unsorted[head:], sealed(unsorted[head:head+block]))
	cases := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "byte 0: header is cut off"},
		{"foreign", []byte("PK\x03\x04 something else altogether"), "byte 0: not a snapshot of a ledger"},
		{"newer version", at(8, 2), "byte 0: version is 2, this program reads 1"},
		{"header's length", at(12, 0xff), "byte 0: header of"},
		{"header's content", at(20, 0xff), "byte 0: header: sum is"},
		{"no blocks", good[:head], fmt.Sprintf("byte %d: next block is cut off", head)},
		{"half a block", good[:head+20], fmt.Sprintf("byte %d: block is cut off", head+20)},
		{"no end", good[:head+block], fmt.Sprintf("byte %d: next block is cut off", head+block)},
		{"half an end", good[:len(good)-1], fmt.Sprintf("byte %d: end is cut off", len(good)-1)},
		{"unknown block", at(head, 'X'), fmt.Sprintf("byte %d: block of unknown kind 0x58", head)},
		{"flipped value", at(head+blockHead+3, '9'), fmt.Sprintf("byte %d: block: sum is", head)},
		{"huge block", at(head+8, 0xff), fmt.Sprintf("byte %d: block of 3 records in", head)},
		{"block missing", append(bytes.Clone(good[:head]), good[head+block:]...), "end counts"},
		{"block twice", twice, "keys do not ascend"},
		{"unsorted", unsorted, "keys do not ascend"},
		{"trailing data", append(bytes.Clone(good), 0), fmt.Sprintf("byte %d: data behind the end", len(good))},
	}
	s := openTest(t, testConfig(t.TempDir()))
	if err := s.Update(4, set("k", "v")); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Verify(bytes.NewReader(c.data))
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("verify: %v, want %q", err, c.want)
			}
			_, err = s.Restore(bytes.NewReader(c.data))
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("restore: %v, want %q", err, c.want)
			}
			got, index := content(t, s)
			if diff := cmp.Diff(map[string]string{"k": "v"}, got); diff != "" || index != 4 {
				t.Errorf("state at %d changed: %s", index, diff)
			}
		})
	}
	t.Run("every byte", func(t *testing.T) {
		for i := range good {
			for _, mask := range []byte{1, 0x80, 0xff} {
				if _, _, err := Verify(bytes.NewReader(at(i, good[i]^mask))); !errors.Is(err, ErrCorrupt) {
					t.Errorf("byte %d changed by %#x: %v", i, mask, err)
				}
			}
			if _, _, err := Verify(bytes.NewReader(good[:i])); !errors.Is(err, ErrCorrupt) {
				t.Errorf("cut at %d: %v", i, err)
			}
		}
	})
	t.Run("reader's error", func(t *testing.T) {
		broken := errors.New("network is down")
		r := io.MultiReader(bytes.NewReader(good[:head+5]), iotest.ErrReader(broken))
		if _, err := s.Restore(r); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%v, want the reader's error", err)
		}
	})
	if err := s.Update(5, set("k", "w")); err != nil {
		t.Fatal(err)
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(snapshotOf(f, Header{Index: 1}, "a=1", "b=2"))
	f.Add(snapshotOf(f, Header{Index: 1, Grid: "g", Writer: "w", Time: time.Unix(1, 0)}))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		var again bytes.Buffer
		h, err := ReadHeader(bytes.NewReader(data))
		if err != nil {
			return
		}
		e, err := newEncoder(&again, h)
		if err != nil {
			t.Fatal(err)
		}
		_, totals, err := Records(bytes.NewReader(data), e.add)
		if err != nil {
			return
		}
		if err := e.end(); err != nil || e.totals != totals {
			t.Errorf("%+v, %v, want %+v", e.totals, err, totals)
		}
	})
}

// TestInterruptedRestore leaves a half-built generation, as a crash does.
func TestInterruptedRestore(t *testing.T) {
	c := testConfig(t.TempDir())
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(4, set("k", "v")); err != nil {
		t.Fatal(err)
	}
	b, err := s.newBuilder(2, 9)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		if err := b.add(fmt.Appendf(nil, "key %06d", i), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	b.stream.Cancel()
	_ = b.buffer.Release()
	b.generation.release() // keeps the directory
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, c)
	if got, index := content(t, s); index != 4 || len(got) != 1 {
		t.Errorf("%d keys at %d", len(got), index)
	}
	if _, err := s.Restore(bytes.NewReader(snapshotOf(t, Header{Index: 9}, "new=1"))); err != nil {
		t.Fatal(err)
	}
}
