package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/turnstile"
)

// patience bounds the wait for what is to happen.
const patience = 2 * time.Minute

// selfSigned returns a certificate for 127.0.0.1 and a client's configuration that
// trusts it.
func selfSigned(tb testing.TB) (Certificate, *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}

// started is a server and who asks it.
type started struct {
	*Server
	registry *prometheus.Registry
	trust    *tls.Config
}

// start opens a server on loopback. handler may be nil: it then answers with the
// length of the body, or the error of reading it.
func start(tb testing.TB, secured bool, change func(*ServerConfig)) *started {
	tb.Helper()
	s := &started{registry: prometheus.NewRegistry()}
	c := ServerConfig{Listen: "127.0.0.1:0", Registerer: s.registry, Handler: http.HandlerFunc(measure)}
	if secured {
		c.Certificate, s.trust = selfSigned(tb)
	}
	if change != nil {
		change(&c)
	}
	var err error
	if s.Server, err = Open(tb.Context(), c); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// measure answers with how long a body is.
func measure(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	var p *api.Problem
	if errors.As(problem(err), &p) {
		refuse(w, p)
		return
	}
	fmt.Fprint(w, r.Proto, " ", n)
}

// counted returns how often a limit has refused something.
func (s *started) counted(tb testing.TB, limit string) float64 {
	tb.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == limit {
				return m.GetCounter().GetValue()
			}
		}
	}
	tb.Fatalf("there is no limit %q", limit)
	return 0
}

// clients are one for each protocol that a server speaks.
func (s *started) clients(tb testing.TB) map[string]*http.Client {
	tb.Helper()
	of := func(set func(*http.Protocols)) *http.Client {
		t := &http.Transport{TLSClientConfig: s.trust.Clone(), Protocols: &http.Protocols{}, ExpectContinueTimeout: patience}
		set(t.Protocols)
		tb.Cleanup(t.CloseIdleConnections)
		return &http.Client{Transport: t, Timeout: patience}
	}
	one := of(func(p *http.Protocols) { p.SetHTTP1(true) })
	if s.trust == nil {
		return map[string]*http.Client{"HTTP/1.1": one, "HTTP/2.0": of(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })}
	}
	three := &http3.Transport{TLSClientConfig: s.trust.Clone()}
	tb.Cleanup(func() { _ = three.Close() })
	return map[string]*http.Client{
		"HTTP/1.1": one, "HTTP/2.0": of(func(p *http.Protocols) { p.SetHTTP2(true) }), "HTTP/3.0": {Transport: three, Timeout: patience},
	}
}

func (s *started) url() string {
	if s.trust == nil {
		return "http://" + s.Addr()
	}
	return "https://" + s.Addr()
}

// ask sends a request and returns the answer with its body read.
func ask(tb testing.TB, c *http.Client, method, url string, header http.Header, body io.Reader) (*http.Response, string) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), method, url, body)
	if err != nil {
		tb.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	res, err := c.Do(r)
	if err != nil {
		tb.Errorf("%s %s: %v", method, url, err)
		return &http.Response{}, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Errorf("%s %s: %v", method, url, err)
	}
	return res, string(b)
}

// isProblem checks that an answer is a problem with the code.
func isProblem(tb testing.TB, r *http.Response, body string, code api.Code) {
	tb.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Code != code || p.Status != r.StatusCode || r.StatusCode != code.Status() ||
		r.Header.Get("Content-Type") != "application/problem+json" || p.Detail == "" {
		tb.Errorf("%s %q (%s), want a problem %s: %v", r.Status, body, r.Header.Get("Content-Type"), code, err)
	}
}

// TestProtocols: one port answers in all versions, says where HTTP/3 is, and keeps its
// limits in each.
func TestProtocols(t *testing.T) {
	for _, secured := range []bool{true, false} {
		s := start(t, secured, func(c *ServerConfig) { c.ObjectBytesMax = 1 << 20 })
		want := ""
		if secured {
			_, port, _ := net.SplitHostPort(s.Addr())
			want = fmt.Sprintf(`h3=":%s"; ma=86400`, port)
		}
		for proto, c := range s.clients(t) {
			t.Run(fmt.Sprintf("%s, secured %t", proto, secured), func(t *testing.T) {
				r, body := ask(t, c, http.MethodPost, s.url()+"/v1/objects", nil, strings.NewReader("five!"))
				if r.StatusCode != http.StatusOK || body != proto+" 5" {
					t.Fatalf("%s %q", r.Status, body)
				}
				if got := r.Header.Get("Alt-Svc"); proto != "HTTP/3.0" && got != want {
					t.Errorf("Alt-Svc is %q, want %q", got, want)
				}
				s.limited(t, c)
			})
		}
	}
}

