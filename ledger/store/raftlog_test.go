package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func entry(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Data: fmt.Appendf(nil, "entry %d of term %d", index, term)}
}

func entries(from, to, term uint64) []*raft.Log {
	var logs []*raft.Log
	for i := from; i <= to; i++ {
		logs = append(logs, entry(i, term))
	}
	return logs
}

func bounds(t testing.TB, r *RaftLog) [2]uint64 {
	t.Helper()
	first, err1 := r.FirstIndex()
	last, err2 := r.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return [2]uint64{first, last}
}

func TestLogCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := raft.Log{
			Index: rapid.Uint64().Draw(t, "index"), Term: rapid.Uint64().Draw(t, "term"),
			Type: raft.LogType(rapid.Byte().Draw(t, "type")),
		}
		if b := rapid.SliceOf(rapid.Byte()).Draw(t, "data"); len(b) > 0 {
			want.Data = b
		}
		if b := rapid.SliceOf(rapid.Byte()).Draw(t, "extensions"); len(b) > 0 {
			want.Extensions = b
		}
		if n := rapid.Int64().Draw(t, "time"); n != 0 {
			want.AppendedAt = time.Unix(0, n)
		}
		b := encodeLog(&want)
		var got raft.Log
		if err := decodeLog(want.Index, b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		cut := rapid.IntRange(0, len(b)).Draw(t, "cut")
		_ = decodeLog(1, b[:cut], &got) // must not panic
	})
}

// TestRaftLogModel compares random operations with raft's own store in memory.
func TestRaftLogModel(t *testing.T) {
	sequential(t)
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { checkRaftLog(t) })
}

func checkRaftLog(t *rapid.T) {
	dir, err := mkdirTemp()
	if err != nil {
		t.Fatal(err)
	}
	defer removeAll(dir)
	c := testConfig(dir)
	c.SyncLog = false
	s := openRapid(t, c)
	defer func() { _ = s.Close() }()
	model := raft.NewInmemStore()
	term, start := uint64(1), rapid.Uint64Range(1, 1000).Draw(t, "start")
	for range rapid.IntRange(1, 20).Draw(t, "steps") {
		first, _ := model.FirstIndex()
		last, _ := model.LastIndex()
		next := last + 1
		if last == 0 {
			next = start
		}
		switch rapid.IntRange(0, 5).Draw(t, "step") {
		case 0, 1: // append
			logs := entries(next, next+uint64(rapid.IntRange(0, 30).Draw(t, "count")), term)
			if err := errors.Join(s.Raft().StoreLogs(logs), model.StoreLogs(logs)); err != nil {
				t.Fatal(err)
			}
		case 2: // compact
			if last == 0 {
				continue
			}
			to := rapid.Uint64Range(0, 40).Draw(t, "to") + first
			if err := errors.Join(s.Raft().DeleteRange(first, min(to, last)), model.DeleteRange(first, min(to, last))); err != nil {
				t.Fatal(err)
			}
			start = last + 1
		case 3: // overwrite the end, as a follower does
			if last == 0 {
				continue
			}
			term++
			from := rapid.Uint64Range(first, last).Draw(t, "from")
			if err := errors.Join(s.Raft().DeleteRange(from, last), model.DeleteRange(from, last)); err != nil {
				t.Fatal(err)
			}
			if from == first {
				start = from
			}
		case 4: // restart
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openRapid(t, c)
		case 5: // stable store
			key := []byte(rapid.StringMatching(`[ab]`).Draw(t, "key"))
			value := rapid.Uint64().Draw(t, "value")
			if err := errors.Join(s.Raft().SetUint64(key, value), model.SetUint64(key, value)); err != nil {
				t.Fatal(err)
			}
		}
		compareRaftLog(t, s.Raft(), model)
	}
}

func compareRaftLog(t *rapid.T, got *RaftLog, want *raft.InmemStore) {
	wf, _ := want.FirstIndex()
	wl, _ := want.LastIndex()
	gf, _ := got.FirstIndex()
	gl, _ := got.LastIndex()
	if gf != wf || gl != wl {
		t.Fatalf("bounds are %d to %d, want %d to %d", gf, gl, wf, wl)
	}
	for i := max(wf, 2) - 2; i <= wl+2; i++ {
		var g, w raft.Log
		gerr, werr := got.GetLog(i, &g), want.GetLog(i, &w)
		if !errors.Is(gerr, werr) {
			t.Fatalf("log %d: %v, want %v", i, gerr, werr)
		}
		if diff := cmp.Diff(w, g); werr == nil && diff != "" {
			t.Fatalf("log %d: %s", i, diff)
		}
	}
	for _, key := range []string{"a", "b"} {
		g, err := got.GetUint64([]byte(key))
		w, _ := want.GetUint64([]byte(key))
		if err != nil || g != w {
			t.Fatalf("stable %q is %d, %v, want %d", key, g, err, w)
		}
	}
}

