package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/nodetest"
)

// knows finds what a node has logged of a member, in a line with a text.
func (n *nodeProcess) knows(tb testing.TB, member, text string) string {
	tb.Helper()
	n.await(tb, n.errOut, 0, text+"\" member="+member)
	log, _ := n.errOut.read()
	_, line, _ := strings.Cut(log, text+"\" member="+member)
	line, _, _ = strings.Cut(line, "\n")
	return line
}

// behindGateway is a router that speaks UPnP in one of the gateway's ways, and the
// founder's node behind it.
func behindGateway(t *testing.T, lies string) (n *network, gateway, founder *nodeProcess) {
	t.Helper()
	n = newNetwork(t)
	n.masquerade("router", "inside", "11.77.0.3")
	gateway = n.gateway("router", lies)
	return n, gateway, startNode(t, n.wrapper("inside"), filepath.Join(nodetest.Dir(t), "inside"), "--name", "inside").up(t)
}

// TestPortMapping: a router that speaks UPnP lets connections through to a node that
// asks for it, which is then reached as if it had a public address. When the
// node stops, the router lets nothing through.
func TestPortMapping(t *testing.T) {
	n, _, inside := behindGateway(t, "honest")
	n.namespace("public")
	n.plug("public", "11.77.0.2")
	t.Parallel()

	s := inside.status(t, "knows its addresses outside", func(s control.Status) bool {
		return strings.Count(s.Address, "/11.77.0.3/") == 2
	})
	t.Logf("it is at %s, the router maps %s", s.Address, n.mapped("router"))
	public := startNode(t, n.wrapper("public"), filepath.Join(nodetest.Dir(t), "public"), "--name", "public", "--join", inside.invite(t)).up(t)
	if met := public.knows(t, s.Node, "msg=\"member connected"); !strings.Contains(met, "/11.77.0.3/") {
		t.Errorf("they have met at %s", met)
	}
	shareObjects(t, []*nodeProcess{inside, public})
	s = inside.status(t, "is found to be public", func(s control.Status) bool { return s.Reach.Public == "public" })
	if len(s.Reach.Relayed) > 0 {
		t.Errorf("it is relayed at %s", s.Reach.Relayed)
	}
	public.stop(t)
	inside.stop(t)
	if left := n.mapped("router"); left != "" {
		t.Errorf("the router still maps %s", left)
	}
}

// TestLyingGateway: whatever somebody on the local network answers who claims to be
// the router, the node starts, works, and stops.
func TestLyingGateway(t *testing.T) {
	for _, lies := range []string{"garbage", "endless", "endless answers", "silent answers"} {
		t.Run(lies, func(t *testing.T) {
			_, gateway, inside := behindGateway(t, lies)
			t.Parallel()
			if lies != "garbage" {
				gateway.await(t, gateway.out, 0, "the client has had enough")
			}
			s := statusJSON(t, inside.dir)
			if strings.Contains(s.Address, "/11.77.0.3/") {
				t.Errorf("it takes %s for its address", s.Address)
			}
			inside.stop(t)
		})
	}
}

// TestReach: members with public addresses find out that they are reached, and relay
// for two that find out that they are not; these meet at the relay and then
// punch a hole through both their routers.
func TestReach(t *testing.T) {
	n := newNetwork(t)
	n.namespace("founder")
	n.namespace("public")
	cables := []string{n.plug("founder", "11.77.0.1"), n.plug("public", "11.77.0.2")}
	n.masquerade("router", "inside", "11.77.0.3")
	n.masquerade("other-router", "other", "11.77.0.4")
	t.Parallel()

	folder := nodetest.Dir(t)
	start := func(name string, flags ...string) *nodeProcess {
		return startNode(t, n.wrapper(name), filepath.Join(folder, name), append(flags, "--name", name)...).up(t)
	}
	founder := start("founder")
	invitation := founder.invite(t, "--uses", "3")
	public := start("public", "--join", invitation)
	inside, other := start("inside", "--join", invitation), start("other", "--join", invitation)
	for _, o := range []*nodeProcess{founder, public} {
		o.status(t, "is found to be public", func(s control.Status) bool { return s.Reach.Public == "public" })
		t.Logf("%s is public", filepath.Base(o.dir))
	}
	for _, o := range []*nodeProcess{inside, other} {
		s := o.status(t, "is relayed", func(s control.Status) bool { return len(s.Reach.Relayed) > 0 })
		t.Logf("%s is relayed: %s", s.Name, s.Reach.Relayed)
	}
	inside.meets(t, other)
	id := statusJSON(t, inside.dir).Node
	if first := other.knows(t, id, "msg=\"member connected"); !strings.Contains(first, "/p2p-circuit") {
		t.Errorf("they have met at %s", first)
	}
	shareObjects(t, []*nodeProcess{inside, other})
	t.Logf("then without a relay: %s", other.knows(t, id, "msg=\"member is reached without a relay"))
	for _, o := range []*nodeProcess{inside, other} {
		o.status(t, "is found to be private", func(s control.Status) bool { return s.Reach.Public == "private" })
	}
	t.Log("the relays are cut off")
	for _, cable := range cables {
		n.in(switchName, "ip", "link", "set", cable, "down")
	}
	shareObjects(t, []*nodeProcess{inside, other})
	for _, cable := range cables {
		n.in(switchName, "ip", "link", "set", cable, "up")
	}
	for _, o := range []*nodeProcess{inside, other, public, founder} {
		o.stop(t)
	}
}
