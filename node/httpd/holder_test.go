package httpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/turnstile"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/p2p/content"
)

// seldom is a rate at which a bound, once reached, stays so for the length of a test.
const seldom = 1e-6

// proofOf makes a proof for the submission of a job.
func (g *guarded) proofOf(t *testing.T, token *warrant.Token) string {
	t.Helper()
	proof, err := token.Mint(warrant.Call{Host: g.Addr(), Method: http.MethodPost, Path: "/v1/jobs"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// submit sends a file that is no job.
func (g *guarded) submit(t *testing.T, proof string) (*http.Response, string) {
	t.Helper()
	return ask(t, g.clients(t)["HTTP/1.1"], http.MethodPost, g.url()+"/v1/jobs", http.Header{"Authorization": {proof}}, strings.NewReader("no job"))
}

// stolen is the chain of one proof with the invocation of another.
func stolen(t *testing.T, chain, call string) string {
	t.Helper()
	parts := func(proof string) (call, chain []byte) {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(proof, warrant.Scheme+" "))
		if err != nil {
			t.Fatal(err)
		}
		end := 3 + binary.BigEndian.Uint16(b[1:])
		return b[:end], b[end:]
	}
	_, wanted := parts(chain)
	theirs, _ := parts(call)
	return warrant.Scheme + " " + base64.RawURLEncoding.EncodeToString(append(theirs, wanted...))
}

// TestRefusedRate: a token whose submissions are refused all the time is refused before
// its proof is looked at, until some time has passed; it may read meanwhile, others may
// all, and nobody without its key can bring that about.
func TestRefusedRate(t *testing.T) {
	g := startGuarded(t, func(c *ServerConfig) {
		p := defaultPace()
		p.refused, p.hold = seldom, 0
		c.pace = &p
	})
	first, second := g.root.Token(t, "acme", warrant.Limits{}), g.root.Token(t, "beta", warrant.Limits{})
	narrowed, err := first.Narrow(warrant.Limits{Command: warrant.Run})
	if err != nil {
		t.Fatal(err)
	}
	if r, body := g.jobs(t, g.clients(t)["HTTP/1.1"], &first); r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", r.Status, body) // The chain is known from now on.
	}
	kept := g.proofOf(t, &first)
	for _, step := range []struct {
		name, proof string
		code        api.Code
	}{
		{"with the invocation of another", stolen(t, kept, g.proofOf(t, &second)), api.CodeTokenInvalid},
		{"once more", stolen(t, kept, g.proofOf(t, &second)), api.CodeTokenInvalid},
		{"no job", g.proofOf(t, &first), api.CodeInvalid},
		{"again", kept, api.CodeTooOften},
		{"by a stolen chain", stolen(t, kept, g.proofOf(t, &second)), api.CodeTooOften},
		{"of another tenant", g.proofOf(t, &second), api.CodeInvalid},
		{"of another tenant, again", g.proofOf(t, &second), api.CodeTooOften},
		// A chain that is not known is verified first.
		{"by a token that was narrowed", g.proofOf(t, &narrowed), api.CodeTooOften},
		{"by that again", g.proofOf(t, &narrowed), api.CodeTooOften},
	} {
		r, body := g.submit(t, step.proof)
		isProblem(t, r, body, step.code)
		if after := r.Header.Get("Retry-After"); (after != "") != (step.code == api.CodeTooOften) {
			t.Errorf("%s: Retry-After: %q", step.name, after)
		}
	}
	if r, body := g.jobs(t, g.clients(t)["HTTP/1.1"], &first); r.StatusCode != http.StatusOK {
		t.Errorf("to read: %s %s", r.Status, body)
	}
	if n := g.counted(t, "refused_per_second"); n != 5 {
		t.Errorf("%g were refused before they were looked at, want 5", n)
	}
	// What was refused so early is not used up.
	h := g.http.Handler.(*surface).holders
	h.refused = newRates(seldom)
	r, body := g.submit(t, kept)
	isProblem(t, r, body, api.CodeInvalid)
}

// TestSubmittedRate: a token whose jobs were taken submits no more until some time has
// passed, with whatever was made of it; it may do all else meanwhile, and others may all.
func TestSubmittedRate(t *testing.T) {
	w := newWritten()
	objects, err := content.Open(t.Context(), content.Default(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = objects.Close() })
	g := startGuardedOn(t, Config{Ledger: w, Objects: objects}, func(c *ServerConfig) {
		p := defaultPace()
		p.submitted, p.hold = seldom, 0
		c.pace = &p
	})
	module := ledger.ModuleID{1}
	w.do(t, &ledger.CreateTenant{Tenant: "acme", Weight: 1, BandMax: 3}, &ledger.CreateTenant{Tenant: "beta", Weight: 1, BandMax: 3}, &ledger.PutModule{Module: module, Bytes: 1, Holder: "n1"})
	job := fmt.Sprintf(`{"module":"sha256:%x","limits":{"fuel":"1G"},"count":3}`, module[:])
	first, second := g.root.Token(t, "acme", warrant.Limits{}), g.root.Token(t, "beta", warrant.Limits{})
	narrowed, err := first.Narrow(warrant.Limits{Command: warrant.Run})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name  string
		token *warrant.Token
		body  string
		code  api.Code // empty: it is taken
	}{
		{"no job", &first, "no job", api.CodeInvalid},
		{"a job", &first, job, ""},
		{"another", &first, job, api.CodeTooOften},
		{"by a token that was narrowed", &narrowed, job, api.CodeTooOften},
		{"of another tenant", &second, job, ""},
	} {
		r, body := ask(t, g.clients(t)["HTTP/1.1"], http.MethodPost, g.url()+"/v1/jobs", http.Header{"Authorization": {g.proofOf(t, step.token)}}, strings.NewReader(step.body))
		if step.code != "" {
			isProblem(t, r, body, step.code)
		} else if r.StatusCode != http.StatusCreated {
			t.Errorf("%s: %s %s", step.name, r.Status, body)
		}
	}
	if r, body := g.jobs(t, g.clients(t)["HTTP/1.1"], &first); r.StatusCode != http.StatusOK {
		t.Errorf("to read: %s %s", r.Status, body)
	}
	if n := g.counted(t, "submitted_per_second"); n != 2 {
		t.Errorf("%g were too many, want 2", n)
	}
}

