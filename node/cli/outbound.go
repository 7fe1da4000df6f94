package cli

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/spf13/pflag"

	"github.com/dugnad/dugnad/node/outbound"
)

// What --allow-http is, where nodes run and where a guest does.
const (
	allowNodesHelp = "* let guests make HTTP requests, of jobs that ask for it and tenants that may"
	allowRunHelp   = "* let the guest make HTTP requests; on the grid its tenant and the node have to allow it, too"
)

// outboundFlags are what an operator says of guests' HTTP requests.
type outboundFlags struct {
	allow     bool
	ports     []uint
	addresses []string
}

func (f *outboundFlags) register(fs *pflag.FlagSet, what string) {
	fs.BoolVar(&f.allow, "allow-http", false, what)
	fs.UintSliceVar(&f.ports, "http-port", nil, "* `port` that guests may reach with --allow-http from this machine, can be repeated (default 80 and 443)")
	fs.StringSliceVar(&f.addresses, "http-allow-address", nil,
		"* `address` or range, such as 192.168.7.0/24, that guests may reach from this machine though it is not of the public internet, can be repeated")
	setting(fs, "allow-http", "http-port", "http-allow-address")
}

// config is what the flags say.
func (f *outboundFlags) config() (outbound.Config, error) {
	c := outbound.Default()
	if len(f.ports) > 0 {
		c.Ports = nil
	}
	for _, p := range f.ports {
		if p < 1 || p > math.MaxUint16 {
			return c, usageError("--http-port: %d is not from 1 to %d", p, math.MaxUint16)
		}
		c.Ports = append(c.Ports, uint16(p))
	}
	for _, text := range f.addresses {
		prefix, err := parsePrefix(text)
		if err != nil {
			return c, usageError("--http-allow-address: %q is no address and no range such as 192.168.7.0/24", text)
		}
		c.Allow = append(c.Allow, prefix)
	}
	return c, nil
}

// parsePrefix reads a range, or an address alone.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err == nil && prefix != prefix.Masked() {
		err = fmt.Errorf("%s has bits beyond its length", prefix)
	}
	return prefix, err
}
