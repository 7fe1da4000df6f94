package p2p

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// dialBackTimeout bounds the dial to one address.
	dialBackTimeout = 4 * time.Second
	// dialBackMax bounds the addresses that are dialled back at.
	dialBackMax = 8
	// dialBackPause is between two dial-backs for the same member.
	dialBackPause = 2 * time.Second
	// dialBacksMax bounds the dial-backs under way.
	dialBacksMax = 4
)

// DialBackReport is what another member sees of this node.
type DialBackReport struct {
	// Observed is where this node's connection comes from, as the other sees it.
	Observed string
	// Attempts are the dials, in the order of the addresses.
	Attempts []DialBackAttempt
}

// DialBackAttempt is a dial to one of this node's addresses.
type DialBackAttempt struct {
	Address string
	// Problem is empty when the dial went well.
	Problem string
}

// DialBack asks a member to dial this node back, at each of its addresses, as
// somebody who was never connected with it would. The member dials no other
// machine than the one that it sees this node at.
func (h *Host) DialBack(ctx context.Context, by NodeID) (DialBackReport, error) {
	p, err := by.peer()
	if err != nil {
		return DialBackReport{}, fmt.Errorf("dial back: %w", err)
	}
	var question []byte
	for i, a := range h.libp2p.Addrs() {
		if i < dialBackMax && len(a.Bytes()) <= AddressBytesMax {
			question = appendBytes(question, a.Bytes())
		}
	}
	answer, err := h.ask(ctx, p, protocolDialBack, question, helloBytesMax)
	if err != nil {
		return DialBackReport{}, fmt.Errorf("dial back: %w", err)
	}
	return decodeDialBack(answer)
}

func decodeDialBack(b []byte) (DialBackReport, error) {
	r := reader{b: b}
	out := DialBackReport{Observed: plain(string(r.bytes(4*AddressBytesMax)), 4*AddressBytesMax)}
	for r.err == nil && len(r.b) > 0 && len(out.Attempts) < dialBackMax {
		out.Attempts = append(out.Attempts, DialBackAttempt{
			Address: r.address(), Problem: plain(string(r.bytes(refusalTextMax)), refusalTextMax),
		})
	}
	if err := r.done(); err != nil {
		return DialBackReport{}, fmt.Errorf("dial back: %w", err)
	}
	return out, nil
}

// dialBacks bounds what others can make this node dial.
type dialBacks struct {
	mu    sync.Mutex
	n     int
	since map[peer.ID]time.Time
}

func (d *dialBacks) enter(p peer.ID, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for other, since := range d.since {
		if now.Sub(since) > dialBackPause {
			delete(d.since, other)
		}
	}
	if _, soon := d.since[p]; soon || d.n >= dialBacksMax {
		return fmt.Errorf("%w: dial-backs", ErrBusy)
	}
	if d.since == nil {
		d.since = map[peer.ID]time.Time{}
	}
	d.n++
	d.since[p] = now
	return nil
}

func (d *dialBacks) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n--
}

func (h *Host) answerDialBack(ctx context.Context, from peer.ID, question []byte) ([]byte, error) {
	if err := h.dialBacks.enter(from, time.Now()); err != nil {
		h.metrics.limit("dial_backs")
		return nil, err
	}
	defer h.dialBacks.leave()
	conns := h.swarm.ConnsToPeer(from)
	i := slices.IndexFunc(conns, func(c network.Conn) bool { return !relayed(c.RemoteMultiaddr()) })
	if i < 0 {
		return nil, fmt.Errorf("%w: it comes through a relay", ErrUnreachable)
	}
	observed := conns[i].RemoteMultiaddr()
	dialler, err := h.stranger()
	if err != nil {
		return nil, err
	}
	defer dialler.Close() //nolint:errcheck // it has done its work
	answer := appendBytes(nil, observed.String())
	r := reader{b: question}
	for n := 0; n < dialBackMax && r.err == nil && len(r.b) > 0; n++ {
		a, err := ma.NewMultiaddrBytes(r.bytes(AddressBytesMax))
		if err != nil || len(a) == 0 {
			r.fail("address")
			break
		}
		answer = appendBytes(answer, a.Bytes())
		answer = appendBytes(answer, plain(h.tryBack(ctx, dialler, from, a, observed), refusalTextMax))
	}
	return answer, r.done()
}

// tryBack dials one address and says what went wrong.
func (h *Host) tryBack(ctx context.Context, from *stranger, p peer.ID, a, observed ma.Multiaddr) string {
	ip, err := manet.ToIP(a)
	seen, wrong := manet.ToIP(observed)
	switch {
	case relayed(a):
		return "not tried: it goes through a relay"
	case err != nil || wrong != nil || !ip.Equal(seen):
		return "not tried: this node is not seen there"
	case from.swarm.TransportForDialing(a) == nil:
		return "not tried: no transport"
	}
	ctx, cancel := context.WithTimeout(ctx, dialBackTimeout)
	defer cancel()
	conn, err := from.swarm.TransportForDialing(a).Dial(ctx, a, p)
	var refusal *Refusal
	switch {
	case err == nil:
		conn.Close()
		return ""
	case errors.As(err, &refusal):
		return refusal.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	default:
		return err.Error()
	}
}

// stranger is a dialler that has nothing in common with the node's own host.
type stranger struct {
	host.Host
	swarm *swarm.Swarm
}

// stranger makes a dialler with a key and ports of its own: what this node's own
// connections have opened in a router does not help it. It is a deputy.
func (h *Host) stranger() (*stranger, error) {
	key, err := NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	private, err := key.libp2p()
	if err != nil {
		return nil, err
	}
	options := append(h.transports(), libp2p.Identity(private), libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.Ping(false),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery())
	made, err := libp2p.New(append(options, quietMetrics()...)...)
	if err != nil {
		return nil, fmt.Errorf("make dialler: %w", err)
	}
	return &stranger{made, made.Network().(*swarm.Swarm)}, nil
}
