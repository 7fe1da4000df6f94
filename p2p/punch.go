package p2p

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// punchBeat is how often members with nothing but relayed connections are
	// looked for.
	punchBeat = 5 * time.Second
	// punchFirst and punchMax are the waits after attempts that came to nothing.
	punchFirst = 5 * time.Second
	punchMax   = 10 * time.Minute
	// punchesMax bounds the attempts under way.
	punchesMax = 4
	// punchAddressesMax bounds the addresses that the other side is told.
	punchAddressesMax = 8
)

// puncher makes direct connections out of relayed ones. libp2p's service tries when
// a relayed connection comes, and not again: not even when neither side knew yet
// how it looks from outside, as nodes do not that have just been started.
type puncher struct {
	service *holepunch.Service

	mu sync.Mutex
	// observed is how this node looks from outside, by connection.
	observed map[string]ma.Multiaddr
	tries    map[peer.ID]*punch
}

// punch is what was tried with one member.
type punch struct {
	failures int
	again    time.Time
	now      bool
}

// openPuncher starts libp2p's service. It comes before the first connection.
func (h *Host) openPuncher() error {
	if !h.cfg.HolePunch {
		return nil
	}
	host, ok := h.libp2p.(interface{ IDService() identify.IDService })
	if !ok {
		return errors.New("punch holes: libp2p identifies nobody")
	}
	h.puncher = &puncher{observed: map[string]ma.Multiaddr{}, tries: map[peer.ID]*punch{}}
	var err error
	if h.puncher.service, err = holepunch.NewService(h.libp2p, host.IDService(), h.punchAddresses); err != nil {
		h.puncher = nil
		return fmt.Errorf("punch holes: %w", err)
	}
	return nil
}

// observe notes how a member sees this node, on a connection that goes through a
// port that this node listens on: other ports lead to nobody.
func (h *Host) observe(e event.EvtPeerIdentificationCompleted) {
	if h.puncher == nil || e.ObservedAddr == nil || relayed(e.Conn.RemoteMultiaddr()) || !manet.IsPublicAddr(e.ObservedAddr) {
		return
	}
	local := portOf(e.Conn.LocalMultiaddr())
	if !slices.ContainsFunc(h.swarm.ListenAddresses(), func(a ma.Multiaddr) bool { return portOf(a) == local }) {
		return
	}
	h.puncher.mu.Lock()
	defer h.puncher.mu.Unlock()
	h.puncher.observed[e.Conn.ID()] = e.ObservedAddr
	if e.Conn.IsClosed() {
		delete(h.puncher.observed, e.Conn.ID())
	}
}

// portOf returns the transport and the port of an address, "" for none.
func portOf(a ma.Multiaddr) string {
	for _, c := range a {
		if code := c.Protocol().Code; code == ma.P_UDP || code == ma.P_TCP {
			return c.String()
		}
	}
	return ""
}

// unobserve forgets what was seen on a connection that is closed.
func (p *puncher) unobserve(c network.Conn) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.observed, c.ID())
}

// punchAddresses returns where this node may be reached from outside if it dials the
// other way at the same time: its own public addresses, and those that members
// see it at, what most of them see first.
func (h *Host) punchAddresses() []ma.Multiaddr {
	out := publicAddresses(h.libp2p.Addrs())
	seen := map[string]int{}
	h.puncher.mu.Lock()
	for _, a := range h.puncher.observed {
		seen[string(a.Bytes())]++
	}
	h.puncher.mu.Unlock()
	var observed []ma.Multiaddr
	for b := range seen {
		if a, err := ma.NewMultiaddrBytes([]byte(b)); err == nil && !ma.Contains(out, a) {
			observed = append(observed, a)
		}
	}
	slices.SortFunc(observed, func(x, y ma.Multiaddr) int {
		return cmp.Or(cmp.Compare(seen[string(y.Bytes())], seen[string(x.Bytes())]), x.Compare(y))
	})
	out = append(out, observed...)
	return out[:min(len(out), punchAddressesMax)]
}

// keepPunching tries again what libp2p has tried once.
func (h *Host) keepPunching() {
	if h.puncher == nil {
		return
	}
	var punching sync.WaitGroup
	defer punching.Wait()
	tick := time.NewTicker(punchBeat)
	defer tick.Stop()
	ready := false
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		// The service waits without end to be ready, so it must have been for a beat.
		if ready {
			for _, id := range h.puncher.choose(h.roundabout(), time.Now()) {
				punching.Go(func() { h.puncher.answered(id, h.puncher.service.DirectConnect(id), time.Now()) })
			}
		}
		ready = slices.Contains(h.libp2p.Mux().Protocols(), holepunch.Protocol)
	}
}

// roundabout returns the members that have come through relays and are connected in
// no other way. It is for this side to begin: a connection has one that has come.
func (h *Host) roundabout() []peer.ID {
	return slices.DeleteFunc(h.book.online(), func(id peer.ID) bool {
		conns := h.swarm.ConnsToPeer(id)
		return !slices.ContainsFunc(conns, func(c network.Conn) bool { return c.Stat().Direction == network.DirInbound }) ||
			slices.ContainsFunc(conns, func(c network.Conn) bool { return !relayed(c.RemoteMultiaddr()) })
	})
}

// choose returns with whom to try now, and notes that it is tried.
func (p *puncher) choose(members []peer.ID, now time.Time) (try []peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	busy := 0
	for id, t := range p.tries {
		switch {
		case t.now:
			busy++
		case !slices.Contains(members, id):
			delete(p.tries, id)
		}
	}
	for _, id := range members {
		t := p.tries[id]
		if t == nil {
			// libp2p's own attempt goes first.
			p.tries[id] = &punch{again: now.Add(jitter(punchFirst))}
			continue
		}
		if !t.now && !t.again.After(now) && busy < punchesMax {
			t.now = true
			busy++
			try = append(try, id)
		}
	}
	return try
}

// answered notes how an attempt ended.
func (p *puncher) answered(id peer.ID, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tries[id]
	t.now = false
	if err != nil {
		t.failures++
	}
	t.again = now.Add(jitter(min(punchFirst<<min(t.failures, 20), punchMax)))
}
