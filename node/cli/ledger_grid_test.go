package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/control"
)

// ledgerJSON runs a command on a ledger that must do its work.
func ledgerJSON(t *testing.T, args ...string) (r ledgerReport) {
	t.Helper()
	e := runDugnad(t, append([]string{"ledger", args[0], "--json"}, args[1:]...)...)
	if err := json.Unmarshal([]byte(e.stdout), &r); err != nil || e.code != 0 || e.stderr != "" {
		t.Fatalf("%v: exit code %d, stdout %q, stderr %q, %v", args, e.code, e.stdout, e.stderr, err)
	}
	return r
}

// refuses checks that a command fails with one line that has the words.
func refuses(t *testing.T, words string, args ...string) {
	t.Helper()
	e := runDugnad(t, args...)
	if e.code != exitFailure || e.stdout != "" || strings.Count(e.stderr, "\n") != 1 || !strings.Contains(e.stderr, words) {
		t.Errorf("%v: exit code %d, stdout %q, stderr %q, want %q", args, e.code, e.stdout, e.stderr, words)
	}
}

// TestLedgerMoves: a grid is backed up while it runs, and goes on as a new one,
// which the old one's nodes are no members of.
func TestLedgerMoves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	first, second := newMachine(t, "founder"), newMachine(t, "second")
	founder := first.up(t)
	member := second.up(t, "--join", founder.invite(t)) // a command of the ledger, or two
	founder.meets(t, member)
	was := statusJSON(t, first.dir)

	made := ledgerJSON(t, "backup", first.dir, file)
	if made.ID != was.Node || made.Index < was.Ledger.Applied {
		t.Errorf("backup %+v of a node with status %+v", made, was)
	}
	if other := ledgerJSON(t, "backup", second.dir, filepath.Join(dir, "follower")); other.ID == made.ID {
		t.Errorf("backup %+v is of the founder", other)
	}
	refuses(t, "stop the node on "+first.dir+" first", "ledger", "check", first.dir)
	refuses(t, "stop the node on "+first.dir+" first", "ledger", "recover", first.dir)
	refuses(t, "file already exists", "ledger", "backup", first.dir, file)
	refuses(t, "belongs to a node already: "+first.dir, "ledger", "restore", first.dir, file)

	third := newMachine(t, "third")
	e := runDugnad(t, "ledger", "restore", third.dir, file)
	if want := "start it with dugnad up --node-dir " + third.dir + "; other nodes join by new invitations\n"; e.code != 0 || !strings.HasSuffix(e.stdout, want) || e.stderr != "" {
		t.Fatalf("restore: exit code %d, stdout %q, stderr %q", e.code, e.stdout, e.stderr)
	}
	restored := third.up(t)
	now := restored.status(t, "leads", func(s control.Status) bool { return s.Ledger.Leads })
	if now.Grid == was.Grid || now.Node == was.Node || now.Ledger.Applied <= made.Index || now.Role != "admin" || len(now.Members) != 0 {
		t.Errorf("status %+v of what was restored from %+v", now, made)
	}
	fourth := newMachine(t, "fourth")
	joined := fourth.up(t, "--join", restored.invite(t))
	restored.meets(t, joined)
	joined.status(t, "follows the ledger", func(s control.Status) bool {
		return s.Grid == now.Grid && s.Ledger.Leader == now.Node && s.Ledger.Applied >= now.Ledger.Applied
	})
	shareObjects(t, []*nodeProcess{restored, joined})

	invitation := restored.invite(t)
	member.stop(t)
	second.refused(t, "name another folder with --node-dir", "--join", invitation)
	founder.status(t, "goes on", func(s control.Status) bool { return s.Grid == was.Grid && len(s.Members) == 1 })
	for _, n := range []*nodeProcess{founder, restored, joined} {
		n.stop(t)
	}
	if r := ledgerJSON(t, "check", third.dir); r.ID != now.Node || r.Index < now.Ledger.Applied {
		t.Errorf("check %+v, want %+v", r, now)
	}
}

// TestRestoreKilled kills restores at moments of all kinds: what is left can be
// restored again, or started.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	l := makeLedgers(t)
	for _, seen := range []string{
		"lock", "restore.part/node.key", "restore.part/grid.key", "restore.part/ledger.part/store/raft/MANIFEST",
		"restore.part/ledger.part/store/state/2", "restore.part/ledger.part/member.json", "restore.part/ledger",
		"restore.part/founded", "restore.whole", "ledger",
	} {
		t.Run(filepath.Base(seen), func(t *testing.T) {
			m := newMachine(t, "new")
			cmd := dugnadCommand(t, nil, "ledger", "restore", m.dir, l.backup)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = cmd.Wait()
			}()
			awaitFile(t, filepath.Join(m.dir, seen), ended)
			_ = cmd.Process.Kill()
			<-ended
			e := runDugnad(t, "ledger", "restore", m.dir, l.backup)
			t.Logf("%s, then %d %s", cmd.ProcessState, e.code, strings.TrimSpace(e.stderr))
			if e.code != 0 && !strings.Contains(e.stderr, "belongs to a node already") {
				t.Errorf("again: exit code %d, stderr %q", e.code, e.stderr)
			}
			n := m.up(t)
			n.status(t, "leads what was restored", func(s control.Status) bool { return s.Ledger.Leads && s.Ledger.Applied > 5 })
			n.stop(t)
		})
	}
}

// awaitFile returns when a file is there, or was, or ended is closed.
func awaitFile(t *testing.T, name string, ended <-chan struct{}) {
	t.Helper()
	late := time.After(patience)
	for {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-ended:
			return
		case <-late:
			t.Fatalf("%s does not come about", name)
		default: // it is there for a moment only
		}
	}
}
