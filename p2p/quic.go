package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

// quicTransport is libp2p's QUIC transport with the hello on the first stream of
// each connection.
type quicTransport struct {
	transport.Transport
	door  *door
	party *party
}

// quic makes the transport; libp2p calls it, for itself and for AutoNAT's dialler.
func (d *door) quic(key crypto.PrivKey, manager *quicreuse.ConnManager, gater connmgr.ConnectionGater, resources network.ResourceManager) (*quicTransport, error) {
	p, err := d.partyOf(key)
	if err != nil {
		return nil, err
	}
	inner, err := libp2pquic.NewTransport(key, manager, nil, gater, resources)
	if err != nil {
		return nil, fmt.Errorf("make QUIC transport: %w", err)
	}
	return &quicTransport{Transport: inner, door: d, party: p}, nil
}

// quicSockets makes what opens and shares the UDP sockets; Close closes it, after
// libp2p. It differs from libp2p's own only in listenDatagrams.
func (h *Host) quicSockets(reset quic.StatelessResetKey, token quic.TokenGeneratorKey, resources network.ResourceManager) (*quicreuse.ConnManager, error) {
	options := []quicreuse.Option{
		quicreuse.OverrideListenUDP(func(network string, at *net.UDPAddr) (net.PacketConn, error) {
			return listenDatagrams(network, at, h.refusals.hear)
		}),
		quicreuse.VerifySourceAddress(resources.VerifySourceAddress),
		quicreuse.ConnContext(func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
			return withConnectionScope(ctx, client, resources)
		}),
	}
	if h.cfg.Registerer != nil {
		options = append(options, quicreuse.EnableMetrics(h.cfg.Registerer))
	}
	var err error
	if h.sockets, err = quicreuse.NewConnManager(reset, token, options...); err != nil {
		return nil, fmt.Errorf("make QUIC sockets: %w", err)
	}
	return h.sockets, nil
}

// withConnectionScope asks the resource manager before anything is spent on a
// connection that comes in; ctx ends with that.
func withConnectionScope(ctx context.Context, client *quic.ClientInfo, resources network.ResourceManager) (context.Context, error) {
	address, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quic.Version1)
	if err != nil {
		address = nil // the bounds of an address do not apply, the others do
	}
	scope, err := resources.OpenConnection(network.DirInbound, false, address)
	if err != nil {
		return ctx, err
	}
	ctx = network.WithConnManagementScope(ctx, scope)
	context.AfterFunc(ctx, scope.Done)
	return ctx, nil
}

// Dial dials and speaks the hello. In a hole punch that this side was told to wait
// in, the other side dials.
func (t *quicTransport) Dial(ctx context.Context, address ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	punch, client, _ := network.GetSimultaneousConnect(ctx)
	if !punch { // whose first datagrams may be refused
		var done func()
		ctx, done = t.door.refusals.dialling(ctx, address)
		defer done()
	}
	conn, err := t.Transport.Dial(ctx, address, p)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errNobodyListens) {
			return nil, fmt.Errorf("dial %s: %w", address, cause)
		}
		return nil, err
	}
	if err := t.meet(ctx, conn, !punch || client); err != nil {
		return nil, err
	}
	return conn, nil
}

// meet speaks the hello on the first stream, and closes the connection when it
// fails.
func (t *quicTransport) meet(ctx context.Context, conn transport.CapableConn, dialled bool) error {
	ctx, cancel := context.WithTimeout(ctx, t.door.timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := t.speak(ctx, conn, dialled)
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		code := connRefused + network.ConnErrorCode(CodeOf(err))
		_ = conn.CloseWithError(code) // it ends either way
	}
	return err
}

func (t *quicTransport) speak(ctx context.Context, conn transport.CapableConn, dialled bool) error {
	var s network.MuxedStream
	var err error
	if dialled {
		s, err = conn.OpenStream(ctx)
	} else {
		s, err = conn.AcceptStream()
	}
	if err != nil {
		return fmt.Errorf("hello: %w: %w", errBroken, refusalOf(err))
	}
	err = t.door.meet(ctx, s, conn.RemotePeer(), conn.RemoteMultiaddr(), t.party, dialled)
	if err != nil {
		_ = s.CloseWrite() // the other side reads to the end, or not at all
		linger(s, err)
		return refusalOf(err)
	}
	_ = s.Close() // what was written goes out all the same
	return nil
}

// Listen listens; each connection's hello is spoken at the same time as others'.
func (t *quicTransport) Listen(address ma.Multiaddr) (transport.Listener, error) {
	inner, err := t.Transport.Listen(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &quicListener{Listener: inner, transport: t, ctx: ctx, cancel: cancel, met: make(chan transport.CapableConn), ended: make(chan struct{})}
	l.wg.Go(l.run)
	return l, nil
}

// ListenOrder puts QUIC before the transports that share its port.
func (t *quicTransport) ListenOrder() int { return libp2pquic.ListenOrder }

// Close closes the transport below, where it can be.
func (t *quicTransport) Close() error {
	if c, ok := t.Transport.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// String names the transport in libp2p's messages.
func (t *quicTransport) String() string { return "QUIC with hello" }

// quicListener hands out connections whose hello went well.
type quicListener struct {
	transport.Listener
	transport *quicTransport
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	met       chan transport.CapableConn
	ended     chan struct{} // run has returned, err is set
	err       error
}

func (l *quicListener) run() {
	defer close(l.ended)
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			return
		}
		release, ok := l.transport.door.slots.take(conn.RemoteMultiaddr())
		if !ok {
			l.transport.door.metrics.limit("handshakes")
			_ = conn.CloseWithError(connRefused + network.ConnErrorCode(CodeBusy)) // it is gone either way
			continue
		}
		l.wg.Go(func() { l.meet(conn, release) })
	}
}

func (l *quicListener) meet(conn transport.CapableConn, release func()) {
	err := l.transport.meet(l.ctx, conn, false)
	release()
	if err != nil {
		return
	}
	select {
	case l.met <- conn:
	case <-l.ctx.Done():
		conn.Close()
	}
}

// Accept returns the next connection of a member.
func (l *quicListener) Accept() (transport.CapableConn, error) {
	select {
	case conn := <-l.met:
		return conn, nil
	case <-l.ended:
		return nil, l.err
	}
}

// Close stops listening and waits for the hellos under way, which it cuts short.
func (l *quicListener) Close() error {
	l.cancel()
	err := l.Listener.Close()
	l.wg.Wait()
	return err
}
