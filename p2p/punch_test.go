package p2p

import (
	"errors"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// A member that is reached through a relay only is tried with again and again, more
// and more rarely, a few at once, and only by the side that was connected to.
func TestPunches(t *testing.T) {
	p, now := &puncher{tries: map[peer.ID]*punch{}}, testTime
	expect := func(what string, got []peer.ID, want ...peer.ID) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	expect("libp2p goes first", p.choose([]peer.ID{"a"}, now))
	now = now.Add(2 * punchFirst)
	expect("then this node", p.choose([]peer.ID{"a"}, now), "a")
	expect("once at a time", p.choose([]peer.ID{"a"}, now))
	p.answered("a", errors.New("no way through"), now)
	expect("not at once again", p.choose([]peer.ID{"a"}, now.Add(punchFirst)))
	now = now.Add(4 * punchFirst)
	expect("but later", p.choose([]peer.ID{"a"}, now), "a")
	for range 100 {
		p.answered("a", errors.New("no way through"), now)
	}
	now = now.Add(2 * punchMax)
	expect("for ever", p.choose([]peer.ID{"a"}, now), "a")
	p.answered("a", nil, now)
	p.choose(nil, now)
	if len(p.tries) != 0 {
		t.Errorf("%d members are remembered", len(p.tries))
	}
	many := []peer.ID{"a", "b", "c", "d", "e", "f"}
	p.choose(many, now)
	expect("a few at once", p.choose(many, now.Add(2*punchFirst)), many[:punchesMax]...)
}

// What members see of this node counts on ports that it listens on, while the
// connection lasts, and what most of them see comes first.
func TestObserve(t *testing.T) {
	first := founder(t)
	port := portOf(listening(t, first, ma.P_TCP))
	see := func(id, local, remote, observed string) *observedConn {
		c := &observedConn{id: id, local: ma.StringCast(local), remote: ma.StringCast(remote)}
		first.observe(event.EvtPeerIdentificationCompleted{Conn: c, ObservedAddr: ma.StringCast(observed)})
		return c
	}
	own, member := "/ip4/192.168.1.2"+port, "/ip4/8.8.4.4/tcp/4610"
	see("1", own, member, "/ip4/8.8.8.1/tcp/1")
	last := see("2", own, member, "/ip4/8.8.8.2/tcp/1")
	see("3", own, member, "/ip4/8.8.8.2/tcp/1")
	see("4", own, member, "/ip4/192.168.1.2/tcp/1")
	see("5", "/ip4/192.168.1.2/tcp/1", member, "/ip4/8.8.8.5/tcp/1")
	see("6", own, member+"/p2p/"+string(first.Self())+"/p2p-circuit", "/ip4/8.8.8.6/tcp/1")
	if got, want := addressTexts(first.punchAddresses()), []string{"/ip4/8.8.8.2/tcp/1", "/ip4/8.8.8.1/tcp/1"}; !slices.Equal(got, want) {
		t.Errorf("it is seen at %q, want %q", got, want)
	}
	first.puncher.unobserve(last)
	see("3", own, member, "/ip4/8.8.8.3/tcp/1")
	if got, want := addressTexts(first.punchAddresses()), []string{"/ip4/8.8.8.1/tcp/1", "/ip4/8.8.8.3/tcp/1"}; !slices.Equal(got, want) {
		t.Errorf("later it is seen at %q, want %q", got, want)
	}
}

// observedConn is a connection with nothing but its addresses.
type observedConn struct {
	network.Conn
	id            string
	local, remote ma.Multiaddr
}

func (c *observedConn) ID() string                    { return c.id }
func (c *observedConn) IsClosed() bool                { return false }
func (c *observedConn) LocalMultiaddr() ma.Multiaddr  { return c.local }
func (c *observedConn) RemoteMultiaddr() ma.Multiaddr { return c.remote }

// The ports that a router is asked to map are those that others reach, in IPv4.
func TestPortsToMap(t *testing.T) {
	var addresses []ma.Multiaddr
	for _, text := range []string{
		"/ip4/0.0.0.0/udp/4610/quic-v1", "/ip4/0.0.0.0/tcp/4610", "/ip4/192.168.1.2/tcp/4610", "/ip6/::/tcp/4611",
		"/ip4/127.0.0.1/tcp/4612", "/p2p-circuit", "/ip4/224.0.0.1/udp/4613",
	} {
		addresses = append(addresses, ma.StringCast(text))
	}
	ports := portsOf(addresses)
	if len(ports) != 2 || ports[0].Protocol != "tcp" || ports[1].Protocol != "udp" || ports[0].Number != 4610 || ports[1].Number != 4610 {
		t.Errorf("ports %v", ports)
	}
	if _, rest, ok := portToMap(addresses[0]); !ok || rest.String() != "/quic-v1" {
		t.Errorf("what follows the port is %v, %v", rest, ok)
	}
}

// When there are too many addresses to tell, local ones are left out first.
func TestByReach(t *testing.T) {
	local, public := ma.StringCast("/ip4/10.0.0.1/tcp/1"), ma.StringCast("/ip4/8.8.8.8/tcp/1")
	at := ma.StringCast("/ip4/8.8.4.4/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit")
	want := addressTexts([]ma.Multiaddr{public, at, local})
	if got := addressTexts(byReach([]ma.Multiaddr{local, at, public})); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