// TestHolderRate: where nothing is said a token has a bound at every port, and an address
// at those that others reach.
func TestHolderRate(t *testing.T) {
	for _, c := range []struct {
		listen             string
		set, token, remote float64
	}{
		{"127.0.0.1:0", 0, RequestsPerSecondLocal, 0},
		{"127.0.0.1:0", 7, 7, 7},
		{"0.0.0.0:0", 0, RequestsPerSecondDefault, RequestsPerSecondDefault},
		{"0.0.0.0:0", 7, 7, 7},
	} {
		s := start(t, true, func(config *ServerConfig) { config.Listen, config.RequestsPerSecond = c.listen, c.set })
		f := s.http.Handler.(*surface)
		var remote float64
		if f.rates != nil {
			remote = float64(f.rates.every)
		}
		if token := float64(f.holders.requests.every); token != c.token || remote != c.remote {
			t.Errorf("%+v: %g of a token, %g of an address", c, token, remote)
		}
	}
}

// TestRates: charging goes beyond the bound, and looking ahead counts nothing.
func TestRates(t *testing.T) {
	r, now := newRates(2), time.Now()
	for range 3 {
		if r.ahead("one", now) != 0 || len(r.clients) != 0 {
			t.Fatal("who has not asked waits, or is remembered")
		}
	}
	for i, want := range []time.Duration{0, 0, 0, 500 * time.Millisecond, time.Second} {
		r.charge("one", now)
		if wait := r.ahead("one", now); wait.Round(time.Millisecond) != want {
			t.Errorf("after %d: %s, want %s", i+1, wait, want)
		}
	}
	if r.ahead("one", now.Add(time.Second)) != 0 || r.ahead("another", now) != 0 {
		t.Error("who has waited, or another, waits")
	}
}

