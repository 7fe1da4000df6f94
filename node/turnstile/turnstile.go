// Package turnstile bounds the connections of a listener. A connection that waits for
// its next request makes room for a new one; when none does, the new one is told that
// it is too many.
package turnstile

import (
	"container/list"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/p2p/metric"
)

const (
	// ConnectionsMax bounds the connections at a port, and those at the operator's
	// socket. PerAddressMax bounds those from another machine, or whatever has one
	// address.
	ConnectionsMax = 1024
	PerAddressMax  = 256
	// turnAwayTimeout bounds how long the one that is too many may take to hear so,
	// and turnAwayBytes what is read of its request.
	turnAwayTimeout = 100 * time.Millisecond
	turnAwayBytes   = 64 << 10
)

// The names that the metric has for limits.
const (
	Port    = "connections"
	Control = "control_connections"
	// Waiting counts connections that were closed, while they waited for a request, to
	// make room for others.
	Waiting = "waiting_connections"
)

// Config says how a listener is bounded.
type Config struct {
	// Places is how many connections may be open, PerAddress how many of them from one
	// address; 0 is as many as there are places.
	Places, PerAddress int
	// Name is the limit's in the metric, which turnstiles that share a Registerer
	// share.
	Name string
	// Encrypted says that TLS comes above: one that is too many is closed, as nothing
	// could be said to it.
	Encrypted bool
	// Registerer receives the metric; nil keeps none.
	Registerer prometheus.Registerer
}

// Turnstile is a listener that lets only so many connections in.
type Turnstile struct {
	net.Listener
	limit, displaced prometheus.Counter
	places           chan struct{}
	perAddress       int
	refusal          []byte

	mu sync.Mutex
	// all is how many visitors there are from an address.
	all map[netip.Addr]int
	// waiting has the visitors that wait for a request, the longest first, and
	// crowds how many of them there are from an address.
	waiting *list.List
	crowds  map[netip.Addr]int
}

// Limits returns the metric of all limits of the HTTP interface, by limit.
func Limits(reg prometheus.Registerer) (limits *prometheus.CounterVec, err error) {
	metric.Register(reg, &limits, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dugnad_api_limit_reached_total", Help: "How often a limit of the HTTP interface refused something, by limit.",
	}, []string{"limit"}), &err)
	return limits, err
}

// New bounds the connections of a listener: one more is answered, over HTTP, with
// api.CodeOverloaded, and closed, unless one makes room for it: see Note.
func New(l net.Listener, c Config) (*Turnstile, error) {
	t := &Turnstile{
		Listener: l, places: make(chan struct{}, c.Places), perAddress: c.PerAddress,
		all: map[netip.Addr]int{}, waiting: list.New(), crowds: map[netip.Addr]int{},
	}
	if t.perAddress == 0 {
		t.perAddress = c.Places
	}
	limits, err := Limits(c.Registerer)
	if err != nil {
		return nil, err
	}
	if !c.Encrypted {
		if t.refusal, err = tooMany(c.Places); err != nil {
			return nil, err
		}
	}
	t.limit, t.displaced = limits.WithLabelValues(c.Name), limits.WithLabelValues(Waiting)
	return t, nil
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
func (t *Turnstile) Accept() (net.Conn, error) {
	for {
		c, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if v := t.admit(c); v != nil {
			return v, nil
		}
		t.limit.Inc()
		t.turnAway(c)
	}
}

// admit gives a connection a place, and makes room if need be. It returns nil when
// there is none.
func (t *Turnstile) admit(c net.Conn) net.Conn {
	v := &visitor{Conn: c, turnstile: t, address: addressOf(c)}
	if t.from(v.address) >= t.perAddress && !t.displace(&v.address) {
		return nil
	}
	if !t.enter() && (!t.displace(nil) || !t.enter()) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[v.address]++
	return v
}

// from is how many visitors there are from an address.
func (t *Turnstile) from(a netip.Addr) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[a]
}

// enter takes a place, if there is one.
func (t *Turnstile) enter() bool {
	select {
	case t.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// displace closes the connection that has waited longest, of those from an address, or
// from the address that has the most that wait. It returns false when there is none.
func (t *Turnstile) displace(from *netip.Addr) bool {
	out := t.longest(from)
	if out == nil {
		return false
	}
	t.displaced.Inc()
	_ = out.Close()
	return true
}

func (t *Turnstile) longest(from *netip.Addr) *visitor {
	t.mu.Lock()
	defer t.mu.Unlock()
	most := 0
	for _, n := range t.crowds {
		most = max(most, n)
	}
	for e := t.waiting.Front(); e != nil; e = e.Next() {
		v := e.Value.(*visitor)
		if from == nil && t.crowds[v.address] == most || from != nil && v.address == *from {
			return v
		}
	}
	return nil
}

// Note tells the turnstile what a connection of its is about, as
// http.Server.ConnState does: only those that it was told of can make room.
func (t *Turnstile) Note(c net.Conn, s http.ConnState) {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	v, ok := c.(*visitor)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(v)
	if (s == http.StateNew || s == http.StateIdle) && !v.gone {
		v.place = t.waiting.PushBack(v)
		t.crowds[v.address]++
	}
}

// forget takes a visitor out of those that wait.
func (t *Turnstile) forget(v *visitor) {
	if v.place == nil {
		return
	}
	t.waiting.Remove(v.place)
	v.place = nil
	if t.crowds[v.address]--; t.crowds[v.address] == 0 {
		delete(t.crowds, v.address)
	}
}

// turnAway says no, and reads what is asked so that the answer is not lost with it.
func (t *Turnstile) turnAway(c net.Conn) {
	defer c.Close()
	if t.refusal == nil {
		return
	}
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
	once      sync.Once
	turnstile *Turnstile
	address   netip.Addr
	// place is the visitor's among those that wait, nil for one that does not; gone
	// says that it never will again. The turnstile's mu guards both.
	place *list.Element
	gone  bool
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	defer v.once.Do(func() {
		t := v.turnstile
		t.mu.Lock()
		defer t.mu.Unlock()
		t.forget(v)
		v.gone = true
		if t.all[v.address]--; t.all[v.address] == 0 {
			delete(t.all, v.address)
		}
		<-t.places
	})
	return v.Conn.Close()
}

// ReadFrom lets the system copy files to a socket that can.
func (v *visitor) ReadFrom(r io.Reader) (int64, error) { return io.Copy(v.Conn, r) }

// addressOf returns who is at the other end, the zero address where that has none.
func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
