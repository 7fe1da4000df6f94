package p2p

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// refusalOver returns what the side that is refused reads.
func refusalOver(t testing.TB, err error) *Refusal {
	t.Helper()
	var b bytes.Buffer
	if got := refuse(&b, testTime, err); !errors.Is(got, err) {
		t.Fatal(got)
	}
	_, _, got := readStatus(&b)
	var refusal *Refusal
	if !errors.As(got, &refusal) {
		t.Fatal(got)
	}
	return refusal
}

// A refusal carries the one entry that counts, whoever has signed it.
func TestProof(t *testing.T) {
	s := newScene(t)
	hour := func(n int) time.Time { return testTime.Add(time.Duration(n) * time.Hour) }
	outAdmin := testKey(t, 7)
	byOutAdmin := signer{grid: s.grid, key: outAdmin, admin: s.byGrid.member(outAdmin.NodeID(), RoleAdmin, testTime, time.Time{})}
	worker, gone := s.workerKey.NodeID(), s.byGrid.expel(outAdmin.NodeID(), hour(1))
	for _, c := range []struct {
		name string
		list []Expulsion
		// want is the index of the entry that proves it.
		want int
	}{
		{"by the grid", []Expulsion{s.byGrid.expel(worker, hour(3))}, 0},
		{"by an admin", []Expulsion{s.byAdmin.expel(worker, hour(3))}, 0},
		{"by the earlier of two", []Expulsion{s.byGrid.expel(worker, hour(3)), s.byAdmin.expel(worker, hour(2))}, 1},
		{"not by an admin that was out", []Expulsion{byOutAdmin.expel(worker, hour(2)), gone, s.byAdmin.expel(worker, hour(3))}, 2},
		{"the grid before an admin", []Expulsion{s.byAdmin.expel(worker, hour(3)), s.byGrid.expel(worker, hour(3))}, 1},
	} {
		list := NewExpulsions(s.grid)
		if _, err := list.Add(c.list, hour(4)); err != nil {
			t.Fatal(err)
		}
		refusal := refusalOver(t, list.check(worker))
		proof, err := DecodeExpulsions(refusal.proof, s.grid)
		if err != nil || len(proof) != 1 || proof[0].Signature != c.list[c.want].Signature {
			t.Errorf("%s: the proof is %+v, %v", c.name, proof, err)
		}
		if want := "this node was expelled from the grid at " + clock(c.list[c.want].Since); refusal.Code != CodeExpelled || refusal.Text != want {
			t.Errorf("%s: told %s, %q, want %q", c.name, refusal.Code, refusal.Text, want)
		}
	}
	list := NewExpulsions(s.grid)
	if _, err := list.Add([]Expulsion{byOutAdmin.expel(worker, hour(2)), gone}, hour(4)); err != nil {
		t.Fatal(err)
	}
	if err := list.check(worker); err != nil {
		t.Errorf("expelled by nobody that counts: %v", err)
	}
	if refusal := refusalOver(t, ErrExpelled); refusal.proof != nil {
		t.Errorf("without an entry there is a proof: %x", refusal.proof)
	}
}

// A node believes the grid, not the member that refuses it.
func TestLiarsDoNotExpel(t *testing.T) {
	first := founder(t)
	node, other := join(t, first, RoleWorker), join(t, first, RoleWorker)
	now := time.Now()
	grid := func(h *Host) signer { return signer{grid: h.grid, key: h.cfg.GridKey} }
	byGrid := grid(first)
	forged := byGrid.expel(node.Self(), now)
	forged.Signature[0] ^= 1
	moved := byGrid.expel(other.Self(), now)
	moved.Node = node.Self()
	byWorker := signer{grid: first.grid, key: other.key, admin: other.Membership()}
	stranger := testKey(t, 99)
	selfMade := signer{grid: first.grid, key: stranger, admin: &Membership{Grid: first.grid, Node: stranger.NodeID(), Role: RoleAdmin, Since: now}}
	otherGrid := signer{grid: stranger.GridID(), key: stranger}
	encode := func(list ...Expulsion) []byte { return encodeExpulsions(first.grid, list) }
	for name, proof := range map[string][]byte{
		"no proof": nil, "garbage": []byte("garbage"), "forged": encode(forged), "another node's": encode(moved),
		"by a worker": encode(byWorker.expel(node.Self(), now)), "by an admin of nobody": encode(selfMade.expel(node.Self(), now)),
		"another grid's":   encodeExpulsions(otherGrid.grid, []Expulsion{otherGrid.expel(node.Self(), now)}),
		"about others too": encode(byGrid.expel(node.Self(), now), byGrid.expel(testKey(t, 98).NodeID(), now)),
		"from the future":  encode(byGrid.expel(node.Self(), now.Add(2*ClockSkewMax))),
	} {
		node.hearProof(&Refusal{Code: CodeExpelled, proof: proof})
		select {
		case <-node.Out():
			t.Fatalf("%s: the node believes to be out", name)
		default:
		}
		if len(node.Expelled()) != 0 || !node.ExpelledAt().IsZero() {
			t.Fatalf("%s: %s are out", name, node.Expelled())
		}
	}
	askEchoOf(t, first, node)
	node.hearProof(&Refusal{Code: CodeExpelled, proof: encode(byGrid.expel(node.Self(), now))})
	select {
	case <-node.Out():
	default:
		t.Fatal("the grid's own word is not believed")
	}
}

