package p2p

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	multistream "github.com/multiformats/go-multistream"
)

const (
	// refusedPatience is how long a member may take to answer after its machine has
	// said that nobody listens there. That can be pretended, so it is not believed
	// alone.
	refusedPatience = 500 * time.Millisecond
	// refusedQueued bounds the addresses that wait to be looked at; what is above is
	// said again with the next datagram.
	refusedQueued = 64
)

// errNobodyListens is the cause when a machine refuses datagrams.
var errNobodyListens = fmt.Errorf("nobody listens there: %w", syscall.ECONNREFUSED)

// refusals are the addresses whose machines say that nobody listens there. A process
// that is killed says no goodbye over QUIC, which would take half a minute to find
// out; its machine refuses what comes for it from then on.
type refusals struct {
	// heard has addresses for keepRefusals.
	heard chan netip.AddrPort

	mu    sync.Mutex
	dials map[netip.AddrPort]map[*context.CancelCauseFunc]struct{}
}

func newRefusals() *refusals {
	return &refusals{
		heard: make(chan netip.AddrPort, refusedQueued), dials: map[netip.AddrPort]map[*context.CancelCauseFunc]struct{}{},
	}
}

// hear ends the dials to an address. It does not block.
func (r *refusals) hear(at netip.AddrPort) {
	r.mu.Lock()
	for cancel := range r.dials[at] {
		(*cancel)(errNobodyListens)
	}
	r.mu.Unlock()
	select {
	case r.heard <- at:
	default:
	}
}

// dialling returns a context that ends when the address refuses, until done is called.
func (r *refusals) dialling(ctx context.Context, address ma.Multiaddr) (_ context.Context, done func()) {
	at, ok := quicAddress(address)
	if !ok {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dials[at] == nil {
		r.dials[at] = map[*context.CancelCauseFunc]struct{}{}
	}
	r.dials[at][&cancel] = struct{}{}
	return ctx, func() {
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		if delete(r.dials[at], &cancel); len(r.dials[at]) == 0 {
			delete(r.dials, at)
		}
	}
}

// quicAddress returns where an address of QUIC is; relayed ones are nowhere.
func quicAddress(a ma.Multiaddr) (netip.AddrPort, bool) {
	if relayed(a) {
		return netip.AddrPort{}, false
	}
	udp, _, err := quicreuse.FromQuicMultiaddr(a)
	if err != nil {
		return netip.AddrPort{}, false
	}
	at := udp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), true
}

// keepRefusals ends connections with members whose machine says that nobody listens,
// and who do not say otherwise.
func (h *Host) keepRefusals() {
	for {
		select {
		case at := <-h.refusals.heard:
			var asking sync.WaitGroup
			for _, c := range h.swarm.Conns() {
				if is, ok := quicAddress(c.RemoteMultiaddr()); ok && is == at {
					asking.Go(func() { h.endIfGone(c) })
				}
			}
			asking.Wait()
		case <-h.ctx.Done():
			return
		}
	}
}

// endIfGone ends a connection on which nobody answers.
func (h *Host) endIfGone(c network.Conn) {
	ctx, cancel := context.WithTimeout(h.ctx, refusedPatience)
	defer cancel()
	if answers(ctx, c) || h.ctx.Err() != nil || c.IsClosed() {
		return
	}
	h.log.Info("member's process is gone", "member", c.RemotePeer(), "address", c.RemoteMultiaddr())
	if err := c.Close(); err != nil {
		h.log.Debug("connection was not closed", "member", c.RemotePeer(), "error", err)
	}
}

// answers reports whether the other side answers anything before ctx ends.
func answers(ctx context.Context, c network.Conn) bool {
	s, err := c.NewStream(ctx)
	if err != nil {
		return ctx.Err() == nil
	}
	defer s.Reset() //nolint:errcheck // nothing more is read
	if at, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(at)
	}
	_, err = multistream.SelectOneOf([]protocol.ID{protocolPeers}, s)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
