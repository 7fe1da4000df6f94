package p2p

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"
)

// The user agent and the version that nodes tell each other in libp2p's identify.
const identifyVersion = "dugnad/1"

// idleGrace is how long a connection is left alone before it may be one too many.
const idleGrace = 20 * time.Second

// listen starts libp2p.
func (h *Host) listen() error {
	resources, err := h.resources()
	if err != nil {
		return err
	}
	// The DHT connects with everybody whom it hears of.
	most := h.cfg.NeighboursMax
	connections, err := connmgr.NewConnManager(max(h.cfg.NeighboursMin, most*3/4), most, connmgr.WithGracePeriod(idleGrace))
	if err != nil {
		return fmt.Errorf("make connection manager: %w", err)
	}
	private, err := h.key.libp2p()
	if err != nil {
		return err
	}
	options := append(h.transports(), h.reachOptions()...)
	options = append(options,
		libp2p.Identity(private), libp2p.ListenAddrStrings(h.cfg.Listen...), libp2p.AddrsFactory(h.announced),
		libp2p.QUICReuse(h.quicSockets), libp2p.ResourceManager(resources), libp2p.ConnectionManager(connections),
		libp2p.ConnectionGater(&gater{h.expelled, h.cfg.AllowLoopback}),
		libp2p.BandwidthReporter(&h.traffic),
		libp2p.UserAgent(identifyVersion), libp2p.ProtocolVersion(identifyVersion),
		// A node that was cut off for long must not conclude that UDP never works.
		libp2p.UDPBlackHoleSuccessCounter(nil), libp2p.IPv6BlackHoleSuccessCounter(nil),
	)
	if h.libp2p, err = libp2p.New(append(options, h.metricOptions()...)...); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	h.swarm = h.libp2p.Network().(*swarm.Swarm)
	return h.checkListeners()
}

// checkListeners looks whether every address of the configuration is listened on:
// libp2p is content with one of them. A machine without IPv6 is none the worse.
func (h *Host) checkListeners() error {
	var open []string
	for _, a := range h.swarm.ListenAddresses() {
		open = append(open, withoutPort(a))
	}
	for _, text := range h.cfg.Listen {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if slices.Contains(open, withoutPort(a)) {
			continue
		}
		if a[0].Protocol().Code != ma.P_IP6 {
			return fmt.Errorf("%w: %s", ErrAddressInUse, text)
		}
		h.log.Warn("cannot listen on an address of IPv6", "address", text)
	}
	return nil
}

// withoutPort returns an address without the numbers that the system may choose.
func withoutPort(a ma.Multiaddr) string {
	var b strings.Builder
	for _, c := range a {
		b.WriteString("/" + c.Protocol().Name)
		if code := c.Protocol().Code; code != ma.P_UDP && code != ma.P_TCP {
			b.WriteString("/" + c.Value())
		}
	}
	return b.String()
}

// muxMessageBytes is the longest message on a TCP connection. With Noise's tag and
// length it is 64 KiB; with libp2p's own number, a few bytes of each message did not
// fit into Noise's frame and went in one of their own, a system call on both sides.
const muxMessageBytes = noise.MaxPlaintextLength - 1

// mux returns libp2p's multiplexer for TCP but for the length of messages.
func mux() *yamux.Transport {
	c := *yamux.DefaultTransport.Config()
	c.MaxMessageSize = muxMessageBytes
	return (*yamux.Transport)(&c)
}

// transports returns QUIC and TCP, each with the hello.
func (h *Host) transports() []libp2p.Option {
	return []libp2p.Option{
		libp2p.Transport(h.door.quic), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(string(secureProtocol), h.door.secure), libp2p.Muxer(yamux.ID, mux()),
	}
}

// metricOptions keeps libp2p away from the global registry.
func (h *Host) metricOptions() []libp2p.Option {
	if h.cfg.Registerer != nil {
		return []libp2p.Option{libp2p.PrometheusRegisterer(h.cfg.Registerer)}
	}
	return quietMetrics()
}

// quietMetrics disables libp2p's metrics. Its event bus registers some all the same.
func quietMetrics() []libp2p.Option {
	return []libp2p.Option{libp2p.PrometheusRegisterer(prometheus.NewRegistry()), libp2p.DisableMetrics()}
}

