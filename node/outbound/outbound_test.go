package outbound

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names is a resolver of a table; each look-up of a name takes the next of its answers.
type names struct {
	mu   sync.Mutex
	list map[string][]string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answers := n.list[host]
	if len(answers) == 0 {
		return nil, errors.New("no such host")
	}
	if len(answers) > 1 {
		n.list[host] = answers[1:]
	}
	var out []netip.Addr
	for _, a := range strings.Fields(answers[0]) {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// notes keeps records.
type notes struct {
	mu   sync.Mutex
	list []Record
}

func (n *notes) note(r Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, r)
}

func (n *notes) last(t *testing.T) Record {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) == 0 {
		t.Fatal("nothing was noted")
	}
	return n.list[len(n.list)-1]
}

func openTest(t *testing.T, change func(*Config)) (*Gate, *notes) {
	t.Helper()
	c, n := Default(), &notes{}
	c.Note, c.Resolver = n.note, &names{}
	if change != nil {
		change(&c)
	}
	g, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, n
}

// openFor opens a gate whose operator lets guests reach a server on loopback.
func openFor(t *testing.T, h http.HandlerFunc, change func(*Config)) (*Gate, *notes, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	g, n := openTest(t, func(c *Config) {
		allow(c, s.URL)
		if change != nil {
			change(c)
		}
	})
	return g, n, s.URL
}

