//go:build !linux

package p2p

import "net"

// listenDatagrams opens a socket for QUIC.
func listenDatagrams(network string, at *net.UDPAddr) (net.PacketConn, error) {
	return net.ListenUDP(network, at)
}
