package httpd

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
)

// TestPace: a body that does not come ends its request, in every protocol; one that
// comes slowly but steadily does not.
func TestPace(t *testing.T) {
	t.Parallel()
	quick := defaultPace()
	quick.bodyBytes, quick.bodyTime = 16, 8*time.Second
	part := quick.bodyTime / 8
	for _, secured := range []bool{true, false} {
		t.Run(fmt.Sprint("secured ", secured), func(t *testing.T) {
			t.Parallel()
			s := start(t, secured, func(c *ServerConfig) { c.pace = &quick })
			clients := s.clients(t)
			var done sync.WaitGroup
			for proto, c := range clients {
				done.Go(func() { s.slow(t, c, proto, part) })
			}
			done.Wait()
			if n := s.counted(t, "body_pace"); n != float64(2*len(clients)) {
				t.Errorf("%g slow bodies were counted, want %d", n, 2*len(clients))
			}
		})
	}
}

// slow sends bodies at the same time, of which a part comes each so often.
func (s *started) slow(t *testing.T, c *http.Client, proto string, part time.Duration) {
	t.Helper()
	var done sync.WaitGroup
	defer done.Wait()
	for _, body := range []*trickle{{parts: 1}, {parts: 1000, wait: part}} {
		body.closed = make(chan struct{})
		done.Go(func() {
			r, text := ask(t, c, http.MethodPost, s.url()+"/v1/objects", nil, body)
			isProblem(t, r, text, api.CodeTooSlow)
		})
	}
	steady := &trickle{parts: 10, wait: part, each: 16, ends: true, closed: make(chan struct{})}
	if r, text := ask(t, c, http.MethodPost, s.url()+"/v1/objects", nil, steady); text != proto+" 160" {
		t.Errorf("a steady one: %s %q", r.Status, text)
	}
}

// trickle is a body that comes in small parts.
type trickle struct {
	// parts is how many there are, each so long, wait the time between them.
	parts, each int
	wait        time.Duration
	// ends says that there is an end; otherwise nothing follows.
	ends bool
	// closed is closed when the client wants no more.
	closed chan struct{}
	once   sync.Once
}

// Close implements io.Closer.
func (s *trickle) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Read implements io.Reader.
func (s *trickle) Read(b []byte) (int, error) {
	if s.parts == 0 && s.ends {
		return 0, io.EOF
	}
	var next <-chan time.Time
	if s.parts > 0 {
		next = time.After(s.wait)
	}
	select {
	case <-next:
	case <-s.closed:
		return 0, io.ErrClosedPipe
	}
	s.parts--
	return copy(b, strings.Repeat("x", max(s.each, 1))), nil
}

// TestStalledAnswer: whoever takes nothing of an answer is cut off; an answer that
// takes long to begin is not.
func TestStalledAnswer(t *testing.T) {
	t.Parallel()
	quick := defaultPace()
	quick.answerTime = 3 * time.Second
	ended := make(chan error, 1)
	s := start(t, false, func(c *ServerConfig) {
		c.pace = &quick
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/late" {
				select {
				case <-time.After(quick.answerTime * 5 / 4):
				case <-r.Context().Done():
				}
				measure(w, r)
				return
			}
			var err error
			for b := make([]byte, 1<<20); err == nil; {
				_, err = w.Write(b)
			}
			ended <- err
		})
	})
	for proto, c := range s.clients(t) {
		if r, text := ask(t, c, http.MethodGet, s.url()+"/late", nil, nil); text != proto+" 0" {
			t.Errorf("%s: %s %q", proto, r.Status, text)
		}
	}
	c := s.raw(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	defer c.Close()
	select {
	case err := <-ended:
		t.Log(err)
	case <-time.After(patience):
		t.Fatal("goes on for ever")
	}
	if s.counted(t, "answer_pace") != 1 {
		t.Error("not counted")
	}
}

// TestLoris: a header that does not end costs a connection ten seconds.
func TestLoris(t *testing.T) {
	t.Parallel()
	s := start(t, false, nil)
	c := s.raw(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// TestRate: whoever asks too often is told when to ask again; others are not.
func TestRate(t *testing.T) {
	s := start(t, true, func(c *ServerConfig) {
		c.RequestsPerSecond = 0.01
	})
	c := s.clients(t)["HTTP/2.0"]
	if r, text := ask(t, c, http.MethodGet, s.url(), nil, nil); r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", r.Status, text)
	}
	r, text := ask(t, c, http.MethodGet, s.url(), nil, nil)
	isProblem(t, r, text, api.CodeTooOften)
	if wait, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 100 || s.counted(t, "requests_per_second") != 1 {
		t.Errorf("Retry-After: %q", r.Header.Get("Retry-After"))
	}
	counts := newRates(2)
	now := time.Now()
	for i := range 10 {
		if wait := counts.wait("one", now); (wait > 0) != (i >= 4) {
			t.Errorf("request %d waits %s", i, wait)
		}
	}
	if counts.wait("another", now) != 0 || counts.wait("one", now.Add(time.Second)) != 0 {
		t.Error("others, and those that waited, wait")
	}
	for i := range 2 * clientsMax {
		counts.wait(fmt.Sprint(i), now)
	}
	if len(counts.clients) != clientsMax || counts.order.Len() != clientsMax {
		t.Errorf("%d clients are remembered, want %d", len(counts.clients), clientsMax)
	}
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "[fe80::1%eth0]:80": "fe80::/64", "@": "@",
	} {
		if got := addressKey(remote); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}