func allow(c *Config, url string) {
	c.Ports = []uint16{netip.MustParseAddrPort(strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://")).Port()}
	c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
}

var someone = Attempt{Tenant: "ada", Job: "job", Task: 3}

// TestBandwidth: what a guest's requests move counts both ways, with all that carries it,
// and one that waits for the bound ends with its own time, and with the gate.
func TestBandwidth(t *testing.T) {
	link, err := bandwidth.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	const size = 256 << 10
	g, _, url := openFor(t, func(w http.ResponseWriter, r *http.Request) {
		all, _ := io.ReadAll(r.Body)
		_, _ = w.Write(all)
	}, func(c *Config) { c.Down, c.Up = link.Down, link.Up })
	body := strings.Repeat("x", size)
	head := "POST " + url + "/\nContent-Length: " + strconv.Itoa(size) + "\n"
	if _, got, err := fetch(t, g, someone, head, body); err != nil || got != body {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for name, use := range map[string]bandwidth.Use{"sent": link.Up.Use(), "received": link.Down.Use()} {
		if use.Bytes < size || use.Bytes > size+64<<10 {
			t.Errorf("%s: %+v", name, use)
		}
	}

	link.Up.SetRate(bandwidth.RateMin)
	link.Up.Book(bandwidth.KindObjects, 1<<30) // hours
	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	for _, ctx := range []context.Context{ctx, t.Context()} {
		go func() {
			_, _, err := fetchBy(ctx, g.For(someone).(*attempt), head, body)
			ended <- err
		}()
	}
	awaitWaiting(t, link.Up, 2)
	cancel()
	if err := <-ended; err == nil {
		t.Error("a request went beyond the bound")
	}
	awaitWaiting(t, link.Up, 1)
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a request went beyond the bound, of a gate that is closed")
	}
}

// awaitWaiting returns when so many streams wait for a bound.
func awaitWaiting(t *testing.T, f *bandwidth.Flow, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for f.Use().Waiting != n {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%d wait, not %d", f.Use().Waiting, n)
		}
	}
}

// fetch makes one request and reads all of the answer.
func fetch(t *testing.T, g *Gate, a Attempt, head, body string) (string, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return fetchBy(ctx, g.For(a).(*attempt), head, body)
}

func fetchBy(ctx context.Context, a *attempt, head, body string) (string, string, error) {
	r, err := a.Do(ctx, []byte(head), io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return "", "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(r.Head), string(b), err
}

func TestRequest(t *testing.T) {
	g, n, url := openFor(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Add("X-Two", "b")
		w.Header().Add("X-Two", "a")
		w.Header().Set("Date", "now")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s %q %d %v %q", r.Method, r.URL, r.Host, body, r.Header.Get("User-Agent"), r.ContentLength, r.TransferEncoding, r.Header.Get("Accept-Encoding"))
	}, nil)
	host := strings.TrimPrefix(url, "http://")
	for _, tt := range []struct{ head, body, want string }{
		{"GET " + url + "/a/b?c=d#e", "", `GET /a/b?c=d ` + host + `  "dugnad" 0 [] ""`},
		{"POST " + url + "\nuser-agent: me\n", "xyz", `POST / ` + host + ` xyz "me" -1 [chunked] ""`},
		{"PUT " + url + "/\nContent-Length: 3\naccept-encoding: gzip", "xyz", `PUT / ` + host + ` xyz "dugnad" 3 [] "gzip"`},
		{"GET " + url + "/", "dropped", `GET / ` + host + `  "dugnad" 0 [] ""`},
		{"DELETE " + url + "/\ncontent-length: 1", "x", `DELETE / ` + host + ` x "dugnad" 1 [] ""`},
	} {
		head, body, err := fetch(t, g, someone, tt.head, tt.body)
		if err != nil || body != tt.want {
			t.Errorf("%s: %v\n%s\n%s", tt.head, err, body, tt.want)
		}
		want := fmt.Sprintf("418\ncontent-length: %d\ncontent-type: text/plain; charset=utf-8\ndate: now\nx-two: b\nx-two: a\n", len(body))
		if head != want {
			t.Errorf("head %q, want %q", head, want)
		}
	}
	r := n.last(t)
	want := Record{
		Tenant: "ada", Job: "job", Task: 3, Method: "DELETE", Scheme: "http", Host: "127.0.0.1", Port: g.config.Ports[0],
		Address: netip.MustParseAddrPort(host), Status: 418, Sent: 1, Received: r.Received,
	}
	if r != want || r.Received == 0 || len(n.list) != 5 {
		t.Errorf("noted %+v, want %+v", r, want)
	}
}

// TestSecondVersion: a server that speaks HTTP/2 over TLS is spoken to so.
func TestSecondVersion(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	g, n := openTest(t, func(c *Config) {
		allow(c, s.URL)
		c.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
		c.TLS.NextProtos = nil
	})
	_, body, err := fetch(t, g, someone, "GET "+s.URL, "")
	if err != nil || body != "HTTP/2.0" || n.last(t).Scheme != "https" {
		t.Errorf("%q %v", body, err)
	}
	// Without the server's certificate there is no connection.
	strict, n := openTest(t, func(c *Config) { allow(c, s.URL) })
	if _, _, err := fetch(t, strict, someone, "GET "+s.URL, ""); !errors.Is(err, abi.ErrConnect) || n.last(t).Code != "connect" {
		t.Error(err)
	}
}

// TestRefused is a table of requests that are not made.
func TestRefused(t *testing.T) {
	var reached atomic.Int32
	g, n, url := openFor(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) }, func(c *Config) {
		c.Ports = append(c.Ports, 80, 443)
		c.Allow = nil
		c.Avoid = func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("8.8.8.8:443")} }
		c.Consent = func(tenant string) error {
			return map[string]error{"eve": abi.ErrDenied, "mallory": abi.ErrBytes}[tenant]
		}
		c.Resolver = &names{list: map[string][]string{
			"inside.example.": {"10.1.2.3 ::1 fd00::1"}, "meta.example.": {"169.254.169.254"}, "localhost.": {"127.0.0.1"}, "none.example.": {""},
		}}
	})
	hosts := func(list ...string) Attempt { return Attempt{Tenant: "ada", HTTP: task.HTTP{Hosts: list}} }
	for _, tt := range []struct {
		of   Attempt
		head string
		want abi.Code
	}{
		{someone, "GET " + url, abi.ErrAddress},
		{someone, "GET http://inside.example/", abi.ErrAddress},
		{someone, "GET http://META.example/", abi.ErrAddress},
		{someone, "GET http://localhost/", abi.ErrAddress},
		{someone, "GET http://none.example/", abi.ErrResolve},
		{someone, "GET http://unknown.example/", abi.ErrResolve},
		{someone, "GET http://2130706433/", abi.ErrResolve},
		{someone, "GET http://0x7f.1/", abi.ErrResolve},
		{someone, "GET http://127.1/", abi.ErrResolve},
		{someone, "GET http://[::ffff:127.0.0.1]/", abi.ErrAddress},
		{someone, "GET http://[fd00:ec2::254]/", abi.ErrAddress},
		{someone, "GET http://169.254.169.254/latest/meta-data", abi.ErrAddress},
		{someone, "GET https://8.8.8.8/", abi.ErrAddress},
		{someone, "GET http://inside.example:22/", abi.ErrPort},
		{someone, "GET http://8.8.8.8:22/", abi.ErrPort},
		{hosts("a.example"), "GET http://inside.example/", abi.ErrHost},
		{hosts("a.example"), "GET http://a.example@inside.example/", abi.ErrRequest},
		{Attempt{Tenant: "eve"}, "GET http://inside.example/", abi.ErrDenied},
		{Attempt{Tenant: "mallory"}, "GET http://inside.example/", abi.ErrBytes},
		{someone, "", abi.ErrRequest},
		{someone, "GET", abi.ErrRequest},
		{someone, "GET /path", abi.ErrRequest},
		{someone, "GET ftp://a.example/", abi.ErrRequest},
		{someone, "GET file:///etc/passwd", abi.ErrRequest},
		{someone, "GET http:a.example", abi.ErrRequest},
		{someone, "GET http://u:p@a.example/", abi.ErrRequest},
		{someone, "GET http://a.example:0/", abi.ErrRequest},
		{someone, "GET http://a.example:65536/", abi.ErrRequest},
		{someone, "GET http://blåbær.no/", abi.ErrRequest},
		{someone, "GET http://[fe80::1%25eth0]/", abi.ErrRequest},
		{someone, "GET http://a b/", abi.ErrRequest},
		{someone, "CONNECT http://a.example/", abi.ErrRequest},
		{someone, "TRACE http://a.example/", abi.ErrRequest},
		{someone, "GE(T http://a.example/", abi.ErrRequest},
		{someone, "GET http://a.example/\nHost: b.example", abi.ErrRequest},
		{someone, "GET http://a.example/\nTransfer-Encoding: chunked", abi.ErrRequest},
		{someone, "GET http://a.example/\nconnection: close", abi.ErrRequest},
		{someone, "GET http://a.example/\nproxy-authorization: x", abi.ErrRequest},
		{someone, "GET http://a.example/\na: b\r\nhost: c", abi.ErrRequest},
		{someone, "GET http://a.example/\na b: c", abi.ErrRequest},
		{someone, "GET http://a.example/\n\na: b", abi.ErrRequest},
		{someone, "GET http://a.example/\n: b", abi.ErrRequest},
		{someone, "POST http://a.example/\ncontent-length: -1", abi.ErrRequest},
		{someone, "POST http://a.example/\ncontent-length: 1\ncontent-length: 2", abi.ErrRequest},
		{someone, "POST http://a.example/\ncontent-length: 99999999999", abi.ErrBytes},
		{someone, "GET http://a.example/\nx: " + strings.Repeat("y", abi.HTTPHeadBytesMax), abi.ErrRequest},
	} {
		_, _, err := fetch(t, g, tt.of, tt.head, "")
		if !errors.Is(err, tt.want) {
			t.Errorf("%.80q: %v, want %v", tt.head, err, tt.want)
		}
		if r := n.last(t); r.Code != tt.want.Name() || r.Address.IsValid() || r.Tenant != tt.of.Tenant {
			t.Errorf("%.80q: noted %+v", tt.head, r)
		}
	}
	if reached.Load() != 0 {
		t.Errorf("the server was reached %d times", reached.Load())
	}
}

