package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/nodetest"
	"github.com/dugnad/dugnad/p2p"
)

// machine is a folder and the flags of the node on it.
type machine struct {
	dir   string
	flags []string
}

func newMachine(tb testing.TB, name string) machine {
	tb.Helper()
	return machine{filepath.Join(nodetest.Dir(tb), name), ownAddress()}
}

// up starts the machine's node and waits for it.
func (m machine) up(tb testing.TB, flags ...string) *nodeProcess {
	tb.Helper()
	return startNode(tb, nil, m.dir, append(m.flags, flags...)...).up(tb)
}

// refused checks that the node does not start, and says why.
func (m machine) refused(tb testing.TB, words string, flags ...string) {
	tb.Helper()
	e := runDugnad(tb, append(append([]string{"up", "--node-dir", m.dir}, m.flags...), flags...)...)
	lines := strings.Split(strings.TrimSpace(e.stderr), "\n")
	last := lines[len(lines)-1]
	if e.code != exitFailure || e.stdout != "" || !strings.HasPrefix(last, "dugnad: ") || !strings.Contains(last, words) {
		tb.Errorf("exit code %d, stdout %q, stderr:\n%s\nwant exit code %d and %q", e.code, e.stdout, e.stderr, exitFailure, words)
	}
	tb.Log(last)
}

