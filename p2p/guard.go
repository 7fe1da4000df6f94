package p2p

import (
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// deputyLifeMax is how long a deputy's connection lives: AutoNAT's dial-back
	// takes seconds.
	deputyLifeMax = 30 * time.Second
	// deputiesMax bounds the deputies that are connected at once.
	deputiesMax = 64
)

// deputies are the connected ones: their connections are nobody's member.
type deputies struct {
	mu  sync.Mutex
	ids map[peer.ID]time.Time
}

func newDeputies() *deputies { return &deputies{ids: map[peer.ID]time.Time{}} }

// add takes note of one, unless there are too many. One that was never seen again
// is forgotten after its time.
func (d *deputies) add(id peer.ID, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for other, since := range d.ids {
		if now.Sub(since) > 2*deputyLifeMax {
			delete(d.ids, other)
		}
	}
	if len(d.ids) >= deputiesMax {
		return fmt.Errorf("%w: %d deputies are connected", ErrBusy, len(d.ids))
	}
	d.ids[id] = now
	return nil
}

func (d *deputies) remove(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ids, id)
}

func (d *deputies) has(id peer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.ids[id]
	return ok
}

// guardedResources is libp2p's resource manager, through which every stream has to
// pass: it lets deputies open no protocol but AutoNAT's dial-back.
type guardedResources struct {
	network.ResourceManager
	deputies *deputies
	metrics  *metrics
}

// OpenStream accounts for a stream.
func (g *guardedResources) OpenStream(p peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	scope, err := g.ResourceManager.OpenStream(p, dir)
	if err != nil {
		g.metrics.limit("streams")
		return nil, err
	}
	return &guardedScope{scope, g, dir == network.DirInbound && g.deputies.has(p)}, nil
}

// OpenConnection accounts for a connection.
func (g *guardedResources) OpenConnection(dir network.Direction, fd bool, endpoint ma.Multiaddr) (network.ConnManagementScope, error) {
	scope, err := g.ResourceManager.OpenConnection(dir, fd, endpoint)
	if err != nil {
		g.metrics.limit("connections")
	}
	return scope, err
}

type guardedScope struct {
	network.StreamManagementScope
	guard  *guardedResources
	deputy bool
}

// SetProtocol accounts for the stream's protocol, before its handler is called.
func (s *guardedScope) SetProtocol(id protocol.ID) error {
	if s.deputy && id != autonatv2.DialBackProtocol {
		return fmt.Errorf("%w: a deputy opened %s", network.ErrResourceLimitExceeded, id)
	}
	if err := s.StreamManagementScope.SetProtocol(id); err != nil {
		s.guard.metrics.limit("protocol_streams")
		return err
	}
	return nil
}

// gater ends connections that need no hello to be refused.
type gater struct {
	expelled      *Expulsions
	allowLoopback bool
}

// InterceptPeerDial refuses to dial a node that is out.
func (g *gater) InterceptPeerDial(p peer.ID) bool {
	_, out := g.expelled.Out(idOf(p))
	return !out
}

// InterceptAddrDial refuses to dial this machine, unless that is allowed: a member
// may announce any address, and here may be services that trust it.
func (g *gater) InterceptAddrDial(_ peer.ID, a ma.Multiaddr) bool {
	return g.allowLoopback || !manet.IsIPLoopback(a)
}

// InterceptAccept lets everybody as far as the handshake.
func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured lets everybody as far as the hello, which says why not.
func (g *gater) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return true
}

// InterceptUpgraded checks once more: the node may have been expelled during the
// hello.
func (g *gater) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	return g.InterceptPeerDial(c.RemotePeer()), 0
}
