package httpd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
)

// TestPermits: the table says of each operation who may do it, and of nothing else.
func TestPermits(t *testing.T) {
	seen := map[string]bool{}
	for path, item := range (&server{Config: Config{Version: "0"}}).register(http.NewServeMux()).Paths {
		for _, o := range []string{operation(item.Get), operation(item.Post), operation(item.Put), operation(item.Delete), operation(item.Patch)} {
			if o == "" {
				continue
			}
			seen[o] = true
			if p, ok := permits[o]; !ok || p.operator == (len(p.commands) > 0 || p.anybody) {
				t.Errorf("%s of %s: nothing says who may", o, path)
			}
		}
	}
	for o := range permits {
		if !seen[o] {
			t.Errorf("there is no operation %s", o)
		}
	}
}

// book is a ledger that is only read.
type book struct {
	Ledger
	tx ledger.Tx
}

func (b book) View(f func(tx ledger.Tx) error) (uint64, error) { return 1, f(b.tx) }

func (b book) Do(context.Context, ledger.Command) (ledger.Result, uint64, error) {
	return ledger.Result{}, 0, replica.ErrNoLeader
}

// nobody is a grid without nodes; admin says whose this one is.
type nobody struct {
	Grid
	admin bool
}

func (n nobody) Standing() Standing { return Standing{Admin: n.admin} }

// asking is a request as it arrives.
type asking struct {
	method, path, host string
	local              net.Addr
	header             http.Header
	proof              string
	from               string
}

func (a asking) ask(t *testing.T, h http.Handler) (int, string) {
	t.Helper()
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, a.local)
	r := httptest.NewRequestWithContext(ctx, a.method, a.path, nil)
	r.Host, r.RemoteAddr = a.host, "127.0.0.1:50000"
	if a.from != "" {
		r.RemoteAddr = a.from
	}
	for name, v := range a.header {
		r.Header[name] = v
	}
	if a.proof != "" {
		r.Header.Set("Authorization", a.proof)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var p api.Problem
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	if json.Unmarshal(body, &p) == nil && p.Help == "" && w.Code >= 400 && p.Code != api.CodeInvalid && p.Code != api.CodeNotFound {
		t.Errorf("%+v is refused without help: %s", a, body)
	}
	if (w.Code == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") == warrant.Scheme) {
		t.Errorf("%+v: status %d, %v", a, w.Code, w.Header())
	}
	return w.Code, string(p.Code)
}

var (
	loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4611}
	public   = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4611}
	overQUIC = &net.UDPAddr{IP: net.ParseIP("2001:db8::7"), Port: 443}
	socket   = &net.UnixAddr{Name: "control.sock", Net: "unix"}
)