// TestGrid: three nodes find one another, share objects and offers, and do so again
// after each of the losses that a grid sees.
func TestGrid(t *testing.T) {
	t.Parallel()
	machines := []machine{newMachine(t, "founder"), newMachine(t, "second"), newMachine(t, "third")}
	founder := machines[0].up(t)
	second := machines[1].up(t, "--join", founder.invite(t, "--uses", "2"))
	third := machines[2].up(t, "--join", founder.invite(t, "--role", "worker"), "--name", "the third")
	nodes := []*nodeProcess{founder, second, third}
	meet := func(t *testing.T) {
		t.Helper()
		founder.meets(t, second, third)
		second.meets(t, founder, third)
		third.meets(t, founder, second)
	}
	meet(t)
	s := statusJSON(t, founder.dir)
	if s.Role != "admin" || len(s.Members) != 2 || !s.Ledger.Leads {
		t.Errorf("the founder's status is %+v", s)
	}
	for _, n := range nodes[1:] {
		n.status(t, "follows the ledger", func(other control.Status) bool {
			return other.Grid == s.Grid && other.Role == "worker" && other.Ledger.Applied >= s.Ledger.Applied && other.Ledger.Leader == s.Node
		})
	}
	e := runDugnad(t, "status", "--node-dir", second.dir)
	if e.code != 0 || !strings.Contains(e.stdout, "the third") || strings.Count(e.stdout, "connected") != 2 {
		t.Errorf("status: exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	shareObjects(t, nodes)
	awaitOffers(t, nodes)

	t.Log("the founder loses power")
	founder.kill(t)
	founder = machines[0].up(t)
	nodes[0] = founder
	meet(t)
	awaitOffers(t, nodes)

	t.Log("all but the second go, and come back")
	founder.stop(t)
	third.stop(t)
	second.status(t, "is alone", func(s control.Status) bool {
		return len(s.Members) == 2 && !s.Members[0].Connected && !s.Members[1].Connected
	})
	founder, third = machines[0].up(t), machines[2].up(t)
	nodes[0], nodes[2] = founder, third
	meet(t)
	awaitOffers(t, nodes)
	shareObjects(t, nodes)
	for _, n := range nodes {
		n.stop(t)
	}
}

// shareObjects puts an object on each node and gets it on the next.
func shareObjects(t *testing.T, nodes []*nodeProcess) {
	t.Helper()
	for i, n := range nodes {
		content := bytes.Repeat([]byte{byte(i), 'x', '\n'}, 1<<20)
		file := filepath.Join(t.TempDir(), "object")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		put := runDugnad(t, "object", "put", "--node-dir", n.dir, file)
		if put.code != 0 || len(put.stdout) != 65 {
			t.Fatalf("put: exit code %d, stdout %q, stderr %q", put.code, put.stdout, put.stderr)
		}
		got := runDugnad(t, "object", "get", "--node-dir", nodes[(i+1)%len(nodes)].dir, strings.TrimSpace(put.stdout))
		if got.code != 0 || got.stdout != string(content) {
			t.Errorf("get: exit code %d, %d bytes, want %d, stderr %q", got.code, len(got.stdout), len(content), got.stderr)
		}
	}
}

// awaitOffers waits until the leader has the offers of all nodes.
func awaitOffers(t *testing.T, nodes []*nodeProcess) {
	t.Helper()
	ids := map[string]*nodeProcess{}
	for _, n := range nodes {
		ids[n.status(t, "is there", func(control.Status) bool { return true }).Node] = n
	}
	leader := nodes[0].status(t, "there is a leader", func(s control.Status) bool { return ids[s.Ledger.Leader] != nil }).Ledger.Leader
	ids[leader].status(t, "the leader has all offers", func(s control.Status) bool {
		for _, o := range s.Offers {
			if ids[o.Node] == nil || o.Slots == 0 || o.MemoryBytes == 0 || o.DiskBytes == 0 || o.FuelRate == 0 {
				return false
			}
		}
		return len(s.Offers) == len(nodes)
	})
}

// TestUpRefused: whoever cannot join, or start, is told why.
func TestUpRefused(t *testing.T) {
	t.Parallel()
	first := newMachine(t, "founder")
	founder := first.up(t)
	short := founder.invite(t, "--expires", "1s")
	expired := time.After(2 * time.Second)
	once, member := founder.invite(t), newMachine(t, "member")
	node := member.up(t, "--join", once)
	invitation := founder.invite(t)

	typo := []byte(invitation)
	typo[len(typo)/2] ^= 1
	newMachine(t, "typo").refused(t, "invitation was not copied whole", "--join", string(typo))
	newMachine(t, "half").refused(t, "invitation was not copied whole", "--join", invitation[:len(invitation)/2])
	newMachine(t, "late").refused(t, "invitation is used up: 1 of 1: ask for a new invitation", "--join", once)
	other := newMachine(t, "other")
	otherGrid, err := p2p.FoundGrid(other.dir)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := invitationOf(t, other.dir, otherGrid)
	other.refused(t, "name another folder with --node-dir", "--join", invitation)
	member.refused(t, "a node runs on this folder already: "+member.dir)

	wide := newMachine(t, "wide")
	key := filepath.Join(wide.dir, "node.key")
	if _, err := p2p.LoadIdentity(wide.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	wide.refused(t, "make it 0600", "--join", invitation)
	if err := os.WriteFile(key, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	wide.refused(t, "not a key file", "--join", invitation)
	<-expired
	newMachine(t, "expired").refused(t, "invitation has expired", "--join", short)

	id := node.status(t, "is there", func(control.Status) bool { return true }).Node
	for _, r := range []struct {
		args  []string
		words string
	}{
		{[]string{"invite", "--node-dir", member.dir}, "this node is no admin"},
		{[]string{"expel", "--node-dir", member.dir, id}, "this node is no admin"},
		{[]string{"invite", "--node-dir", first.dir, "--role", "king"}, `role "king"`},
		{[]string{"expel", "--node-dir", first.dir, "nobody"}, "nobody"},
		{[]string{"status", "--node-dir", other.dir}, "no node runs on this folder: " + other.dir},
		{[]string{"status", "--node-dir", filepath.Join(other.dir, "missing")}, "dugnad up"},
		{[]string{"object", "get", "--node-dir", first.dir, strings.Repeat("0", 64)}, "no holder gives the object"},
		{[]string{"object", "put", "--node-dir", first.dir, first.dir}, "is a directory"},
	} {
		e := runDugnad(t, r.args...)
		if e.code != exitFailure || e.stdout != "" || strings.Count(e.stderr, "\n") != 1 || !strings.Contains(e.stderr, r.words) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q, want %q", r.args, e.code, e.stdout, e.stderr, r.words)
		}
	}

	if e := runDugnad(t, "expel", "--node-dir", first.dir, id); e.code != 0 {
		t.Errorf("expel: exit code %d, %q", e.code, e.stderr)
	}
	founder.status(t, "does not know the expelled one", func(s control.Status) bool { return len(s.Members) == 0 && s.Ledger.Leads })
	node.expelled(t, founder)
	member.refused(t, "this node was expelled from grid")
	member.refused(t, "belongs to another grid: the invitation is for grid "+otherGrid.GridID().String(), "--join", elsewhere)
	founder.stop(t)
}

// invitationOf returns an invitation that the grid's key has signed.
func invitationOf(t *testing.T, dir string, grid p2p.Key) string {
	t.Helper()
	a, err := p2p.OpenAuthority(dir, grid, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	v, err := a.Invite(p2p.RoleWorker, time.Now().Add(time.Hour), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := v.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// BenchmarkJoin measures from the start of the process until the node is a member
// with a working ledger, by invitation.
func BenchmarkJoin(b *testing.B) {
	founder := newMachine(b, "founder").up(b)
	for b.Loop() {
		b.StopTimer()
		m, invitation := newMachine(b, "member"), founder.invite(b)
		b.StartTimer()
		n := m.up(b, "--join", invitation)
		b.StopTimer()
		n.stop(b)
		b.StartTimer()
	}
}