// TestRebinding: a name that stands for something else when it matters reaches nothing.
func TestRebinding(t *testing.T) {
	var reached atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer s.Close()
	port := netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://")).Port()
	g, _ := openTest(t, func(c *Config) {
		c.Ports = []uint16{port}
		// 192.0.2.1 is in no network: the operator's exception makes it look good.
		c.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		c.Resolver = &names{list: map[string][]string{"turns.example.": {"127.0.0.1", "::1", "127.0.0.1 ::ffff:127.0.0.1"}}}
	})
	for range 3 {
		if _, _, err := fetch(t, g, someone, fmt.Sprintf("GET http://turns.example:%d/", port), ""); !errors.Is(err, abi.ErrAddress) {
			t.Error(err)
		}
	}
	// The socket itself is checked, whatever was checked before.
	d, err := g.dialer().Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err == nil {
		_ = d.Close()
	}
	if !errors.Is(err, abi.ErrAddress) || reached.Load() != 0 {
		t.Errorf("%v, reached %d times", err, reached.Load())
	}
}

// TestRedirection: what a server sends a guest to is the guest's own next request.
func TestRedirection(t *testing.T) {
	g, _, url := openFor(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	}, nil)
	head, _, err := fetch(t, g, someone, "GET "+url, "")
	if err != nil || !strings.HasPrefix(head, "302\n") || !strings.Contains(head, "\nlocation: http://169.254.169.254/latest/meta-data\n") {
		t.Errorf("%q %v", head, err)
	}
}

