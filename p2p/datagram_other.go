//go:build !linux

package p2p

import (
	"net"
	"net/netip"
)

// listenDatagrams opens a socket for QUIC. refused is never called.
func listenDatagrams(network string, at *net.UDPAddr, _ func(netip.AddrPort)) (net.PacketConn, error) {
	return net.ListenUDP(network, at)
}