// TestGate: who is let in where, and what the others are told.
func TestGate(t *testing.T) {
	r, other := warranttest.New(t), warranttest.New(t)
	tx := ledgertest.NewMemory()
	whole := r.Token(t, "acme", warrant.Limits{})
	run := r.Token(t, "acme", warrant.Limits{Command: warrant.Run})
	read := r.Token(t, "acme", warrant.Limits{Command: warrant.Read})
	gone := r.Token(t, "acme", warrant.Limits{Command: warrant.Run})
	if _, err := ledger.Apply(tx, 1, ledger.Encode(ledger.Envelope{Now: 1e18, Body: &ledger.Revoke{ID: gone.Grant().IDs[0]}})); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	config := Config{Ledger: book{tx: tx}, Grid: nobody{}, Tenant: "default", Roots: warrant.Roots{Grid: r.Public()}, Names: []string{"node.example"}, Registerer: reg}
	open, err := Handler(config)
	if err != nil {
		t.Fatal(err)
	}
	const key = "a key to the metrics"
	config.Registerer, config.MetricsKey = prometheus.NewRegistry(), key
	keyed, err := Handler(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Registerer, config.TokenAlways = nil, true
	strict, err := Handler(config)
	if err != nil {
		t.Fatal(err)
	}
	const here, there = "127.0.0.1:4611", "192.0.2.7:4611"
	by := func(token warrant.Token, c warrant.Call) string {
		proof, err := token.Mint(c, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return proof
	}
	reads := func(token warrant.Token, host string) string { return by(token, warrant.Call{Host: host}) }
	web := func(name, value string) http.Header { return http.Header{name: {value}} }
	for name, c := range map[string]struct {
		h    http.Handler
		ask  asking
		want string
	}{
		"the operator":                    {open, asking{"GET", "/v1/jobs", "node", socket, nil, "", ""}, "200 "},
		"the operator, metrics":           {open, asking{"GET", "/metrics", "node", socket, nil, "", ""}, "200 "},
		"the operator may rule":           {open, asking{"POST", "/v1/nodes/n1/drain", "node", socket, nil, "", ""}, "503 no_leader"},
		"from this machine":               {open, asking{"GET", "/v1/jobs", here, loopback, nil, "", ""}, "200 "},
		"from this machine, by name":      {open, asking{"GET", "/v1/jobs", "LOCALHOST:80", loopback, nil, "", ""}, "200 "},
		"through a tunnel":                {open, asking{"GET", "/v1/jobs", "127.0.0.1:8080", loopback, nil, "", ""}, "200 "},
		"from this machine, to rule":      {open, asking{"POST", "/v1/nodes/n1/drain", here, loopback, nil, "", ""}, "403 operator_only"},
		"from this machine, but strict":   {strict, asking{"GET", "/v1/jobs", here, loopback, nil, "", ""}, "401 unauthorized"},
		"a name that leads here":          {open, asking{"GET", "/v1/jobs", "evil.example:4611", loopback, nil, "", ""}, "421 host_unknown"},
		"a name that leads here, a page":  {open, asking{"GET", "/v1/jobs", "127.0.0.1.evil.example", loopback, nil, "", ""}, "421 host_unknown"},
		"no host":                         {open, asking{"GET", "/v1/jobs", "", loopback, nil, "", ""}, "421 host_unknown"},
		"a page of this node":             {open, asking{"POST", "/v1/plans", here, loopback, web("Origin", "http://"+here), "", ""}, "400 invalid"},
		"passed on by a proxy":            {open, asking{"GET", "/v1/jobs", here, loopback, web("X-Forwarded-For", "192.0.2.1"), "", ""}, "401 unauthorized"},
		"routed here from outside":        {open, asking{"GET", "/v1/jobs", here, loopback, nil, "", "192.0.2.1:50000"}, "401 unauthorized"},
		"from elsewhere":                  {open, asking{"GET", "/v1/jobs", there, public, nil, "", ""}, "401 unauthorized"},
		"from elsewhere, over QUIC":       {open, asking{"GET", "/v1/jobs", "[2001:db8::7]", overQUIC, nil, "", ""}, "401 unauthorized"},
		"from nowhere":                    {open, asking{"GET", "/v1/jobs", there, nil, nil, "", ""}, "401 unauthorized"},
		"from elsewhere, the description": {open, asking{"GET", "/openapi.json", there, public, nil, "", ""}, "401 unauthorized"},

		"with a token":                                {open, asking{"GET", "/v1/jobs", there, public, nil, reads(whole, there), ""}, "200 "},
		"with a token, by name":                       {open, asking{"GET", "/v1/jobs", "node.example", public, nil, reads(whole, "node.example"), ""}, "200 "},
		"with a token, by name and port":              {open, asking{"GET", "/v1/jobs", "NODE.example:9", public, nil, reads(whole, "node.example:9"), ""}, "200 "},
		"with a token, over QUIC":                     {open, asking{"GET", "/v1/jobs", "[2001:db8::7]", overQUIC, nil, reads(whole, "[2001:db8::7]"), ""}, "200 "},
		"with a token, from this machine":             {strict, asking{"GET", "/v1/jobs", here, loopback, nil, reads(whole, here), ""}, "200 "},
		"with a token, through the socket":            {open, asking{"GET", "/v1/jobs", "node", socket, nil, reads(whole, "node"), ""}, "200 "},
		"a token is no operator":                      {open, asking{"POST", "/v1/nodes/n1/drain", "node", socket, nil, by(whole, warrant.Call{Host: "node", Method: "POST", Path: "/v1/nodes/n1/drain"}), ""}, "403 operator_only"},
		"a token, metrics":                            {open, asking{"GET", "/metrics", there, public, nil, reads(whole, there), ""}, "403 "},
		"a key to the metrics":                        {keyed, asking{"GET", "/metrics", there, public, nil, bearer + key, ""}, "200 "},
		"a key to the metrics, by any name":           {keyed, asking{"GET", "/metrics", "node-7:1", overQUIC, nil, bearer + key, ""}, "200 "},
		"a key to the metrics, for more":              {keyed, asking{"GET", "/v1/jobs", there, public, nil, bearer + key, ""}, "401 token_invalid"},
		"a key to the metrics, for what they lead to": {keyed, asking{"GET", "/metrics/../v1/jobs", there, public, nil, bearer + key, ""}, "401 token_invalid"},
		"a key to the metrics, to write":              {keyed, asking{"POST", "/metrics", there, public, nil, bearer + key, ""}, "405 "},
		"another key to the metrics":                  {keyed, asking{"GET", "/metrics", there, public, nil, bearer + key + "s", ""}, "401 token_invalid"},
		"no key to the metrics":                       {keyed, asking{"GET", "/metrics", there, public, nil, "", ""}, "401 unauthorized"},
		"an empty key to the metrics":                 {open, asking{"GET", "/metrics", there, public, nil, bearer, ""}, "401 token_invalid"},
		"a token to run, to read":                     {open, asking{"GET", "/v1/jobs", there, public, nil, reads(run, there), ""}, "200 "},
		"a token to read, to run":                     {open, asking{"POST", "/v1/jobs", there, public, nil, by(read, warrant.Call{Host: there, Method: "POST", Path: "/v1/jobs"}), ""}, "403 token_narrower"},
		"a token to run, to end an order":             {open, asking{"POST", "/v1/orders/x/end", there, public, nil, by(run, warrant.Call{Host: there, Method: "POST", Path: "/v1/orders/x/end"}), ""}, "403 token_narrower"},
		"a token that was revoked":                    {open, asking{"GET", "/v1/jobs", there, public, nil, reads(gone, there), ""}, "401 token_revoked"},
		"a token of another grid":                     {open, asking{"GET", "/v1/jobs", there, public, nil, reads(other.Token(t, "acme", warrant.Limits{}), there), ""}, "401 token_other_grid"},
		"a proof to read, to write":                   {open, asking{"POST", "/v1/jobs", there, public, nil, reads(whole, there), ""}, "401 token_other_call"},
		"a proof for another query":                   {open, asking{"POST", "/v1/jobs?a=b", there, public, nil, by(whole, warrant.Call{Host: there, Method: "POST", Path: "/v1/jobs"}), ""}, "401 token_other_call"},
		"a proof for another node":                    {open, asking{"GET", "/v1/jobs", there, public, nil, reads(whole, "192.0.2.8:4611"), ""}, "401 token_other_call"},
		// It was shown a proof, and passes itself off as the one that it is for.
		"from a node that is in between":         {open, asking{"GET", "/v1/jobs", "192.0.2.8:4611", public, nil, reads(whole, "192.0.2.8:4611"), ""}, "421 host_unknown"},
		"from a node on this machine in between": {open, asking{"GET", "/v1/jobs", "127.0.0.1:4621", loopback, nil, reads(whole, "127.0.0.1:4621"), ""}, "421 host_unknown"},
		"two tokens":                             {open, asking{"GET", "/v1/jobs", there, public, http.Header{"Authorization": {reads(whole, there), reads(run, there)}}, "", ""}, "401 token_invalid"},
		"the token itself":                       {open, asking{"GET", "/v1/jobs", there, public, nil, "UCAN " + whole.Text(), ""}, "401 token_invalid"},
		"a password":                             {open, asking{"GET", "/v1/jobs", there, public, nil, "Basic YTpi", ""}, "401 token_invalid"},
	} {
		status, code := c.ask.ask(t, c.h)
		if got := fmt.Sprint(status, " ", code); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, f := range families {
		if f.GetName() == "dugnad_api_refused_total" {
			counted = len(f.GetMetric())
		}
	}
	if counted < 8 {
		t.Errorf("%d codes of refusals are counted", counted)
	}
}

func operation(o *huma.Operation) string {
	if o == nil {
		return ""
	}
	return o.OperationID
}
