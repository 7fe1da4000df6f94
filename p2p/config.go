package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

// StreamLimit bounds the streams of one protocol, in each direction. Who opens waits
// at the limit. Who accepts resets what is above streamSlack times as many: a
// stream that one side has closed may go on for a while at the other.
type StreamLimit struct {
	// PerPeer bounds those with one member, Total those with all.
	PerPeer, Total int
}

// Config says who a node is on the network, how it is found, and what others may
// cost it.
type Config struct {
	// Dir is the data directory: the node's key, its membership, the members that
	// it has met, the expulsions, and the count of redemptions. One host at a
	// time uses it.
	Dir string
	// Key is the node's; the zero Key means the one in Dir, made if need be.
	Key Key
	// GridKey is the founder's; the zero Key means the one in Dir, if there is
	// one. With it the node needs no invitation.
	GridKey Key
	// Membership is the node's; nil means the one in Dir.
	Membership *Membership
	// Invitation is exchanged for a membership when there is none. When there is one,
	// it says where members are now, should all of them have moved; its grid is the
	// node's.
	Invitation *Invitation
	// Name is what the operator calls the node, up to NameBytesMax bytes.
	Name string
	// Redeem exchanges an invitation that was shown to this node, and counts its
	// uses. nil means: the authority in Dir, if the node has one, else another
	// admin that is connected.
	Redeem func(ctx context.Context, v *Invitation, node NodeID) (*Membership, error)

	// Listen are the multiaddrs to listen on. A port of 0 is any free one.
	Listen []string
	// Announce are further multiaddrs at which the node is reached, such as a
	// forwarded port.
	Announce []string
	// AllowLoopback lets the node announce and dial addresses of this machine.
	AllowLoopback bool

	// MDNS finds members on the local network, DHT through other members.
	MDNS, DHT bool
	// PortMap asks the router for a port (UPnP, NAT-PMP).
	PortMap bool
	// HolePunch makes direct connections out of relayed ones.
	HolePunch bool
	// Relay lets a node that is publicly reachable relay for members that are not.
	Relay bool
	// NeighboursMin is how many members the node stays connected with, if there
	// are so many. Above NeighboursMax, connections on which no stream is open are
	// closed, those of least use first, down to three quarters of it: members
	// that nobody needs now are dialled again when somebody does.
	NeighboursMin, NeighboursMax int

	// HandshakeTimeout bounds a hello, a redemption included.
	HandshakeTimeout time.Duration
	// HandshakesMax bounds the hellos under way with whoever dials, and
	// HandshakesPerIPMax those from one IPv4 address or IPv6 /56, but for this
	// machine.
	HandshakesMax, HandshakesPerIPMax int
	// ConnectionsMax bounds the connections, ConnectionsPerIPMax those from one
	// IPv4 address or IPv6 /56, ConnectionsPerPeerMax those with one member.
	ConnectionsMax, ConnectionsPerIPMax, ConnectionsPerPeerMax int
	// ConnectionsPerIPRate bounds new connections from one address per second.
	ConnectionsPerIPRate float64
	// StreamsMax bounds all streams, StreamsPerPeerMax those with one member, of
	// all protocols together and in each direction.
	StreamsMax, StreamsPerPeerMax int
	// Protocols bounds the streams of one protocol; what is not named here has
	// ProtocolDefault.
	Protocols       map[string]StreamLimit
	ProtocolDefault StreamLimit
	// MemoryBytesMax bounds what is buffered for all connections,
	// MemoryPerPeerBytesMax for those with one member.
	MemoryBytesMax, MemoryPerPeerBytesMax int64
	// MembersMax bounds the members whose addresses are kept.
	MembersMax int
	// RelayedMax bounds the members that this node relays for; RelayBytesMax and
	// RelayTimeMax what goes through one relayed connection, in each direction.
	RelayedMax    int
	RelayBytesMax int64
	RelayTimeMax  time.Duration

	// Noted, unless nil, is told whom this node has let in and whom it has refused. A
	// handshake waits for it.
	Noted func(Admission)
	// Log receives transitions; nil means nothing is logged.
	Log *slog.Logger
	// Registerer receives the metrics, libp2p's own included; nil means that
	// nobody sees them.
	Registerer prometheus.Registerer
}