// TestProxy: the environment has no say.
func TestProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	g, _, url := openFor(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) {
		c.Resolver = &names{list: map[string][]string{"a.example.": {"127.0.0.1"}}}
	})
	if _, _, err := fetch(t, g, someone, strings.Replace("GET "+url, "127.0.0.1", "a.example", 1), ""); err != nil {
		t.Error(err)
	}
}

// endless is a body without end.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func (e *endless) Close() error { return nil }

// overdue is a context whose time is up when a test says so.
type overdue struct {
	context.Context
	up atomic.Bool
}

func (o *overdue) Err() error {
	if o.up.Load() {
		return context.DeadlineExceeded
	}
	return o.Context.Err()
}

// overdueAfter ends the time of a request after an event.
func overdueAfter(event <-chan struct{}) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		o := &overdue{Context: ctx}
		over := make(chan struct{})
		go func() {
			defer close(over)
			select {
			case <-event:
				o.up.Store(true)
				cancel()
			case <-ctx.Done():
			}
		}()
		return o, func() {
			cancel()
			<-over
		}
	}
}

// TestHostileServers is a table of servers that mean no good.
func TestHostileServers(t *testing.T) {
	flood := func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for range 10 << 30 / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	hijack := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}
	for _, tt := range []struct {
		name  string
		serve http.HandlerFunc
		want  abi.Code
	}{
		{"10 GB", flood, abi.ErrBytes},
		{"many header fields", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 10_000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), "0123456789")
			}
		}, abi.ErrHead},
		{"one long field", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("y", 1<<20)) }, abi.ErrHead},
		{"reset before the head", hijack(""), abi.ErrBroken},
		{"reset in the body", hijack("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"), abi.ErrBroken},
		{"no HTTP", hijack("SSH-2.0-OpenSSH\r\n\r\n"), abi.ErrBroken},
		{"another protocol", hijack("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), abi.ErrBroken},
		{"interim answers without end", hijack(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: 0123456789\r\n\r\n", 10_000)), abi.ErrHead},
		{"bad chunks", hijack("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), abi.ErrBroken},
		{"says nothing", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, abi.ErrTimeout},
		{"stops in the body", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, abi.ErrTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			served := make(chan struct{})
			g, n, url := openFor(t, func(w http.ResponseWriter, r *http.Request) {
				close(served)
				tt.serve(w, r)
			}, func(c *Config) { c.ResponseBytesMax = 1 << 20 })
			if tt.want == abi.ErrTimeout {
				g.bound = overdueAfter(served)
			}
			_, body, err := fetch(t, g, someone, "GET "+url, "")
			if !errors.Is(err, tt.want) || len(body) > 1<<20+64<<10 {
				t.Errorf("%v after %d bytes, want %v", err, len(body), tt.want)
			}
			if r := n.last(t); r.Code != tt.want.Name() || !r.Address.IsValid() {
				t.Errorf("noted %+v", r)
			}
		})
	}
}

// TestCompressed: what is small on the wire stays small.
func TestCompressed(t *testing.T) {
	g, _, url := openFor(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		chunk := make([]byte, 1<<20)
		for range 64 {
			_, _ = z.Write(chunk)
		}
		_ = z.Close()
	}, nil)
	head, body, err := fetch(t, g, someone, "GET "+url+"\naccept-encoding: gzip", "")
	if err != nil || len(body) > 1<<20 || !strings.Contains(head, "\ncontent-encoding: gzip\n") {
		t.Errorf("%q: %d bytes, %v", head, len(body), err)
	}
}

// TestBytes is a table of limits of bytes.
func TestBytes(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	}
	t.Run("request", func(t *testing.T) {
		g, n, url := openFor(t, echo, func(c *Config) { c.RequestBytesMax = 1 << 20 })
		body := &endless{}
		_, err := g.For(someone).Do(context.Background(), []byte("POST "+url), body)
		if !errors.Is(err, abi.ErrBytes) || body.read.Load() > 2<<20 || n.last(t).Code != "bytes" {
			t.Errorf("%v after %d bytes", err, body.read.Load())
		}
	})
	t.Run("attempt", func(t *testing.T) {
		g, _, url := openFor(t, echo, func(c *Config) { c.AttemptBytesMax = 100 })
		a := g.For(someone).(*attempt)
		for i, want := range []error{nil, nil, abi.ErrBytes, abi.ErrBytes} {
			if _, _, err := fetchBy(context.Background(), a, "POST "+url, strings.Repeat("x", 20)); !errors.Is(err, want) {
				t.Errorf("request %d: %v, want %v", i, err, want)
			}
		}
		if _, _, err := fetch(t, g, someone, "POST "+url, "x"); err != nil {
			t.Errorf("another attempt: %v", err)
		}
	})
	t.Run("tenant", func(t *testing.T) {
		g, _, url := openFor(t, echo, func(c *Config) { c.TenantBytesMax = 100 })
		for i, want := range []error{nil, nil, abi.ErrBytes, abi.ErrBytes} {
			if _, _, err := fetch(t, g, someone, "POST "+url, strings.Repeat("x", 20)); !errors.Is(err, want) {
				t.Errorf("request %d: %v, want %v", i, err, want)
			}
		}
		if _, _, err := fetch(t, g, Attempt{Tenant: "bob"}, "POST "+url, "x"); err != nil {
			t.Errorf("another tenant: %v", err)
		}
	})
}

// TestRate: a tenant that asks too often is told so, and others are not.
func TestRate(t *testing.T) {
	g, _, url := openFor(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) {
		c.BurstMax, c.RequestsPerSecondMax = 3, 1e-9
	})
	for i, want := range []error{nil, nil, nil, abi.ErrRate} {
		if _, _, err := fetch(t, g, someone, "GET "+url, ""); !errors.Is(err, want) {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
	}
	if _, _, err := fetch(t, g, Attempt{Tenant: "bob"}, "GET "+url, ""); err != nil {
		t.Error(err)
	}
}

// TestConnections: connections are bounded for a tenant and for the node; those that
// wait make room.
func TestConnections(t *testing.T) {
	release := make(chan struct{})
	serve := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			w.(http.Flusher).Flush()
			<-release
		}
	}
	others := httptest.NewServer(http.HandlerFunc(serve))
	defer others.Close()
	g, _, url := openFor(t, serve, func(c *Config) {
		c.TenantConnectionsMax, c.ConnectionsMax, c.ConnectionWait = 2, 3, time.Hour
	})
	g.config.Ports = append(g.config.Ports, netip.MustParseAddrPort(strings.TrimPrefix(others.URL, "http://")).Port())
	var held []io.Closer
	hold := func(tenant string) error {
		r, err := g.For(Attempt{Tenant: tenant}).Do(context.Background(), []byte("GET "+url+"/hold"), http.NoBody)
		if err == nil {
			held = append(held, r.Body)
		}
		return err
	}
	// One that waits for another request to this server is closed for one to that.
	for _, u := range []string{url, others.URL, url, others.URL} {
		if _, _, err := fetch(t, g, someone, "GET "+u, ""); err != nil {
			t.Error(err)
		}
	}
	// From here on who has no room has none at all: nobody waits for it.
	g.config.ConnectionWait = 1
	for i, tt := range []struct {
		tenant string
		want   error
	}{{"ada", nil}, {"ada", nil}, {"ada", abi.ErrOpen}, {"bob", nil}, {"bob", abi.ErrOpen}, {"eve", abi.ErrOpen}} {
		if err := hold(tt.tenant); !errors.Is(err, tt.want) {
			t.Errorf("%d: %s: %v, want %v", i, tt.tenant, err, tt.want)
		}
	}
	for _, c := range held {
		_ = c.Close()
	}
	close(release)
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, tn := range g.tenants {
		if tn.requests != 0 {
			t.Errorf("%s has %d requests left", name, tn.requests)
		}
	}
}

