package p2p

import (
	"context"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// apart keeps two members from dialling each other by themselves.
func apart(c *Config) { c.NeighboursMin, c.HolePunch, c.DHT = 1, false, false }

// Through a relay the hello is spoken as on any other connection, and streams work.
func TestThroughARelay(t *testing.T) {
	middle := founder(t, apart)
	service := must[*relay.Relay](t)(relay.New(middle.libp2p))
	defer service.Close()
	one, two := join(t, middle, RoleWorker, apart), join(t, middle, RoleClient, apart)
	info := peer.AddrInfo{ID: middle.self, Addrs: middle.libp2p.Addrs()}
	if _, err := circuit.Reserve(testContext(t), two.libp2p, info); err != nil {
		t.Fatal(err)
	}
	through := ma.StringCast(middle.libp2p.Addrs()[0].String() + "/p2p/" + middle.self.String() + "/p2p-circuit")
	if err := one.libp2p.Connect(testContext(t), peer.AddrInfo{ID: two.self, Addrs: []ma.Multiaddr{through}}); err != nil {
		t.Fatal(err)
	}
	if role, ok := one.RoleOf(two.Self()); !ok || role != RoleClient {
		t.Errorf("it is taken for %v, %v", role, ok)
	}
	eventually(t, "both are connected", func() bool { return connectedTo(one, two)() && connectedTo(two, one)() })
	two.Handle(testProtocol, echo)
	askEcho(t, one, two.Self(), "around the corner")
	for _, c := range one.swarm.ConnsToPeer(two.self) {
		if !relayed(c.RemoteMultiaddr()) {
			t.Errorf("they are connected through %v", c.RemoteMultiaddr())
		}
	}
}

// What AutoNAT says is what is told.
func TestReachability(t *testing.T) {
	first := founder(t, apart)
	for r, want := range map[network.Reachability]string{
		network.ReachabilityPublic: "public", network.ReachabilityPrivate: "private", network.ReachabilityUnknown: "unknown",
	} {
		first.reach.note(event.EvtLocalReachabilityChanged{Reachability: r})
		if got := first.Reachability().Public; got != want {
			t.Errorf("%v is told as %s", r, got)
		}
	}
	open, shut, untried := ma.StringCast("/ip4/192.0.2.1/tcp/1"), ma.StringCast("/ip4/192.0.2.1/tcp/2"), ma.StringCast("/ip4/192.0.2.1/tcp/3")
	first.reach.note(event.EvtHostReachableAddrsChanged{Reachable: []ma.Multiaddr{open}, Unreachable: []ma.Multiaddr{shut}, Unknown: []ma.Multiaddr{untried}})
	r := first.Reachability()
	if got := slices.Concat(r.Reachable, r.Unreachable, r.Unknown); !slices.Equal(got, addressTexts([]ma.Multiaddr{open, shut, untried})) {
		t.Errorf("reachability %+v", r)
	}
}

// When both sides dial at once to punch a hole, the one that libp2p calls the client
// says hello, and the other hears it, though it dialled as well.
func TestHolePunch(t *testing.T) {
	for _, protocol := range []int{ma.P_QUIC_V1, ma.P_TCP} {
		t.Run(ma.ProtocolWithCode(protocol).Name, func(t *testing.T) {
			middle := founder(t, apart)
			one, two := join(t, middle, RoleWorker, apart), join(t, middle, RoleClient, apart)
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			punch := func(from, to *Host, client bool, done chan<- error) {
				from.libp2p.Peerstore().AddAddrs(to.self, []ma.Multiaddr{listening(t, to, protocol)}, peerstore.TempAddrTTL)
				ctx := network.WithSimultaneousConnect(ctx, client, "test")
				_, err := from.swarm.DialPeer(network.WithForceDirectDial(ctx, "test"), to.self)
				done <- err
			}
			// The server's dial ends with the client's connection, or finds it there.
			waiting, dialling := make(chan error, 1), make(chan error, 1)
			go punch(two, one, false, waiting)
			go punch(one, two, true, dialling)
			if err := <-dialling; err != nil {
				t.Fatal(err)
			}
			eventually(t, "both are connected", func() bool { return connectedTo(one, two)() && connectedTo(two, one)() })
			cancel()
			<-waiting
			if !slices.Contains(one.Connected(), two.Self()) || !slices.Contains(two.Connected(), one.Self()) {
				t.Fatal("the connection did not last")
			}
			two.Handle(testProtocol, echo)
			askEcho(t, one, two.Self(), "through the hole")
		})
	}
}

// The side that waits in a hole punch hears the hello within Dial.
func TestHolePunchServerDials(t *testing.T) {
	middle := founder(t, apart)
	one, two := join(t, middle, RoleWorker, apart), join(t, middle, RoleClient, apart)
	from, to := listening(t, one, ma.P_QUIC_V1), listening(t, two, ma.P_QUIC_V1)
	served := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		ctx := network.WithSimultaneousConnect(testContext(t), false, "test")
		close(ready)
		conn, err := two.swarm.TransportForDialing(from).Dial(ctx, from, one.self)
		if err == nil {
			defer conn.Close()
		}
		served <- err
	}()
	<-ready
	// Which of accept and hole punch takes a connection depends on who is first, so
	// the client dials until the server was.
	for {
		select {
		case err := <-served:
			if err != nil {
				t.Fatal(err)
			}
			if role, ok := two.RoleOf(one.Self()); !ok || role != RoleWorker {
				t.Errorf("the server takes the client for %v, %v", role, ok)
			}
			return
		default:
		}
		conn, err := one.swarm.TransportForDialing(to).Dial(network.WithSimultaneousConnect(context.Background(), true, "test"), to, two.self)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
}