// Default returns the configuration for production. Dir remains to be set, and
// Invitation for a node that is in no grid.
func Default() Config {
	return Config{
		Listen: []string{
			"/ip4/0.0.0.0/udp/4610/quic-v1", "/ip6/::/udp/4610/quic-v1",
			"/ip4/0.0.0.0/tcp/4610", "/ip6/::/tcp/4610",
		},
		MDNS: true, DHT: true, PortMap: true, HolePunch: true, Relay: true, NeighboursMin: 8, NeighboursMax: 64,
		HandshakeTimeout: 10 * time.Second, HandshakesMax: 64, HandshakesPerIPMax: 16,
		ConnectionsMax: 1024, ConnectionsPerIPMax: 64, ConnectionsPerPeerMax: 8, ConnectionsPerIPRate: 5,
		StreamsMax: 16384, StreamsPerPeerMax: 1024, ProtocolDefault: StreamLimit{PerPeer: 64, Total: 4096},
		MemoryBytesMax: 512 << 20, MemoryPerPeerBytesMax: 64 << 20, MembersMax: 4096,
		RelayedMax: 64, RelayBytesMax: 1 << 30, RelayTimeMax: time.Hour,
	}
}

// Validate says what cannot work, all of it.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Dir != "", "no data directory is set")
	check(len(c.Name) <= NameBytesMax, "the name has %d bytes, the limit is %d", len(c.Name), NameBytesMax)
	check(len(c.Listen) > 0, "no address to listen on is set")
	for _, text := range append(c.Listen[:len(c.Listen):len(c.Listen)], c.Announce...) {
		_, err := ma.NewMultiaddr(text)
		check(err == nil, "address %q: %v", text, err)
	}
	check(len(c.Announce) <= AddressesMax, "%d addresses to announce, the limit is %d", len(c.Announce), AddressesMax)
	for name, n := range map[string]int{
		"HandshakesMax": c.HandshakesMax, "HandshakesPerIPMax": c.HandshakesPerIPMax, "ConnectionsMax": c.ConnectionsMax,
		"ConnectionsPerIPMax": c.ConnectionsPerIPMax, "ConnectionsPerPeerMax": c.ConnectionsPerPeerMax, "StreamsMax": c.StreamsMax,
		"StreamsPerPeerMax": c.StreamsPerPeerMax, "MembersMax": c.MembersMax, "NeighboursMin": c.NeighboursMin,
		"ProtocolDefault.PerPeer": c.ProtocolDefault.PerPeer, "ProtocolDefault.Total": c.ProtocolDefault.Total,
	} {
		check(n > 0, "%s is %d, at least 1 is needed", name, n)
	}
	for protocol, limit := range c.Protocols {
		check(limit.PerPeer > 0 && limit.Total >= limit.PerPeer, "limits of protocol %s: %d of %d", protocol, limit.PerPeer, limit.Total)
	}
	check(c.NeighboursMax >= c.NeighboursMin && c.NeighboursMax <= c.ConnectionsMax, "NeighboursMax is %d, %d (NeighboursMin) to %d (ConnectionsMax) are possible", c.NeighboursMax, c.NeighboursMin, c.ConnectionsMax)
	check(c.ConnectionsPerIPRate > 0, "ConnectionsPerIPRate is %v, more than 0 is needed", c.ConnectionsPerIPRate)
	check(c.HandshakeTimeout > 0, "HandshakeTimeout is %v", c.HandshakeTimeout)
	check(c.MemoryBytesMax >= 16<<20 && c.MemoryPerPeerBytesMax >= 1<<20, "memory of %d bytes, %d for a member, is too little", c.MemoryBytesMax, c.MemoryPerPeerBytesMax)
	check(!c.Relay || c.RelayedMax > 0 && c.RelayBytesMax > 0 && c.RelayTimeMax > 0, "a relay needs limits above 0")
	return errors.Join(errs...)
}

// streamLimit returns the limits of a protocol.
func (c *Config) streamLimit(protocol string) StreamLimit {
	if limit, ok := c.Protocols[protocol]; ok {
		return limit
	}
	if slices.Contains(ownProtocols, protocol) {
		return ownStreams
	}
	return c.ProtocolDefault
}