// limited asks for more than the limits allow.
func (s *started) limited(t *testing.T, c *http.Client) {
	t.Helper()
	header, body := s.counted(t, "header_bytes"), s.counted(t, "body_bytes")
	r, text := ask(t, c, http.MethodGet, s.url()+"/v1/jobs", http.Header{"X-Long": {strings.Repeat("x", headerBytesMax)}}, nil)
	isProblem(t, r, text, api.CodeHeaderTooLarge)
	r, text = ask(t, c, http.MethodGet, s.url()+"/v1/jobs?"+strings.Repeat("x", headerBytesMax), nil, nil)
	isProblem(t, r, text, api.CodeHeaderTooLarge)
	// Its length is said, and nothing of it is read.
	r, text = ask(t, c, http.MethodPost, s.url()+"/v1/jobs", http.Header{"Expect": {"100-continue"}}, bytes.NewReader(make([]byte, api.JobBytesMax+1)))
	isProblem(t, r, text, api.CodeTooLarge)
	// Its length is not said.
	r, text = ask(t, c, http.MethodPost, s.url()+"/v1/objects", nil, io.MultiReader(bytes.NewReader(make([]byte, 1<<20+1))))
	isProblem(t, r, text, api.CodeTooLarge)
	if s.counted(t, "header_bytes") != header+2 || s.counted(t, "body_bytes") != body+2 {
		t.Error("refusals were not counted")
	}
}

// TestHuge: a body of 10 GB is refused when its length is known, before a byte of it is
// sent.
func TestHuge(t *testing.T) {
	s := start(t, false, func(c *ServerConfig) { c.ObjectBytesMax = 4 << 30 })
	answer := s.raw(t, "POST /v1/objects HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n")
	if r, err := http.ReadResponse(bufio.NewReader(answer), nil); err != nil || r.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%v, %v", r, err)
	}
}

