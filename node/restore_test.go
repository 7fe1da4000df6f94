package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/store"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/p2p"
)

// backupOf is a backup that a running node has written to its operator, and the
// index up to which the node was then at least.
func backupOf(ctx context.Context, t *testing.T) (backup []byte, index uint64) {
	t.Helper()
	c := testConfig(filepath.Join(t.TempDir(), "old"))
	c.Found = true
	n := openNode(ctx, t, c)
	var b bytes.Buffer
	index = n.Status().Ledger.Applied
	if err := control.NewClient(c.Dir).Backup(ctx, &b); err != nil {
		t.Fatal(err)
	}
	if h, _, err := store.Verify(bytes.NewReader(b.Bytes())); err != nil || h.Index < index {
		t.Fatalf("backup at %d, the node was at %d: %v", h.Index, index, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), index
}

// starts opens a node on a folder that Restore has filled, which then leads a
// ledger that goes on behind the backup's.
func starts(ctx context.Context, t *testing.T, dir string, index uint64) control.Status {
	t.Helper()
	c := testConfig(dir)
	c.Found = true
	n := openNode(ctx, t, c)
	if _, err := n.book.Read(ctx, ledger.Check); err != nil { // waits for a leader
		t.Error(err)
	}
	s := n.Status()
	if s.Ledger.Leader != s.Node || s.Ledger.Applied <= index || s.Role != "admin" {
		t.Errorf("status %+v, want a leader behind %d", s, index)
	}
	invite(ctx, t, n)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	return s
}

func TestRestore(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	backup, index := backupOf(ctx, t)
	dir := filepath.Join(t.TempDir(), "a", "new")
	r, err := Restore(ctx, dir, bytes.NewReader(backup), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := starts(ctx, t, dir, index); s.Node != r.ID || s.Grid != r.Grid {
		t.Errorf("node %s of grid %s is up, want what was restored: %+v", s.Node, s.Grid, r)
	}
	if _, err := Restore(ctx, dir, bytes.NewReader(backup), nil); !errors.Is(err, ErrTaken) {
		t.Errorf("restored twice: %v, want %v", err, ErrTaken)
	}
	second, err := Restore(ctx, filepath.Join(t.TempDir(), "new"), bytes.NewReader(backup), nil)
	if err != nil || second.ID == r.ID || second.Grid == r.Grid {
		t.Errorf("a second grid: %+v, %v, the first is %+v", second, err, r)
	}
	ended, end := context.WithDeadline(ctx, time.Unix(0, 0))
	defer end()
	dir = t.TempDir()
	if _, err := Restore(ended, dir, bytes.NewReader(backup), nil); err == nil {
		t.Error("restored although it was to end")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != lockName {
		t.Errorf("a restore that was ended leaves %v, %v", left, err)
	}
}

// TestRestoreInterrupted leaves a folder as the loss of power does after each step.
func TestRestoreInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	backup, index := backupOf(ctx, t)
	again := func(t *testing.T, dir string) {
		t.Helper()
		c := testConfig(dir)
		c.Found = true
		if _, err := Open(ctx, c); !errors.Is(err, ErrRestoring) {
			t.Errorf("a node on half a restore: %v, want %v", err, ErrRestoring)
		}
		if _, err := Restore(ctx, dir, bytes.NewReader(backup), nil); err != nil {
			t.Errorf("restore again: %v", err)
		}
		starts(ctx, t, dir, index)
		if _, err := os.Lstat(filepath.Join(dir, partName)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("half a restore is left behind: %v", err)
		}
	}
	part := func(t *testing.T) (dir, part string) {
		t.Helper()
		dir = t.TempDir()
		part = filepath.Join(dir, partName)
		if err := os.Mkdir(part, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir, part
	}
	t.Run("begun", func(t *testing.T) {
		dir, _ := part(t)
		again(t, dir)
	})
	t.Run("with keys", func(t *testing.T) {
		dir, part := part(t)
		_, err := p2p.LoadIdentity(part)
		if err == nil {
			_, err = p2p.FoundGrid(part)
		}
		if err != nil {
			t.Fatal(err)
		}
		again(t, dir)
	})
	t.Run("with a ledger", func(t *testing.T) {
		dir, part := part(t)
		if err := os.Remove(part); err != nil {
			t.Fatal(err)
		}
		if _, err := fill(ctx, dir, part, bytes.NewReader(backup), nil); err != nil {
			t.Fatal(err)
		}
		again(t, dir)
	})
	for moved := range 5 {
		dir, part := part(t)
		if err := os.Remove(part); err != nil {
			t.Fatal(err)
		}
		r, err := fill(ctx, dir, part, bytes.NewReader(backup), nil)
		if err != nil {
			t.Fatal(err)
		}
		whole := filepath.Join(dir, wholeName)
		if err := os.Rename(part, whole); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(whole)
		if err != nil || len(entries) != 4 {
			t.Fatalf("%d entries, want 4: %v", len(entries), err)
		}
		for _, e := range entries[:min(moved, len(entries))] {
			if err := os.Rename(filepath.Join(whole, e.Name()), filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Restore(ctx, dir, bytes.NewReader(backup), nil); !errors.Is(err, ErrTaken) {
			t.Errorf("restored over a whole one, of which %d are moved: %v, want %v", moved, err, ErrTaken)
		}
		if s := starts(ctx, t, dir, index); s.Node != r.ID || s.Grid != r.Grid {
			t.Errorf("%d moved: node %s of grid %s, want %+v", moved, s.Node, s.Grid, r)
		}
		if _, err := os.Lstat(whole); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d moved: a folder is left behind: %v", moved, err)
		}
	}
}
