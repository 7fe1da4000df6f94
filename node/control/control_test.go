package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/turnstile"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

// patience bounds a wait; it is no measure of speed.
const patience = time.Minute

var errRefused = errors.New("the fake refuses")

// fake is a node that takes objects of up to objectBytesMax bytes.
type fake struct {
	// began is signalled, and the request's end awaited, by DialBack.
	began chan struct{}
	// backup, unless nil, is Backup.
	backup func(ctx context.Context, w io.Writer) error
}

const objectBytesMax = 1 << 20

func (fake) Status() Status { return Status{Node: "fake"} }

func (fake) Activity() (Activity, error) { return Activity{Node: "fake", Slots: 3}, nil }

func (fake) Checkup(context.Context) (Checkup, error) { return Checkup{Version: "fake"}, nil }

func (fake) Preferences() Preferences { return Preferences{File: "fake.yaml", Will: "give"} }

func (fake) SetPreferences(text string) error { return fmt.Errorf("set %q: %w", text, errRefused) }

func (fake) Tell(will string) error {
	if will != "pause" {
		return fmt.Errorf("tell %q: %w", will, errRefused)
	}
	return nil
}

func (fake) Invite(_ context.Context, i Invitation) (string, error) {
	return fmt.Sprintf("%s for %d s, %d times", i.Role, i.Seconds, i.Uses), nil
}

func (fake) Expel(_ context.Context, node p2p.NodeID) error {
	return fmt.Errorf("expel %q: %w", node, errRefused)
}

func (fake) FoundToken(_ context.Context, f Founding) ([]byte, error) {
	return append([]byte(f.Tenant), f.Key...), nil
}

func (fake) Revoke(_ context.Context, r Revocation) error {
	return fmt.Errorf("revoke %x: %w", r.ID, errRefused)
}

func (f fake) DialBack(ctx context.Context) (DialBack, error) {
	close(f.began)
	<-ctx.Done()
	return DialBack{}, ctx.Err()
}

