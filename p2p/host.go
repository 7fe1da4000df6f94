package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
)

// Host is a node among the members of its grid. It is safe for concurrent use.
type Host struct {
	cfg     Config
	key     Key
	session [8]byte
	self    peer.ID
	grid    GridID
	log     *slog.Logger
	metrics *metrics

	membership atomic.Pointer[Membership]
	authority  atomic.Pointer[Authority]
	expelled   *Expulsions
	book       *book
	deputies   *deputies
	door       *door
	gates      gates
	holds      holds
	notifier   notifier
	record     atomic.Pointer[[]byte] // own signed peer record
	reach      reach
	places     *places
	puncher    *puncher // nil when it is off
	refusals   *refusals
	traffic    traffic

	libp2p  host.Host
	swarm   *swarm.Swarm
	sockets *quicreuse.ConnManager
	dht     atomic.Pointer[directory] // nil when it is off

	handlersMu sync.Mutex
	handlers   map[string]*handled
	left       []*handled // without a handler any more, with calls that go on

	expelMu sync.Mutex
	// out is closed when this node was expelled, listening when libp2p has started.
	out, listening chan struct{}
	dialBacks      dialBacks
	closeMDNS      func() error
	// greeted are members that are asked whom else they know.
	greeted chan peer.ID

	// lonely is signalled when a neighbour is lost or a candidate found.
	lonely chan struct{}
	// spread is signalled when the list of expulsions has changed.
	spread chan struct{}

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed sync.Once
	err    error
}

var _ Network = (*Host)(nil)

// Open makes the node part of its grid: it listens, and if it has no membership it
// has exchanged the invitation for one when Open returns. ctx bounds that. What
// a member refuses for good, such as ErrInvitationUsedUp, is returned at once;
// while nobody can be reached it tries again until ctx ends.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	h, err := load(cfg)
	if err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open host: %w", err), h.Close())
	}
	return h, nil
}

func (h *Host) open(ctx context.Context) error {
	if err := h.listen(); err != nil {
		return err
	}
	close(h.listening)
	if err := h.openPuncher(); err != nil {
		return err
	}
	h.swarm.Notify(&network.NotifyBundle{ConnectedF: h.up, DisconnectedF: h.down})
	if err := h.watchAddresses(); err != nil {
		return err
	}
	if err := h.watchReach(); err != nil {
		return err
	}
	h.serve()
	if err := h.startMDNS(); err != nil {
		h.log.Warn("local discovery does not work", "error", err)
	}
	if h.membership.Load() == nil {
		if err := h.join(ctx); err != nil {
			return err
		}
		// Whoever is killed now has to find the grid again.
		if err := h.storeBook(); err != nil {
			return err
		}
	} else {
		h.hearContacts()
	}
	if err := h.openAuthority(); err != nil {
		return err
	}
	if err := h.startDHT(); err != nil {
		return err
	}
	h.wg.Go(h.keepNeighbours)
	h.wg.Go(h.spreadExpulsions)
	h.wg.Go(h.saveBook)
	h.wg.Go(h.keepPlaces)
	h.wg.Go(h.keepPunching)
	h.wg.Go(h.keepRefusals)
	return nil
}

// Close leaves the network and waits for the host's goroutines, the handlers of
// streams included. It is idempotent.
func (h *Host) Close() error {
	h.closed.Do(func() {
		h.cancel()
		var errs []error
		if d := h.dht.Load(); d != nil {
			errs = append(errs, d.close())
		}
		h.stopMDNS()
		if h.puncher != nil {
			errs = append(errs, h.puncher.service.Close())
		}
		if h.libp2p != nil {
			errs = append(errs, h.libp2p.Close())
		}
		if h.sockets != nil {
			errs = append(errs, h.sockets.Close())
		}
		h.wg.Wait()
		h.waitHandlers()
		h.notifier.close()
		if h.libp2p != nil {
			errs = append(errs, h.storeBook())
		}
		if a := h.authority.Load(); a != nil {
			errs = append(errs, a.Close())
		}
		h.err = errors.Join(errs...)
	})
	return h.err
}

// Self is this node.
func (h *Host) Self() NodeID { return idOf(h.self) }

// Grid is the grid that the node is in.
func (h *Host) Grid() GridID { return h.grid }

// Membership returns the node's own.
func (h *Host) Membership() *Membership { return h.membership.Load() }

