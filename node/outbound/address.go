package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/dugnad/dugnad/runtime/abi"
)

// refusedPrefixes are the addresses in IPv4, and in what IANA gives out of IPv6, that
// lead to no host of the public internet, or to the services of a cloud's machine.
// What of IPv6 is outside 2000::/3 is refused without being listed.
var refusedPrefixes = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "of a provider's network"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's metadata"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "reserved"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("2001::/23"), "reserved"}, // Teredo among them
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	sixToFour     = netip.MustParsePrefix("2002::/16")
	translated    = netip.MustParsePrefix("64:ff9b::/96")
)

// refusedFor says why guests must not reach an address, "" that they may.
func refusedFor(addr netip.Addr) string {
	if addr.Zone() != "" {
		return "of a zone"
	}
	addr = addr.Unmap()
	for _, r := range refusedPrefixes {
		if r.prefix.Contains(addr) {
			return r.what
		}
	}
	if addr.Is4() {
		return ""
	}
	if inner := embedded(addr); inner != addr {
		return refusedFor(inner)
	}
	if !globalUnicast.Contains(addr) {
		return "not of the public internet"
	}
	return ""
}

// embedded returns the address in IPv4 to which one in IPv6 leads, or the address itself.
func embedded(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	b := addr.As16()
	switch {
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case translated.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	}
	return addr
}

// check refuses an address that guests must not reach: those above and this machine's,
// but for the operator's exceptions, and what this node and its peers listen at
// without exception. The error is abi.ErrAddress or abi.ErrPort.
func (g *Gate) check(to netip.AddrPort) error {
	addr := to.Addr().Unmap()
	if !slices.Contains(g.config.Ports, to.Port()) {
		return fmt.Errorf("%w: %d", abi.ErrPort, to.Port())
	}
	inner := embedded(addr)
	local, err := isLocal(inner)
	if err != nil {
		return fmt.Errorf("%w: %w", abi.ErrAddress, err)
	}
	if g.config.Avoid != nil {
		for _, a := range g.config.Avoid() {
			if a.Port() == to.Port() && (embedded(a.Addr()) == inner || a.Addr().IsUnspecified() && local) {
				return fmt.Errorf("%w: %s is a node's own", abi.ErrAddress, to)
			}
		}
	}
	if slices.ContainsFunc(g.config.Allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	if why := refusedFor(to.Addr()); why != "" {
		return fmt.Errorf("%w: %s is %s", abi.ErrAddress, addr, why)
	}
	if local {
		return fmt.Errorf("%w: %s is this machine's", abi.ErrAddress, addr)
	}
	return nil
}

// isLocal reports whether an address is one of this machine's.
func isLocal(addr netip.Addr) (bool, error) {
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true, nil
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == addr
	}), nil
}
