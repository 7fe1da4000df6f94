// Package turnstile bounds the connections of a listener, and tells those that are
// too many so.
package turnstile

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/p2p/metric"
)

const (
	// ConnectionsMax bounds the connections at a port, and those at the operator's
	// socket.
	ConnectionsMax = 1024
	// turnAwayTimeout bounds how long the one that is too many may take to hear so,
	// and turnAwayBytes what is read of its request.
	turnAwayTimeout = 100 * time.Millisecond
	turnAwayBytes   = 64 << 10
)

// The names that the metric has for limits.
const (
	Port    = "connections"
	Control = "control_connections"
)

// turnstile is a listener that lets only so many connections in.
type turnstile struct {
	net.Listener
	limit   prometheus.Counter
	places  chan struct{}
	refusal []byte
}

// New bounds the connections of a listener: one more than places is answered, over
// HTTP, with api.CodeOverloaded, and closed. name is the limit's in the metric, which
// turnstiles that share a Registerer share; reg may be nil.
func New(l net.Listener, places int, name string, reg prometheus.Registerer) (net.Listener, error) {
	t := &turnstile{Listener: l, places: make(chan struct{}, places)}
	var limits *prometheus.CounterVec
	var err error
	if t.refusal, err = tooMany(places); err != nil {
		return nil, err
	}
	metric.Register(reg, &limits, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dugnad_api_limit_reached_total", Help: "How often a limit of the HTTP interface refused something, by limit.",
	}, []string{"limit"}), &err)
	t.limit = limits.WithLabelValues(name)
	return t, err
}

// tooMany is the answer to a connection that is too many.
func tooMany(places int) ([]byte, error) {
	p := api.NewProblem(
		api.CodeOverloaded, fmt.Sprintf("this node has %d connections open, and takes no more", places), "try again in a moment, or ask another node",
	)
	p.RetryAfter = 1
	body, err := json.Marshal(p)
	const head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n"
	return append(fmt.Appendf(nil, head, len(body)), body...), err
}

// Accept returns the next connection for which there is a place.
func (t *turnstile) Accept() (net.Conn, error) {
	for {
		c, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case t.places <- struct{}{}:
			return &visitor{Conn: c, leave: func() { <-t.places }}, nil
		default:
			t.limit.Inc()
			t.turnAway(c)
		}
	}
}

// turnAway says no, and reads what is asked so that the answer is not lost with it.
func (t *turnstile) turnAway(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(turnAwayTimeout))
	if _, err := c.Write(t.refusal); err != nil {
		return
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, turnAwayBytes) // until it has read
	}
}

// visitor gives its place back once.
type visitor struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	defer v.once.Do(v.leave)
	return v.Conn.Close()
}

// ReadFrom lets the system copy files to a socket that can.
func (v *visitor) ReadFrom(r io.Reader) (int64, error) { return io.Copy(v.Conn, r) }
