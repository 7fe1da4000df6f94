package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestBackup: a backup arrives whole, or with the reason why it did not.
func TestBackup(t *testing.T) {
	large := bytes.Repeat([]byte("ledger\n"), 1<<20)
	for _, r := range []struct {
		name   string
		backup func(ctx context.Context, w io.Writer) error
		want   string
	}{
		{"whole", func(_ context.Context, w io.Writer) error { _, err := w.Write(large); return err }, ""},
		{"refused", nil, errRefused.Error()},
		{"refused later", func(_ context.Context, w io.Writer) error {
			_, err := w.Write(large[:10])
			return errors.Join(err, errRefused)
		}, errRefused.Error()},
		{"refused late", func(_ context.Context, w io.Writer) error {
			_, err := w.Write(large)
			return errors.Join(err, errRefused)
		}, errRefused.Error()},
		{"a node that crashes", func(_ context.Context, w io.Writer) error {
			_, err := w.Write(large)
			panic(err)
		}, errPartial.Error()},
	} {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir, fake{backup: r.backup})
			var got bytes.Buffer
			err := NewClient(dir).Backup(t.Context(), &got)
			if r.want == "" && (err != nil || !bytes.Equal(got.Bytes(), large)) {
				t.Errorf("%d bytes, want %d: %v", got.Len(), len(large), err)
			}
			if r.want != "" && (err == nil || !strings.Contains(err.Error(), r.want)) {
				t.Errorf("%v, want %q", err, r.want)
			}
		})
	}
}

// TestBackupEnds: a backup ends with its client, and with the node.
func TestBackupEnds(t *testing.T) {
	dir := t.TempDir()
	began, ended := make(chan struct{}, 2), make(chan error, 2)
	s := open(t, dir, fake{backup: func(ctx context.Context, w io.Writer) error {
		began <- struct{}{}
		var err error
		for err == nil {
			if _, err = w.Write(make([]byte, 1<<16)); err == nil {
				err = ctx.Err()
			}
		}
		ended <- err
		return err
	}})
	wait := func(what string) {
		t.Helper()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: the backup ended well", what)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the backup goes on", what)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 2)
	ask := func(ctx context.Context) { answered <- NewClient(dir).Backup(ctx, io.Discard) }
	go ask(ctx)
	<-began
	cancel()
	wait("client ended")
	go ask(t.Context())
	<-began
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wait("node ended")
	for range 2 {
		if err := <-answered; err == nil {
			t.Error("a backup that was ended is taken for whole")
		}
	}
}
