package p2p

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
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
		options = append(options, libp2p.NATPortMap())
	}
	if c.HolePunch {
		options = append(options, libp2p.EnableHolePunching())
	}
	// A node that is found to be private takes a place at public members.
	options = append(options, libp2p.EnableAutoRelayWithPeerSource(h.relays,
		autorelay.WithMinInterval(relayBeat), autorelay.WithBootDelay(0), autorelay.WithBackoff(time.Minute)))
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

// relayBeat is how often a private node looks for relays among its neighbours.
const relayBeat = 2 * time.Second

// relays offers connected members with a public address.
func (h *Host) relays(ctx context.Context, n int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, n)
	defer close(out)
	for _, p := range h.book.online() {
		info := h.peerInfo(p)
		for _, a := range info.Addrs {
			if manet.IsPublicAddr(a) && !relayed(a) {
				select {
				case out <- info:
				case <-ctx.Done():
				default:
					return out
				}
				break
			}
		}
	}
	return out
}

// watchReach follows what AutoNAT finds out.
func (h *Host) watchReach() error {
	return h.watch("reachability", []any{new(event.EvtLocalReachabilityChanged), new(event.EvtHostReachableAddrsChanged)}, h.reach.note)
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