// Authority returns the node's authority to invite and expel, nil when it has none.
func (h *Host) Authority() *Authority { return h.authority.Load() }

// Members returns the members that this node has met in the last 30 days, sorted
// by id.
func (h *Host) Members() []Member { return h.book.members() }

// RoleOf returns the role of a member that is or was connected.
func (h *Host) RoleOf(id NodeID) (Role, bool) {
	p, err := id.peer()
	if err != nil {
		return 0, false
	}
	return h.book.roleOf(p)
}

// Connected returns the members with an open connection, sorted.
func (h *Host) Connected() []NodeID {
	ids := h.book.online()
	out := make([]NodeID, len(ids))
	for i, id := range ids {
		out[i] = idOf(id)
	}
	return sortedIDs(out)
}

// Notify has f called after a member's connection came or the last one went.
func (h *Host) Notify(f func(id NodeID, up bool)) (cancel func()) { return h.notifier.add(f) }

// up is called by the swarm for a connection whose hello went well.
func (h *Host) up(_ network.Network, c network.Conn) {
	p := c.RemotePeer()
	if h.deputies.has(p) {
		timer := time.AfterFunc(deputyLifeMax, func() { c.Close() })
		context.AfterFunc(h.ctx, func() { timer.Stop() })
		return
	}
	open, known := h.book.connected(p, 1, time.Now())
	if known && open == 1 {
		h.log.Info("member connected", "member", p, "address", c.RemoteMultiaddr())
		h.metrics.members.Inc()
		h.notifier.tell(idOf(p), true)
		h.greet(p, c.Stat().Direction)
	}
	if known && open > 1 && h.firstDirect(c) {
		h.log.Info("member is reached without a relay", "member", p, "address", c.RemoteMultiaddr())
	}
}

// firstDirect says whether a connection is direct and all others with the same
// member are relayed.
func (h *Host) firstDirect(c network.Conn) bool {
	return !relayed(c.RemoteMultiaddr()) && !slices.ContainsFunc(h.swarm.ConnsToPeer(c.RemotePeer()), func(o network.Conn) bool {
		return o.ID() != c.ID() && !relayed(o.RemoteMultiaddr())
	})
}

func (h *Host) down(_ network.Network, c network.Conn) {
	p := c.RemotePeer()
	h.deputies.remove(p)
	h.puncher.unobserve(c)
	open, known := h.book.connected(p, -1, time.Now())
	if known && open == 0 {
		h.places.lose(p)
		h.log.Info("member disconnected", "member", p)
		h.metrics.members.Dec()
		h.notifier.tell(idOf(p), false)
		if len(h.book.online()) == 0 {
			h.book.retryNow()
		}
		signal(h.lonely)
	}
}

// admit takes note of whom a hello was spoken with.
func (h *Host) admit(remote peer.ID, g *greeting) error {
	now := time.Now()
	if g.deputy {
		return h.deputies.add(remote, now)
	}
	if g.own != nil {
		if err := replaceFile(filepath.Join(h.cfg.Dir, membershipFile), g.own.Encode()); err != nil {
			return fmt.Errorf("keep membership: %w", err)
		}
		h.membership.Store(g.own)
		h.log.Info("joined", "grid", h.grid, "role", g.own.Role, "through", remote)
	}
	if skew := now.Sub(g.clock).Abs(); skew > ClockSkewMax {
		h.log.Warn("clocks differ", "member", remote, "its_clock", g.clock, "own_clock", now.UTC())
	}
	if err := h.book.meet(remote, g.membership.Role, g.news, now); err != nil {
		return err
	}
	if h.book.restarted(remote, g.news.session) {
		h.endConnections(remote)
	}
	if _, own := h.expelled.state(); g.news.expelled != own {
		signal(h.spread)
	}
	return nil
}

// endConnections ends those with an earlier process of a member that was killed:
// QUIC would take half a minute to find out, and streams be opened there meanwhile.
// The new one is not among them yet: the hello comes before the swarm has it.
func (h *Host) endConnections(p peer.ID) {
	for _, c := range h.swarm.ConnsToPeer(p) {
		if err := c.Close(); err != nil {
			h.log.Debug("connection with an earlier process was not closed", "member", p, "error", err)
		}
	}
}

// signal wakes whoever waits on c, or will next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
