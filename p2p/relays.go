package p2p

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// placesWanted is at how many relays a node that is not public has a place.
	placesWanted = 2
	// placesAsked bounds the relays that are asked at the same time.
	placesAsked = 4
	// placeRefresh is how often a place is asked for again: a relay that has
	// forgotten it does not say so.
	placeRefresh = time.Minute
	// placeBeat is how often a node that wants a place looks, whatever happens.
	placeBeat = 5 * time.Second
	// placePatience is how long a relay may take to answer before another one is
	// asked, placePause how long one that refused is left alone.
	placePatience = 10 * time.Second
	placePause    = 20 * time.Second
	// placeAddressesMax bounds the addresses that are announced for one relay.
	placeAddressesMax = 2
	// relayTag keeps the connections with relays open.
	relayTag = "dugnad/relay"
)

// place is what this node has, or asks for, at one relay.
type place struct {
	held bool
	// again is when to ask next, expires when the relay forgets the place.
	again, expires time.Time
	// asked says that the relay has not answered yet, slow that it takes too long,
	// lost that the connection was lost meanwhile, so that the answer is void.
	asked, slow, lost bool
}

// places are this node's at relays. They are safe for concurrent use.
type places struct {
	mu sync.Mutex
	at map[peer.ID]*place
	// changed is signalled when there may be something to do.
	changed chan struct{}
}

func newPlaces() *places {
	return &places{at: map[peer.ID]*place{}, changed: make(chan struct{}, 1)}
}

// choose returns whom to ask now, and notes that they are asked: those relays that
// are due again, and as many others as are wanted. It forgets who relays no more.
func (s *places) choose(relays []peer.ID, now time.Time) (ask []peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted, asked := placesWanted, 0
	for id, p := range s.at {
		switch {
		case p.asked:
			asked++
		case !slices.Contains(relays, id):
			delete(s.at, id)
			continue
		case p.held && !p.expires.After(now):
			*p = place{}
		case p.held && !p.again.After(now):
			ask = append(ask, id)
		}
		if p.held || p.asked && !p.slow {
			wanted--
		}
	}
	rand.Shuffle(len(relays), func(i, j int) { relays[i], relays[j] = relays[j], relays[i] })
	for _, id := range relays {
		p := s.at[id]
		idle := p == nil || !p.held && !p.asked && !p.again.After(now)
		if idle && wanted > 0 && asked+len(ask) < placesAsked {
			ask = append(ask, id)
			wanted--
		}
	}
	for _, id := range ask {
		if s.at[id] == nil {
			s.at[id] = &place{}
		}
		s.at[id].asked = true
	}
	return ask
}

// answered notes what a relay has answered.
func (s *places) answered(id peer.ID, expires time.Time, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.at[id]
	switch {
	case p.lost:
		delete(s.at, id)
	case err != nil:
		*p = place{again: now.Add(jitter(placePause))}
	default:
		*p = place{held: true, again: now.Add(jitter(placeRefresh)), expires: expires}
	}
	signal(s.changed)
}

// late notes that a relay takes too long to answer.
func (s *places) late(id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.at[id]; p != nil && p.asked {
		p.held, p.slow = false, true
		signal(s.changed)
	}
}

// lose notes that no connection with a member is left: then a relay drops the place.
func (s *places) lose(id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.at[id]
	switch {
	case p == nil:
		return
	case p.asked:
		p.held, p.lost = false, true
	default:
		delete(s.at, id)
	}
	signal(s.changed)
}

