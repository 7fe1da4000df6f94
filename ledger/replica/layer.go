package replica

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// addressBook gives Raft the addresses that members have announced.
type addressBook struct{ book *book }

var errNoAddress = errors.New("member has announced no address")

// ServerAddr implements raft.ServerAddressProvider.
func (a addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if address := a.book.view().address(string(id)); address != "" {
		return raft.ServerAddress(address), nil
	}
	return "", errNoAddress
}

// streamLayer gives Raft its share of the connections.
type streamLayer struct {
	replica *Replica
	ctx     context.Context
	cancel  context.CancelFunc
	// offered holds connections until the transport takes them.
	offered chan net.Conn
	conns   connSet
	open    sync.WaitGroup
}

func newStreamLayer(r *Replica) *streamLayer {
	l := &streamLayer{replica: r, offered: make(chan net.Conn), conns: connSet{open: map[*conn]struct{}{}}}
	l.ctx, l.cancel = context.WithCancel(r.ctx)
	return l
}

// own wraps c so that closing the layer closes it and wait waits for it.
func (l *streamLayer) own(c *conn, after func()) (*conn, bool) {
	w := &conn{Conn: c, r: c.r, peer: c.peer}
	l.open.Add(1)
	ok := l.conns.add(w, func() {
		if after != nil {
			after()
		}
		l.open.Done()
	})
	if !ok {
		l.open.Done()
	}
	return w, ok
}

func (l *streamLayer) offer(c *conn) bool {
	w, ok := l.own(c, func() { l.replica.suspect(c.peer.id) })
	if !ok {
		return false
	}
	select {
	case l.offered <- w:
	case <-l.ctx.Done():
		_ = w.Close()
	}
	return true
}

// Accept implements net.Listener.
func (l *streamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-l.offered:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (l *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx := l.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if string(address) == l.replica.config.Address {
		return l.loop()
	}
	c, err := l.replica.dial(ctx, string(address), protocolRaft)
	if err != nil {
		return nil, err
	}
	w, ok := l.own(c, nil)
	if !ok {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return w, nil
}

// loop connects the instance with itself.
func (l *streamLayer) loop() (net.Conn, error) {
	near, far := net.Pipe()
	w, ok := l.own(&conn{Conn: far, r: bufio.NewReader(looped{far})}, nil)
	if !ok {
		return nil, net.ErrClosed
	}
	select {
	case l.offered <- w:
		return near, nil
	case <-l.ctx.Done():
		_ = w.Close()
		return nil, net.ErrClosed
	}
}

// looped is the end of a pipe of which Raft is told, when this end is closed, what it
// would hear of the other one's: nothing is wrong with it.
type looped struct{ net.Conn }

// Read implements net.Conn.
func (c looped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = io.EOF
	}
	return n, err
}

// Close implements net.Listener.
func (l *streamLayer) Close() error {
	l.cancel()
	l.conns.close()
	return nil
}

// wait returns when all connections are closed.
func (l *streamLayer) wait() { l.open.Wait() }

// Addr implements net.Listener.
func (l *streamLayer) Addr() net.Addr { return address(l.replica.config.Address) }

// address is a member's address as a net.Addr.
type address string

// Network implements net.Addr.
func (address) Network() string { return "dugnad" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
