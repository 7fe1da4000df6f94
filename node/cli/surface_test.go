package cli

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/certificate"
	"github.com/dugnad/dugnad/node/turnstile"
)

// surfaceNode is a node whose API is on a port with TLS.
type surfaceNode struct {
	*nodeProcess
	// url has the grid behind it, base has not.
	url, base string
	trust     *tls.Config
}

func newSurfaceNode(t *testing.T, listen string, flags ...string) *surfaceNode {
	t.Helper()
	n := &surfaceNode{nodeProcess: newMachine(t, "node").up(t, append(flags, "--api-listen", listen, "--api-tls")...)}
	out, _ := n.out.read()
	if n.url = regexp.MustCompile(`https://[^ ,]+`).FindString(out); n.url == "" {
		t.Fatalf("it does not say where its API is: %q", out)
	}
	var err error
	if n.base, n.trust, err = certificate.Split(n.url); err != nil {
		t.Fatal(err)
	}
	return n
}

// ask sends a request and returns the answer and its body.
func (n *surfaceNode) ask(t *testing.T, r http.RoundTripper, method, path string, header http.Header, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, n.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if q.Header = header; header == nil {
		q.Header = http.Header{}
	}
	res, err := (&http.Client{Transport: r, Timeout: patience}).Do(q)
	if err != nil {
		t.Fatalf("%s %.40s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %.40s: %v", method, path, err)
	}
	return res, b
}

func (n *surfaceNode) protocols(t *testing.T) map[string]http.RoundTripper {
	t.Helper()
	two := &http.Transport{TLSClientConfig: n.trust.Clone(), ForceAttemptHTTP2: true}
	one := &http.Transport{TLSClientConfig: n.trust.Clone(), Protocols: &http.Protocols{}}
	one.Protocols.SetHTTP1(true)
	three := &http3.Transport{TLSClientConfig: n.trust.Clone()}
	t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		_ = three.Close()
	})
	return map[string]http.RoundTripper{"HTTP/1.1": one, "HTTP/2.0": two, "HTTP/3.0": three}
}

// TestSurface: the API on a port with TLS answers in all protocols, to whom knows its
// grid or node, whatever else comes in, and ends in good order.
func TestSurface(t *testing.T) {
	t.Parallel()
	n := newSurfaceNode(t, "127.0.0.1:0", "--offer-disk", "64MiB")
	stranger := newSurfaceNode(t, "127.0.0.1:0", "--api-cors", "https://example.org")
	s := statusJSON(t, n.dir)
	if s.API.URL != n.url || !strings.HasPrefix(s.API.PublicKey, "sha256//") || !strings.HasSuffix(n.url, "#"+s.Grid) {
		t.Errorf("status says %+v, up said %s", s.API, n.url)
	}
	for _, tt := range []struct {
		name, api string
		code      int
		says      string
	}{
		{"its grid", n.url, 0, "JOB"},
		{"its node", n.base + "#" + s.Node, 0, "JOB"},
		{"nothing", n.base, exitFailure, "--api https://HOST:PORT#GRID"},
		{"another grid", n.base + "#" + statusJSON(t, stranger.dir).Grid, exitFailure, "another node"},
		{"no grid", n.base + "#grid", exitFailure, "neither the name of a grid nor of a node"},
		{"no TLS", strings.Replace(n.base, "https", "http", 1), exitFailure, "HTTPS"},
	} {
		if e := runDugnad(t, "job", "ls", "--api", tt.api); e.code != tt.code || !strings.Contains(e.stdout+e.stderr, tt.says) {
			t.Errorf("naming %s: exit code %d, %q, %q, want %d and %q", tt.name, e.code, e.stdout, e.stderr, tt.code, tt.says)
		}
	}
	protocols := n.protocols(t)
	for name, p := range protocols {
		if r, b := n.ask(t, p, http.MethodGet, "/v1/jobs", nil, nil); r.Proto != name || r.StatusCode != http.StatusOK || !json.Valid(b) {
			t.Errorf("%s: %s %s %s", name, r.Proto, r.Status, b)
		}
		for _, bad := range badRequests() {
			r, b := n.ask(t, p, bad.method, bad.path, bad.header, strings.NewReader(bad.body))
			bad.check(t, name, r, b)
		}
	}
	n.lorises(t, protocols["HTTP/2.0"])
	n.zeros(t, protocols)
	n.idle(t, protocols["HTTP/2.0"])
	if r, _ := stranger.ask(t, stranger.protocols(t)["HTTP/2.0"], http.MethodGet, "/v1/jobs", http.Header{"Origin": {"https://example.org"}}, nil); r.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("--api-cors has no effect: %v", r.Header)
	}
	n.stop(t)
	stranger.stop(t)
}

