package httpd

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
)

// guarded is a port whose handler finds out who asks.
type guarded struct {
	*started
	root warranttest.Root
	tx   *ledgertest.Memory
}

func startGuarded(t *testing.T, change func(*ServerConfig)) *guarded {
	t.Helper()
	tx := ledgertest.NewMemory()
	g := startGuardedOn(t, Config{Ledger: book{tx: tx}}, change)
	g.tx = tx
	return g
}

// startGuardedOn starts a port on a ledger, and what else a configuration has.
func startGuardedOn(t *testing.T, config Config, change func(*ServerConfig)) *guarded {
	t.Helper()
	g := &guarded{root: warranttest.New(t)}
	config.Grid, config.Tenant, config.Roots = nobody{}, "default", warrant.Roots{Grid: g.root.Public()}
	h, err := Handler(config)
	if err != nil {
		t.Fatal(err)
	}
	g.started = start(t, true, func(c *ServerConfig) {
		c.Handler, c.Gated = h, true
		change(c)
	})
	return g
}

// jobs asks for the list of jobs, with a token or without.
func (g *guarded) jobs(t *testing.T, c *http.Client, token *warrant.Token) (*http.Response, string) {
	t.Helper()
	_, port, err := net.SplitHostPort(g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	host, header := net.JoinHostPort("127.0.0.1", port), http.Header{}
	if token != nil {
		proof, err := token.Mint(warrant.Call{Host: host}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		header.Set("Authorization", proof)
	}
	return ask(t, c, http.MethodGet, "https://"+host+"/v1/jobs", header, nil)
}

// TestWildcard: a port at all addresses wants a token at 127.0.0.1, too, in every
// protocol; a port at 127.0.0.1 does not.
func TestWildcard(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		g := startGuarded(t, func(c *ServerConfig) { c.Listen = listen })
		token := g.root.Token(t, "acme", warrant.Limits{})
		for proto, c := range g.clients(t) {
			r, body := g.jobs(t, c, nil)
			if listen == "0.0.0.0:0" {
				isProblem(t, r, body, api.CodeUnauthorized)
			} else if r.StatusCode != http.StatusOK {
				t.Errorf("%s at %s: %s %s", proto, listen, r.Status, body)
			}
			if r, body := g.jobs(t, c, &token); r.StatusCode != http.StatusOK {
				t.Errorf("%s at %s, with a token: %s %s", proto, listen, r.Status, body)
			}
		}
	}
}

// TestTokenRate: what was narrowed from a token shares its requests, another token has
// its own, and one that was revoked takes none.
func TestTokenRate(t *testing.T) {
	g := startGuarded(t, func(c *ServerConfig) { c.RequestsPerSecond = 1e-4 })
	narrow := func(token warrant.Token) *warrant.Token {
		t.Helper()
		n, err := token.Narrow(warrant.Limits{Command: warrant.Read})
		if err != nil {
			t.Fatal(err)
		}
		return &n
	}
	first, second := g.root.Token(t, "acme", warrant.Limits{}), g.root.Token(t, "acme", warrant.Limits{})
	gone := narrow(first)
	if _, err := ledger.Apply(g.tx, 1, ledger.Encode(ledger.Envelope{Now: 1e18, Body: &ledger.Revoke{ID: gone.Grant().IDs[1]}})); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name  string
		token *warrant.Token
		code  api.Code
	}{
		{"one that was revoked", gone, api.CodeTokenRevoked},
		{"a token", &first, ""},
		{"the same again", &first, api.CodeTooOften},
		{"one that was narrowed", narrow(first), api.CodeTooOften},
		{"another of the tenant", &second, ""},
		{"narrowed from that", narrow(second), api.CodeTooOften},
	} {
		// Each comes from an address of its own, as that has a rate of its own.
		g.forget()
		r, body := g.jobs(t, g.clients(t)["HTTP/2.0"], step.token)
		if step.code != "" {
			isProblem(t, r, body, step.code)
		} else if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", step.name, r.Status, body)
		}
	}
}

// forget has the port forget how often an address has asked.
func (g *guarded) forget() {
	r := g.http.Handler.(*surface).rates
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.clients["127.0.0.1"]; ok {
		r.order.Remove(e)
		delete(r.clients, "127.0.0.1")
	}
}

// TestPlainToTLS: whoever forgets the s in https is told.
func TestPlainToTLS(t *testing.T) {
	s := start(t, true, nil)
	answer, err := io.ReadAll(s.raw(t, "GET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n"))
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400 Bad Request") || !strings.Contains(string(answer), "HTTPS") {
		t.Errorf("%q, %v", answer, err)
	}
}
