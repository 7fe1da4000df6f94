package p2p

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/libp2p/go-libp2p/core/network"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/dugnad/dugnad/p2p/internal/portmap"
)

// portMap has the router map the ports that libp2p listens on, in place of libp2p's
// own, which waits for the router's answers without end, and takes them whatever
// their size.
type portMap struct{ *portmap.Mapper }

func (h *Host) openPortMap(n network.Network) basichost.NATManager {
	return &portMap{portmap.Open(portmap.Config{
		Ports:   func() []portmap.Port { return portsOf(n.ListenAddresses()) },
		Log:     h.log,
		Mapped:  func(n int) { h.metrics.mappings.Set(float64(n)) },
		TooLong: func() { h.metrics.limit("router_answer") },
	})}
}

// GetMapping returns where an address that is listened on is reached from outside,
// nil for nowhere.
func (m *portMap) GetMapping(a ma.Multiaddr) ma.Multiaddr {
	p, rest, ok := portToMap(a)
	if !ok {
		return nil
	}
	outside, ok := m.Outside(p)
	if !ok {
		return nil
	}
	ip, err := manet.FromIP(outside.Addr().AsSlice())
	if err != nil {
		return nil
	}
	port, err := ma.NewComponent(p.Protocol, strconv.Itoa(int(outside.Port())))
	if err != nil {
		return nil
	}
	return ip.Encapsulate(port.Multiaddr()).Encapsulate(rest)
}

// HasDiscoveredNAT says whether a router maps ports.
func (m *portMap) HasDiscoveredNAT() bool { return m.Found() }

// portsOf returns the ports of the addresses that a router can map, in order.
func portsOf(addresses []ma.Multiaddr) []portmap.Port {
	var out []portmap.Port
	for _, a := range addresses {
		if p, _, ok := portToMap(a); ok && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(x, y portmap.Port) int {
		return cmp.Or(cmp.Compare(x.Protocol, y.Protocol), cmp.Compare(x.Number, y.Number))
	})
	return out
}

// portToMap takes apart an address of IPv4 that others than this machine reach:
// its port, and what follows it.
func portToMap(a ma.Multiaddr) (p portmap.Port, rest ma.Multiaddr, ok bool) {
	if len(a) < 2 || a[0].Protocol().Code != ma.P_IP4 {
		return p, nil, false
	}
	ip, err := netip.ParseAddr(a[0].Value())
	if err != nil || !ip.IsUnspecified() && !ip.IsGlobalUnicast() {
		return p, nil, false
	}
	if code := a[1].Protocol().Code; code != ma.P_TCP && code != ma.P_UDP {
		return p, nil, false
	}
	number, err := strconv.ParseUint(a[1].Value(), 10, 16)
	if err != nil || number == 0 {
		return p, nil, false
	}
	return portmap.Port{Protocol: a[1].Protocol().Name, Number: uint16(number)}, a[2:], true
}
