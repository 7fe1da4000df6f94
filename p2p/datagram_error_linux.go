package p2p

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	// returnsMax bounds the tries to send one datagram while the socket has to tell of
	// others that came back first.
	returnsMax = 4
	// errorBytesMax is room for one of the kernel's reports: a cause, and the address
	// of the machine that said it.
	errorBytesMax = 256
)

// reportErrors has the kernel tell of datagrams that came back.
func reportErrors(fd int, local net.Addr) {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if a, ok := local.(*net.UDPAddr); ok && a.IP.To4() == nil {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	_ = unix.SetsockoptInt(fd, level, option, 1) // without it, silence is noticed by its length
}

// WriteMsgUDP sends one datagram. A report of another one that came back is not its
// error, although the kernel gives it to whoever uses the socket next.
func (d *datagrams) WriteMsgUDP(b, control []byte, to *net.UDPAddr) (n, controls int, err error) {
	for range returnsMax {
		if n, controls, err = d.UDPConn.WriteMsgUDP(b, control, to); err == nil || !d.returned(err) {
			break
		}
	}
	return n, controls, err
}

// returned reports whether err is of a datagram that came back, and passes on where
// nobody listens.
func (d *datagrams) returned(err error) bool {
	for _, one := range []error{
		unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET,
		unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EPROTO, unix.EACCES, unix.EMSGSIZE,
	} {
		if errors.Is(err, one) {
			d.readErrors()
			return true
		}
	}
	return false
}

// readErrors empties the socket's queue of reports.
func (d *datagrams) readErrors() {
	control := make([]byte, errorBytesMax)
	_ = d.raw.Control(func(fd uintptr) { // it fails when the socket is closed
		for {
			_, n, _, to, err := unix.Recvmsg(int(fd), nil, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			if at, ok := destinationOf(to); ok && nobodyListens(control[:n]) {
				d.refused(at)
			}
		}
	})
}

// nobodyListens reports whether control has the report that the machine at the other
// end, or one in front of it, has no such port.
func nobodyListens(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for _, m := range messages {
		is4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		is6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !is4 && !is6 || len(m.Data) < 8 {
			continue
		}
		cause, origin := unix.Errno(binary.NativeEndian.Uint32(m.Data)), m.Data[4]
		if cause == unix.ECONNREFUSED && (origin == unix.SO_EE_ORIGIN_ICMP || origin == unix.SO_EE_ORIGIN_ICMP6) {
			return true
		}
	}
	return false
}

func destinationOf(a unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}
