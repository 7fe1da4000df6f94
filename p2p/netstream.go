package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	multistream "github.com/multiformats/go-multistream"
)

// netStream is a Stream over libp2p's.
type netStream struct {
	network.Stream
	self, remote NodeID
	once         sync.Once
	ended        chan struct{} // closed by Close and Reset
	release      func()
}

func newStream(s network.Stream, release func()) *netStream {
	return &netStream{
		Stream: s, self: idOf(s.Conn().LocalPeer()), remote: idOf(s.Conn().RemotePeer()),
		ended: make(chan struct{}), release: release,
	}
}

// Remote is the member at the other end.
func (s *netStream) Remote() NodeID { return s.remote }

// LocalAddr is this node, RemoteAddr the other one.
func (s *netStream) LocalAddr() net.Addr  { return nodeAddr(s.self) }
func (s *netStream) RemoteAddr() net.Addr { return nodeAddr(s.remote) }

// Read reads what the other side wrote. The error is ErrBusy when the stream was
// one too many for the other side.
func (s *netStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	return n, streamError(err)
}

// Write writes to the other side.
func (s *netStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	return n, streamError(err)
}

// Close ends both directions; what was written still goes out. It waits for nothing
// from the other side, as libp2p's Close does for the answer to the protocol's name:
// whoever reads is woken first.
func (s *netStream) Close() error {
	_ = s.CloseWrite() // Close says it again
	_ = s.CloseRead()
	err := s.Stream.Close()
	s.end()
	return err
}

// Reset ends both directions at once.
func (s *netStream) Reset() error {
	err := s.Stream.Reset()
	s.end()
	return err
}

func (s *netStream) end() {
	s.once.Do(func() {
		close(s.ended)
		s.release()
	})
}

func streamError(err error) error {
	var reset *network.StreamError
	if errors.Is(err, network.ErrResourceLimitExceeded) ||
		errors.As(err, &reset) && reset.Remote && reset.ErrorCode == network.StreamResourceLimitExceeded {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}

// nodeAddr is a member as a net.Addr.
type nodeAddr NodeID

// Network is "dugnad".
func (nodeAddr) Network() string { return "dugnad" }

// String is the member's id.
func (a nodeAddr) String() string { return string(a) }

// gates bounds the streams that this node opens, one gate per member and protocol:
// what is above the limit waits here, and not at the other side, which would reset
// it.
type gates struct {
	limit func(protocol string) StreamLimit
	mu    sync.Mutex
	open  map[gateKey]*gate
}

type gateKey struct {
	peer     peer.ID
	protocol string
}

type gate struct {
	places chan struct{}
	users  int
}

// enter waits for a place, which leave gives back.
func (g *gates) enter(ctx context.Context, key gateKey) (leave func(), err error) {
	g.mu.Lock()
	if g.open == nil {
		g.open = map[gateKey]*gate{}
	}
	one := g.open[key]
	if one == nil {
		one = &gate{places: make(chan struct{}, g.limit(key.protocol).PerPeer)}
		g.open[key] = one
	}
	one.users++
	g.mu.Unlock()
	leaveGate := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(g.open, key)
		}
	}
	select {
	case one.places <- struct{}{}:
		return func() { <-one.places; leaveGate() }, nil
	case <-ctx.Done():
		leaveGate()
		return nil, fmt.Errorf("%w: streams of %s: %w", ErrBusy, key.protocol, ctx.Err())
	}
}

// Open opens a stream to a member, dialling first when there is no connection. When
// ctx has ended the error wraps ctx.Err().
func (h *Host) Open(ctx context.Context, to NodeID, name string) (Stream, error) {
	p, err := to.peer()
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	leave, err := h.gates.enter(ctx, gateKey{p, name})
	if err != nil {
		h.metrics.limit("open_streams")
		return nil, fmt.Errorf("open stream to %s: %w", to, err)
	}
	s, err := h.openWaiting(ctx, p, protocol.ID(name))
	if err != nil {
		leave()
		return nil, fmt.Errorf("open stream to %s: %w", to, withCause(ctx, err))
	}
	h.hold(p)
	return newStream(s, func() { leave(); h.drop(p) }), nil
}