// badRequest is a request that is refused.
type badRequest struct {
	name, method, path, body string
	header                   http.Header
	status                   int
	code                     api.Code
}

// answerBytesMax bounds what a bad request may bring forth.
const answerBytesMax = 64 << 10

func (bad *badRequest) check(t *testing.T, protocol string, r *http.Response, b []byte) {
	t.Helper()
	var p api.Problem
	_ = json.Unmarshal(b, &p)
	if r.StatusCode != bad.status || p.Code != bad.code || len(b) > answerBytesMax {
		t.Errorf("%s: %s: %s, %d bytes, code %q, want %d %q: %.300s", protocol, bad.name, r.Status, len(b), p.Code, bad.status, bad.code, b)
	}
}

// manyHeaders are short ones, whose number makes them too long.
func manyHeaders() http.Header {
	h := http.Header{}
	for i := range 2000 {
		h.Set(fmt.Sprint("X-", i), "x")
	}
	return h
}

func badRequests() []badRequest {
	object := "sha256:" + strings.Repeat("0", 64)
	named := func(name string) string {
		b, _ := json.Marshal(name)
		return fmt.Sprintf(`{"module": %q, "inputs": [{"name": %s, "object": %q}]}`, object, b, object)
	}
	list := []badRequest{
		{name: "a list in a list, often", body: strings.Repeat("[", 900_000), status: 422, code: api.CodeInvalid},
		{name: "an object in an object, often", body: strings.Repeat(`{"a":`, 150_000) + "1" + strings.Repeat("}", 150_000), status: 422, code: api.CodeInvalid},
		{name: "aliases of aliases", body: "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n", status: 422, code: api.CodeInvalid},
		{name: "many unknown fields", body: "{" + strings.Repeat(`"x":1,`, 100_000) + `"y":1}`, status: 422, code: api.CodeInvalid},
		{name: "a large number", body: `{"count": 1` + strings.Repeat("0", 100_000) + `}`, status: 422, code: api.CodeInvalid},
		{name: "no text", body: "\xff\xfe\x00\x01", status: 422, code: api.CodeInvalid},
		{name: "too much", body: strings.Repeat("#", api.JobBytesMax+1), status: 413, code: api.CodeTooLarge},
		{name: "no module", path: "/v1/modules", body: "no module", status: 422, code: api.CodeRefused},
		{name: "a path as an id", method: http.MethodGet, path: "/v1/jobs/..%2f..%2fetc%2fpasswd", status: 422, code: api.CodeInvalid},
		{name: "a path as an object", method: http.MethodGet, path: "/v1/objects/..%2f..%2fnode.key", status: 422, code: api.CodeInvalid},
		{name: "a path out", method: http.MethodGet, path: "/v1/%2e%2e/%2e%2e/etc/passwd", status: 404},
		{name: "a zero in a path", method: http.MethodGet, path: "/v1/jobs/a%00b", status: 422, code: api.CodeInvalid},
		{name: "a long header", method: http.MethodGet, path: "/v1/jobs", header: http.Header{"X-Long": {strings.Repeat("x", 70_000)}}, status: 431, code: api.CodeHeaderTooLarge},
		{name: "many headers", method: http.MethodGet, path: "/v1/jobs", header: manyHeaders(), status: 431, code: api.CodeHeaderTooLarge},
		{name: "a long key", header: http.Header{"Idempotency-Key": {strings.Repeat("x", 300)}}, body: "{}", status: 422, code: api.CodeInvalid},
		{name: "a method that is none", method: "BREW", path: "/v1/jobs", status: 405},
		{name: "from a page elsewhere", header: http.Header{"Origin": {"https://example.org"}}, body: "{}", status: 403, code: api.CodeCrossOrigin},
	}
	for _, name := range []string{"..", ".", "", "../../etc/passwd", "/etc/passwd", "a/b", "a\x00b", `..\..\x`, strings.Repeat("x", 5000), "a\x1b[31mb", "a\nb"} {
		list = append(list, badRequest{name: fmt.Sprintf("the input %.20q", name), body: named(name), status: 422, code: api.CodeInvalid})
	}
	for i := range list {
		if list[i].method == "" {
			list[i].method = http.MethodPost
		}
		if list[i].path == "" {
			list[i].path = "/v1/jobs"
		}
	}
	return list
}

