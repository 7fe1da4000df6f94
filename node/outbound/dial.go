package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/runtime/abi"
)

func (t *tenant) newTransport() *http.Transport {
	return &http.Transport{
		// No proxy: it would look names up elsewhere.
		DialContext: t.dial, TLSClientConfig: t.gate.config.TLS.Clone(), TLSHandshakeTimeout: connectTimeout,
		// What a guest is given is what came: a small answer must not become a large one.
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: bufferBytesMax, MaxReceiveBufferPerStream: streamBufferBytesMax},
		MaxIdleConns:           t.gate.config.TenantConnectionsMax,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: abi.HTTPHeadBytesMax,
	}
}

// conn is a connection that counts, and moves no more than the bandwidth allows.
type conn struct {
	net.Conn
	tenant *tenant
	// open ends with Close, and with it what waits for the bandwidth.
	open context.Context
	end  context.CancelFunc
	once sync.Once
	err  error
	// idle is the bytes that came since a request got anywhere: see IdleBytesMax.
	idle atomic.Uint64
	over atomic.Bool
}

// Read implements net.Conn. What comes meanwhile waits at the sender. A server that
// only keeps the connection busy is left.
func (c *conn) Read(b []byte) (int, error) {
	g := c.tenant.gate
	n, err := c.Conn.Read(b[:min(len(b), bandwidth.PieceBytes)])
	if g.config.Down.Wait(c.open, bandwidth.KindHTTP, n) != nil {
		return 0, net.ErrClosed
	}
	if c.idle.Add(uint64(n)) <= g.config.IdleBytesMax {
		return n, err
	}
	if !c.over.Swap(true) {
		_ = g.metrics.hit(limitIdleBytes, abi.ErrBytes)
	}
	return 0, abi.ErrBytes
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (written int, err error) {
	for err == nil && len(b) > 0 {
		piece := b[:min(len(b), bandwidth.PieceBytes)]
		if c.tenant.gate.config.Up.Wait(c.open, bandwidth.KindHTTP, len(piece)) != nil {
			return written, net.ErrClosed
		}
		var n int
		n, err = c.Conn.Write(piece)
		written, b = written+n, b[len(piece):]
	}
	return written, err
}

// connOf returns the connection below TLS.
func connOf(c net.Conn) *conn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	is, _ := c.(*conn)
	return is
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.end()
		c.err = c.Conn.Close()
		g := c.tenant.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.conns, c)
		c.tenant.giveBackLocked()
	})
	return c.err
}

// take takes room for a connection. Where there is none it closes those that wait for
// another request, and looks again for a moment: one may have ended just now.
func (t *tenant) take(ctx context.Context) error {
	ticker := time.NewTicker(max(t.gate.config.ConnectionWait/takeTries, 1))
	defer ticker.Stop()
	for try := 1; ; try++ {
		limit, err := t.takeNow()
		if limit == "" {
			return err
		}
		if try > takeTries {
			return t.gate.metrics.hit(limit, abi.ErrOpen)
		}
		t.gate.closeIdle()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeNow takes room if there is some, or says which limit is reached.
func (t *tenant) takeNow() (limit string, err error) {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return "", abi.ErrDenied
	case t.taken >= g.config.TenantConnectionsMax:
		return limitTenantConnections, nil
	case g.taken >= g.config.ConnectionsMax:
		return limitConnections, nil
	}
	t.taken++
	g.taken++
	g.metrics.connections.Set(float64(g.taken))
	g.work.Add(1)
	return "", nil
}

// closeIdle closes the connections that wait for another request.
func (g *Gate) closeIdle() {
	g.mu.Lock()
	transports := make([]*http.Transport, 0, len(g.tenants))
	for _, t := range g.tenants {
		transports = append(transports, t.transport)
	}
	g.mu.Unlock()
	for _, t := range transports {
		t.CloseIdleConnections()
	}
}

func (t *tenant) giveBackLocked() {
	t.taken--
	t.gate.taken--
	t.gate.metrics.connections.Set(float64(t.gate.taken))
}

// dial connects to the first address of a host that answers, of those that guests may
// reach.
func (t *tenant) dial(ctx context.Context, _, address string) (net.Conn, error) {
	g := t.gate
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	if err := t.take(ctx); err != nil {
		return nil, err
	}
	defer g.work.Done()
	made, err := g.connect(ctx, address)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.closed {
		err = errors.Join(abi.ErrDenied, made.Close())
	}
	if err != nil {
		t.giveBackLocked()
		return nil, err
	}
	c := &conn{Conn: made, tenant: t}
	c.open, c.end = context.WithCancel(g.ctx)
	g.conns[c] = struct{}{}
	return c, nil
}

// connect looks a host up and connects to it. What is dialled is an address that was
// checked, and it is checked again when the socket is about to connect.
func (g *Gate) connect(ctx context.Context, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", abi.ErrRequest, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", abi.ErrRequest, err)
	}
	addrs, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	d := g.dialer()
	var failure error
	for _, addr := range addrs {
		to := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		if err := g.check(to); err != nil {
			failure = errors.Join(failure, err)
			continue
		}
		made, err := d.DialContext(ctx, "tcp", to.String())
		if err == nil {
			return made, nil
		}
		// One that could be reached says more than one that must not be.
		var code abi.Code
		if !errors.As(err, &code) {
			err = fmt.Errorf("%w: %w", abi.ErrConnect, err)
		}
		failure = errors.Join(err, failure)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failure
}

// dialer checks the address of each socket that is about to connect.
func (g *Gate) dialer() *net.Dialer {
	return &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %w", abi.ErrAddress, err)
		}
		return g.check(to)
	}}
}

// resolve returns the addresses of a host, which may be one.
func (g *Gate) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	// The dot keeps the machine's own domain from being tried.
	addrs, err := g.config.Resolver.LookupNetIP(ctx, "ip", host+".")
	if err != nil || len(addrs) == 0 {
		return nil, fmt.Errorf("%w: %w", abi.ErrResolve, errors.Join(err, ctx.Err()))
	}
	return addrs, nil
}
