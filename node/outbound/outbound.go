// Package outbound makes the HTTP requests of guests, and decides which: of tenants
// and jobs that may, to ports that the operator allows, and to addresses of the
// public internet, looked at when a connection is made, so that it does not matter
// what a name stands for at another time. Each tenant has connections of its own,
// so many and no more; each request is noted.
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// The limits. RATIONALE.md says why.
const (
	// ConnectionsMax bounds the connections of a node's guests, TenantConnectionsMax
	// those of one tenant's; those that wait for another request are closed before one
	// is refused.
	ConnectionsMax       = 256
	TenantConnectionsMax = 32
	// RequestsPerSecondMax bounds the requests of one tenant in the long run, BurstMax
	// those at once.
	RequestsPerSecondMax = 50
	BurstMax             = 100
	// RequestBytesMax bounds the body of a request, ResponseBytesMax that of an answer.
	RequestBytesMax  = 64 << 20
	ResponseBytesMax = 256 << 20
	// AttemptBytesMax bounds what all requests of an attempt move, both ways,
	// TenantBytesMax what those of a tenant move on one node in TenantBytesPeriod: the
	// node's own bound, whatever the tenant's quota, which Config.Consent knows.
	AttemptBytesMax   = 1 << 30
	TenantBytesMax    = 16 << 30
	TenantBytesPeriod = 24 * time.Hour
	// RequestTimeout bounds a request with its answer; the attempt's own time does, too.
	RequestTimeout = 10 * time.Minute
	// connectTimeout bounds looking up a name, connecting, and TLS, each for itself.
	connectTimeout = 15 * time.Second
	// ConnectionWait is how long a connection waits for room, takeTries how often it
	// looks.
	ConnectionWait = 500 * time.Millisecond
	takeTries      = 10
	// IdleBytesMax bounds what a server sends on a connection while no request of it
	// begins, is given a head, or a part of a body: frames that are nothing to a guest.
	IdleBytesMax = 8 << 20
	// bufferBytesMax is what of answers waits in a connection of HTTP/2 for guests to
	// read it, streamBufferBytesMax that of one answer. IdleBytesMax is above both.
	bufferBytesMax       = 4 << 20
	streamBufferBytesMax = 256 << 10
	// idleTimeout is how long a connection waits for another request.
	idleTimeout = 15 * time.Second
	// tenantsMax bounds the tenants that are remembered without a request.
	tenantsMax = 1024
)

// Resolver finds the addresses of a name; net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Record is one request that has ended. It holds no path, no query and no field: those
// may be secrets.
type Record struct {
	Tenant, Job string
	Task        uint32
	// Method, Scheme, Host and Port are empty when the head could not be read.
	Method, Scheme, Host string
	Port                 uint16
	// Address is where the request went, if it did.
	Address netip.AddrPort
	// Status is the answer's, 0 without one.
	Status int
	// Sent and Received count bodies.
	Sent, Received uint64
	// Code is the name of an abi.Code, or empty when all went well.
	Code string
}

// Config says what guests may reach. The numbers are the constants of the same names,
// unless a test wants less.
type Config struct {
	// Ports are those that may be reached; Allow are addresses that may, though they are
	// not of the public internet.
	Ports []uint16
	Allow []netip.Prefix
	// Avoid lists what this node and its peers listen at, which is refused in any case;
	// an unspecified address stands for all of this machine. May be nil.
	Avoid func() []netip.AddrPort
	// Consent is asked before each request whether a tenant may make it: it returns nil,
	// or abi.ErrDenied, or abi.ErrBytes of one that has exchanged all that its quota has
	// for today. Nil allows all.
	Consent func(tenant string) error
	// Note receives each request that has ended; nil discards it. It must not block.
	Note func(Record)
	// Resolver is that of Go without cgo when it is nil.
	Resolver Resolver
	// TLS is for tests; nil trusts what the machine does.
	TLS *tls.Config

	// Down and Up bound what comes and goes; nil does not.
	Down, Up *bandwidth.Flow

	ConnectionsMax, TenantConnectionsMax int
	RequestsPerSecondMax                 float64
	BurstMax                             int
	RequestBytesMax, ResponseBytesMax    uint64
	AttemptBytesMax, TenantBytesMax      uint64
	IdleBytesMax                         uint64
	RequestTimeout, TenantBytesPeriod    time.Duration
	ConnectionWait                       time.Duration

	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer
}

