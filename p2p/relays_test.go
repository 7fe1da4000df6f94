package p2p

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
)

// findOut has a host find out what AutoNAT would: on loopback AutoNAT says nothing.
func findOut(t *testing.T, h *Host, r network.Reachability) {
	t.Helper()
	emitter := must[event.Emitter](t)(h.libp2p.EventBus().Emitter(new(event.EvtLocalReachabilityChanged), eventbus.Stateful))
	t.Cleanup(func() { emitter.Close() })
	if err := emitter.Emit(event.EvtLocalReachabilityChanged{Reachability: r}); err != nil {
		t.Fatal(err)
	}
}

// outside makes a host announce an address that counts as public.
func outside(address string) func(*Config) {
	return func(c *Config) { c.Announce = []string{address} }
}

// through says whether a host announces addresses at relays, and only at these.
func through(h *Host, relays ...*Host) func() bool {
	return func() bool {
		var at []NodeID
		for _, text := range h.Reachability().Relayed {
			a := ma.StringCast(text)
			id, err := a.ValueForProtocol(ma.P_P2P)
			if err == nil {
				at = append(at, NodeID(id))
			}
		}
		var want []NodeID
		for _, r := range relays {
			want = append(want, r.Self())
		}
		slices.Sort(at)
		slices.Sort(want)
		return slices.Equal(slices.Compact(at), want)
	}
}

// A private node finds its relays among the members whenever they turn up, is
// reached there, and drops them when they go or are needed no more.
func TestRelayIsFoundAmongMembers(t *testing.T) {
	first := founder(t, apart, outside("/ip4/8.8.8.8/tcp/1"))
	shy, asker := join(t, first, RoleWorker, apart), join(t, first, RoleClient, apart)
	findOut(t, shy, network.ReachabilityPrivate)
	if !through(shy)() {
		t.Fatalf("it is relayed by nobody's leave: %v", shy.Reachability())
	}
	findOut(t, first, network.ReachabilityPublic)
	eventually(t, "the relay is found when it has become one", through(shy, first))
	at := ma.StringCast(shy.Reachability().Relayed[0])
	if err := asker.libp2p.Connect(testContext(t), peer.AddrInfo{ID: shy.self, Addrs: []ma.Multiaddr{at}}); err != nil {
		t.Fatal(err)
	}
	shy.Handle(testProtocol, echo)
	askEcho(t, asker, shy.Self(), "around the corner")

	second := join(t, first, RoleWorker, apart, outside("/ip4/8.8.4.4/tcp/1"))
	findOut(t, second, network.ReachabilityPublic)
	info := peer.AddrInfo{ID: second.self, Addrs: second.libp2p.Addrs()}
	if err := shy.libp2p.Connect(testContext(t), info); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second relay is found", through(shy, first, second))
	findOut(t, first, network.ReachabilityPrivate)
	eventually(t, "who relays no more is dropped", through(shy, second))
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "who is gone is dropped", through(shy))
	findOut(t, first, network.ReachabilityPublic)
	eventually(t, "the first relays again", through(shy, first))
	findOut(t, shy, network.ReachabilityPublic)
	eventually(t, "who is public needs no relay", through(shy))
}

// A place goes with the connection, at the relay as well: it is asked for again.
func TestPlaceIsAskedForAgain(t *testing.T) {
	first := founder(t, apart, outside("/ip4/8.8.8.8/tcp/1"))
	shy := join(t, first, RoleWorker, apart)
	findOut(t, first, network.ReachabilityPublic)
	eventually(t, "the relay is found", through(shy, first))
	gone := make(chan struct{}, 1)
	defer shy.Notify(func(_ NodeID, up bool) {
		if !up {
			signal(gone)
		}
	})()
	if err := shy.swarm.ClosePeer(first.self); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-testContext(t).Done():
		t.Fatal("the connection is there")
	}
	eventually(t, "the relay is found again", through(shy, first))
	other := join(t, first, RoleClient, apart)
	at := ma.StringCast(shy.Reachability().Relayed[0])
	if err := other.libp2p.Connect(testContext(t), peer.AddrInfo{ID: shy.self, Addrs: []ma.Multiaddr{at}}); err != nil {
		t.Error(err)
	}
}

