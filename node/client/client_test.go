package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/node/api"
)

// fakeNode answers over connections in memory, may be away, and notes what it was
// asked.
type fakeNode struct {
	t       *testing.T
	conns   chan net.Conn
	stopped chan struct{}
	once    sync.Once

	mu    sync.Mutex
	away  bool
	asked []*http.Request
	// answers are taken one after the other; the last one stays.
	answers []http.HandlerFunc
}

var errAway = errors.New("no node is there")

func (f *fakeNode) dial(context.Context) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, errAway
	}
	here, there := net.Pipe()
	f.conns <- there
	return here, nil
}

func (f *fakeNode) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// Accept, Close and Addr implement net.Listener.
func (f *fakeNode) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.stopped:
		return nil, net.ErrClosed
	}
}

func (f *fakeNode) Close() error   { f.once.Do(func() { close(f.stopped) }); return nil }
func (f *fakeNode) Addr() net.Addr { return &net.UnixAddr{Name: "node"} }

func (f *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	answer := f.answers[0]
	if len(f.answers) > 1 {
		f.answers = f.answers[1:]
	}
	f.mu.Unlock()
	answer(w, r)
}

func (f *fakeNode) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// withNode calls test with a node that gives answers, and a client of it, in fake
// time.
func withNode(t *testing.T, test func(t *testing.T, f *fakeNode, c *Client), answers ...http.HandlerFunc) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNode{t: t, conns: make(chan net.Conn, 1), stopped: make(chan struct{}), answers: answers}
		server := http.Server{Handler: f}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(f) }()
		c, err := Open(Config{URL: "http://node", Dial: f.dial})
		if err != nil {
			t.Fatal(err)
		}
		test(t, f, c)
		c.Close()
		_ = server.Close()
		<-ended
		// A connection whose request was not read to its end lingers on the server.
		<-time.After(time.Minute)
	})
}

// text answers with a text.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// cut ends the connection after part of an answer.
func cut(part string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(part)+1))
		_, _ = io.WriteString(w, part)
		panic(http.ErrAbortHandler)
	}
}

func problem(code api.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code.Status())
		_, _ = fmt.Fprintf(w, `{"code": %q, "status": %d}`, code, code.Status())
	}
}

// TestRepeated: what has the same effect when it is repeated goes through cut
// connections and a node that says that it stops; what has not fails at once.
func TestRepeated(t *testing.T) {
	for _, tt := range []struct {
		name     string
		call     func(ctx context.Context, c *Client) error
		repeated bool
	}{
		{"job", func(ctx context.Context, c *Client) error { _, err := c.Job(ctx, "x", Fresh{}); return err }, true},
		{"wait", func(ctx context.Context, c *Client) error { _, err := c.Wait(ctx, "x", Fresh{}); return err }, true},
		{"nodes", func(ctx context.Context, c *Client) error { _, err := c.Nodes(ctx, Page{}); return err }, true},
		{"drain", func(ctx context.Context, c *Client) error { _, err := c.Drain(ctx, "x"); return err }, true},
		{"plan", func(ctx context.Context, c *Client) error { _, err := c.Plan(ctx, []byte("x")); return err }, true},
		{"submit", func(ctx context.Context, c *Client) error { _, err := c.Submit(ctx, []byte("x"), ""); return err }, true},
		{"cancel", func(ctx context.Context, c *Client) error { _, err := c.Cancel(ctx, "x"); return err }, true},
		{"end", func(ctx context.Context, c *Client) error { _, err := c.EndOrder(ctx, "x"); return err }, true},
		{"remove", func(ctx context.Context, c *Client) error { return c.RemoveModule(ctx, "x") }, true},
		{"push", func(ctx context.Context, c *Client) error {
			_, err := c.PushModule(ctx, strings.NewReader("x"))
			return err
		}, true},
		{"put what is read once", func(ctx context.Context, c *Client) error {
			_, err := c.PutObject(ctx, io.LimitReader(strings.NewReader("x"), 1))
			return err
		}, false},
	} {
		for _, bad := range []http.HandlerFunc{cut(""), cut(`{"state": "succ`), problem(api.CodeStopping), problem(api.CodeOverloaded), problem(api.CodeTooOften)} {
			withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
				err := tt.call(t.Context(), c)
				if want := map[bool]int{true: 3, false: 1}[tt.repeated]; f.count() != want || (err == nil) != tt.repeated {
					t.Errorf("%s: asked %d times, want %d: %v", tt.name, f.count(), want, err)
				}
			}, bad, bad, text(`{"state": "succeeded"}`))
		}
		for _, code := range []api.Code{api.CodeNotFound, api.CodeInvalid, api.CodeNoLeader, api.CodeInternal} {
			withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
				var p *api.Problem
				if err := tt.call(t.Context(), c); f.count() != 1 || !errors.As(err, &p) || p.Code != code {
					t.Errorf("%s: asked %d times: %v, want %s", tt.name, f.count(), err, code)
				}
			}, problem(code))
		}
	}
}

