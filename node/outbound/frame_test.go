package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/runtime/abi"
)

// Frames of HTTP/2 (RFC 9113, section 6) and flags of them.
const (
	h2Data, h2Headers, h2Reset, h2Settings, h2Ping, h2Continuation = 0, 1, 3, 4, 6, 9
	h2EndStream, h2EndHeaders                                      = 1, 4
)

func h2Frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	return append(binary.BigEndian.AppendUint32(append(b, flags), stream), payload...)
}

// h2Field is a field of a head (RFC 7541, section 6.2.2) whose texts have up to 126
// bytes.
func h2Field(name, value string) []byte {
	b := append([]byte{0, byte(len(name))}, name...)
	return append(append(b, byte(len(value))), value...)
}

// h2OK is the field ":status: 200".
var h2OK = []byte{0x88}

// serveFrames serves HTTP/2 over TLS: for each request that comes, in any stream, attack
// is called, whose send reports false when nobody listens any more.
func serveFrames(t *testing.T, attack func(stream uint32, send func(frames ...[]byte) bool)) (url string, trust *tls.Config) {
	t.Helper()
	// A server that is never asked anything lends its certificate.
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	lender.Close()
	trust = lender.Client().Transport.(*http.Transport).TLSClientConfig
	own := lender.TLS.Clone()
	own.NextProtos = []string{"h2"}
	l, err := tls.Listen("tcp", "127.0.0.1:0", own)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serveFramesTo(c, attack)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return "https://" + l.Addr().String(), trust
}

func serveFramesTo(c net.Conn, attack func(stream uint32, send func(frames ...[]byte) bool)) {
	defer c.Close()
	preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	if _, err := io.ReadFull(c, preface); err != nil {
		return
	}
	requests, gone := make(chan uint32, 16), make(chan struct{})
	go func() {
		defer close(gone)
		defer close(requests)
		head := make([]byte, 9)
		for {
			if _, err := io.ReadFull(c, head); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head)>>8)); err != nil {
				return
			}
			if head[3] == h2Headers {
				requests <- binary.BigEndian.Uint32(head[5:])
			}
		}
	}()
	send := func(frames ...[]byte) bool {
		_, err := c.Write(slices.Concat(frames...))
		return err == nil
	}
	send(h2Frame(h2Settings, 0, 0, nil))
	for stream := range requests {
		attack(stream, send)
	}
	_ = c.Close()
	<-gone
}

