package cli

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// TestBackupAndRestore: a job that waits in a grid is done by the one that is
// restored from a backup, on another machine, as its help says: with nothing but the
// file, and the modules again.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old, file := newMachine(t, "old"), filepath.Join(t.TempDir(), "backup")
	n := old.up(t, "--slots", "1")
	self := n.status(t, "leads", func(s control.Status) bool { return s.Ledger.Leads }).Node
	c := apiOf(t, n)
	n.status(t, "is in the ledger", func(control.Status) bool {
		_, err := c.Node(ctx, self)
		return err == nil
	})
	if _, err := c.Drain(ctx, self); err != nil {
		t.Fatal(err)
	}
	job := submitModule(ctx, t, c, "hello", "count: 3\n")
	if e := runDugnad(t, "backup", file, "--node-dir", old.dir); e.code != 0 || !strings.HasPrefix(e.stdout, "backup: ledger of "+self+" at index ") {
		t.Fatalf("backup: exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	refuses(t, "file already exists", "backup", file, "--node-dir", old.dir)
	refuses(t, "belongs to a node already: "+old.dir, "restore", file, "--node-dir", old.dir)
	refuses(t, "0 arguments, want dugnad backup FILE", "backup")
	n.kill(t)

	m := newMachine(t, "new")
	if e := runDugnad(t, "restore", file, "--node-dir", m.dir); e.code != 0 || !strings.Contains(e.stdout, " founds grid ") {
		t.Fatalf("restore: exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	restored := m.up(t, "--slots", "1")
	restored.status(t, "leads", func(s control.Status) bool { return s.Ledger.Leads })
	hello := filepath.Join("..", "..", "runtime", "worker", "testdata", "hello.wasm")
	if e := runDugnad(t, "module", "push", hello, "--node-dir", m.dir); e.code != 0 {
		t.Fatalf("push: exit code %d, %q", e.code, e.stderr)
	}
	j, err := apiOf(t, restored).Wait(ctx, job, client.Fresh{})
	if err != nil || j.Tasks != (api.Tasks{Succeeded: 3}) {
		t.Errorf("%+v, %v", j, err)
	}
	restored.stop(t)
}
