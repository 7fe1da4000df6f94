package httpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
	"github.com/dugnad/dugnad/p2p/metric/metrictest"
)

// house is a node that wants tokens, with a public address that it is asked at over TLS.
type house struct {
	*testing.T
	handler http.Handler
	tx      *ledgertest.Memory
	root    warranttest.Root
	reg     *prometheus.Registry
	// said is all that it has logged and answered, but for what begins a session.
	said bytes.Buffer
	// expelled has no admin be one any more.
	expelled bool
}

const outside = "192.0.2.7:4611"

func newHouse(t *testing.T, self string) *house {
	t.Helper()
	h := &house{T: t, tx: ledgertest.NewMemory(), root: warranttest.New(t), reg: prometheus.NewRegistry()}
	roots := warrant.Roots{Grid: h.root.Public(), Admin: func([]byte, time.Time) ([32]byte, error) {
		if h.expelled {
			return [32]byte{}, warrant.ErrOtherGrid
		}
		return h.root.Public(), nil
	}}
	var err error
	h.handler, err = Handler(Config{
		Ledger: book{tx: h.tx}, Grid: nobody{}, Tenant: "default", Self: ledger.NodeID(self), Roots: roots, TokenAlways: true, Registerer: h.reg,
		Names: []string{"node.example"}, Log: slog.New(slog.NewTextHandler(&h.said, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// visit is a request of a browser.
type visit struct {
	method, path, body string
	host               string
	local              net.Addr
	header             map[string]string
	cookie             *http.Cookie
	plain              bool
}

// ask returns the answer, its problem's code, and its body.
func (h *house) ask(v visit) (*http.Response, string, []byte) {
	h.Helper()
	if v.local == nil {
		v.local = public
	}
	ctx := context.WithValue(h.Context(), http.LocalAddrContextKey, v.local)
	r := httptest.NewRequestWithContext(ctx, v.method, v.path, strings.NewReader(v.body))
	if r.Host = v.host; v.host == "" {
		r.Host = outside
	}
	r.RemoteAddr = "192.0.2.99:50000"
	if !v.plain {
		r.TLS = &tls.ConnectionState{}
	}
	if v.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range v.header {
		r.Header.Set(name, value)
	}
	if v.cookie != nil {
		r.AddCookie(v.cookie)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		h.Fatal(err)
	}
	var p api.Problem
	if w.Code >= http.StatusBadRequest {
		_ = json.Unmarshal(body, &p) // Not all are: the metrics answer in words.
	}
	if p.Code != "" && p.Help == "" && p.Code != api.CodeInvalid && p.Code != api.CodeNotFound {
		h.Errorf("%s %s is refused without help: %s", v.method, v.path, body)
	}
	if v.path != "/v1/sessions" {
		h.said.Write(body)
	}
	return w.Result(), string(p.Code), body
}

func (h *house) token(tenant string, l warrant.Limits) *warrant.Token {
	h.Helper()
	token := h.root.Token(h, tenant, l)
	return &token
}

// code asks for one with a token; without, through the operator's socket.
func (h *house) code(token *warrant.Token, operator bool) string {
	h.Helper()
	v := visit{method: "POST", path: "/v1/sessions", body: fmt.Sprintf(`{"operator": %v}`, operator)}
	if token == nil {
		v.local, v.host = socket, "node"
	} else {
		proof, err := token.Mint(warrant.Call{Host: outside, Method: "POST", Path: "/v1/sessions"}, time.Now())
		if err != nil {
			h.Fatal(err)
		}
		v.header = map[string]string{"Authorization": proof}
	}
	res, problem, body := h.ask(v)
	var out api.SessionCode
	if err := json.Unmarshal(body, &out); err != nil || res.StatusCode != http.StatusCreated || len(out.Code) < 43 {
		h.Fatalf("%d %s, %v", res.StatusCode, problem, err)
	}
	return out.Code
}

var byPage = map[string]string{api.SessionHeader: "1", "Sec-Fetch-Site": "same-origin", "Origin": "https://" + outside}

// begin exchanges a code for a cookie; nil with the problem's code.
func (h *house) begin(code string) (*http.Cookie, string) {
	h.Helper()
	res, problem, _ := h.ask(visit{method: "POST", path: beginPath, body: `{"code": "` + code + `"}`, header: byPage})
	if problem != "" {
		return nil, problem
	}
	list := res.Cookies()
	if len(list) != 1 {
		h.Fatalf("%d cookies: %d", len(list), res.StatusCode)
	}
	return list[0], ""
}

// login begins a session.
func (h *house) login(token *warrant.Token, operator bool) *http.Cookie {
	h.Helper()
	c, problem := h.begin(h.code(token, operator))
	if problem != "" {
		h.Fatal(problem)
	}
	return c
}

// reads says how a request to read with a cookie ends.
func (h *house) reads(c *http.Cookie) string {
	h.Helper()
	res, problem, _ := h.ask(visit{method: "GET", path: "/v1/jobs", cookie: c})
	return fmt.Sprint(res.StatusCode, " ", problem)
}

// TestSession: what a browser may with its cookie, as who.
func TestSession(t *testing.T) {
	h := newHouse(t, "n1")
	token := h.token("acme", warrant.Limits{Command: warrant.Run, Until: time.Now().Add(time.Hour)})
	c := h.login(token, false)
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 || c.MaxAge > 3600 {
		t.Errorf("the cookie is %v", c)
	}
	_, _, body := h.ask(visit{method: "GET", path: "/v1/sessions/current", cookie: c})
	var who api.Session
	if err := json.Unmarshal(body, &who); err != nil || who.Tenant != "acme" || who.Command != "run" || !who.Browser || who.Operator || who.Until == nil || who.Until.After(time.Now().Add(time.Hour)) {
		t.Errorf("%s, %v", body, err)
	}
	if got := h.reads(c); got != "200 " {
		t.Errorf("to read: %s", got)
	}
	// What it may not, neither may the token.
	for _, path := range []string{"/v1/orders/x/end", "/v1/nodes/n1/drain", "/v1/sessions"} {
		res, problem, _ := h.ask(visit{method: "POST", path: path, body: "{}", header: byPage, cookie: c})
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, res.StatusCode, problem)
		}
	}
	operator := h.login(nil, true)
	for _, who := range []struct {
		cookie *http.Cookie
		want   string
	}{{h.login(nil, false), string(api.CodeOperatorOnly)}, {operator, string(api.CodeNoLeader)}} {
		if _, problem, _ := h.ask(visit{method: "POST", path: "/v1/nodes/n1/drain", header: byPage, cookie: who.cookie}); problem != who.want {
			t.Errorf("to drain: %s, want %s", problem, who.want)
		}
	}
	if got := metrictest.Value(t, h.reg, "dugnad_api_sessions"); got != 3 {
		t.Errorf("%v sessions are counted", got)
	}
	res, problem, _ := h.ask(visit{method: "DELETE", path: "/v1/sessions/current", header: byPage, cookie: c})
	if list := res.Cookies(); res.StatusCode != http.StatusNoContent || len(list) != 1 || list[0].MaxAge >= 0 || list[0].Name != c.Name {
		t.Errorf("to log out: %d %s, %v", res.StatusCode, problem, list)
	}
	if got := h.reads(c); got != "401 session_over" {
		t.Errorf("after that: %s", got)
	}
}

// TestSessionBad: what is no session, or not by the node's own page, is refused.
func TestSessionBad(t *testing.T) {
	h, other := newHouse(t, "n1"), newHouse(t, "n2")
	token := h.token("acme", warrant.Limits{})
	used, whole := h.code(token, false), h.login(token, false)
	if _, problem := h.begin(used); problem != "" {
		t.Fatal(problem)
	}
	foreign := other.login(other.token("acme", warrant.Limits{}), false)
	foreign.Name = whole.Name // As if the nodes had one name.
	forged := *whole
	forged.Value = newSecret().text()
	revoked := h.token("acme", warrant.Limits{Command: warrant.Run})
	gone := h.login(revoked, false)
	if _, err := ledger.Apply(h.tx, 1, ledger.Encode(ledger.Envelope{Now: 1e18, Body: &ledger.Revoke{ID: revoked.Grant().IDs[1]}})); err != nil {
		t.Fatal(err)
	}
	if got := metrictest.Value(t, h.reg, "dugnad_api_revocations"); got != 1 {
		t.Errorf("%v revocations are counted", got)
	}
	with := func(name, value string) map[string]string {
		out := map[string]string{}
		for n, v := range byPage {
			out[n] = v
		}
		if out[name] = value; value == "" {
			delete(out, name)
		}
		return out
	}
	begin := func(code string) string { return `{"code": "` + code + `"}` }
	foreignCode := other.code(other.token("acme", warrant.Limits{}), false)
	for name, c := range map[string]struct {
		ask  visit
		want string
	}{
		"a code used twice":            {visit{method: "POST", path: beginPath, body: begin(used), header: byPage}, "403 session_code"},
		"a code of another node":       {visit{method: "POST", path: beginPath, body: begin(foreignCode), header: byPage}, "403 session_code"},
		"no code":                      {visit{method: "POST", path: beginPath, body: begin(""), header: byPage}, "403 session_code"},
		"a long code":                  {visit{method: "POST", path: beginPath, body: begin(strings.Repeat("A", 5000)), header: byPage}, "422 invalid"},
		"a cookie as a code":           {visit{method: "POST", path: beginPath, body: begin(whole.Value), header: byPage}, "403 session_code"},
		"a code, by another page":      {visit{method: "POST", path: beginPath, body: begin(h.code(token, false)), header: with("Sec-Fetch-Site", "cross-site")}, "403 cross_origin"},
		"a code, by a form":            {visit{method: "POST", path: beginPath, body: begin(h.code(token, false)), header: with(api.SessionHeader, "")}, "403 cross_origin"},
		"a code, by another name":      {visit{method: "POST", path: beginPath, body: begin(h.code(token, false)), host: "evil.example", header: byPage}, "421 host_unknown"},
		"a code, over plain HTTP":      {visit{method: "POST", path: beginPath, body: begin(h.code(token, false)), header: with("Origin", "http://"+outside), plain: true}, "403 session_plain"},
		"a code as a cookie":           {visit{method: "GET", path: "/v1/jobs", cookie: &http.Cookie{Name: whole.Name, Value: h.code(token, false)}}, "401 session_over"},
		"a forged cookie":              {visit{method: "GET", path: "/v1/jobs", cookie: &forged}, "401 session_over"},
		"another node's cookie":        {visit{method: "GET", path: "/v1/jobs", cookie: foreign}, "401 session_over"},
		"no cookie":                    {visit{method: "GET", path: "/v1/jobs"}, "401 unauthorized"},
		"a revoked token's session":    {visit{method: "GET", path: "/v1/jobs", cookie: gone}, "401 token_revoked"},
		"to read, by another name":     {visit{method: "GET", path: "/v1/jobs", host: "evil.example", cookie: whole}, "421 host_unknown"},
		"to change, by another site":   {visit{method: "POST", path: "/v1/plans", header: with("Sec-Fetch-Site", "cross-site"), cookie: whole}, "403 cross_origin"},
		"to change, by another port":   {visit{method: "POST", path: "/v1/plans", header: with("Sec-Fetch-Site", "same-site"), cookie: whole}, "403 cross_origin"},
		"to change, by another origin": {visit{method: "POST", path: "/v1/plans", header: map[string]string{api.SessionHeader: "1", "Origin": "https://evil.example"}, cookie: whole}, "403 cross_origin"},
		"to change, by a form":         {visit{method: "POST", path: "/v1/plans", header: with(api.SessionHeader, ""), cookie: whole}, "403 cross_origin"},
		"to change, by the page":       {visit{method: "POST", path: "/v1/plans", header: byPage, cookie: whole}, "400 invalid"},
		"to log out, by another site":  {visit{method: "DELETE", path: "/v1/sessions/current", header: with("Sec-Fetch-Site", "cross-site"), cookie: whole}, "403 cross_origin"},
		"metrics":                      {visit{method: "GET", path: "/metrics", cookie: whole}, "403 "},
		"an operator's, with a token":  {visit{method: "POST", path: "/v1/sessions", body: `{"operator": true}`, header: proofFor(t, *token)}, "403 operator_only"},
	} {
		res, problem, _ := h.ask(c.ask)
		if got := fmt.Sprint(res.StatusCode, " ", problem); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		// A browser keeps no cookie that keeps it out.
		if forgets := len(res.Cookies()) == 1 && res.Cookies()[0].MaxAge < 0; forgets != (c.ask.cookie != nil && res.StatusCode == http.StatusUnauthorized) {
			t.Errorf("%s: forgets its cookie: %v", name, forgets)
		}
	}
	for _, secret := range []string{used, whole.Value, gone.Value} {
		if strings.Contains(h.said.String(), secret) {
			t.Errorf("a secret is in what the node has said: %s", h.said.String())
		}
	}
}

func proofFor(t *testing.T, token warrant.Token) map[string]string {
	t.Helper()
	proof, err := token.Mint(warrant.Call{Host: outside, Method: "POST", Path: "/v1/sessions"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"Authorization": proof}
}

// TestSessionTime: codes, sessions, and the tokens that they were given for end in
// time, and an admin that is none any more takes them with it.
func TestSessionTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "n1")
		code := h.code(h.token("acme", warrant.Limits{}), false)
		time.Sleep(codeLife + time.Second)
		if _, problem := h.begin(code); problem != string(api.CodeSessionCode) {
			t.Errorf("a code that is over: %s", problem)
		}
		brief := h.login(h.token("acme", warrant.Limits{Until: time.Now().Add(time.Hour)}), false)
		long := h.login(h.token("acme", warrant.Limits{}), false)
		key, err := warrant.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		chain, err := warrant.Found(h.root, []byte("an admin's"), key.Public(), "acme", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		token, err := warrant.New(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		admins := h.login(&token, false)
		if got := h.reads(admins); got != "200 " {
			t.Errorf("of an admin's token: %s", got)
		}
		h.expelled = true
		if got := h.reads(admins); got != "401 token_other_grid" {
			t.Errorf("of a token of an admin that is none any more: %s", got)
		}
		time.Sleep(time.Hour + time.Second)
		if got := h.reads(brief); got != "401 session_over" {
			t.Errorf("of a token that is over: %s", got)
		}
		time.Sleep(sessionLife - time.Hour - time.Minute)
		if got := h.reads(long); got != "200 " {
			t.Errorf("at last: %s", got)
		}
		time.Sleep(2 * time.Minute)
		if got := h.reads(long); got != "401 session_over" {
			t.Errorf("after that: %s", got)
		}
	})
}

// TestSessionsFull: a tenant has so many sessions and no more, others are let in, and
// those that are over make room.
func TestSessionsFull(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := newSessions()
	for i := range sessionsTenantMax {
		if _, _, err := s.open(asker{Tenant: "acme"}, now); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	if _, _, err := s.open(asker{Tenant: "acme"}, now); err == nil {
		t.Error("a tenant has more than its limit")
	}
	if _, _, err := s.open(asker{Tenant: "zeta"}, now); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if _, _, err := s.open(asker{Tenant: "acme"}, now.Add(codeLife+1)); err != nil {
		t.Errorf("when those are over: %v", err)
	}
	if n := s.count(); n != 1 || len(s.held) != 1 {
		t.Errorf("%d sessions of %d tenants are held", n, len(s.held))
	}
	for i := range sessionsMax - 1 {
		if _, _, err := s.open(asker{Tenant: ledger.TenantID(fmt.Sprint("t", i))}, now.Add(codeLife+1)); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	if _, _, err := s.open(asker{Tenant: "last"}, now.Add(codeLife+1)); err == nil {
		t.Error("a node has more than its limit")
	}
}
