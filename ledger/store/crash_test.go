package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// childVariable holds, in a child process of a test, the directory to work on.
const childVariable = "DUGNAD_STORE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child appends to the log and applies it, until somebody kills it. It prints
// the last index after each write to the log has returned.
func child(dir string) error {
	if os.Getenv(childVariable+"_FULL") != "" {
		return fullDisk(dir)
	}
	s, err := Open(context.Background(), testConfig(dir))
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv(childVariable+"_SEED"), 10, 64)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for {
		last, _ := s.Raft().LastIndex()
		if err := s.Raft().StoreLogs(entries(last+1, last+1+uint64(r.IntN(40)), 7)); err != nil {
			return err
		}
		last, _ = s.Raft().LastIndex()
		fmt.Println(last)
		for s.Applied() < last && r.IntN(50) > 0 { // now and then stay behind
			if err := s.Update(s.Applied()+1, apply(s.Applied()+1)); err != nil {
				return err
			}
		}
		switch r.IntN(40) {
		case 0: // a snapshot, and the log in front of it deleted
			first, _ := s.Raft().FirstIndex()
			if applied := s.Applied(); applied > first+100 {
				if err := s.Raft().DeleteRange(first, applied-100); err != nil {
					return err
				}
			}
		case 1: // a snapshot and the way back
			var b bytes.Buffer
			snapshot, err := s.Snapshot(Header{})
			if err != nil {
				return err
			}
			_, err = snapshot.WriteTo(&b)
			if err = errors.Join(err, snapshot.Close()); err != nil {
				return err
			}
			if _, err := s.Restore(&b); err != nil {
				return err
			}
		case 2:
			if err := s.maintain(&keeper{}); err != nil {
				return err
			}
		case 3:
			if err := s.Close(); err != nil {
				return err
			}
			if s, err = Open(context.Background(), testConfig(dir)); err != nil {
				return err
			}
		}
	}
}

// TestKill kills a process after so many writes, at a moment that differs, and expects every acknowledged log
// entry, and a state that is that of exactly the applied index.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 4
	}
	dir := tempDir(t)
	var m model
	replayed := 0
	for round := range rounds {
		acknowledged := runAndKill(t, dir, round)
		s, err := Open(context.Background(), testConfig(dir))
		if err != nil {
			t.Fatal(err)
		}
		first, _ := s.Raft().FirstIndex()
		last, _ := s.Raft().LastIndex()
		if last < acknowledged {
			t.Fatalf("round %d: log ends at %d, %d was acknowledged", round, last, acknowledged)
		}
		for i := first; i <= last && i > 0; i++ {
			var l raft.Log
			if err := s.Raft().GetLog(i, &l); err != nil || !bytes.Equal(l.Data, entry(i, 7).Data) {
				t.Fatalf("round %d: log %d of %d to %d is %q, %v", round, i, first, last, l.Data, err)
			}
		}
		if s.Applied() > last || (last > 0 && s.Applied()+1 < first) {
			t.Fatalf("round %d: applied is %d, the log goes from %d to %d", round, s.Applied(), first, last)
		}
		wantState(t, s, &m)
		for i := s.Applied() + 1; i <= last; i++ {
			replayed++
			if err := s.Update(i, apply(i)); err != nil {
				t.Fatal(err)
			}
		}
		wantState(t, s, &m)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d entries, %d applied again", m.index, replayed)
}

func wantState(t testing.TB, s *Store, m *model) {
	t.Helper()
	got, index := content(t, s)
	if diff := cmp.Diff(m.at(index), got); diff != "" {
		t.Fatalf("state at %d (-want +got):\n%.2000s", index, diff)
	}
}

// runAndKill lets a child work until it has acknowledged a number of writes that
// depends on the seed, kills it, and returns the last index that it acknowledged.
func runAndKill(t *testing.T, dir string, seed int) (acknowledged uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir, childVariable+"_SEED="+strconv.Itoa(seed))
	writes := 1 + rand.New(rand.NewPCG(uint64(seed), 2)).IntN(60)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		if acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n == writes {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if stderr.Len() > 0 {
		t.Fatalf("child: %s", stderr.String())
	}
	return acknowledged
}

// walRecords returns where the transactions end in a write-ahead log of Badger.
func walRecords(t testing.TB, b []byte) (ends []int) {
	t.Helper()
	const fileHead, finished = 20, 1 << 7
	at := fileHead
	for at+2 < len(b) && b[at] != 0 {
		meta := b[at]
		p := at + 2
		var n [3]uint64
		for i := range n {
			v, k := binary.Uvarint(b[p:])
			n[i], p = v, p+k
		}
		at = p + int(n[0]+n[1]) + 4
		if meta&finished != 0 {
			ends = append(ends, at)
		}
	}
	return ends
}