func askEchoOf(t *testing.T, of, by *Host) {
	t.Helper()
	of.Handle(testProtocol, echo)
	askEcho(t, by, of.Self(), "still a member")
}

// An expelled node is told by whoever it knocks at, over each transport, and knows it
// after a restart. With its key put aside it joins again as another node.
func TestExpelledNodeIsToldAndComesBack(t *testing.T) {
	for _, transport := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"} {
		t.Run(strings.Split(transport, "/")[3], func(t *testing.T) {
			only := func(c *Config) { c.Listen = []string{transport} }
			first := founder(t, only)
			node := join(t, first, RoleWorker, only)
			cfg, old := node.cfg, node.Self()
			cfg.Invitation, cfg.GridKey = nil, Key{}
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
			if err := first.Expel(old); err != nil {
				t.Fatal(err)
			}
			node = openHost(t, cfg)
			select {
			case <-node.Out():
			case <-time.After(waitMax):
				t.Fatal("the node was not told")
			}
			if at := node.ExpelledAt(); !slices.Equal(node.Expelled(), []NodeID{old}) || time.Since(at).Abs() > time.Hour {
				t.Errorf("out are %s since %s", node.Expelled(), at)
			}
			p := must[peer.ID](t)(first.Self().peer())
			if err := node.connect(testContext(t), p); err == nil {
				t.Error("the expelled node is let in")
			}
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(testContext(t), cfg); !errors.Is(err, ErrExpelled) || errors.As(err, new(*Refusal)) {
				t.Errorf("after a restart: %v", err)
			}
			comesBack(t, first, cfg, old)
		})
	}
}

func comesBack(t *testing.T, first *Host, cfg Config, old NodeID) {
	t.Helper()
	cfg.Invitation = invite(t, first, RoleClient, 1)
	if _, err := Open(testContext(t), cfg); !errors.Is(err, ErrExpelled) {
		t.Errorf("with an invitation and the old key: %v", err)
	}
	out := must[*Outcast](t)(OutcastIn(cfg.Dir))
	if out == nil || out.Node != old || out.Grid != first.Grid() || out.Since.IsZero() {
		t.Fatalf("outcast %+v", out)
	}
	if left := must[*GridID](t)(LeftGrid(cfg.Dir)); left == nil || *left != first.Grid() {
		t.Errorf("the grid that was left is %v", left)
	}
	earlier := *cfg.Invitation
	earlier.Since = out.Since.Add(-time.Second)
	if !cfg.Invitation.Readmits(out) || earlier.Readmits(out) || (*Invitation)(nil).Readmits(out) || cfg.Invitation.Readmits(nil) {
		t.Error("the wrong invitation readmits")
	}
	if err := errors.Join(out.Retire(cfg.Dir), out.Retire(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	kept := must[Key](t)(loadKey(filepath.Join(cfg.Dir, nodeKeyFile+out.Suffix())))
	if kept.NodeID() != old {
		t.Errorf("the key that was put aside is %s's", kept.NodeID())
	}
	again := openHost(t, cfg)
	eventually(t, "it is back", connectedTo(first, again))
	if again.Self() == old || again.Membership().Role != RoleClient {
		t.Errorf("it is %s as %s", again.Self(), again.Membership().Role)
	}
	if out := must[*Outcast](t)(OutcastIn(cfg.Dir)); out != nil {
		t.Errorf("the new node is out: %+v", out)
	}
}

// A membership that is void without the node's being out is exchanged, with the
// same key.
func TestVoidMembershipIsExchanged(t *testing.T) {
	first := founder(t)
	key := testKey(t, 30)
	admin := testKey(t, 31)
	grid := signer{grid: first.grid, key: first.cfg.GridKey}
	past := time.Now().Add(-2 * ClockSkewMax)
	byAdmin := signer{grid: first.grid, key: admin, admin: grid.member(admin.NodeID(), RoleAdmin, past.Add(-time.Hour), time.Time{})}
	outAdmin := encodeExpulsions(first.grid, []Expulsion{grid.expel(admin.NodeID(), past)})
	for name, m := range map[string]*Membership{
		"expired":           grid.member(key.NodeID(), RoleWorker, past.Add(-time.Hour), past),
		"of an admin's":     byAdmin.member(key.NodeID(), RoleWorker, time.Now(), time.Time{}),
		"of another grid's": Found(testKey(t, 32), key, past),
	} {
		cfg := testConfig(t, t.TempDir())
		cfg.Key = key
		for file, b := range map[string][]byte{membershipFile: m.Encode(), expulsionsFile: outAdmin} {
			if err := os.WriteFile(filepath.Join(cfg.Dir, file), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(testContext(t), cfg)
		cfg.Invitation = invite(t, first, RoleClient, 1)
		if m.Grid != first.grid {
			_, err = Open(testContext(t), cfg)
			if !errors.Is(err, ErrWrongGrid) || !strings.Contains(err.Error(), m.Grid.String()) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, ErrExpired) && !errors.Is(err, ErrExpelled) {
			t.Errorf("%s, without an invitation: %v", name, err)
		}
		h := openHost(t, cfg)
		if h.Membership().Role != RoleClient || h.Self() != key.NodeID() {
			t.Errorf("%s: joined as %+v", name, h.Membership())
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