// Default returns the configuration of a node whose operator has said no more than
// that guests may make requests.
func Default() Config {
	return Config{
		Ports: []uint16{80, 443}, ConnectionsMax: ConnectionsMax, TenantConnectionsMax: TenantConnectionsMax,
		RequestsPerSecondMax: RequestsPerSecondMax, BurstMax: BurstMax,
		RequestBytesMax: RequestBytesMax, ResponseBytesMax: ResponseBytesMax, AttemptBytesMax: AttemptBytesMax,
		TenantBytesMax: TenantBytesMax, TenantBytesPeriod: TenantBytesPeriod, RequestTimeout: RequestTimeout,
		IdleBytesMax: IdleBytesMax, ConnectionWait: ConnectionWait,
	}
}

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	if len(c.Ports) == 0 {
		return errors.New("there is no port that guests may reach")
	}
	for name, n := range map[string]float64{
		"ConnectionsMax": float64(c.ConnectionsMax), "TenantConnectionsMax": float64(c.TenantConnectionsMax),
		"RequestsPerSecondMax": c.RequestsPerSecondMax, "BurstMax": float64(c.BurstMax),
		"RequestBytesMax": float64(c.RequestBytesMax), "ResponseBytesMax": float64(c.ResponseBytesMax),
		"AttemptBytesMax": float64(c.AttemptBytesMax), "TenantBytesMax": float64(c.TenantBytesMax),
		"RequestTimeout": float64(c.RequestTimeout), "TenantBytesPeriod": float64(c.TenantBytesPeriod),
		"IdleBytesMax": float64(c.IdleBytesMax), "ConnectionWait": float64(c.ConnectionWait),
	} {
		if n <= 0 {
			return fmt.Errorf("%s is %v, more than 0", name, n)
		}
	}
	return nil
}

// Gate makes requests. Its methods are safe for concurrent use.
type Gate struct {
	config  Config
	metrics *metrics
	// ctx ends with Close.
	ctx    context.Context
	cancel context.CancelFunc
	// work is connections that are being made.
	work sync.WaitGroup
	// bound ends requests that take too long: a test says when.
	bound func(context.Context) (context.Context, context.CancelFunc)

	mu      sync.Mutex
	closed  bool
	tenants map[string]*tenant
	conns   map[*conn]struct{}
	// taken counts conns, and those that are being made.
	taken int
}

// tenant is what one tenant's guests have in common. The gate's mutex guards it.
type tenant struct {
	gate      *Gate
	transport *http.Transport
	requests  int
	taken     int
	// quota bounds its requests per second.
	quota *rate.Limiter
	// moved is the bytes since period began.
	period time.Time
	moved  uint64
}

// Open returns a gate. It reaches nothing before a request.
func Open(_ context.Context, config Config) (*Gate, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open outbound HTTP: %w", err)
	}
	if config.Resolver == nil {
		config.Resolver = &net.Resolver{PreferGo: true}
	}
	m, err := newMetrics(config.Registerer)
	if err != nil {
		return nil, fmt.Errorf("open outbound HTTP: %w", err)
	}
	g := &Gate{config: config, metrics: m, tenants: map[string]*tenant{}, conns: map[*conn]struct{}{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.bound = func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, config.RequestTimeout)
	}
	return g, nil
}

// Close closes all connections. Requests that are under way fail. It is idempotent.
func (g *Gate) Close() error {
	if g == nil {
		return nil
	}
	g.cancel()
	g.mu.Lock()
	g.closed = true
	var open []*conn
	for c := range g.conns {
		open = append(open, c)
	}
	g.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	g.closeIdle()
	g.work.Wait()
	return nil
}

// Attempt is whose requests they are.
type Attempt struct {
	Tenant, Job string
	Task        uint32
	// HTTP is what the job asks for.
	HTTP task.HTTP
}

// For returns what makes the requests of one attempt. A nil gate refuses all.
func (g *Gate) For(a Attempt) worker.Outbound {
	if g == nil {
		return nil
	}
	return &attempt{gate: g, of: a}
}

// enter counts a request of a tenant, or refuses it.
func (g *Gate) enter(name string) (*tenant, error) {
	if c := g.config.Consent; c != nil {
		if err := c(name); errors.Is(err, abi.ErrBytes) {
			return nil, g.metrics.hit(limitQuotaBytes, abi.ErrBytes)
		} else if err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, abi.ErrDenied
	}
	now := time.Now()
	t := g.tenants[name]
	if t == nil {
		g.forgetLocked()
		t = &tenant{gate: g, period: now, quota: rate.NewLimiter(rate.Limit(g.config.RequestsPerSecondMax), g.config.BurstMax)}
		t.transport = t.newTransport()
		g.tenants[name] = t
	}
	if t.quota.TokensAt(now) < 1 {
		return nil, g.metrics.hit(limitRate, abi.ErrRate)
	}
	if now.Sub(t.period) >= g.config.TenantBytesPeriod {
		t.period, t.moved = now, 0
	}
	if t.moved >= g.config.TenantBytesMax {
		return nil, g.metrics.hit(limitTenantBytes, abi.ErrBytes)
	}
	t.quota.AllowN(now, 1)
	t.requests++
	return t, nil
}

// forgetLocked makes room for another tenant, if one may be forgotten: that keeps its
// count of bytes as long as it matters.
func (g *Gate) forgetLocked() {
	if len(g.tenants) < tenantsMax {
		return
	}
	for name, t := range g.tenants {
		if t.requests == 0 && t.taken == 0 && time.Since(t.period) >= g.config.TenantBytesPeriod {
			delete(g.tenants, name)
		}
	}
}

func (t *tenant) leave() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.requests--
}

// move counts bytes of the tenant, and says when they are too many.
func (t *tenant) move(n int) error {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.moved += uint64(n); t.moved > g.config.TenantBytesMax {
		return g.metrics.hit(limitTenantBytes, abi.ErrBytes)
	}
	return nil
}
