package p2p

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// trainBytesMax bounds what the kernel joins into one train: an IP packet. Each
	// socket keeps a buffer of that length.
	trainBytesMax = 64 << 10
	// controlBytesMax is room for the control messages that quic-go and this file
	// ask for: the packet's mark for congestion, its address, a train's segments.
	controlBytesMax = 256
)

// datagrams is a UDP socket that takes datagrams from the kernel in trains: many of
// one length from one sender, the last one perhaps shorter, in one system call and
// one walk through the network stack (UDP_GRO). Its ReadBatch takes them apart again;
// the other methods that read do not, and nobody calls them. It has one reader.
//
// The kernel tells it of datagrams that came back (IP_RECVERR), which a socket that
// talks to many would not hear of otherwise.
type datagrams struct {
	*net.UDPConn
	raw            syscall.RawConn
	refused        func(netip.AddrPort)
	train, control []byte
	// rest is what ReadBatch has not given yet of the train, segment the length of
	// each datagram in it, marks the control messages that all of them came with.
	rest    []byte
	segment int
	marks   []byte
	from    net.Addr
}

// listenDatagrams opens a socket for QUIC; without trains where the kernel is too old.
// refused is told of addresses at which the machine said that nobody listens. It
// must not block. Anybody who can send packets can pretend that.
func listenDatagrams(network string, at *net.UDPAddr, refused func(netip.AddrPort)) (net.PacketConn, error) {
	c, err := net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	var unsupported error
	err = raw.Control(func(fd uintptr) {
		unsupported = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		if unsupported == nil {
			reportErrors(int(fd), c.LocalAddr())
		}
	})
	if err != nil || unsupported != nil {
		return c, nil //nolint:nilerr // it works all the same
	}
	return &datagrams{
		UDPConn: c, raw: raw, refused: refused, train: make([]byte, trainBytesMax), control: make([]byte, controlBytesMax),
	}, nil
}

// ReadBatch waits for datagrams and gives as many of one train as there are messages.
// quic-go prefers it to reading from the socket itself.
func (d *datagrams) ReadBatch(messages []ipv4.Message, _ int) (int, error) {
	for len(d.rest) == 0 {
		if err := d.read(); err != nil {
			return 0, err
		}
	}
	n := 0
	for ; n < len(messages) && len(d.rest) > 0; n++ {
		one := d.rest[:min(d.segment, len(d.rest))]
		d.rest = d.rest[len(one):]
		m := &messages[n]
		m.N, m.NN, m.Addr = copy(m.Buffers[0], one), copy(m.OOB, d.marks), d.from
	}
	return n, nil
}

// read reads the next train.
func (d *datagrams) read() error {
	n, controls, _, from, err := d.ReadMsgUDP(d.train, d.control)
	for err != nil && d.returned(err) {
		n, controls, _, from, err = d.ReadMsgUDP(d.train, d.control)
	}
	if err != nil {
		return err
	}
	d.rest, d.from = d.train[:n], from
	d.segment, d.marks = splitControl(d.control[:controls], n)
	return nil
}

// splitControl takes the length of the datagrams out of the control messages of a
// train of n bytes: n when the kernel has joined nothing. What is left is in b's
// memory.
func splitControl(b []byte, n int) (segment int, marks []byte) {
	segment, marks = n, b[:0]
	for len(b) >= unix.SizeofCmsghdr {
		head, body, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		if head.Level == unix.IPPROTO_UDP && head.Type == unix.UDP_GRO && len(body) >= 4 {
			if size := int(binary.NativeEndian.Uint32(body)); size > 0 {
				segment = size
			}
		} else {
			marks = append(marks, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
	return segment, marks
}