// TestSettled: a call whose first try was heard, and its answer lost, does not fail
// because it has been done; one that somebody else was before does.
func TestSettled(t *testing.T) {
	cancel := func(ctx context.Context, c *Client) error { _, err := c.Cancel(ctx, "x"); return err }
	end := func(ctx context.Context, c *Client) error { _, err := c.EndOrder(ctx, "x"); return err }
	pause := func(ctx context.Context, c *Client) error { _, err := c.PauseOrder(ctx, "x"); return err }
	remove := func(ctx context.Context, c *Client) error { return c.RemoveModule(ctx, "x") }
	for _, tt := range []struct {
		name    string
		call    func(ctx context.Context, c *Client) error
		answers []http.HandlerFunc
		want    api.Code
	}{
		{"it was stopped by the first try", cancel, []http.HandlerFunc{cut(""), problem(api.CodeJobState), text(`{"state": "stopping", "cause": "cancelled"}`)}, ""},
		{"it ended before that", cancel, []http.HandlerFunc{cut(""), problem(api.CodeJobState), text(`{"state": "succeeded"}`)}, api.CodeJobState},
		{"it is not known whether", cancel, []http.HandlerFunc{cut(""), problem(api.CodeJobState), problem(api.CodeNoLeader)}, api.CodeJobState},
		{"it was over before", cancel, []http.HandlerFunc{problem(api.CodeJobState), text(`{"state": "killed", "cause": "cancelled"}`)}, api.CodeJobState},
		{"it was ended by the first try", end, []http.HandlerFunc{problem(api.CodeUncertain), problem(api.CodeOrderState), text(`{"state": "ended"}`)}, ""},
		{"it was ended, not paused", pause, []http.HandlerFunc{cut(""), problem(api.CodeOrderState), text(`{"state": "ended"}`)}, api.CodeOrderState},
		{"it was removed by the first try", remove, []http.HandlerFunc{cut(""), problem(api.CodeModuleUnknown)}, ""},
		{"it was never there", remove, []http.HandlerFunc{problem(api.CodeModuleUnknown)}, api.CodeModuleUnknown},
	} {
		withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
			err := tt.call(t.Context(), c)
			var p *api.Problem
			if got := tt.want == "" && err == nil || errors.As(err, &p) && p.Code == tt.want; !got {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		}, tt.answers...)
	}
}

// TestUploadAgain: what is uploaded again is whole, from where it was read first, and
// a file stays open.
func TestUploadAgain(t *testing.T) {
	var got []string
	take := func(answer http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got = append(got, string(b))
			answer(w, r)
		}
	}
	name := filepath.Join(t.TempDir(), "object")
	long := strings.Repeat("long ", 1<<20)
	if err := os.WriteFile(name, []byte("head"+long), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(int64(len("head")), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	withNode(t, func(t *testing.T, _ *fakeNode, c *Client) {
		if o, err := c.PutObject(t.Context(), file); err != nil || o.Object != "o" {
			t.Errorf("%+v, %v", o, err)
		}
		// The first try was turned away before it had been read.
		if len(got) != 2 || got[0] != long || got[1] != long {
			t.Errorf("%d tries were read, not whole", len(got))
		}
	}, problem(api.CodeOverloaded), take(cut("")), take(text(`{"object": "o"}`)))
	if err := file.Close(); err != nil {
		t.Errorf("the file was closed: %v", err)
	}
}

// TestUploadRefused: nothing is read of an upload that the node does not want, whose
// length it knows.
func TestUploadRefused(t *testing.T) {
	withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
		object := strings.NewReader(strings.Repeat("x", 1<<20))
		var p *api.Problem
		if _, err := c.PutObject(t.Context(), object); !errors.As(err, &p) || p.Code != api.CodeTooLarge || object.Len() != 1<<20 {
			t.Errorf("%v, and %d bytes were not sent", err, object.Len())
		}
		if length := f.asked[0].ContentLength; length != 1<<20 {
			t.Errorf("the node was told a length of %d", length)
		}
	}, problem(api.CodeTooLarge))
}

// TestTooOften: a call that came too often waits for as long as the node says.
func TestTooOften(t *testing.T) {
	wait := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = fmt.Fprintf(w, `{"code": %q, "status": 429, "retry_after": 7}`, api.CodeTooOften)
	}
	withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
		begin := time.Now()
		if _, err := c.Jobs(t.Context(), "", Page{}); err != nil || time.Since(begin) < 7*time.Second || f.count() != 2 {
			t.Errorf("asked %d times within %s: %v", f.count(), time.Since(begin), err)
		}
	}, wait, text(`{}`))
}