// TestHeld: so many answers of a token are held back, for as long as their requests last;
// the next one comes at once and ends its connection, as does one of a connection too many.
func TestHeld(t *testing.T) {
	limits, err := newLimits(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := newHolders(1, pace{refused: 1, hold: time.Hour}, limits)
	over, end := context.WithCancel(t.Context())
	end()
	version := 1
	closes := func(ctx context.Context, err error) bool {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/jobs", nil)
		r.ProtoMajor = version
		delay(w, r, err)
		return w.Header().Get("Connection") == "close"
	}
	for i := range heldMax {
		if !h.enter("one") {
			t.Fatalf("number %d is not held back", i)
		}
	}
	if !closes(t.Context(), h.tooOften("one", time.Second)) {
		t.Error("one too many is held back")
	}
	if closes(over, h.tooOften("another", time.Second)) || !closes(over, h.tooMany("another")) || closes(t.Context(), net.ErrClosed) {
		t.Error("the wrong connections are closed")
	}
	if version = 3; closes(over, h.tooMany("another")) {
		t.Error("one of HTTP/3 is closed by a header that it must not have")
	}
	for i := heldMax; h.enter(fmt.Sprint(i)); i++ {
		if h.all > heldAllMax {
			t.Fatalf("%d are held back", h.all)
		}
		defer h.leave(fmt.Sprint(i))
	}
	if h.all != heldAllMax || len(h.held) != heldAllMax-heldMax+1 {
		t.Errorf("%d of %d are held back", h.all, len(h.held))
	}
	for range heldMax {
		h.leave("one")
	}
	if _, there := h.held["one"]; there || h.all != heldAllMax-heldMax {
		t.Errorf("%d are held back still", h.all)
	}
}

// TestTokenConnections: who has as many busy connections as a token may have is refused by
// another one, which is closed, and others are not.
func TestTokenConnections(t *testing.T) {
	g := startGuarded(t, func(c *ServerConfig) {
		p := defaultPace()
		p.hold = 0
		c.pace, c.perOwner = &p, 1
	})
	token, other := g.root.Token(t, "acme", warrant.Limits{}), g.root.Token(t, "beta", warrant.Limits{})
	busy, err := (&tls.Dialer{Config: g.trust}).DialContext(t.Context(), "tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_ = busy.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(busy, "POST /v1/jobs HTTP/1.1\r\nHost: "+g.Addr()+"\r\nAuthorization: "+g.proofOf(t, &token)+"\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(busy).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	c := g.clients(t)["HTTP/1.1"]
	for range 2 {
		r, body := g.jobs(t, c, &token)
		isProblem(t, r, body, api.CodeTooOften)
		if !r.Close {
			t.Error("the connection stays open")
		}
	}
	if r, body := g.jobs(t, c, &other); r.StatusCode != http.StatusOK {
		t.Errorf("another's: %s %s", r.Status, body)
	}
	if n := g.counted(t, turnstile.Owner); n != 2 {
		t.Errorf("%g connections were too many, want 2", n)
	}
}

// TestTooOftenIsNotNoted: what came too often is no line of the audit log, or a flood
// would have them all.
func TestTooOftenIsNotNoted(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(t.Context(), audit.Default(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, code := range []api.Code{api.CodeTooOften, api.CodeTokenRevoked} {
		n := &notary{log: log, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { audit.Of(r.Context()).Code = string(code) })}
		n.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/jobs", nil))
	}
	reader, err := audit.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	records, err := reader.Next()
	if err != nil || len(records) != 1 || records[0].Code != string(api.CodeTokenRevoked) {
		t.Errorf("%+v, %v", records, err)
	}
}
