package httpd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/warrant"
)

const (
	// beginPath is asked by somebody of whom nothing is known but a code.
	beginPath = api.Prefix + "/sessions/begin"
	// limitSessions is the limit of sessions, in the metric.
	limitSessions = "sessions"
	helpWeb       = "type dugnad web for another one, and open what it prints within a minute"
)

// login lets browsers in, who cannot make proofs: a token's holder gets a code, which a
// page exchanges for a cookie that its scripts cannot read.
type login struct {
	sessions *sessions
	// cookie is the name: a browser sends the cookies of one host to all of its ports,
	// where other nodes may be.
	cookie string
	origin *http.CrossOriginProtection
}

func newLogin(self ledger.NodeID) *login {
	sum := sha256.Sum256([]byte(self))
	return &login{sessions: newSessions(), cookie: "dugnad-" + hex.EncodeToString(sum[:6]), origin: http.NewCrossOriginProtection()}
}

// logins registers what is done with browsers' sessions.
func (s *server) logins(a huma.API) {
	huma.Register(a, huma.Operation{
		OperationID: "open-session", Method: http.MethodPost, Path: api.Prefix + "/sessions", Summary: "Get a code with which a browser begins a session",
		Description: "The session may what the asker may. It lasts 12 hours, and no longer than the asker's token.", Tags: []string{"sessions"}, DefaultStatus: http.StatusCreated,
	}, s.openSession)
	huma.Register(a, huma.Operation{
		OperationID: "begin-session", Method: http.MethodPost, Path: beginPath, Summary: "Exchange a code for a cookie", Tags: []string{"sessions"},
		Description: "The code is the only proof. From then on the cookie stands for one; what changes something needs the header " + api.SessionHeader + ", too, and has to come from a page of this node.",
		Security:    []map[string][]string{},
	}, s.beginSession)
	get(a, "show-session", "/sessions/current", "Say who asks, and what they may", "sessions", s.showSession)
	huma.Register(a, huma.Operation{
		OperationID: "end-session", Method: http.MethodDelete, Path: api.Prefix + "/sessions/current", Summary: "End the session of the browser that asks", Tags: []string{"sessions"},
	}, s.endSession)
}

type openSessionBody struct{ Body api.OpenSession }

func (s *server) openSession(ctx context.Context, q *openSessionBody) (*answer[api.SessionCode], error) {
	a := *who(ctx)
	switch {
	case a.session != nil:
		return nil, api.NewProblem(api.CodeTokenNarrower, "a browser's session does not open others", "type dugnad web")
	case q.Body.Operator && !a.Operator:
		return nil, refused(&a, "")
	}
	// Whoever opens a page wants to see jobs: the power to rule is asked for by name.
	a.Operator = q.Body.Operator
	code, until, err := s.login.sessions.open(a, time.Now())
	if err != nil {
		s.limits.WithLabelValues(limitSessions).Inc()
		p := api.NewProblem(api.CodeSessionsFull, err.Error(), "log out where you are logged in, or wait until sessions are over")
		p.RetryAfter = int(codeLife.Seconds())
		return nil, p
	}
	out := &answer[api.SessionCode]{Body: api.SessionCode{Code: code, Until: until.UTC().Truncate(time.Second)}}
	if s.Page != nil {
		out.Body.Page = s.Page()
	}
	return out, nil
}

// browsing is what of a request decides how its cookie is.
type browsing struct{ secure, private bool }

// Resolve implements huma.Resolver.
func (b *browsing) Resolve(c huma.Context) []error {
	local, _ := c.Context().Value(http.LocalAddrContextKey).(net.Addr)
	// A proxy that ends TLS on this machine says so. Who says so without one gets a
	// cookie that no browser sends back.
	b.secure = c.TLS() != nil || strings.EqualFold(c.Header("X-Forwarded-Proto"), "https")
	b.private = c.TLS() != nil || placeOf(local).at.Addr().IsLoopback()
	return nil
}

type beginSessionBody struct {
	browsing
	Body api.BeginSession
}

// cookied is an answer with a cookie.
type cookied[T any] struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      T
}

