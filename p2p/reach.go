package p2p

import (
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// Reachability is what this node has found out about how outsiders reach it.
type Reachability struct {
	// Public is "public", "private" or "unknown".
	Public string
	// Reachable are the addresses that another member has dialled back at,
	// Unreachable those where that failed, Unknown what nobody has tried.
	Reachable, Unreachable, Unknown []string
	// Relayed are the addresses through other members.
	Relayed []string
}

// reach keeps what libp2p's AutoNAT finds out.
type reach struct {
	mu     sync.Mutex
	public network.Reachability
	found  event.EvtHostReachableAddrsChanged
}

// reachOptions returns what makes and finds out ways to this node.
func (h *Host) reachOptions() []libp2p.Option {
	c := &h.cfg
	options := []libp2p.Option{libp2p.EnableNATService(), libp2p.EnableAutoNATv2(), libp2p.EnableRelay()}
	if c.PortMap {
		options = append(options, libp2p.NATManager(h.openPortMap))
	}
	if c.Relay {
		limits := relay.DefaultResources()
		limits.MaxReservations = c.RelayedMax
		limits.MaxReservationsPerIP = min(c.RelayedMax, c.ConnectionsPerIPMax)
		limits.MaxReservationsPerASN = c.RelayedMax
		limits.Limit = &relay.RelayLimit{Duration: c.RelayTimeMax, Data: c.RelayBytesMax}
		options = append(options, libp2p.EnableRelayService(relay.WithResources(limits)))
	}
	return options
}

// watchReach follows what AutoNAT finds out, and what members say of themselves that
// makes them relays.
func (h *Host) watchReach() error {
	kinds := []any{
		new(event.EvtLocalReachabilityChanged), new(event.EvtHostReachableAddrsChanged),
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated),
	}
	return h.watch("reachability", kinds, func(e any) {
		if e, ok := e.(event.EvtPeerIdentificationCompleted); ok {
			h.observe(e)
		}
		h.reach.note(e)
		signal(h.places.changed)
	})
}

// reached says whether outsiders are known to reach this node without a relay.
func (r *reach) reached() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.public == network.ReachabilityPublic || len(r.found.Reachable) > 0
}

func (r *reach) note(e any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case event.EvtLocalReachabilityChanged:
		r.public = e.Reachability
	case event.EvtHostReachableAddrsChanged:
		r.found = e
	}
}

// Reachability returns what is known now. It changes as other members dial back.
func (h *Host) Reachability() Reachability {
	h.reach.mu.Lock()
	defer h.reach.mu.Unlock()
	out := Reachability{
		Public:      map[network.Reachability]string{network.ReachabilityPublic: "public", network.ReachabilityPrivate: "private"}[h.reach.public],
		Reachable:   addressTexts(h.reach.found.Reachable),
		Unreachable: addressTexts(h.reach.found.Unreachable),
		Unknown:     addressTexts(h.reach.found.Unknown),
	}
	if out.Public == "" {
		out.Public = "unknown"
	}
	for _, a := range h.libp2p.Addrs() {
		if relayed(a) {
			out.Relayed = append(out.Relayed, a.String())
		}
	}
	return out
}

func addressTexts(addresses []ma.Multiaddr) []string {
	var out []string
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}
