package book

import (
	"net"
	"sync"
)

// deaf is a listener that nobody reaches.
type deaf struct {
	once   sync.Once
	closed chan struct{}
}

// Accept waits for Close.
func (d *deaf) Accept() (net.Conn, error) {
	<-d.closed
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (d *deaf) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// Addr implements net.Listener.
func (d *deaf) Addr() net.Addr { return &net.UnixAddr{Name: "nobody", Net: "unix"} }