func TestRaftLogGaps(t *testing.T) {
	c := testConfig(t.TempDir())
	s := openTest(t, c)
	r := s.Raft()
	check := func(first, last uint64) {
		t.Helper()
		if got := bounds(t, r); got != [2]uint64{first, last} {
			t.Errorf("bounds are %v, want %d to %d", got, first, last)
		}
	}
	for _, step := range []struct {
		do          error
		first, last uint64
	}{
		{r.StoreLogs(entries(1, 10, 1)), 1, 10},
		{r.StoreLogs(entries(1_000_000_000, 1_000_000_005, 2)), 1, 1_000_000_005},
	} {
		if step.do != nil {
			t.Fatal(step.do)
		}
	}
	check(1, 1_000_000_005)
	var l raft.Log
	if err := r.GetLog(500, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("log in the gap: %v", err)
	}
	if err := r.DeleteRange(1, 999_999_999); err != nil {
		t.Fatal(err)
	}
	check(1_000_000_000, 1_000_000_005)
	if err := r.StoreLogs(entries(20, 25, 3)); err != nil { // below what was deleted
		t.Fatal(err)
	}
	check(20, 1_000_000_005)
	if err := r.DeleteRange(21, 1<<63); err != nil {
		t.Fatal(err)
	}
	check(20, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r = openTest(t, c).Raft()
	check(20, 20)
}

func TestRaftLogLarge(t *testing.T) {
	c := testConfig(t.TempDir())
	s := openTest(t, c)
	var logs []*raft.Log
	for i := range uint64(9) { // several transactions, and values beyond the tree's limit
		logs = append(logs, &raft.Log{Index: i + 1, Data: bytes.Repeat([]byte{byte(i)}, 700<<10+int(i)*100<<10)})
	}
	if err := s.Raft().StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	if err := s.Raft().StoreLog(&raft.Log{Index: 10, Data: make([]byte, LogBytesMax+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, c)
	for _, want := range logs {
		var got raft.Log
		if err := s.Raft().GetLog(want.Index, &got); err != nil || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("log %d: %d bytes, %v", want.Index, len(got.Data), err)
		}
	}
}

// TestInterruptedDeletion leaves the marks of a deletion and its entries, as a
// crash does, and expects Open to end it.
func TestInterruptedDeletion(t *testing.T) {
	c := testConfig(t.TempDir())
	s := openTest(t, c)
	r := s.Raft()
	if err := r.StoreLogs(entries(1, 100, 1)); err != nil {
		t.Fatal(err)
	}
	err := r.write("interrupt", func(b *batch) error {
		var m [16]byte
		m[7], m[15] = 61, 100
		return errors.Join(b.put(write{deletingKey, m[:]}), b.put(write{logKey(100), nil}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r = openTest(t, c).Raft()
	if got := bounds(t, r); got != [2]uint64{1, 60} {
		t.Errorf("bounds are %v, want 1 to 60", got)
	}
}

// TestRaftLogStaysSmall appends and compacts many times the memory tables' size
// and expects the disk to hold a bounded multiple of what is left.
func TestRaftLogStaysSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 250 MB")
	}
	t.Parallel()
	c := testConfig(tempDir(t))
	c.SyncLog = false
	s := openTest(t, c)
	r := s.Raft()
	data := bytes.Repeat([]byte("x"), 1000)
	const total, step, keep = 250_000, 1000, 10_000
	var most int64
	var k keeper
	for at := uint64(1); at < total; at += step {
		logs := make([]*raft.Log, step)
		for i := range logs {
			logs[i] = &raft.Log{Index: at + uint64(i), Term: 1, Data: data}
		}
		if err := r.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
		if first := bounds(t, r)[0]; at%keep == 1 && at > 2*keep {
			if err := r.DeleteRange(first, at-keep); err != nil {
				t.Fatal(err)
			}
			most = max(most, used(t, c.Dir))
		}
	}
	for range 3 { // idle rounds
		if err := s.maintain(&k); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil { // the write-ahead log goes into a table
		t.Fatal(err)
	}
	left := used(t, c.Dir)
	t.Logf("at most %d MiB during, %d MiB after %d entries of %d bytes, %d kept", most>>20, left>>20, total, len(data), keep)
	if limit := int64(160 << 20); most > limit || left > limit {
		t.Errorf("more than %d bytes on disk", limit)
	}
}
