package outbound

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/worker"
)

// attempt makes the requests of one attempt.
type attempt struct {
	gate *Gate
	of   Attempt
	// moved is the bytes of all its bodies.
	moved atomic.Uint64
}

// exchange is one request that is under way.
type exchange struct {
	attempt *attempt
	tenant  *tenant
	cancel  context.CancelFunc
	body    io.ReadCloser

	sent, received atomic.Uint64
	connected      atomic.Bool
	// over is the first limit that a body was beyond.
	over atomic.Int32
	conn atomic.Pointer[conn]

	mu     sync.Mutex
	record Record
	once   sync.Once
}

// Do implements worker.Outbound.
func (a *attempt) Do(ctx context.Context, head []byte, body io.ReadCloser) (worker.Response, error) {
	x := &exchange{attempt: a, body: body, record: Record{Tenant: a.of.Tenant, Job: a.of.Job, Task: a.of.Task}}
	ctx, x.cancel = a.gate.bound(ctx)
	r, err := x.do(ctx, head)
	if err != nil {
		code := x.codeOf(ctx, err)
		x.end(code)
		return worker.Response{}, code
	}
	return r, nil
}

func (x *exchange) do(ctx context.Context, head []byte) (worker.Response, error) {
	g := x.attempt.gate
	p, err := parse(head)
	if err != nil {
		_ = x.body.Close()
		return worker.Response{}, err
	}
	x.record.Method, x.record.Scheme, x.record.Host, x.record.Port = p.method, p.url.Scheme, p.host, p.port
	r, err := x.request(ctx, p)
	if err != nil {
		_ = x.body.Close()
		return worker.Response{}, err
	}
	answer, err := x.tenant.transport.RoundTrip(r)
	if err != nil {
		return worker.Response{}, err
	}
	x.advance()
	x.mu.Lock()
	x.record.Status = answer.StatusCode
	x.mu.Unlock()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return worker.Response{}, errors.Join(abi.ErrBroken, answer.Body.Close())
	}
	out, err := encode(answer.StatusCode, answer.Header)
	if err != nil {
		_ = answer.Body.Close()
		return worker.Response{}, g.metrics.hit(limitHead, err)
	}
	return worker.Response{Head: out, Body: &received{x, ctx, answer.Body}}, nil
}

// request makes the request, of one that may be made.
func (x *exchange) request(ctx context.Context, p *parsed) (*http.Request, error) {
	g, a := x.attempt.gate, x.attempt
	var err error
	switch {
	case !a.of.HTTP.Allows(p.host):
		return nil, abi.ErrHost
	case p.length > 0 && uint64(p.length) > g.config.RequestBytesMax:
		return nil, g.metrics.hit(limitRequestBytes, abi.ErrBytes)
	case a.moved.Load() >= g.config.AttemptBytesMax:
		return nil, g.metrics.hit(limitAttemptBytes, abi.ErrBytes)
	}
	if x.tenant, err = g.enter(a.of.Tenant); err != nil {
		return nil, err
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		to, _ := netip.ParseAddrPort(info.Conn.RemoteAddr().String())
		x.mu.Lock()
		x.record.Address = to
		x.mu.Unlock()
		x.conn.Store(connOf(info.Conn))
		x.advance()
		x.connected.Store(true)
	}})
	r := (&http.Request{
		Method: p.method, URL: p.url, Header: p.fields, ContentLength: p.length,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: hostField(p),
	}).WithContext(ctx)
	if p.length == 0 {
		_ = x.body.Close()
		r.Body = http.NoBody
	} else {
		r.Body = &sent{x}
	}
	return r, nil
}

// hostField is the host as servers expect it: without the scheme's own port.
func hostField(p *parsed) string {
	if p.url.Scheme == "http" && p.port == 80 || p.url.Scheme == "https" && p.port == 443 {
		if strings.Contains(p.host, ":") {
			return "[" + p.host + "]"
		}
		return p.host
	}
	return p.url.Host
}

// advance says that the request gets on.
func (x *exchange) advance() {
	if c := x.conn.Load(); c != nil {
		c.idle.Store(0)
	}
}

// move counts bytes of a body, of which so many in all may be, and says when they are
// too many.
func (x *exchange) move(count *atomic.Uint64, n int, most uint64, limit string) error {
	g := x.attempt.gate
	g.metrics.bytes.WithLabelValues(limit[:strings.IndexByte(limit, '_')]).Add(float64(n))
	err := x.tenant.move(n)
	switch {
	case count.Add(uint64(n)) > most:
		err = g.metrics.hit(limit, abi.ErrBytes)
	case x.attempt.moved.Add(uint64(n)) > g.config.AttemptBytesMax:
		err = g.metrics.hit(limitAttemptBytes, abi.ErrBytes)
	}
	if err != nil {
		x.over.Store(int32(abi.ErrBytes))
	}
	return err
}

// sent is the body of a request.
type sent struct{ x *exchange }

func (s *sent) Read(p []byte) (int, error) {
	n, err := s.x.body.Read(p)
	if over := s.x.move(&s.x.sent, n, s.x.attempt.gate.config.RequestBytesMax, limitRequestBytes); over != nil {
		return 0, over
	}
	return n, err
}

func (s *sent) Close() error { return s.x.body.Close() }

// received is the body of an answer.
type received struct {
	x    *exchange
	ctx  context.Context
	body io.ReadCloser
}

func (r *received) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if n > 0 {
		r.x.advance()
	}
	if over := r.x.move(&r.x.received, n, r.x.attempt.gate.config.ResponseBytesMax, limitResponseBytes); over != nil {
		r.x.end(abi.ErrBytes)
		return 0, over
	}
	switch {
	case errors.Is(err, io.EOF):
		r.x.end(0)
	case err != nil:
		code := r.x.codeOf(r.ctx, err)
		r.x.end(code)
		return n, code
	}
	return n, err
}

// Close gives up what was not read.
func (r *received) Close() error {
	r.x.end(0)
	return r.body.Close()
}

// codeOf is what the guest is told of an error.
func (x *exchange) codeOf(ctx context.Context, err error) abi.Code {
	var code abi.Code
	c := x.conn.Load()
	switch over := abi.Code(x.over.Load()); {
	case over != 0:
		return over
	case c != nil && c.over.Load():
		return abi.ErrBytes
	case errors.As(err, &code):
		return code
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return abi.ErrTimeout
	case strings.Contains(err.Error(), "headers exceeded"), strings.Contains(err.Error(), "header list"):
		_ = x.attempt.gate.metrics.hit(limitHead, abi.ErrHead)
		return abi.ErrHead
	case !x.connected.Load():
		return abi.ErrConnect
	}
	return abi.ErrBroken
}

// end notes the request. What it holds goes with its context.
func (x *exchange) end(code abi.Code) {
	x.once.Do(func() {
		if x.tenant != nil {
			x.tenant.leave()
		}
		x.cancel()
		x.mu.Lock()
		r := x.record
		x.mu.Unlock()
		r.Sent, r.Received = x.sent.Load(), x.received.Load()
		if r.Code = ""; code != 0 {
			r.Code = code.Name()
		}
		g := x.attempt.gate
		g.metrics.requests.WithLabelValues(outcome(r.Code)).Inc()
		if g.config.Note != nil {
			g.config.Note(r)
		}
	})
}
