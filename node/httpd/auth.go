package httpd

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/turnstile"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/p2p/metric"
)

// gate finds out who asks before anything is read but the request's header.
//
// Without a token, who comes through the operator's socket is the operator, and who
// comes to a port on loopback from this machine is the default tenant; all others need
// a token, which is good wherever it is shown, or a browser's session. A port at all addresses of the machine
// wants one at loopback, too: what is in front of it is not for the node to know.
type gate struct {
	*server
	next     http.Handler
	verifier *warrant.Verifier
}

// limitProofs is the limit of proofs that are remembered, in the metric.
const limitProofs = "proofs"

func newGate(s *server, next http.Handler) (*gate, error) {
	g := &gate{server: s, next: next, verifier: warrant.NewVerifier(s.Roots, time.Now())}
	var err error
	if s.limits, err = turnstile.Limits(s.Registerer); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		name, help string
		count      func(warrant.Stats) int
	}{
		{"dugnad_api_chains", "Tokens that were verified and are kept.", func(s warrant.Stats) int { return s.Chains }},
		{"dugnad_api_reads", "Proofs to read that were verified and are kept.", func(s warrant.Stats) int { return s.Reads }},
		{"dugnad_api_proofs", "Proofs for one request that are remembered.", func(s warrant.Stats) int { return s.Proofs }},
	} {
		var gauge prometheus.GaugeFunc
		metric.Register(s.Registerer, &gauge, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, func() float64 {
			return float64(m.count(g.verifier.Stats()))
		}), &err)
	}
	var open prometheus.GaugeFunc
	metric.Register(s.Registerer, &open, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dugnad_api_sessions", Help: "Sessions of browsers, with those that have not begun and those that are over and not forgotten.",
	}, func() float64 { return float64(s.login.sessions.count()) }), &err)
	var short prometheus.GaugeFunc
	metric.Register(s.Registerer, &short, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dugnad_api_shortages", Help: "Tenants that this node refused for want of a quota and has accepted nothing of since: at most 10,000 are remembered.",
	}, func() float64 { return float64(s.short.count()) }), &err)
	var revoked prometheus.GaugeFunc
	metric.Register(s.Registerer, &revoked, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dugnad_api_revocations", Help: "Tokens that were taken back and are remembered, by this node's copy of the ledger: at most 65,536.",
	}, func() float64 {
		n := 0
		_, _ = s.Ledger.View(func(tx ledger.Tx) (err error) {
			n, err = ledger.CountRevocations(tx)
			return err
		})
		return float64(n)
	}), &err)
	return g, err
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := g.find(r)
	if err != nil {
		g.forget(w, r, err)
		delay(w, r, err)
		g.refuse(w, r, err)
		return
	}
	g.next.ServeHTTP(w, r.WithContext(withAsker(r.Context(), a)))
}

// find returns who asks; the error is a problem.
func (g *gate) find(r *http.Request) (*asker, error) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	where := placeOf(local)
	if r.Method == http.MethodPost && r.URL.Path == beginPath {
		return g.newcomer(r, where)
	}
	if proofs := r.Header.Values("Authorization"); len(proofs) > 0 {
		if key, ok := strings.CutPrefix(proofs[0], bearer); ok && len(proofs) == 1 && g.MetricsKey != "" && r.URL.Path == metricsPath {
			return g.scraper(r, key)
		}
		return g.holder(r, where, proofs)
	}
	if where.socket {
		return &asker{Tenant: g.Tenant, Command: warrant.All, Operator: true}, nil
	}
	if cookie, err := r.Cookie(g.login.cookie); err == nil {
		return g.visitor(r, where, cookie.Value)
	}
	if !where.at.Addr().IsLoopback() || !fromHere(r) || g.TokenAlways || exposed(r.Context()) || passedOn(r) {
		return nil, api.NewProblem(api.CodeUnauthorized, "this listener wants a token", helpToken)
	}
	if !where.named(r.Host, false) && !g.called(r.Host) {
		return nil, g.unknownHost(r)
	}
	return &asker{Tenant: g.Tenant, Command: warrant.All}, nil
}

const (
	// metricsPath is where the metrics are, bearer the scheme of a key to them.
	metricsPath = "/metrics"
	bearer      = "Bearer "
	// rateMetrics is whose requests those with the key count as.
	rateMetrics = "metrics"
)

// scraper returns who may read the metrics alone.
func (g *gate) scraper(r *http.Request, key string) (*asker, error) {
	if subtle.ConstantTimeCompare([]byte(key), []byte(g.MetricsKey)) != 1 {
		return nil, api.NewProblem(api.CodeTokenInvalid, "the key to the metrics is another one", "give the key that is in the file of the node's --metrics-key-file")
	}
	bounds := holdersOf(r.Context())
	if err := bounds.early(r, rateMetrics); err != nil {
		return nil, err
	}
	return &asker{scraper: true}, bounds.count(r.Context(), rateMetrics)
}

