package p2p

import (
	"net/netip"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// slots bounds the hellos under way with whoever dialled: in total, and from one
// IPv4 address or IPv6 /56.
type slots struct {
	mu           sync.Mutex
	total, perIP int
	used         int
	from         map[netip.Prefix]int
}

func newSlots(total, perIP int) *slots {
	return &slots{total: total, perIP: perIP, from: map[netip.Prefix]int{}}
}

// take takes a slot for somebody at that address, if there is one, until release
// is called.
func (s *slots) take(address ma.Multiaddr) (release func(), ok bool) {
	source := sourceOf(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used >= s.total || source.IsValid() && s.from[source] >= s.perIP {
		return nil, false
	}
	s.used++
	if source.IsValid() {
		s.from[source]++
	}
	return sync.OnceFunc(func() { s.release(source) }), true
}

func (s *slots) release(source netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if !source.IsValid() {
		return
	}
	if s.from[source]--; s.from[source] == 0 {
		delete(s.from, source)
	}
}

// sourceOf returns the network that counts as one source. It is invalid for this
// machine, and for what comes through a relay: that is the relay's address.
func sourceOf(address ma.Multiaddr) netip.Prefix {
	if address == nil || relayed(address) {
		return netip.Prefix{}
	}
	ip, err := manet.ToIP(address)
	if err != nil {
		return netip.Prefix{}
	}
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || a.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 56
	}
	prefix, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// relayed says whether the address goes through a relay.
func relayed(address ma.Multiaddr) bool {
	_, err := address.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}