// TestSubmitKey: a job that is submitted again because an answer was lost has the
// same key, and each job another one.
func TestSubmitKey(t *testing.T) {
	withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
		for range 2 {
			if _, err := c.Submit(t.Context(), []byte("x"), ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Submit(t.Context(), []byte("x"), "mine"); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, r := range f.asked {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
		}
		if len(keys) != 4 || len(keys[0]) != 32 || keys[0] != keys[1] || keys[1] == keys[2] || keys[3] != "mine" {
			t.Errorf("keys %q", keys)
		}
	}, cut(""), text(`{"id": "x"}`))
}

// TestAway: a node that was never there is not waited for; one that restarts is,
// for as long as the caller's patience lasts, and no longer than ctx.
func TestAway(t *testing.T) {
	withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
		ctx := t.Context()
		f.setAway(true)
		began := time.Now()
		visit := func(api.Event) error { return nil }
		_, err := c.Job(ctx, "x", Fresh{})
		if wrong := c.Watch(ctx, "x", 0, visit); !errors.Is(err, errAway) || !errors.Is(wrong, errAway) || time.Since(began) > 0 {
			t.Errorf("never there: %v and %v after %s", err, wrong, time.Since(began))
		}
		f.setAway(false)
		if _, err := c.Job(ctx, "x", Fresh{}); err != nil {
			t.Fatal(err)
		}
		f.setAway(true)
		c.transport.CloseIdleConnections()
		back := time.AfterFunc(PatienceDefault/2, func() { f.setAway(false) })
		told := 0
		c.retrying = func(error) { told++ }
		if j, err := c.Wait(ctx, "x", Fresh{}); err != nil || j.State != api.JobSucceeded || told != 1 {
			t.Errorf("a restart: %+v, %v, told %d times", j, err, told)
		}
		back.Stop()
		f.setAway(true)
		c.transport.CloseIdleConnections()
		for name, call := range map[string]func(ctx context.Context) error{
			"wait":  func(ctx context.Context) error { _, err := c.Wait(ctx, "x", Fresh{}); return err },
			"watch": func(ctx context.Context) error { return c.Watch(ctx, "x", 0, visit) },
		} {
			began = time.Now()
			if err := call(ctx); !errors.Is(err, errAway) || time.Since(began) > PatienceDefault || time.Since(began) < PatienceDefault/2 {
				t.Errorf("%s: gone for good: %v after %s", name, err, time.Since(began))
			}
			short, cancel := context.WithTimeout(ctx, time.Second)
			began = time.Now()
			if err := call(short); err == nil || time.Since(began) > time.Second {
				t.Errorf("%s: beyond its context: %v after %s", name, err, time.Since(began))
			}
			cancel()
		}
		c.patience = -1
		began = time.Now()
		if _, err := c.Job(ctx, "x", Fresh{}); !errors.Is(err, errAway) || time.Since(began) > 0 {
			t.Errorf("without patience: %v after %s", err, time.Since(began))
		}
	}, text(`{"state": "succeeded"}`))
}

// TestWatchCut: wherever the stream of events is cut, each event is told once, in
// order.
func TestWatchCut(t *testing.T) {
	const events = 5
	line := func(n int) string {
		job := ""
		if n == events {
			job = `, "job": "succeeded"`
		}
		return fmt.Sprintf("id: %d\nretry: 500\ndata: {\"number\": %d%s}\n\n", n, n, job)
	}
	all := ""
	for n := range events {
		all += line(n + 1)
	}
	stream := func(most int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			last, err := strconv.Atoi(r.Header.Get("Last-Event-ID"))
			if err != nil {
				t.Errorf("%s: %v", r.URL, err)
			}
			body := ""
			for n := last + 1; n <= events; n++ {
				body += line(n)
			}
			_, _ = io.WriteString(w, body[:min(most, len(body))])
			if most < len(body) {
				if f, ok := w.(http.Flusher); ok {
					f.Flush()
				}
				panic(http.ErrAbortHandler)
			}
		}
	}
	for most := range len(all) {
		withNode(t, func(t *testing.T, _ *fakeNode, c *Client) {
			var got []uint32
			err := c.Watch(t.Context(), "x", 0, func(e api.Event) error {
				got = append(got, e.Number)
				return nil
			})
			if err != nil || fmt.Sprint(got) != "[1 2 3 4 5]" {
				t.Errorf("cut after %d bytes: %v, %v", most, got, err)
			}
		}, stream(most), stream(most/2), stream(len(all)))
	}
	errMine := errors.New("enough")
	withNode(t, func(t *testing.T, f *fakeNode, c *Client) {
		if err := c.Watch(t.Context(), "x", 0, func(api.Event) error { return errMine }); !errors.Is(err, errMine) || f.count() != 1 {
			t.Errorf("%v after %d calls", err, f.count())
		}
	}, stream(len(all)))
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "localhost:4611", "ftp://x", "http://", "http://[::1"} {
		if _, err := Open(Config{URL: url}); err == nil {
			t.Errorf("%q is taken for an address", url)
		}
	}
}