// holder returns who holds the token that a proof was made with.
func (g *gate) holder(r *http.Request, where place, proofs []string) (*asker, error) {
	// A proof that another node was shown names that node. Whoever sends it here cannot
	// say that this is the one.
	if !where.named(r.Host, true) && !g.called(r.Host) {
		return nil, g.unknownHost(r)
	}
	if len(proofs) > 1 {
		return nil, api.NewProblem(api.CodeTokenInvalid, "the request has several tokens", "send one")
	}
	bounds := holdersOf(r.Context())
	first, known := g.verifier.Known(proofs[0])
	if known {
		if err := bounds.early(r, string(first[:])); err != nil {
			return nil, err
		}
	}
	grant, err := g.verifier.Verify(proofs[0], warrant.Call{Host: r.Host, Method: r.Method, Path: r.URL.RequestURI()}, time.Now())
	if err != nil {
		if errors.Is(err, warrant.ErrFull) {
			g.limits.WithLabelValues(limitProofs).Inc()
		}
		return nil, tokenProblem(err)
	}
	a := &asker{Tenant: ledger.TenantID(grant.Tenant), Command: grant.Command, Modules: grant.Modules, IDs: grant.IDs, Until: grant.Until, grant: &grant}
	if _, err = g.Ledger.View(a.live); err != nil {
		return nil, problem(err)
	}
	if !known { // A holder can narrow as many tokens as requests.
		if err := bounds.early(r, a.key()); err != nil {
			return nil, err
		}
	}
	// Whoever is narrowed from a token shares its requests with it, or a holder could
	// make as many as tokens. What was revoked takes none of them.
	if err := bounds.count(r.Context(), a.key()); err != nil {
		return nil, err
	}
	return a, nil
}

// called reports whether this node goes by a name: one of Config.Names, which with a
// port is for that port only.
func (g *gate) called(host string) bool {
	host = strings.ToLower(host)
	name, _, err := net.SplitHostPort(host)
	return slices.Contains(g.Names, host) || err == nil && slices.Contains(g.Names, name)
}

func (g *gate) unknownHost(r *http.Request) *api.Problem {
	return api.NewProblem(
		api.CodeHostUnknown, fmt.Sprintf("this node does not go by the name %q", r.Host),
		"ask it by its address, or have its operator name it with dugnad up --api-name",
	)
}

// refuse answers with a problem.
func (g *gate) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *api.Problem
	if !errors.As(err, &p) {
		p = api.NewProblem(api.CodeInternal, err.Error(), "")
	}
	g.refusals.WithLabelValues(string(p.Code)).Inc()
	audit.Of(r.Context()).Code = string(p.Code)
	h := w.Header()
	h.Set("Content-Type", p.ContentType(""))
	h.Set("Cache-Control", "no-store")
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", warrant.Scheme)
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", fmt.Sprint(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	if err := json.NewEncoder(w).Encode(p); err != nil {
		g.log.Debug("problem was not taken", "err", err)
	}
}

// tokenless lets those through who need no token here: what is behind it is about the
// node, and not about a tenant.
func (s *server) tokenless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := who(r.Context()); !a.scraper && (a.Tenant == "" || a.IDs != nil) {
			p := refused(&asker{}, "")
			s.refusals.WithLabelValues(string(p.Code)).Inc()
			http.Error(w, p.Error(), p.Status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// place is where a request has arrived.
type place struct {
	// socket says that it is the operator's.
	socket bool
	// at is the address; invalid for the socket, and where it is not known.
	at netip.AddrPort
}

func placeOf(local net.Addr) place {
	switch l := local.(type) {
	case *net.UnixAddr:
		return place{socket: true}
	case interface{ AddrPort() netip.AddrPort }: // of TCP and UDP
		at := l.AddrPort()
		return place{at: netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())}
	}
	return place{}
}

// named reports whether a host, as the Host header has it, is this place itself: a name
// that is only resolved to it may be anybody's. With port, that has to agree, too.
func (p place) named(host string, port bool) bool {
	if p.socket {
		return true // Who comes here needs no proof that was shown to another.
	}
	name, number, err := net.SplitHostPort(host)
	if err != nil {
		name, number = strings.Trim(host, "[]"), ""
	}
	// Without a port it is that of the scheme, which a node has not unless it is told.
	if port && number != fmt.Sprint(p.at.Port()) && (number != "" || p.at.Port() != 80 && p.at.Port() != 443) {
		return false
	}
	if strings.EqualFold(name, "localhost") {
		return p.at.Addr().IsLoopback()
	}
	address, err := netip.ParseAddr(name)
	return err == nil && p.at.IsValid() && address.Unmap() == p.at.Addr()
}

// fromHere reports whether a request comes from this machine itself. Where the kernel
// routes to 127.0.0.1 what comes from outside, the address that it arrives at does not
// say.
func fromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}

// passedOn reports whether a proxy on this machine has sent the request for somebody
// else, who is not on this machine for all one knows.
func passedOn(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}