// resources makes libp2p's resource manager out of the configuration.
func (h *Host) resources() (network.ResourceManager, error) {
	c := &h.cfg
	streams := func(perDirection int) rcmgr.ResourceLimits {
		n := rcmgr.LimitVal(perDirection)
		return rcmgr.ResourceLimits{Streams: (1 + streamSlack) * n, StreamsInbound: streamSlack * n, StreamsOutbound: n}
	}
	all := func(perDirection int) rcmgr.ResourceLimits {
		n := rcmgr.LimitVal(perDirection)
		return rcmgr.ResourceLimits{Streams: 2 * n, StreamsInbound: n, StreamsOutbound: n}
	}
	connections := func(l rcmgr.ResourceLimits, n int, memory int64) rcmgr.ResourceLimits {
		v := rcmgr.LimitVal(n)
		l.Conns, l.ConnsInbound, l.ConnsOutbound, l.FD = v, v, v, v
		l.Memory = rcmgr.LimitVal64(memory)
		return l
	}
	limits := rcmgr.PartialLimitConfig{
		System:              connections(all(c.StreamsMax), c.ConnectionsMax, c.MemoryBytesMax),
		Transient:           connections(all(c.StreamsMax/4+1), 2*c.HandshakesMax, c.MemoryBytesMax/4),
		PeerDefault:         connections(all(c.StreamsPerPeerMax), c.ConnectionsPerPeerMax, c.MemoryPerPeerBytesMax),
		ProtocolDefault:     streams(c.ProtocolDefault.Total),
		ProtocolPeerDefault: streams(c.ProtocolDefault.PerPeer),
		Protocol:            map[protocol.ID]rcmgr.ResourceLimits{},
		ProtocolPeer:        map[protocol.ID]rcmgr.ResourceLimits{},
	}
	for _, name := range ownProtocols {
		limits.Protocol[protocol.ID(name)] = streams(ownStreams.Total)
		limits.ProtocolPeer[protocol.ID(name)] = streams(ownStreams.PerPeer)
	}
	for name, limit := range c.Protocols {
		limits.Protocol[protocol.ID(name)] = streams(limit.Total)
		limits.ProtocolPeer[protocol.ID(name)] = streams(limit.PerPeer)
	}
	base := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&base)
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.Build(base.Scale(c.MemoryBytesMax, c.ConnectionsMax))), h.resourceOptions()...)
	if err != nil {
		return nil, fmt.Errorf("make resource manager: %w", err)
	}
	return &guardedResources{manager, h.deputies, h.metrics}, nil
}

// resourceOptions bounds connections by where they come from.
func (h *Host) resourceOptions() []rcmgr.Option {
	c := &h.cfg
	options := []rcmgr.Option{
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: c.ConnectionsPerIPMax}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: c.ConnectionsPerIPMax}}),
		rcmgr.WithConnRateLimiters(connectionRates(c)),
	}
	if c.Registerer == nil {
		options = append(options, rcmgr.WithMetricsDisabled())
	}
	return options
}

// announced returns the addresses that others are told, at most AddressesMax: those
// that are of use to most come first when it comes to leaving out.
func (h *Host) announced(own []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, text := range h.cfg.Announce {
		if a, err := ma.NewMultiaddr(text); err == nil {
			out = append(out, a)
		}
	}
	for _, a := range byReach(own) {
		if (h.cfg.AllowLoopback || !manet.IsIPLoopback(a)) && !ma.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out[:min(len(out), AddressesMax)]
}

// byReach returns public addresses first, then those at relays, then local ones.
func byReach(addresses []ma.Multiaddr) []ma.Multiaddr {
	rank := func(a ma.Multiaddr) int {
		switch {
		case relayed(a):
			return 1
		case manet.IsPublicAddr(a):
			return 0
		default:
			return 2
		}
	}
	out := slices.Clone(addresses)
	slices.SortStableFunc(out, func(x, y ma.Multiaddr) int { return rank(x) - rank(y) })
	return out
}

// watchAddresses keeps the signed record of the node's addresses fresh, and those of
// connected members.
func (h *Host) watchAddresses() error {
	kinds := []any{new(event.EvtLocalAddressesUpdated), new(event.EvtPeerIdentificationCompleted)}
	return h.watch("addresses", kinds, func(e any) {
		switch e := e.(type) {
		case event.EvtLocalAddressesUpdated:
			h.keepRecord(e)
		case event.EvtPeerIdentificationCompleted:
			h.keepMoved(e)
		}
	})
}

// watch calls note with each of libp2p's events of these kinds, until the host is
// closed.
func (h *Host) watch(what string, kinds []any, note func(e any)) error {
	subscription, err := h.libp2p.EventBus().Subscribe(kinds)
	if err != nil {
		return fmt.Errorf("watch %s: %w", what, err)
	}
	h.wg.Go(func() {
		defer subscription.Close()
		for {
			select {
			case <-h.ctx.Done():
				return
			case e, ok := <-subscription.Out():
				if !ok {
					return
				}
				note(e)
			}
		}
	})
	return nil
}

func (h *Host) keepRecord(e event.EvtLocalAddressesUpdated) {
	if e.SignedPeerRecord == nil {
		return
	}
	b, err := e.SignedPeerRecord.Marshal()
	if err != nil || len(b) > recordBytesMax {
		h.log.Warn("own addresses are too many to be told", "bytes", len(b), "error", err)
		return
	}
	h.record.Store(&b)
	if len(h.book.online()) == 0 {
		h.book.retryNow() // a cable was plugged in, perhaps
		signal(h.lonely)
	}
}

func (h *Host) keepMoved(e event.EvtPeerIdentificationCompleted) {
	if e.SignedPeerRecord == nil {
		return
	}
	signed, err := e.SignedPeerRecord.Marshal()
	if err == nil {
		err = h.book.move(e.Peer, signed)
	}
	if err != nil {
		h.log.Debug("record of a member was not taken", "member", e.Peer, "error", err)
	}
}

// peerInfo returns what libp2p dials.
func (h *Host) peerInfo(p peer.ID) peer.AddrInfo {
	return peer.AddrInfo{ID: p, Addrs: h.book.addresses(p)}
}

// connectionRates bounds how fast new connections may come, but from this machine.
func connectionRates(c *Config) *rate.Limiter {
	limit := rate.Limit{RPS: c.ConnectionsPerIPRate, Burst: c.ConnectionsPerIPMax}
	return &rate.Limiter{
		NetworkPrefixLimits: loopbackRates(),
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: limit}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: limit}},
			GracePeriod:      time.Minute,
		},
	}
}
