package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

// childVariable makes the test binary a member of its own: its value is the
// invitation.
const childVariable = "DUGNAD_P2P_TEST_INVITATION"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := child(text); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// child joins, answers echoes, and leaves when its standard input ends.
func child(text string) error {
	started := time.Now()
	v, err := ParseInvitation(text)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "p2p-child-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg := loopbackConfig(dir)
	cfg.Invitation = v
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	h, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	h.Handle(testProtocol, echo)
	fmt.Println("member", h.Self(), time.Since(started).Microseconds())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// A second process joins by invitation, is asked something, and is killed: the
// founder notices.
func TestTwoProcesses(t *testing.T) {
	first := founder(t)
	text := must[string](t)(invite(t, first, RoleWorker, 1).Text())
	exe := must[string](t)(os.Executable())
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childVariable+"="+text)
	cmd.Stderr = os.Stderr
	in := must[io.WriteCloser](t)(cmd.StdinPipe())
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	started := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(waitMax, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 3 || fields[0] != "member" {
		in.Close()
		t.Fatalf("the child says %q: %v, %v", line, err, cmd.Wait())
	}
	t.Logf("member %v after the process was started, %s µs after Open was called", time.Since(started), fields[2])
	askEcho(t, first, NodeID(fields[1]), "hello, child")
	t.Logf("first answer after %v", time.Since(started))
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the founder notices", func() bool { return len(first.Connected()) == 0 })
}

// Members find each other through those that they know, and again after each has
// lost all others.
func TestGridFindsItselfAndHeals(t *testing.T) {
	first := founder(t)
	members := []*Host{first}
	for range 4 {
		members = append(members, join(t, first, RoleWorker))
	}
	for _, h := range members {
		eventually(t, "everybody is connected", func() bool { return len(h.Connected()) == len(members)-1 })
	}
	for _, h := range members {
		for _, p := range h.book.online() {
			if err := h.swarm.ClosePeer(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, h := range members {
		eventually(t, "everybody is connected again", func() bool { return len(h.Connected()) == len(members)-1 })
	}
}

// In the DHT a member is found by its id, and members by the grid's meeting point.
func TestFoundInTheDirectory(t *testing.T) {
	alone := func(c *Config) { c.NeighboursMin = 1 }
	first := founder(t, alone)
	second, third := join(t, first, RoleWorker, alone), join(t, first, RoleWorker, alone)
	for _, h := range []*Host{second, third} {
		eventually(t, "the founder is in the table", func() bool { return h.dht.Load().dht.RoutingTable().Size() > 0 })
	}
	if err := second.dht.Load().provide(testContext(t)); err != nil {
		t.Fatal(err)
	}
	third.book.forget(second.self)
	third.search()
	if len(third.book.addresses(second.self)) == 0 {
		t.Error("nobody is found at the meeting point")
	}
	if len(third.find(testContext(t), second.self)) == 0 {
		t.Error("a member is not found by its id")
	}
}

func TestExpelledEverywhere(t *testing.T) {
	first := founder(t)
	second := join(t, first, RoleWorker)
	third := join(t, first, RoleWorker)
	for _, pair := range [][2]*Host{{first, second}, {first, third}, {second, third}} {
		eventually(t, "connected", connectedTo(pair[0], pair[1]))
	}
	if err := second.Expel(third.Self()); !errors.Is(err, ErrNotAdmin) {
		t.Fatalf("a worker expels: %v", err)
	}
	if err := first.Expel(third.Self()); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*Host{first, second} {
		eventually(t, "the word has spread", func() bool { return slices.Contains(h.Expelled(), third.Self()) })
		eventually(t, "the connection has ended", func() bool { return !slices.Contains(h.Connected(), third.Self()) })
	}
	p := must[peer.ID](t)(second.Self().peer())
	// Until it has noticed that it was cut off it is connected.
	eventually(t, "the expelled node is told", func() bool { return errors.Is(third.connect(testContext(t), p), ErrExpelled) })
	// Who comes later hears of it, and remembers.
	fourth := join(t, first, RoleWorker, func(c *Config) { c.Invitation.Contacts = []Contact{second.Contact()} })
	eventually(t, "a newcomer hears of it", func() bool { return slices.Contains(fourth.Expelled(), third.Self()) })
	cfg := fourth.cfg
	if err := fourth.Close(); err != nil {
		t.Fatal(err)
	}
	if again := openHost(t, cfg); !slices.Contains(again.Expelled(), third.Self()) {
		t.Fatal("forgotten after a restart")
	}
}

// A deputy's connection is good for AutoNAT's dial-back and nothing else.
func TestDeputyIsNobodysMember(t *testing.T) {
	first := founder(t)
	second := join(t, first, RoleWorker)
	first.Handle(testProtocol, echo)
	deputy := must[*stranger](t)(second.stranger())
	defer deputy.Close()
	info := peer.AddrInfo{ID: first.self, Addrs: first.libp2p.Addrs()}
	if err := deputy.Connect(testContext(t), info); err != nil {
		t.Fatal(err)
	}
	if _, ok := first.RoleOf(idOf(deputy.ID())); ok || slices.Contains(first.Connected(), idOf(deputy.ID())) {
		t.Fatal("a deputy is taken for a member")
	}
	for _, id := range []string{testProtocol, "/ipfs/ping/1.0.0", protocolPeers, "/ipfs/id/1.0.0"} {
		s, err := deputy.swarm.NewStream(testContext(t), first.self)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(waitMax))
		// The negotiation as libp2p speaks it; what follows is reset.
		if _, err := io.WriteString(s, "\x13/multistream/1.0.0\n"+string(rune(len(id)+1))+id+"\n"); err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, s)
		var reset *network.StreamError
		if !errors.As(err, &reset) {
			t.Errorf("%s: %v", id, err)
		}
	}
	s := must[network.Stream](t)(deputy.NewStream(testContext(t), first.self, autonatv2.DialBackProtocol))
	s.Reset()
}

func TestDialBack(t *testing.T) {
	first := founder(t)
	second := join(t, first, RoleWorker, func(c *Config) {
		c.Announce = []string{"/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/4610"}
	})
	listening := addressTexts(second.swarm.ListenAddresses())
	report := must[DialBackReport](t)(second.DialBack(testContext(t), first.Self()))
	if !strings.HasPrefix(report.Observed, "/ip4/127.0.0.1/") || len(report.Attempts) != 4 {
		t.Fatalf("report %+v", report)
	}
	for _, a := range report.Attempts {
		switch {
		case a.Address == "/ip4/127.0.0.1/tcp/1" && (a.Problem == "" || strings.Contains(a.Problem, "not tried")):
			t.Errorf("nobody is at %s: %s", a.Address, a.Problem)
		case a.Address == "/ip4/192.0.2.1/tcp/4610" && !strings.Contains(a.Problem, "not seen there"):
			t.Errorf("%s: %s", a.Address, a.Problem)
		case slices.Contains(listening, a.Address) && a.Problem != "":
			t.Errorf("%s: %s", a.Address, a.Problem)
		}
	}
	if _, err := second.DialBack(testContext(t), first.Self()); err == nil {
		t.Error("a second dial-back at once is not refused")
	}
	if r := second.Reachability(); r.Public == "" {
		t.Errorf("reachability %+v", r)
	}
}

// Two nodes of one process share a registry, libp2p's own metrics included.
func TestMetricsOfTwoHosts(t *testing.T) {
	registry := prometheus.NewRegistry()
	shared := func(c *Config) { c.Registerer = registry }
	first := founder(t, shared)
	second := join(t, first, RoleWorker, shared)
	eventually(t, "connected", connectedTo(first, second))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, want := range []string{"dugnad_p2p_members_connected", "dugnad_p2p_hellos_total", "libp2p_rcmgr_connections"} {
		if !names[want] {
			t.Errorf("no metric %s", want)
		}
	}
}

// A node that is not of Dugnad gets no further than the first bytes.
func TestForeignNodeIsRefused(t *testing.T) {
	first := founder(t)
	foreign := must[host.Host](t)(libp2p.New(append(quietMetrics(), libp2p.NoListenAddrs)...))
	defer foreign.Close()
	for _, a := range first.libp2p.Addrs() {
		// Over QUIC the dialler is connected before the hello.
		err := foreign.Connect(testContext(t), peer.AddrInfo{ID: first.self, Addrs: []ma.Multiaddr{a}})
		if _, quic := a.ValueForProtocol(ma.P_QUIC_V1); quic != nil && err == nil {
			t.Errorf("%s: a foreign node was let in", a)
		}
		eventually(t, "cut off", func() bool { return len(foreign.Network().Conns()) == 0 })
		foreign.Peerstore().ClearAddrs(first.self)
	}
	if n := len(first.swarm.Conns()); n != 0 {
		t.Errorf("%d connections", n)
	}
}