// TestAbandoned: a guest that is gone leaves nothing behind, whatever it was doing.
func TestAbandoned(t *testing.T) {
	begun := make(chan struct{}, 10)
	g, n, url := openFor(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := g.For(someone).Do(ctx, []byte("GET "+url), http.NoBody)
		ended <- err
	}()
	<-begun
	cancel()
	if err := <-ended; err == nil || n.last(t).Code != "broken" {
		t.Errorf("%v, noted %+v", err, n.last(t))
	}
}

// TestClosed: a gate that closes ends what is under way.
func TestClosed(t *testing.T) {
	begun := make(chan struct{}, 1)
	g, _, url := openFor(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	}, nil)
	ended := make(chan error)
	go func() {
		_, err := g.For(someone).Do(context.Background(), []byte("GET "+url), http.NoBody)
		ended <- err
	}()
	<-begun
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the request went well")
	}
	if _, _, err := fetch(t, g, someone, "GET "+url, ""); !errors.Is(err, abi.ErrDenied) {
		t.Error(err)
	}
	if (*Gate)(nil).For(someone) != nil || (*Gate)(nil).Close() != nil {
		t.Error("no gate is none")
	}
}

// TestOwnPorts: what a node listens at is refused, the operator's exception or not.
func TestOwnPorts(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	for _, own := range []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), port), netip.AddrPortFrom(netip.IPv6Unspecified(), port), netip.MustParseAddrPort(l.Addr().String())} {
		g, _ := openTest(t, func(c *Config) {
			allow(c, l.Addr().String())
			c.Avoid = func() []netip.AddrPort { return []netip.AddrPort{own} }
		})
		if _, _, err := fetch(t, g, someone, "GET http://"+l.Addr().String(), ""); !errors.Is(err, abi.ErrAddress) {
			t.Errorf("%s: %v", own, err)
		}
	}
}