func (s *server) beginSession(ctx context.Context, q *beginSessionBody) (*cookied[api.Session], error) {
	if !q.private {
		return nil, api.NewProblem(api.CodeSessionPlain, "a session would be read on its way: this is plain HTTP through a network", "ask over https, or on the node's own machine")
	}
	now := time.Now()
	id, one, err := s.login.sessions.begin(q.Body.Code, now)
	if err != nil {
		return nil, api.NewProblem(api.CodeSessionCode, err.Error(), helpWeb)
	}
	a := one.asker
	a.session = one
	attribute(withAsker(ctx, &a), audit.Of(ctx))
	return &cookied[api.Session]{SetCookie: s.login.make(id, one.until.Sub(now), q.secure), Body: describe(&a)}, nil
}

// make returns the cookie of a session; a life below zero has the browser forget it.
func (l *login) make(id string, life time.Duration, secure bool) http.Cookie {
	age := int(life.Seconds())
	if age <= 0 {
		age = -1
	}
	return http.Cookie{Name: l.cookie, Value: id, Path: "/", MaxAge: age, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
}

func (s *server) showSession(ctx context.Context, _ *struct{}) (*answer[api.Session], error) {
	return &answer[api.Session]{Body: describe(who(ctx))}, nil
}

func describe(a *asker) api.Session {
	out := api.Session{Tenant: string(a.Tenant), Command: "all", Modules: a.Modules, Operator: a.Operator, Browser: a.session != nil}
	if a.Command != warrant.All {
		out.Command = strings.TrimPrefix(a.Command, "/")
	}
	until := a.Until
	if a.session != nil {
		until = a.session.until
	}
	if !until.IsZero() {
		until = until.UTC().Truncate(time.Second)
		out.Until = &until
	}
	return out
}

type ended struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

func (s *server) endSession(ctx context.Context, _ *struct{}) (*ended, error) {
	if one := who(ctx).session; one != nil {
		one.end()
	}
	return &ended{s.login.make("", 0, false)}, nil
}

// newcomer lets somebody in to begin a session, who is nobody yet.
func (g *gate) newcomer(r *http.Request, where place) (*asker, error) {
	if err := g.ownPage(r, where); err != nil {
		return nil, err
	}
	return &asker{}, nil
}

// ownPage returns a problem unless a request is by a page of this node.
func (g *gate) ownPage(r *http.Request, where place) error {
	if !where.named(r.Host, false) && !g.called(r.Host) {
		return g.unknownHost(r)
	}
	if onlyReads(r.Method) {
		return nil
	}
	if g.login.origin.Check(r) != nil || r.Header.Get(api.SessionHeader) == "" {
		return api.NewProblem(api.CodeCrossOrigin, "a browser's session changes something through the pages of its own node only", "open the page of this node itself")
	}
	return nil
}

// visitor returns whose browser asks, by its cookie.
func (g *gate) visitor(r *http.Request, where place, id string) (*asker, error) {
	if err := g.ownPage(r, where); err != nil {
		return nil, err
	}
	now := time.Now()
	one, err := g.login.sessions.find(id, now)
	if err != nil {
		return nil, sessionOver()
	}
	a := one.asker
	a.session = one
	bounds := holdersOf(r.Context())
	if len(a.IDs) > 0 {
		if err := bounds.early(r, a.key()); err != nil {
			return nil, err
		}
	}
	if a.grant != nil {
		if err := g.verifier.Still(a.grant, now); err != nil {
			return nil, tokenProblem(err)
		}
	}
	if _, err = g.Ledger.View(a.live); err != nil {
		return nil, problem(err)
	}
	// As with the token: a session is no other client.
	if len(a.IDs) > 0 {
		if err := bounds.count(r.Context(), a.key()); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

func sessionOver() *api.Problem {
	return api.NewProblem(api.CodeSessionOver, errSession.Error()+": it ended, or the node was started again", "type dugnad web, and open what it prints")
}

// forget has a browser forget a cookie that stands for nothing any more; as long as it
// sends that it is nobody, also where it needs none.
func (g *gate) forget(w http.ResponseWriter, r *http.Request, err error) {
	var p *api.Problem
	if !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
		return
	}
	if _, missing := r.Cookie(g.login.cookie); missing == nil {
		c := g.login.make("", 0, false)
		http.SetCookie(w, &c)
	}
}