// lorises begin requests that never end. Others are answered meanwhile, and one of 10 GB
// is refused at its first line.
func (n *surfaceNode) lorises(t *testing.T, r http.RoundTripper) {
	t.Helper()
	dial := func() net.Conn {
		config := n.trust.Clone()
		config.NextProtos = []string{"http/1.1"}
		c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(n.base, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return c
	}
	begin := func(text string) net.Conn {
		c := dial()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := begin("GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	for range 100 {
		begin("GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		begin("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	}
	if res, b := n.ask(t, r, http.MethodGet, "/v1/jobs", nil, nil); res.StatusCode != http.StatusOK {
		t.Errorf("beside slow ones: %s %s", res.Status, b)
	}
	huge := begin("POST /v1/objects HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(huge), nil); err != nil || res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("10 GB: %v, %v", res, err)
	} else if err := res.Body.Close(); err != nil {
		t.Log(err) // more follows than it said
	}
	if b, err := io.ReadAll(first); os.IsTimeout(err) {
		t.Errorf("a header that does not end is waited for: %q, %v", b, err)
	}
	if _, b := n.ask(t, r, http.MethodGet, "/metrics", nil, nil); !bytes.Contains(b, []byte(`dugnad_api_limit_reached_total{limit="body_bytes"}`)) {
		t.Error("limits are not counted")
	}
}

// zeros sends bodies of 10 GB whose length is not said: they are refused when they are
// too long, and not when they are there.
func (n *surfaceNode) zeros(t *testing.T, protocols map[string]http.RoundTripper) {
	t.Helper()
	for name, p := range protocols {
		for path, most := range map[string]int64{"/v1/jobs": 64 << 20, "/v1/objects": 512 << 20} {
			body := &zeros{}
			body.left.Store(10e9)
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.base+path, body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := (&http.Client{Transport: p, Timeout: patience}).Do(q)
			// Who goes on sending after the answer may find the connection closed before it
			// has read that.
			if err == nil {
				var p api.Problem
				refused := map[api.Code]bool{api.CodeTooLarge: true, api.CodeNoRoom: path == "/v1/objects"}
				if err := json.NewDecoder(res.Body).Decode(&p); err != nil || !refused[p.Code] || res.StatusCode != p.Code.Status() {
					t.Errorf("%s %s: %s %v, %v", name, path, res.Status, &p, err)
				}
				_ = res.Body.Close()
			}
			if sent := 10e9 - body.left.Load(); sent > most {
				t.Errorf("%s %s: %d bytes of zeros were taken, %v", name, path, sent, err)
			}
		}
	}
}

// zeros is a body of so many zeros.
type zeros struct{ left atomic.Int64 }

// Read implements io.Reader.
func (z *zeros) Read(b []byte) (int, error) {
	n := min(int64(len(b)), z.left.Load())
	if n == 0 {
		return 0, io.EOF
	}
	clear(b[:n])
	z.left.Add(-n)
	return int(n), nil
}

// idle opens connections that ask for nothing, 10,000 where this process may: others
// are answered meanwhile, and the node has not more of them than places.
func (n *surfaceNode) idle(t *testing.T, r http.RoundTripper) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	many := int(min(10_000, limit.Cur/2))
	for range many {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(n.base, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r.(*http.Transport).CloseIdleConnections()
	if res, b := n.ask(t, r, http.MethodGet, "/v1/jobs", nil, nil); res.StatusCode != http.StatusOK {
		t.Errorf("beside %d idle connections: %s %s", many, res.Status, b)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(open) > turnstile.ConnectionsMax+500 {
		t.Errorf("the node has %d files open beside %d idle connections, and %d places", len(open), many, turnstile.ConnectionsMax)
	}
	t.Logf("%d idle connections, %d files open in the node", many, len(open))
}

// TestSurfaceOutside: what is not on loopback alone is answered over TLS only, and with
// a token only, at loopback, too.
func TestSurfaceOutside(t *testing.T) {
	t.Parallel()
	n := newSurfaceNode(t, "0.0.0.0:0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(n.base, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	_, pin, _ := strings.Cut(n.url, "#")
	token := filepath.Join(t.TempDir(), "acme.token")
	if e := runDugnad(t, "tenant", "create", "acme", "--node-dir", n.dir, "-o", token); e.code != 0 {
		t.Fatal(e)
	}
	for _, host := range append([]string{"127.0.0.1"}, outsideAddresses(t)...) {
		at := net.JoinHostPort(host, port)
		n.base = "https://" + at
		n.tokenless(t)
		for _, tt := range []struct{ api, says string }{{n.base + "#" + pin, "token"}, {"http://" + at, "HTTPS"}} {
			if e := runDugnad(t, "job", "ls", "--api", tt.api); e.code != exitFailure || !strings.Contains(e.stderr, tt.says) {
				t.Errorf("%s: exit code %d, %q, want %q", tt.api, e.code, e.stderr, tt.says)
			}
		}
		if e := runDugnad(t, "run", helloFile, "--grid", "always", "--api", n.base+"#"+pin, "--token-file", token); e.code != 0 || !strings.Contains(e.stdout, "hello") {
			t.Errorf("with a token, at %s: exit code %d, %q, %q", host, e.code, e.stdout, e.stderr)
		}
		if e := runDugnad(t, "job", "ls", "--api", n.base, "--token-file", token); e.code != exitFailure || !strings.Contains(e.stderr, "--api https://HOST:PORT#GRID") {
			t.Errorf("with a token, and without a name, at %s: exit code %d, %q", host, e.code, e.stderr)
		}
	}
	if e := runDugnad(t, "job", "ls", "--node-dir", n.dir); e.code != 0 {
		t.Errorf("the operator: exit code %d, %q", e.code, e.stderr)
	}
	n.stop(t)
}

// tokenless asks without a token, in all protocols.
func (n *surfaceNode) tokenless(t *testing.T) {
	t.Helper()
	for name, p := range n.protocols(t) {
		for _, path := range []string{"/v1/jobs", "/v1/nodes", "/metrics", "/openapi.json"} {
			r, b := n.ask(t, p, http.MethodGet, path, nil, nil)
			var problem api.Problem
			if err := json.Unmarshal(b, &problem); err != nil || r.StatusCode != http.StatusUnauthorized || problem.Code != api.CodeUnauthorized {
				t.Errorf("%s %s%s: %s %s", name, n.base, path, r.Status, b)
			}
		}
	}
}

// outsideAddresses returns an address of this machine that is not loopback, if it has
// one.
func outsideAddresses(t *testing.T) []string {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return []string{n.IP.String()}
		}
	}
	t.Log("this machine has no address but loopback")
	return nil
}

// TestSurfaceSettings: what cannot be is said before the node is up.
func TestSurfaceSettings(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "node")
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := []string{"--api-listen", "127.0.0.1:0"}
	for words, flags := range map[string][]string{
		"come together":        {"--api-cert", junk},
		"junk.pem":             {"--api-cert", junk, "--api-key", junk},
		"no such file":         {"--api-cert", junk, "--api-key", junk + ".none"},
		`"*" is not an origin`: {"--api-cors", "*"},
		"--api-rate is -1":     {"--api-rate", "-1"},
		"openssl rand -hex 32": {"--metrics-key-file", junk},
		"missing port":         {"--api-listen", "127.0.0.1"},
		"need --api-listen":    {"--api-tls", "--api-listen", ""},
		"cannot assign":        {"--api-listen", "192.0.2.1:1"},
	} {
		m.refused(t, words, append(append([]string{}, listen...), flags...)...)
	}
}