// raw sends bytes to a server without TLS.
func (s *started) raw(tb testing.TB, text string) net.Conn {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", s.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestOrigins: a web page may ask when its origin is listed. What another page sends
// changes nothing.
func TestOrigins(t *testing.T) {
	s := start(t, false, func(c *ServerConfig) { c.Origins = []string{"https://example.org"} })
	off := start(t, false, nil)
	c := &http.Client{Timeout: patience}
	preflight := http.Header{"Origin": {"https://example.org"}, "Access-Control-Request-Method": {"POST"}}
	r, _ := ask(t, c, http.MethodOptions, s.url()+"/v1/jobs", preflight, nil)
	if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != "https://example.org" || r.Header.Get("Vary") != "Origin" {
		t.Errorf("%s %v", r.Status, r.Header)
	}
	for name, tt := range map[string]struct {
		s       *started
		origin  string
		allowed bool
	}{
		"listed": {s, "https://example.org", true}, "another": {s, "https://example.com", false}, "a longer one": {s, "https://example.org.example.com", false},
		"none is listed": {off, "https://example.org", false}, "nowhere": {s, "null", false}, "no page": {off, "", true}, "a page of the node": {off, off.url(), true},
	} {
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		r, body := ask(t, c, http.MethodPost, tt.s.url()+"/v1/jobs", header, strings.NewReader("x"))
		if tt.allowed != (r.StatusCode == http.StatusOK) {
			t.Errorf("%s: %s %s", name, r.Status, body)
		}
		if !tt.allowed {
			isProblem(t, r, body, api.CodeCrossOrigin)
		}
		r, _ = ask(t, c, http.MethodGet, tt.s.url()+"/v1/jobs", header, nil)
		listed := tt.s == s && tt.allowed && tt.origin != ""
		if got := r.Header.Get("Access-Control-Allow-Origin"); listed != (got != "") || got != "" && got != tt.origin {
			t.Errorf("%s may read: %q", name, got)
		}
	}
	for site, allowed := range map[string]bool{"cross-site": false, "same-site": false, "same-origin": true, "none": true} {
		r, body := ask(t, c, http.MethodPost, off.url()+"/v1/jobs", http.Header{"Sec-Fetch-Site": {site}}, strings.NewReader("x"))
		if allowed != (r.StatusCode == http.StatusOK) {
			t.Errorf("%s: %s %s", site, r.Status, body)
		}
		if !allowed {
			isProblem(t, r, body, api.CodeCrossOrigin)
		}
	}
	if n := s.counted(t, string(api.CodeCrossOrigin)); n != 3 {
		t.Errorf("%g pages that were refused are counted, want 3", n)
	}
	for _, origin := range []string{"*", "null", "example.org", "https://example.org/", "https://example.org/path", "ftp://example.org", "https://"} {
		if _, err := Open(t.Context(), ServerConfig{Listen: "127.0.0.1:0", Handler: http.NotFoundHandler(), Origins: []string{origin}}); !errors.Is(err, ErrOrigin) {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

// TestClosedByDefault: nothing is answered beyond loopback without TLS, and with it
// nothing unless the handler demands tokens.
func TestClosedByDefault(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		if _, err := Open(t.Context(), ServerConfig{Listen: address, Handler: http.NotFoundHandler()}); !errors.Is(err, ErrCleartext) {
			t.Errorf("%s: %v, want %v", address, err, ErrCleartext)
		}
	}
	everywhere := start(t, true, func(c *ServerConfig) { c.Listen = "0.0.0.0:0" })
	gated := start(t, true, func(c *ServerConfig) { c.Listen, c.Gated = "0.0.0.0:0", true })
	for _, s := range []*started{everywhere, gated} {
		_, port, _ := net.SplitHostPort(s.Addr())
		for proto, c := range s.clients(t) {
			for _, path := range []string{"/", "/v1/jobs", "/metrics", "/openapi.json"} {
				r, body := ask(t, c, http.MethodGet, "https://127.0.0.1:"+port+path, nil, nil)
				if s == everywhere {
					isProblem(t, r, body, api.CodeUnauthorized)
				} else if body != proto+" 0" {
					t.Errorf("%s %q", r.Status, body)
				}
			}
		}
	}
}

// TestCrowd: more idle connections than there are places neither keep others out nor
// stay.
func TestCrowd(t *testing.T) {
	const places = 8
	s := start(t, true, func(c *ServerConfig) { c.places = places })
	idle := func() *tls.Conn {
		c, err := (&tls.Dialer{Config: s.trust}).DialContext(t.Context(), "tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.(*tls.Conn)
	}
	first := idle()
	for range places {
		idle()
	}
	_ = first.SetReadDeadline(time.Now().Add(patience))
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest is still there: %v", err)
	}
	if r, text := ask(t, s.clients(t)["HTTP/2.0"], http.MethodGet, s.url(), nil, nil); r.StatusCode != http.StatusOK {
		t.Errorf("%s %q", r.Status, text)
	}
	if n := s.counted(t, turnstile.Waiting); n != 2 {
		t.Errorf("%g connections have made room, want 2", n)
	}
}

// TestGoAway: a server that stops lets those finish who are being answered, in every
// protocol.
func TestGoAway(t *testing.T) {
	for _, secured := range []bool{true, false} {
		began := make(chan string)
		s := start(t, secured, func(c *ServerConfig) {
			c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				began <- r.Proto
				<-r.Context().Done()
				fmt.Fprint(w, "bye")
			})
		})
		clients := s.clients(t)
		answers := make(chan string, len(clients))
		for proto, c := range clients {
			go func() {
				r, err := c.Get(s.url())
				if err != nil {
					answers <- fmt.Sprint(proto, ": ", err)
					return
				}
				defer r.Body.Close()
				b, err := io.ReadAll(r.Body)
				answers <- fmt.Sprint(string(b), err)
			}()
			<-began
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for range clients {
			if got := <-answers; got != "bye<nil>" {
				t.Error(got)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestQUICShare: one address has its share of QUIC's connections, and gets it back.
func TestQUICShare(t *testing.T) {
	limits, err := newLimits(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	q := &quicServer{limit: limits.quic, from: map[string]int{}}
	client := func(host string) *quic.ClientInfo {
		return &quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.ParseIP(host), Port: 1}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range quicPerAddressMax {
		if _, err := q.admit(ctx, client("192.0.2.1")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.admit(ctx, client("192.0.2.1")); !errors.Is(err, errCrowded) {
		t.Errorf("one more: %v", err)
	}
	for i := 0; !q.crowded(); i++ {
		if _, err := q.admit(ctx, client(fmt.Sprintf("198.51.100.%d", i))); err != nil || i > quicUnverified {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	cancel()
	late := time.After(patience)
	for tick := time.NewTicker(time.Millisecond); ; {
		q.mu.Lock()
		left := q.open + len(q.from)
		q.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d places are not given back", left)
		}
	}
}
