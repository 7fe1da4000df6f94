package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/control"
)

// expelled waits until the node has ended because the grid has put it out, and checks
// that it says so.
func (n *nodeProcess) expelled(tb testing.TB, by *nodeProcess) {
	tb.Helper()
	select {
	case <-n.ended:
	case <-time.After(patience):
		tb.Fatalf("%s does not end", filepath.Base(n.dir))
	}
	grid := by.status(tb, "is there", func(control.Status) bool { return true }).Grid
	log, _ := n.errOut.read()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	last := lines[len(lines)-1]
	if code := n.cmd.ProcessState.ExitCode(); code != exitFailure || !strings.HasPrefix(last, "dugnad: this node was expelled from grid "+grid+" at 2") ||
		!strings.Contains(last, "dugnad up --join INVITATION") || strings.Contains(log, "panic") {
		tb.Errorf("%s ended with exit code %d:\n%s", filepath.Base(n.dir), code, log)
	}
	if strings.Count(log, "level=ERROR msg=\"this node was expelled from the grid\"") != 1 {
		tb.Errorf("the log does not say once that the node was expelled:\n%s", log)
	}
	e := runDugnad(tb, "status", "--node-dir", n.dir)
	if e.code != exitFailure || !strings.Contains(e.stderr, "this node was expelled from grid "+grid) {
		tb.Errorf("status of an expelled node: exit code %d, %q", e.code, e.stderr)
	}
}

// files returns the names in the node's folder that hold a text.
func (m machine) files(t *testing.T, text string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), text) {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestExpelledNode: a node that is put out while it runs ends, one that is put out while
// it does not is told when it comes, and both return with an invitation, as new
// nodes, without their objects being lost.
func TestExpelledNode(t *testing.T) {
	t.Parallel()
	founder := newMachine(t, "founder").up(t)
	runs, sleeps := newMachine(t, "runs"), newMachine(t, "sleeps")
	first := founder.invite(t, "--uses", "9")
	running, sleeping := runs.up(t, "--join", first), sleeps.up(t, "--join", founder.invite(t))
	founder.meets(t, running, sleeping)
	shareObjects(t, []*nodeProcess{running, sleeping})
	olds := map[string]string{runs.dir: statusJSON(t, runs.dir).Node, sleeps.dir: statusJSON(t, sleeps.dir).Node}
	sleeping.stop(t)
	for _, id := range olds {
		if e := runDugnad(t, "expel", "--node-dir", founder.dir, id); e.code != 0 {
			t.Fatalf("expel: exit code %d, %q", e.code, e.stderr)
		}
	}
	running.expelled(t, founder)
	founder.status(t, "has no offers of nodes that are out", func(s control.Status) bool { return len(s.Offers) == 1 })
	runs.refused(t, "this node was expelled from grid")
	// Neither does the invitation bring it back that it was started with.
	runs.refused(t, "an invitation that an admin has made after that", "--join", first)
	// Who was away does not know it yet, and the invitation is for what it becomes.
	nodes := []*nodeProcess{founder}
	for _, m := range []machine{runs, sleeps} {
		n := startNode(t, nil, m.dir, append(m.flags, "--join", founder.invite(t))...)
		n.await(t, n.errOut, 0, "the node that was expelled is put aside")
		s := n.status(t, "is another node", func(s control.Status) bool { return s.Node != olds[m.dir] && s.Ledger.Leader != "" })
		if s.Objects.Count == 0 || s.Expelled != nil || s.Role != "worker" {
			t.Errorf("status of the new node: %+v", s)
		}
		if names := m.files(t, ".expelled-"+olds[m.dir][len(olds[m.dir])-8:]); len(names) != 3 {
			t.Errorf("put aside are %v, want key, membership and ledger", names)
		}
		nodes = append(nodes, n)
	}
	founder.meets(t, nodes[1:]...)
	shareObjects(t, nodes)
	awaitOffers(t, nodes)
	for _, n := range nodes {
		n.end(t)
	}
	// It is a member like any other, without an invitation.
	again := runs.up(t)
	if s := statusJSON(t, runs.dir); s.Node == olds[runs.dir] {
		t.Error("the old node is back")
	}
	again.stop(t)
}