// TestHostileFrames is a table of servers of HTTP/2 that mean no good. Each ends by a
// limit, with the error that says so and a count, and what it was sent is bounded.
func TestHostileFrames(t *testing.T) {
	many := bytes.Repeat(h2Field("x-filler", "0123456789012345678901234567890123456789"), 300) // within a frame
	answer := h2Frame(h2Headers, h2EndHeaders, 0, h2OK)
	on := func(frame []byte, stream uint32) []byte {
		f := slices.Clone(frame)
		binary.BigEndian.PutUint32(f[5:], stream)
		return f
	}
	forever := func(send func(...[]byte) bool, frames ...[]byte) {
		batch := bytes.Repeat(slices.Concat(frames...), 64)
		for send(batch) {
		}
	}
	for _, tt := range []struct {
		name   string
		attack func(stream uint32, send func(...[]byte) bool)
		want   abi.Code
		limit  string
	}{
		{"a head without end", func(s uint32, send func(...[]byte) bool) {
			send(h2Frame(h2Headers, 0, s, h2OK))
			forever(send, h2Frame(h2Continuation, 0, s, many))
		}, abi.ErrBroken, ""},
		{"a head without end, of empty parts", func(s uint32, send func(...[]byte) bool) {
			send(h2Frame(h2Headers, 0, s, h2OK))
			forever(send, h2Frame(h2Continuation, 0, s, nil))
		}, abi.ErrBytes, limitIdleBytes},
		{"a large head", func(s uint32, send func(...[]byte) bool) {
			send(h2Frame(h2Headers, 0, s, h2OK))
			send(h2Frame(h2Continuation, 0, s, many), h2Frame(h2Continuation, 0, s, many))
			send(h2Frame(h2Continuation, h2EndHeaders, s, many))
		}, abi.ErrHead, limitHead},
		{"interim answers without end", func(s uint32, send func(...[]byte) bool) {
			forever(send, h2Frame(h2Headers, h2EndHeaders, s, h2Field(":status", "103")))
		}, abi.ErrHead, limitHead},
		{"trailers without end", func(s uint32, send func(...[]byte) bool) {
			send(on(answer, s), h2Frame(h2Headers, h2EndStream, s, many))
			forever(send, h2Frame(h2Continuation, 0, s, many))
		}, abi.ErrBroken, ""},
		{"trailers again and again", func(s uint32, send func(...[]byte) bool) {
			send(on(answer, s))
			forever(send, h2Frame(h2Headers, h2EndHeaders, s, many))
		}, abi.ErrBroken, ""},
		{"rapid reset", func(s uint32, send func(...[]byte) bool) {
			send(h2Frame(h2Reset, 0, s, []byte{0, 0, 0, 8}))
		}, abi.ErrBroken, ""},
		{"resets without end", func(s uint32, send func(...[]byte) bool) {
			forever(send, h2Frame(h2Reset, 0, s+2, []byte{0, 0, 0, 8}))
		}, abi.ErrBytes, limitIdleBytes},
		{"settings without end", func(_ uint32, send func(...[]byte) bool) {
			forever(send, h2Frame(h2Settings, 0, 0, nil))
		}, abi.ErrBytes, limitIdleBytes},
		{"pings without end", func(_ uint32, send func(...[]byte) bool) {
			forever(send, h2Frame(h2Ping, 0, 0, make([]byte, 8)))
		}, abi.ErrBytes, limitIdleBytes},
		{"empty parts of a body without end", func(s uint32, send func(...[]byte) bool) {
			send(on(answer, s))
			forever(send, h2Frame(h2Data, 0, s, nil))
		}, abi.ErrBytes, limitIdleBytes},
		{"more than the window", func(s uint32, send func(...[]byte) bool) {
			send(on(answer, s))
			forever(send, h2Frame(h2Data, 0, s, make([]byte, 16<<10)))
		}, abi.ErrBroken, ""},
		{"no frames", func(_ uint32, send func(...[]byte) bool) {
			forever(send, []byte("HTTP/1.1 200 OK\r\n\r\n"))
		}, abi.ErrBroken, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, trust := serveFrames(t, tt.attack)
			registry := prometheus.NewRegistry()
			g, n := openTest(t, func(c *Config) {
				allow(c, url)
				c.TLS, c.Registerer, c.IdleBytesMax, c.ResponseBytesMax = trust, registry, 1<<20, 4<<20
			})
			_, body, err := fetch(t, g, someone, "GET "+url, "")
			if !errors.Is(err, tt.want) || len(body) > 4<<20 {
				t.Errorf("%v after %d bytes, want %v", err, len(body), tt.want)
			}
			if r := n.last(t); r.Code != tt.want.Name() || !r.Address.IsValid() {
				t.Errorf("noted %+v", r)
			}
			if got := limitReached(t, registry, tt.limit); tt.limit != "" && got != 1 {
				t.Errorf("limit %s was reached %v times", tt.limit, got)
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if left := g.tenants[someone.Tenant].requests; left != 0 {
				t.Errorf("%d requests are left", left)
			}
		})
	}
}

func limitReached(t *testing.T, registry *prometheus.Registry, limit string) (n float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "dugnad_outbound_limit_reached_total" && m.GetLabel()[0].GetValue() == limit {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// TestUnread: what guests do not read of answers waits at their servers, not here.
func TestUnread(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 32<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	g, _ := openTest(t, func(c *Config) {
		allow(c, s.URL)
		c.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
		c.TLS.NextProtos = nil
	})
	if h := g.tenantTransport(t, s.URL).HTTP2; h.MaxReceiveBufferPerConnection != bufferBytesMax || h.MaxReceiveBufferPerStream != streamBufferBytesMax {
		t.Errorf("%+v", h)
	}
	// A guest that reads nothing of one answer can still read another one.
	a := g.For(someone)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, err := a.Do(ctx, []byte("GET "+s.URL), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	fast, err := a.Do(ctx, []byte("GET "+s.URL), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer fast.Body.Close()
	if n, err := io.CopyN(io.Discard, fast.Body, 2*IdleBytesMax); err != nil {
		t.Errorf("%v after %d bytes", err, n)
	}
}

// tenantTransport makes a request that is given up, and returns the transport of its
// tenant.
func (g *Gate) tenantTransport(t *testing.T, url string) *http.Transport {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.For(someone).Do(ctx, []byte("GET "+url), http.NoBody); err == nil {
		t.Error("a request that was given up went well")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tenants[someone.Tenant].transport
}
