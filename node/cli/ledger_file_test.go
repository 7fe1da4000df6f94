package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/control"
)

// TestDamagedBackups: a backup that was cut off anywhere, or has a wrong byte
// anywhere, is refused before anything is made.
func TestDamagedBackups(t *testing.T) {
	l := makeLedgers(t)
	whole, err := os.ReadFile(l.backup)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	refused := func(what string, at int, b []byte) {
		t.Helper()
		file := filepath.Join(dir, "damaged")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newTestRun(t)
		code := r.run("ledger", "restore", filepath.Join(dir, "new"), file)
		if code != exitFailure || r.stdout.Len() > 0 || !strings.HasPrefix(r.stderr.String(), "dugnad: "+file+": restore: verify backup: snapshot at byte ") {
			t.Errorf("%s %d of %d: exit code %d, stdout %q, stderr %q", what, at, len(whole), code, r.stdout.String(), r.stderr.String())
		}
	}
	for at := range whole {
		refused("cut at byte", at, whole[:at])
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1 << (at % 8)
		refused("flipped byte", at, flipped)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("refused restores leave %v, %v", left, err)
	}
}

// fakeNode is a node that can only be backed up.
type fakeNode struct {
	control.Node
	backup func(ctx context.Context, w io.Writer) error
}

// Backup implements control.Node.
func (f fakeNode) Backup(ctx context.Context, w io.Writer) error { return f.backup(ctx, w) }

// TestBackupInterrupted: FILE is there when the backup is whole, and only then.
func TestBackupInterrupted(t *testing.T) {
	l := makeLedgers(t)
	whole, err := os.ReadFile(l.backup)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var file string // where the backup goes
	for _, r := range []struct {
		name, want string
		backup     func(ctx context.Context, w io.Writer) error
	}{
		{"whole", "", func(_ context.Context, w io.Writer) error { _, err := w.Write(whole); return err }},
		{"the node fails", "the table is damaged", func(_ context.Context, w io.Writer) error {
			_, err := w.Write(whole[:100])
			return errors.Join(err, errors.New("the table is damaged"))
		}},
		{"the node writes half", "what was written is read back otherwise: verify backup: snapshot at byte", func(_ context.Context, w io.Writer) error {
			_, err := w.Write(whole[:len(whole)/2])
			return err
		}},
		{"a byte is wrong", "what was written is read back otherwise: verify backup: snapshot at byte", func(_ context.Context, w io.Writer) error {
			_, err := w.Write(flip(len(whole) / 2)(bytes.Clone(whole)))
			return err
		}},
		{"another one was faster", "file already exists", func(_ context.Context, w io.Writer) error {
			_, err := w.Write(whole)
			return errors.Join(err, os.WriteFile(file, []byte("other"), 0o600))
		}},
		{"it is stopped", "context canceled", func(ctx context.Context, w io.Writer) error {
			_, err := w.Write(whole[:100])
			cancel()
			<-ctx.Done()
			return errors.Join(err, ctx.Err())
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			s, err := control.Open(t.Context(), l.stopped, fakeNode{backup: r.backup}, nil, nil, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			dir := t.TempDir()
			file = filepath.Join(dir, "file")
			run := newTestRun(t)
			run.ctx = ctx
			code := run.run("ledger", "backup", l.stopped, file)
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.want == "" {
				if got, err := os.ReadFile(file); code != 0 || err != nil || !bytes.Equal(got, whole) || len(left) != 1 {
					t.Errorf("exit code %d, stderr %q, file of %d bytes, %v, %v", code, run.stderr.String(), len(got), err, left)
				}
				return
			}
			if code != exitFailure || !strings.Contains(run.stderr.String(), r.want) || run.stdout.Len() > 0 {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, run.stdout.String(), run.stderr.String(), r.want)
			}
			if b, _ := os.ReadFile(file); string(b) == "other" {
				left = left[1:]
			}
			if len(left) > 0 {
				t.Errorf("leaves %v", left)
			}
		})
	}
}
