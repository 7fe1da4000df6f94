// Package turnstile bounds the connections of a listener. A connection that waits for
// its next request makes room for a new one; when none does, the new one is told that
// it is too many.
package turnstile

import (
	"cmp"
	"container/list"
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
	// Owner counts connections beyond those that one owner may have.
	Owner = "token_connections"
)

// Config says how a listener is bounded.
type Config struct {
	// Places is how many connections may be open, PerAddress how many of them from one
	// address; 0 is as many as there are places.
	Places, PerAddress int
	// Name is the limit's in the metric, which turnstiles that share a Registerer
	// share.
	Name string
	// PerOwner is how many connections one owner may have; 0 is PerOwnerMax.
	PerOwner int
	// Encrypted says that TLS comes above: one that is too many is closed, as nothing
	// could be said to it.
	Encrypted bool
	// Registerer receives the metric; nil keeps none.
	Registerer prometheus.Registerer
}

// Turnstile is a listener that lets only so many connections in.
type Turnstile struct {
	net.Listener
	limit, displaced, crowded prometheus.Counter
	places                    chan struct{}
	perAddress, perOwner      int
	refusal                   []byte

	mu sync.Mutex
	// all is how many visitors there are from an address, owned how many an owner has.
	all   map[netip.Addr]int
	owned map[string]int
	// waiting has the visitors that wait for a request, the longest first, and
	// crowds how many of them there are of each.
	waiting *list.List
	crowds  map[crowd]int
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
		all: map[netip.Addr]int{}, owned: map[string]int{}, waiting: list.New(), crowds: map[crowd]int{}, perOwner: cmp.Or(c.PerOwner, PerOwnerMax),
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
	t.limit, t.displaced, t.crowded = limits.WithLabelValues(c.Name), limits.WithLabelValues(Waiting), limits.WithLabelValues(Owner)
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
	if t.perAddress > 0 && t.from(v.address) >= t.perAddress && !t.displace(&v.address) {
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
// of the owner or address that has the most that wait. It returns false when there is none.
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
	return t.front(func(v *visitor) bool {
		return from == nil && t.crowds[v.crowd()] == most || from != nil && v.address == *from
	})
}

// front returns the visitor that has waited longest of some, nil when there is none. t.mu
// is held.
func (t *Turnstile) front(of func(*visitor) bool) *visitor {
	for e := t.waiting.Front(); e != nil; e = e.Next() {
		if v := e.Value.(*visitor); of(v) {
			return v
		}
	}
	return nil
}

// Note tells the turnstile what a connection of its is about, as
// http.Server.ConnState does: only those that it was told of can make room.
func (t *Turnstile) Note(c net.Conn, s http.ConnState) {
	v := visitorOf(c)
	if v == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(v)
	if (s == http.StateNew || s == http.StateIdle) && !v.gone {
		t.await(v)
	}
}

// await puts a visitor behind those that wait.
func (t *Turnstile) await(v *visitor) {
	v.place = t.waiting.PushBack(v)
	t.crowds[v.crowd()]++
}

// forget takes a visitor out of those that wait.
func (t *Turnstile) forget(v *visitor) {
	if v.place == nil {
		return
	}
	t.waiting.Remove(v.place)
	v.place = nil
	if t.crowds[v.crowd()]--; t.crowds[v.crowd()] == 0 {
		delete(t.crowds, v.crowd())
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
	// owner is whose the last request by it was, empty until that is known.
	owner string
	// place is the visitor's among those that wait, nil for one that does not; gone
	// says that it never will again. The turnstile's mu guards these, and owner.
	place *list.Element
	gone  bool
}

func (v *visitor) crowd() crowd {
	if v.owner != "" {
		return crowd{owner: v.owner}
	}
	return crowd{address: v.address}
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	defer v.once.Do(func() {
		t := v.turnstile
		t.mu.Lock()
		defer t.mu.Unlock()
		t.disown(v)
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