// held returns the relays where this node has a place, sorted.
func (s *places) held() []peer.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []peer.ID
	for id, p := range s.at {
		if p.held {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// keepPlaces has places at relays for as long as no way to this node from outside is
// known, and announces them. libp2p leaves them out of the node's addresses
// while AutoNAT has confirmed one of its own.
func (h *Host) keepPlaces() {
	told, err := h.libp2p.EventBus().Emitter(new(event.EvtAutoRelayAddrsUpdated), eventbus.Stateful)
	if err != nil {
		h.log.Warn("addresses at relays cannot be announced", "error", err)
		return
	}
	defer told.Close()
	var asking sync.WaitGroup
	defer asking.Wait()
	var at []peer.ID
	var announced []ma.Multiaddr
	for {
		for _, id := range h.places.choose(h.relays(), time.Now()) {
			asking.Go(func() { h.askForPlace(id) })
		}
		at = h.protectRelays(at)
		if addresses := h.placeAddresses(at); !slices.EqualFunc(addresses, announced, ma.Multiaddr.Equal) {
			announced = addresses
			if err := told.Emit(event.EvtAutoRelayAddrsUpdated{RelayAddrs: slices.Clone(addresses)}); err != nil {
				h.log.Warn("addresses at relays were not announced", "error", err)
			}
		}
		timer := time.NewTimer(placeBeat)
		select {
		case <-h.ctx.Done():
			timer.Stop()
			return
		case <-h.places.changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// askForPlace asks one relay, on the connection that there is.
func (h *Host) askForPlace(id peer.ID) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(h.ctx, "ask for a place"), placePatience)
	defer cancel()
	// libp2p bounds the time for the answer by itself, and more generously.
	stop := context.AfterFunc(ctx, func() { h.places.late(id) })
	defer stop()
	r, err := circuit.Reserve(ctx, h.libp2p, peer.AddrInfo{ID: id})
	outcome, expires := "granted", time.Time{}
	if err != nil {
		outcome = "refused"
		h.log.Debug("a relay grants no place", "member", id, "error", err)
	} else {
		expires = r.Expiration
	}
	h.metrics.placesAsked.WithLabelValues(outcome).Inc()
	h.places.answered(id, expires, err, time.Now())
}

// relays returns the connected members that relay: none when this node needs none.
func (h *Host) relays() []peer.ID {
	if h.reach.reached() {
		return nil
	}
	return slices.DeleteFunc(h.book.online(), func(id peer.ID) bool { return !h.isRelay(id) })
}

// isRelay says whether a connected member offers to relay, at a public address, and
// the connection with it is not relayed itself.
func (h *Host) isRelay(id peer.ID) bool {
	direct := func(c network.Conn) bool { return !relayed(c.RemoteMultiaddr()) }
	if len(publicAddresses(h.book.addresses(id))) == 0 || !slices.ContainsFunc(h.swarm.ConnsToPeer(id), direct) {
		return false
	}
	relays, err := h.libp2p.Peerstore().SupportsProtocols(id, proto.ProtoIDv2Hop)
	return err == nil && len(relays) > 0
}

func publicAddresses(addresses []ma.Multiaddr) []ma.Multiaddr {
	return slices.DeleteFunc(slices.Clone(addresses), func(a ma.Multiaddr) bool { return !manet.IsPublicAddr(a) || relayed(a) })
}

// protectRelays keeps the connections with relays open that would be closed for want
// of streams. It returns the relays.
func (h *Host) protectRelays(before []peer.ID) []peer.ID {
	at := h.places.held()
	for _, id := range at {
		if !slices.Contains(before, id) {
			h.log.Info("a member relays for this node", "member", id)
			h.libp2p.ConnManager().Protect(id, relayTag)
		}
	}
	for _, id := range before {
		if !slices.Contains(at, id) {
			h.log.Info("a member relays for this node no longer", "member", id)
			h.libp2p.ConnManager().Unprotect(id, relayTag)
		}
	}
	h.metrics.places.Set(float64(len(at)))
	return at
}

// placeAddresses returns the addresses of this node at relays.
func (h *Host) placeAddresses(at []peer.ID) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, id := range at {
		through := ma.StringCast("/p2p/" + id.String() + "/p2p-circuit")
		addresses := publicAddresses(h.book.addresses(id))
		slices.SortFunc(addresses, ma.Multiaddr.Compare)
		for _, a := range addresses[:min(len(addresses), placeAddressesMax)] {
			if a = a.Encapsulate(through); len(a.Bytes()) <= AddressBytesMax {
				out = append(out, a)
			}
		}
	}
	return out
}