// FuzzHead: what is accepted as a head makes a request that a server reads as one, with
// what was written and nothing else.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"GET http://a.example/", "POST https://a.example:8443/x?y=z\ncontent-type: a\nx: b\n", "GET http://[::1]/\na:\n",
		"GET http://a/\nx: \xff", "PUT http://a/%0d%0a\ncontent-length: 0", "GET http://a?\nx: y", "X http://a/\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, head string) {
		p, err := parse([]byte(head))
		if err != nil {
			if !errors.Is(err, abi.ErrRequest) {
				t.Error(err)
			}
			return
		}
		r := &http.Request{Method: p.method, URL: p.url, Header: p.fields, Host: hostField(p), ContentLength: 0}
		var wire strings.Builder
		if err := r.Write(&wire); err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire.String() + "\r\n")))
		if err != nil {
			t.Fatalf("%q: %v in %q", head, err, wire.String())
		}
		if got.Method != p.method || len(got.TransferEncoding) > 0 || got.ContentLength > 0 || strings.Count(strings.ToLower(wire.String()), "\r\nhost:") != 1 {
			t.Errorf("%q is sent as %q", head, wire.String())
		}
		for name := range got.Header {
			if _, ok := p.fields[name]; !ok && name != "Content-Length" {
				t.Errorf("%q is sent with %q", head, name)
			}
		}
	})
}