const (
	// openPause is between two tries when a limit of libp2p's is reached.
	openPause = 20 * time.Millisecond
	// lostMax bounds the tries when connections are lost under the stream.
	lostMax = 4
	// youngMax is the age from which a connection is taken to be one that the other
	// side keeps.
	youngMax = 5 * time.Second
)

// errLost is the cause when the connection went while a stream was opened. That is
// nothing unusual: when a member dials over QUIC and TCP at once it closes the
// connection that came second, which this side may have chosen.
var errLost = errors.New("connection was lost")

// withCause adds why ctx has ended, if it has: libp2p gives its deadline to
// connections, which say that in words of their own, perhaps a moment earlier.
func withCause(ctx context.Context, err error) error {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		<-ctx.Done()
	}
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}

// openWaiting waits while limits that others share are reached.
func (h *Host) openWaiting(ctx context.Context, p peer.ID, id protocol.ID) (network.Stream, error) {
	for lost := 0; ; {
		if h.ctx.Err() != nil {
			return nil, ErrClosed
		}
		s, err := h.openOnce(ctx, p, id)
		if err == nil {
			return s, nil
		}
		switch err = streamError(err); {
		case errors.Is(err, ErrBusy):
		case errors.Is(err, errLost) && lost < lostMax:
			lost++
		default:
			return nil, err
		}
		select {
		case <-time.After(openPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (h *Host) openOnce(ctx context.Context, p peer.ID, id protocol.ID) (network.Stream, error) {
	if p == h.self {
		return nil, fmt.Errorf("%w: it is this node", ErrUnknownMember)
	}
	if open := h.swarm.Connectedness(p); open != network.Connected && open != network.Limited {
		if err := h.connect(ctx, p); err != nil {
			return nil, err
		}
	}
	// A connection through a relay is good for everything, within the relay's limits.
	ctx = network.WithAllowLimitedConn(network.WithNoDial(ctx, "connected before"), "members")
	s, err := h.libp2p.NewStream(ctx, p, id)
	if err == nil {
		err = negotiate(ctx, s)
	}
	switch {
	case err == nil:
		return s, nil
	case errors.As(err, new(multistream.ErrNotSupported[protocol.ID])):
		return nil, fmt.Errorf("%w: %s", ErrNotHandled, id)
	default:
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
}

// negotiate waits, on a young connection, until the other side has taken the stream.
// libp2p would take that for granted where it knows the member's protocols, and a
// stream on a connection that the other side closes at once would fail later,
// when nobody can tell whether what was written has arrived.
func negotiate(ctx context.Context, s network.Stream) error {
	if _, done := s.(*swarm.Stream); done || time.Since(s.Conn().Stat().Opened) > youngMax {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	_, err := s.Read(nil) // the negotiation, and no byte behind it
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		_ = s.Reset() // it is of no use
		return fmt.Errorf("negotiate protocol: %w", err)
	}
	return nil
}

// holds counts the streams for which a connection must not be closed when there are
// too many connections.
type holds struct {
	mu sync.Mutex
	n  map[peer.ID]int
}

// hold keeps the connection with p until drop is called as often.
func (h *Host) hold(p peer.ID) {
	h.holds.mu.Lock()
	defer h.holds.mu.Unlock()
	if h.holds.n == nil {
		h.holds.n = map[peer.ID]int{}
	}
	if h.holds.n[p]++; h.holds.n[p] == 1 {
		h.libp2p.ConnManager().Protect(p, "streams")
	}
}

func (h *Host) drop(p peer.ID) {
	h.holds.mu.Lock()
	defer h.holds.mu.Unlock()
	if h.holds.n[p]--; h.holds.n[p] == 0 {
		delete(h.holds.n, p)
		h.libp2p.ConnManager().Unprotect(p, "streams")
	}
}
