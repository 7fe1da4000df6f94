package p2ptest

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// errWriteClosed is returned by writes after CloseWrite.
var errWriteClosed = errors.New("write side is closed")

// stream is one end of a p2p.Stream.
type stream struct {
	connection    *connection
	local, remote *Node
	protocol      string
	in, out       *pipe
	// opener says that local opened it.
	opener bool
	// done is set when this end was closed or reset.
	done atomic.Bool
}

// newStreams returns both ends of a stream, the opener's first.
func newStreams(c *connection, from, to *Node, protocol string) (*stream, *stream) {
	n := from.network
	latency := n.latencyOf(c.pair)
	forth := newPipe(n.config.BufferBytes, latency, n.stopped(from.id, to.id))
	back := newPipe(n.config.BufferBytes, latency, n.stopped(to.id, from.id))
	return &stream{connection: c, local: from, remote: to, protocol: protocol, in: back, out: forth, opener: true},
		&stream{connection: c, local: to, remote: from, protocol: protocol, in: forth, out: back}
}

func (s *stream) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *stream) Write(b []byte) (int, error) { return s.out.Write(b) }

// CloseWrite implements p2p.Stream.
func (s *stream) CloseWrite() error {
	s.out.failWrite(errWriteClosed)
	s.out.sendThen(parcel{ended: true})
	return nil
}

// Close ends both directions: what was written still arrives, what the other
// side writes from then on fails there.
func (s *stream) Close() error {
	if !s.done.Swap(true) {
		s.in.failRead(net.ErrClosed)
		s.out.failWrite(net.ErrClosed)
		s.out.sendThen(parcel{ended: true, then: []func(){func() { s.in.failWrite(ErrReset) }}})
		s.release()
	}
	return nil
}

// Reset implements p2p.Stream.
func (s *stream) Reset() error {
	s.reset()
	return nil
}

func (s *stream) reset() {
	s.done.Store(true)
	s.in.failRead(ErrReset)
	s.out.failWrite(ErrReset)
	s.out.sendThen(parcel{then: []func(){func() {
		s.out.failRead(ErrReset)
		s.in.failWrite(ErrReset)
	}}})
	s.release()
}

// fail ends both directions, at both ends, without a message.
func (s *stream) fail(err error) {
	for _, p := range []*pipe{s.in, s.out} {
		p.failRead(err)
		p.failWrite(err)
	}
}

// release takes the stream off its connection and off the opener's limit. The
// pipes stay with the other end.
func (s *stream) release() {
	n := s.local.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(s)
}

// forget is release with the network's lock held.
func (n *Network) forget(s *stream) {
	if !s.connection.streams[s] {
		return
	}
	delete(s.connection.streams, s)
	if s.opener {
		s.local.opened[use{s.remote.id, s.protocol}]--
		n.wake()
	}
}

// Remote implements p2p.Stream.
func (s *stream) Remote() p2p.NodeID { return s.remote.id }

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return address(s.local.id) }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return address(s.remote.id) }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.in.setDeadline(&s.in.read, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.out.setDeadline(&s.out.write, t)
	return nil
}

// address is a node as a net.Addr.
type address p2p.NodeID

func (a address) Network() string { return "memory" }
func (a address) String() string  { return string(a) }
