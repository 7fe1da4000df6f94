package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/nodetest"
)

// network is a small internet of network namespaces: machines at a switch, and one
// behind a router that masquerades. Nothing of it reaches beyond the namespaces.
type network struct {
	t      *testing.T
	prefix string
	ports  int
}

// networks counts those that were made.
var networks atomic.Int32

// switchName is the namespace that holds the switch.
const switchName = "switch"

// newNetwork makes the switch, or skips the test where namespaces cannot be made.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the real program, which the race detector does not see into")
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: network namespaces can be made by root only")
	}
	for tool, debian := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: the program %s is missing: Debian's package %s has it", tool, debian)
		}
	}
	n := &network{t: t, prefix: fmt.Sprintf("dugnad-%d-%d-", os.Getpid(), networks.Add(1))}
	if out, err := exec.Command("ip", "netns", "add", n.prefix+"try").CombinedOutput(); err != nil {
		t.Skipf("skipped: this system lets nobody make network namespaces: %s", bytes.TrimSpace(out))
	}
	n.do("ip", "netns", "del", n.prefix+"try")
	n.namespace(switchName)
	n.in(switchName, "ip", "link", "add", "sw", "type", "bridge")
	n.in(switchName, "ip", "link", "set", "sw", "up")
	return n
}

func (n *network) do(argv ...string) {
	n.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
}

// wrapper is what a command needs in front to run in a namespace.
func (n *network) wrapper(name string) []string {
	return []string{"ip", "netns", "exec", n.prefix + name}
}

func (n *network) in(name string, argv ...string) {
	n.t.Helper()
	n.do(append(n.wrapper(name), argv...)...)
}

// namespace makes a namespace, which goes with the test.
func (n *network) namespace(name string) {
	n.t.Helper()
	n.do("ip", "netns", "add", n.prefix+name)
	n.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", n.prefix+name).CombinedOutput(); err != nil {
			n.t.Errorf("namespace %s%s is left behind: %s", n.prefix, name, bytes.TrimSpace(out))
		}
	})
	n.in(name, "ip", "link", "set", "lo", "up")
}

// plug connects a namespace with the switch, and returns the switch's port.
func (n *network) plug(name, address string) (port string) {
	n.t.Helper()
	n.ports++
	port = fmt.Sprintf("port%d", n.ports)
	n.do("ip", "link", "add", "eth0", "netns", n.prefix+name, "type", "veth", "peer", "name", port, "netns", n.prefix+switchName)
	n.in(switchName, "ip", "link", "set", port, "master", "sw", "up")
	n.in(name, "ip", "address", "add", address+"/24", "dev", "eth0")
	n.in(name, "ip", "link", "set", "eth0", "up")
	return port
}

// masquerade makes a router at the switch, and a namespace behind it whose
// connections seem to be the router's. Nobody outside can open one to it, unless the
// router maps a port.
func (n *network) masquerade(router, inside, address string) {
	n.t.Helper()
	n.namespace(router)
	n.namespace(inside)
	n.plug(router, address)
	n.do("ip", "link", "add", "lan", "netns", n.prefix+router, "type", "veth", "peer", "name", "eth0", "netns", n.prefix+inside)
	n.in(router, "ip", "address", "add", "192.168.77.1/24", "dev", "lan")
	n.in(router, "ip", "link", "set", "lan", "up")
	n.in(inside, "ip", "address", "add", "192.168.77.2/24", "dev", "eth0")
	n.in(inside, "ip", "link", "set", "eth0", "up")
	n.in(inside, "ip", "route", "add", "default", "via", "192.168.77.1")
	if out, err := exec.Command("ip", append(n.wrapper(router)[1:], "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")...).CombinedOutput(); err != nil {
		n.t.Skipf("skipped: this system lets nobody route: %s", bytes.TrimSpace(out))
	}
	n.rules(router, "the kernel does not masquerade", `table ip nat {
	chain out { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }
	chain through { type filter hook forward priority filter; ct status dnat accept; iifname "eth0" ct state new drop; }
	chain in { type filter hook input priority filter; iifname "eth0" ct state new drop; }
}`)
}

// rules gives a router rules, or skips the test where the kernel does not know them.
func (n *network) rules(router, otherwise, rules string) {
	n.t.Helper()
	nft := exec.Command("ip", append(n.wrapper(router)[1:], "nft", "-f", "-")...)
	nft.Stdin = strings.NewReader(rules)
	if out, err := nft.CombinedOutput(); err != nil {
		n.t.Skipf("skipped: %s: %s", otherwise, bytes.TrimSpace(out))
	}
}

// unplug makes TestHosts leave the cable out until connections are given up, which
// takes half a minute, and not only until the ledger has noticed.
var unplug = flag.Bool("unplug", false, "leave the cable out until connections are given up")

// TestHosts runs the program on hosts of their own: founder and member with public
// addresses, and a member behind a NAT.
func TestHosts(t *testing.T) {
	n := newNetwork(t)
	n.namespace("founder")
	n.namespace("public")
	n.plug("founder", "11.77.0.1")
	cable := n.plug("public", "11.77.0.2")
	n.masquerade("router", "inside", "11.77.0.3")
	t.Parallel()

	folder := nodetest.Dir(t)
	start := func(name string, flags ...string) *nodeProcess {
		return startNode(t, n.wrapper(name), filepath.Join(folder, name), append(flags, "--name", name)...).up(t)
	}
	founder := start("founder")
	invitation := founder.invite(t, "--uses", "2")
	// Who never votes follows the ledger by a stream, and says when it breaks.
	public, inside := start("public", "--join", invitation, "--never-vote"), start("inside", "--join", invitation)
	nodes := []*nodeProcess{founder, public, inside}
	meet := func() {
		t.Helper()
		founder.meets(t, public, inside)
		public.meets(t, founder, inside)
		inside.meets(t, founder, public)
	}
	meet()
	leads := statusJSON(t, founder.dir)
	for _, o := range nodes[1:] {
		o.status(t, "follows the ledger", func(s control.Status) bool { return s.Ledger.Applied >= leads.Ledger.Applied && s.Grid == leads.Grid })
	}
	if s := statusJSON(t, inside.dir); strings.Contains(s.Address, "/127.") || !strings.Contains(s.Address, "/192.168.77.2/") {
		t.Errorf("the address behind the NAT is %s", s.Address)
	}
	shareObjects(t, nodes)
	awaitOffers(t, nodes)

	t.Log("a cable is pulled")
	id := statusJSON(t, public.dir).Node
	log, _ := public.errOut.read()
	n.in(switchName, "ip", "link", "set", cable, "down")
	public.await(t, public.errOut, len(log), "changes no longer come from this member")
	if *unplug {
		founder.status(t, "misses a member", func(s control.Status) bool { return !connected(s, id) })
	}
	t.Log("the cable is back")
	log, _ = public.errOut.read()
	n.in(switchName, "ip", "link", "set", cable, "up")
	public.await(t, public.errOut, len(log), "changes come from another member")
	meet()
	shareObjects(t, nodes)
	awaitOffers(t, nodes)
	for _, o := range nodes {
		o.stop(t)
	}
}
