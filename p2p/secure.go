package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// secureProtocol is what two nodes agree on before the first handshake: nobody
// else speaks it, so that strangers are told apart by a few bytes.
const secureProtocol protocol.ID = "/dugnad/noise/1"

// secureTransport is Noise with the hello under the multiplexer: for TCP, and for
// connections through a relay.
type secureTransport struct {
	*noise.Transport
	door  *door
	party *party
}

// secure makes the transport; libp2p calls it, for itself and for AutoNAT's dialler.
func (d *door) secure(id protocol.ID, key crypto.PrivKey, muxers []upgrader.StreamMuxer) (*secureTransport, error) {
	p, err := d.partyOf(key)
	if err != nil {
		return nil, err
	}
	inner, err := noise.New(id, key, muxers)
	if err != nil {
		return nil, fmt.Errorf("make Noise transport: %w", err)
	}
	return &secureTransport{Transport: inner, door: d, party: p}, nil
}

// SecureInbound secures the connection and hears the hello. A connection for which
// there is no slot ends before the handshake, which is what costs.
func (t *secureTransport) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	release, ok := t.door.slots.take(addressOf(insecure))
	if !ok {
		t.door.metrics.limit("handshakes")
		insecure.Close()
		return nil, fmt.Errorf("hear hello: %w", ErrBusy)
	}
	defer release()
	conn, err := t.Transport.SecureInbound(ctx, insecure, p)
	if err != nil {
		return nil, err
	}
	if err := t.meet(ctx, conn, false); err != nil {
		return nil, err
	}
	return conn, nil
}

// SecureOutbound secures the connection and says the hello.
func (t *secureTransport) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	conn, err := t.Transport.SecureOutbound(ctx, insecure, p)
	if err != nil {
		return nil, err
	}
	if err := t.meet(ctx, conn, true); err != nil {
		return nil, err
	}
	return conn, nil
}

func (t *secureTransport) meet(ctx context.Context, conn sec.SecureConn, dialled bool) error {
	ctx, cancel := context.WithTimeout(ctx, t.door.timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := t.door.meet(ctx, conn, conn.RemotePeer(), addressOf(conn), t.party, dialled)
	if err != nil {
		linger(conn, err)
	}
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		conn.Close()
	}
	return err
}

// addressOf returns where a connection comes from, nil when that has no address.
func addressOf(conn net.Conn) ma.Multiaddr {
	if c, ok := conn.(manet.Conn); ok {
		return c.RemoteMultiaddr()
	}
	a, err := manet.FromNetAddr(conn.RemoteAddr())
	if err != nil {
		return nil
	}
	return a
}