// Only members with an address of their own, that say so, are asked to relay.
func TestWhoIsARelay(t *testing.T) {
	first := founder(t, apart)
	member := join(t, first, RoleWorker, apart)
	eventually(t, "they are connected", connectedTo(first, member))
	place := func(offers bool, addresses ...string) bool {
		first.book.mu.Lock()
		first.book.entries[member.self].addresses = parseAddresses(addresses)
		first.book.mu.Unlock()
		protocols := first.libp2p.Peerstore()
		if err := protocols.RemoveProtocols(member.self, proto.ProtoIDv2Hop); err != nil {
			t.Fatal(err)
		}
		if offers {
			if err := protocols.AddProtocols(member.self, proto.ProtoIDv2Hop); err != nil {
				t.Fatal(err)
			}
		}
		return first.isRelay(member.self)
	}
	eventually(t, "it is", func() bool { return place(true, "/ip4/127.0.0.1/tcp/1", "/ip4/8.8.4.4/tcp/1") })
	for _, address := range []string{"/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.1/tcp/1", "/ip4/8.8.8.8/tcp/1/p2p/" + string(first.Self()) + "/p2p-circuit"} {
		if place(true, address) {
			t.Errorf("a relay at %s", address)
		}
	}
	if place(false, "/ip4/8.8.4.4/tcp/1") {
		t.Error("who does not relay is a relay")
	}
}

// Which relays are asked, and when again.
func TestPlaces(t *testing.T) {
	s, now := newPlaces(), testTime
	relays := []peer.ID{"a", "b", "c", "d", "e", "f"}
	choose := func(among ...peer.ID) []peer.ID {
		ask := s.choose(slices.Clone(among), now)
		slices.Sort(ask)
		return ask
	}
	granted := func(id peer.ID) { s.answered(id, now.Add(time.Hour), nil, now) }
	expect := func(what string, got []peer.ID, want ...peer.ID) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	expect("nobody relays", choose())
	asked := choose(relays...)
	if len(asked) != placesWanted {
		t.Fatalf("%q are asked", asked)
	}
	expect("the answers are waited for", choose(relays...))
	s.late(asked[0])
	more := choose(relays...)
	if len(more) != 1 || slices.Contains(asked, more[0]) {
		t.Errorf("for a slow one %q are asked", more)
	}
	granted(asked[0]) // it was slow, not lost
	granted(asked[1])
	s.answered(more[0], time.Time{}, errors.New("full"), now)
	expect("both are held", s.held(), asked...)
	expect("nothing is wanted", choose(relays...))

	now = now.Add(placeRefresh * 2)
	expect("they are asked again", choose(relays...), asked...)
	s.lose(asked[0])
	expect("the connection is lost", s.held(), asked[1])
	granted(asked[0])
	expect("an answer from before is void", s.held(), asked[1])
	granted(asked[1])
	expect("another one than the one that is gone", choose(asked[1], more[0]), more[0])
	s.answered(more[0], time.Time{}, errors.New("full"), now)
	expect("who refused is left alone", choose(asked[1], more[0]))
	expect("it is no relay any more", choose(more[0]))
	expect("and is held no longer", s.held())
	now = now.Add(placePause * 2)
	expect("who refused is asked again", choose(more[0]), more[0])
	s.answered(more[0], now.Add(time.Second), nil, now)
	now = now.Add(time.Second)
	expect("when its time is over it is asked anew", choose(more[0]), more[0])
	expect("and is not held", s.held())
}

// Relays that never answer do not make this node ask everybody at once.
func TestPlacesAskedAtOnce(t *testing.T) {
	s, relays := newPlaces(), []peer.ID{"a", "b", "c", "d", "e", "f", "g", "h"}
	asked := 0
	for range relays {
		for _, id := range s.choose(slices.Clone(relays), testTime) {
			s.late(id)
			asked++
		}
	}
	if asked != placesAsked {
		t.Errorf("%d were asked, the limit is %d", asked, placesAsked)
	}
}