func (fake) PutObject(_ context.Context, r io.Reader) (Object, error) {
	n, err := io.CopyN(io.Discard, r, objectBytesMax+1)
	if n > objectBytesMax {
		return Object{}, errRefused
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return Object{Bytes: n}, err
}

func (fake) OpenObject(context.Context, content.Hash) (*content.Object, error) {
	return nil, errRefused
}

func (f fake) Backup(ctx context.Context, w io.Writer) error {
	if f.backup == nil {
		return errRefused
	}
	return f.backup(ctx, w)
}

func open(t *testing.T, dir string, node Node) *Server {
	t.Helper()
	s, err := Open(t.Context(), dir, node, nil, nil, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestFull: a client too many hears why it is not served, and is when another has
// gone.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, fake{})
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range turnstile.ConnectionsMax {
		c, err := Dial(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	c := NewClient(dir)
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "has 1024 connections open, and takes no more") {
		t.Errorf("one too many: %v", err)
	}
	_ = conns[0].Close()
	for again := 0; ; again++ {
		// The server learns of the close at its own time.
		_, err := c.Status(t.Context())
		if err == nil {
			break
		}
		if again > 1000 {
			t.Fatalf("no room after one has gone: %v", err)
		}
	}
}

func TestCalls(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, fake{})
	c := NewClient(dir)
	if a, err := c.Activity(t.Context()); err != nil || a.Slots != 3 {
		t.Errorf("activity is %+v, %v", a, err)
	}
	if c, err := c.Checkup(t.Context()); err != nil || c.Version != "fake" {
		t.Errorf("checkup is %+v, %v", c, err)
	}
	if s, err := c.Status(t.Context()); err != nil || s.Node != "fake" {
		t.Errorf("status is %+v, %v", s, err)
	}
	if p, err := c.Preferences(t.Context()); err != nil || p.File != "fake.yaml" {
		t.Errorf("preferences are %+v, %v", p, err)
	}
	if _, err := c.SetPreferences(t.Context(), "coers: 1"); err == nil || err.Error() != `set "coers: 1": the fake refuses` {
		t.Errorf("setting preferences: %v", err)
	}
	if p, err := c.Tell(t.Context(), "pause"); err != nil || p.Will != "give" {
		t.Errorf("after a pause: %+v, %v", p, err)
	}
	if _, err := c.Tell(t.Context(), "go"); err == nil || err.Error() != `tell "go": the fake refuses` {
		t.Errorf("telling it to go: %v", err)
	}
	asked := Invitation{Role: "worker", Seconds: 60, Uses: 2}
	if i, err := c.Invite(t.Context(), asked); err != nil || i.Text != "worker for 60 s, 2 times" {
		t.Errorf("invitation is %+v, %v", i, err)
	}
	if err := c.Expel(t.Context(), "somebody"); err == nil || err.Error() != `expel "somebody": the fake refuses` {
		t.Errorf("expelling: %v", err)
	}
	if o, err := c.PutObject(t.Context(), strings.NewReader("12345")); err != nil || o.Bytes != 5 {
		t.Errorf("object is %+v, %v", o, err)
	}
	// More than both sides' buffers hold is still to come when the node refuses.
	_, err := c.PutObject(t.Context(), bytes.NewReader(make([]byte, 64*objectBytesMax)))
	if err == nil || err.Error() != errRefused.Error() {
		t.Errorf("putting an object that is refused: %v", err)
	}
	for hash, want := range map[string]string{
		strings.Repeat("0", 64): errRefused.Error(),
		"../status":             "SHA-256",
		"x?y":                   "SHA-256",
	} {
		var got bytes.Buffer
		if err := c.GetObject(t.Context(), hash, &got); err == nil || !strings.Contains(err.Error(), want) || got.Len() > 0 {
			t.Errorf("getting object %q: %v, %q", hash, err, got.String())
		}
	}
}

// TestHostileRequests: whatever comes, the answer is short and the next request is
// served.
func TestHostileRequests(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, fake{})
	send := func(request string) string {
		c, err := Dial(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = io.WriteString(c, request) // the node may have heard enough
			_ = c.(*net.UnixConn).CloseWrite()
		}()
		answer, _ := io.ReadAll(io.LimitReader(c, 2*requestBytesMax))
		_ = c.Close()
		<-written
		if _, err := NewClient(dir).Status(t.Context()); err != nil {
			t.Errorf("status afterwards: %v", err)
		}
		return string(answer)
	}
	post := func(body string) string {
		return fmt.Sprintf("POST /invitations HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	for _, r := range []struct{ name, request, want string }{
		{"nothing", "", ""},
		{"garbage", "\x00\xff\x16\x03\x01garbage\r\n\r\n", "400 Bad Request"},
		{"large header", "GET /status HTTP/1.1\r\nHost: node\r\nX: " + strings.Repeat("x", 4*requestBytesMax), "431 "},
		{"unknown path", "GET /secrets HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n", "404 "},
		{"wrong method", "DELETE /status HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n", "405 "},
		{"no JSON", post("worker"), "read request"},
		{"other type", post(`{"uses":"many"}`), "read request"},
		{"unknown field", post(`{"rolle":"admin"}`), "unknown field"},
		{"empty body", post(""), "read request"},
		{"deep", post(strings.Repeat("[", 60<<10)), "read request"},
		{"large body", post(`{"role":"` + strings.Repeat("x", 8*requestBytesMax) + `"}`), errRequestTooLarge.Error()},
		{"cut off", "POST /invitations HTTP/1.1\r\nHost: node\r\nContent-Length: 100\r\n\r\n{", "read request"},
		{"claims much", "POST /invitations HTTP/1.1\r\nHost: node\r\nContent-Length: 9223372036854775807\r\n\r\n{}", "0 times"},
	} {
		t.Run(r.name, func(t *testing.T) {
			if got := send(r.request); !strings.Contains(got, r.want) || len(got) > 2048 {
				t.Errorf("answer is %q, want %q in it", got, r.want)
			}
		})
	}
}

// TestSocket: only its owner can open it, wherever the folder is.
func TestSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := NewClient(dir)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a node: %v, want %v", err, ErrNotRunning)
	}
	if err := os.WriteFile(filepath.Join(dir, socketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with what is left of a node: %v, want %v", err, ErrNotRunning)
	}
	s := open(t, dir, fake{})
	info, err := os.Lstat(filepath.Join(dir, socketName))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket is %v, %v, want mode 0600", info, err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, socketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the node: %v, want %v", err, ErrNotRunning)
	}
}

// TestClose: requests that are under way end, and Close waits for them.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	node := fake{began: make(chan struct{})}
	s := open(t, dir, node)
	answered := make(chan error, 1)
	go func() {
		_, err := NewClient(dir).DialBack(t.Context())
		answered <- err
	}()
	select {
	case <-node.began:
	case <-time.After(patience):
		t.Fatal("the request did not arrive")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !s.busy.TryLock() {
		t.Error("a request goes on after Close")
	}
	select {
	case err := <-answered:
		if err == nil {
			t.Error("a request that was ended has an answer")
		}
	case <-time.After(patience):
		t.Error("the client waits for ever")
	}
	s.busy.Unlock()
	late := &answer{header: http.Header{}}
	s.http.Handler.ServeHTTP(late, nil)
	if !strings.Contains(late.String(), errClosing.Error()) {
		t.Errorf("the answer after Close is %q", late.String())
	}
}

// answer is what a handler writes.
type answer struct {
	bytes.Buffer
	header http.Header
}

func (a *answer) Header() http.Header { return a.header }
func (*answer) WriteHeader(int)       {}

// TestProfiles: the node says what it spends its memory on.
func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, fake{})
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, dir) },
	}}
	for path, want := range map[string]string{"/debug/pprof/": "heap", "/debug/pprof/heap?debug=1": "heap profile:", "/debug/pprof/goroutine?debug=1": "goroutine profile:"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, %.80q, %v", path, answer.Status, b, err)
		}
	}
}
