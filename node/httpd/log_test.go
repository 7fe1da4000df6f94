package httpd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/node/tail"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

// watched is a ledger in memory that tells of what is done.
type watched struct {
	*written
	mu      sync.Mutex
	index   uint64
	changed chan struct{}
}

func (w *watched) View(f func(tx ledger.Tx) error) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index, f(w.tx)
}

func (w *watched) Read(_ context.Context, f func(tx ledger.Tx) error) (uint64, error) {
	return w.View(f)
}

func (w *watched) Watch(ctx context.Context, _ []byte, from uint64, visit func(uint64, []replica.Change) error) error {
	for {
		w.mu.Lock()
		index, changed := w.index, w.changed
		w.mu.Unlock()
		if index > from {
			if err := visit(index, make([]replica.Change, 1)); err != nil {
				return err
			}
			from = index
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply applies commands, as one.
func (w *watched) apply(t *testing.T, list ...ledger.Command) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.do(t, list...)
	w.index++
	close(w.changed)
	w.changed = make(chan struct{})
}

// noCopies knows no other node.
type noCopies struct{ Copies }

func (noCopies) Holders(content.Hash) []p2p.NodeID { return nil }

// asked is somebody who follows at a node: the test answers.
type asked struct {
	ctx  context.Context
	node ledger.NodeID
	tail.Query
	visit func(p tail.Piece) error
	err   chan error
}

func (a *asked) tell(t *testing.T, list ...tail.Piece) {
	t.Helper()
	for _, p := range list {
		if err := a.visit(p); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// tails hands whoever follows to the test.
type tails chan *asked

func (f tails) Follow(ctx context.Context, node ledger.NodeID, q tail.Query, visit func(p tail.Piece) error) error {
	a := &asked{ctx: ctx, node: node, Query: q, visit: visit, err: make(chan error, 1)}
	select {
	case f <- a:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-a.err:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// logScene is a job of one task of the tenant acme, and who follows it.
type logScene struct {
	*testing.T
	ledger  *watched
	objects *content.Store
	tails   tails
	server  *httptest.Server
	tokens  map[ledger.TenantID]warrant.Token
	job     ledger.JobID
}

func newLogScene(t *testing.T) *logScene {
	t.Helper()
	r := warranttest.New(t)
	w := newWritten()
	s := &logScene{
		T: t, ledger: &watched{written: w, index: 1, changed: make(chan struct{})}, tails: make(tails), job: ledger.JobID{1},
		tokens: map[ledger.TenantID]warrant.Token{"acme": r.Token(t, "acme", warrant.Limits{}), "other": r.Token(t, "other", warrant.Limits{})},
	}
	var err error
	if s.objects, err = content.Open(t.Context(), content.Default(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.objects.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := Handler(Config{
		Ledger: s.ledger, Objects: s.objects, Copies: noCopies{}, Grid: nobody{}, Tails: s.tails, Tenant: "default",
		Roots: warrant.Roots{Grid: r.Public()}, TokenAlways: true, Version: "0",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(h)
	t.Cleanup(s.server.Close)
	spec := ledger.JobSpec{Tenant: "acme", Module: ledger.ModuleID{1}, Count: 1, Task: ledger.Resources{Slots: 1}, FuelMax: 1, Retry: ledger.Retry{AttemptsMax: 2}}
	s.ledger.apply(
		t, &ledger.CreateTenant{Tenant: "acme", Weight: 1}, &ledger.CreateTenant{Tenant: "other", Weight: 1}, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1},
		&ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{Slots: 1}}, &ledger.RegisterNode{Node: "n2", Capacity: ledger.Resources{Slots: 1}},
		&ledger.Submit{Job: s.job, Spec: spec},
	)
	return s
}

func (s *logScene) place(node ledger.NodeID) {
	s.Helper()
	s.ledger.apply(s.T, &ledger.Place{Placements: []ledger.Placement{{Job: s.job, Count: 1, Node: node, Slots: 1, Expiry: s.ledger.now + 1e9}}})
}

// report has an attempt end with what it has put out.
func (s *logScene) report(node ledger.NodeID, epoch ledger.Epoch, state ledger.TaskState, stdout, stderr string) {
	s.Helper()
	var b bytes.Buffer
	if err := result.Write(&b, []result.Result{{Node: string(node), Stdout: result.Bytes(stdout), Stderr: result.Bytes(stderr)}}); err != nil {
		s.Fatal(err)
	}
	h, _, err := s.objects.Put(s.Context(), &b, "test")
	if err != nil {
		s.Fatal(err)
	}
	s.ledger.apply(s.T, &ledger.Report{Node: node, Leases: []ledger.LeaseReport{{Epoch: epoch, Runs: []ledger.Run{{Count: 1, State: state, Exit: 1, Digest: h}}}}})
}

// logStream is what a client reads.
type logStream struct {
	*logScene
	status int
	lines  *bufio.Scanner
	end    context.CancelFunc
	id     string
}

func (s *logScene) follow(tenant ledger.TenantID, query string) *logStream {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 3*time.Minute)
	s.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/v1/jobs/%s/tasks/0/logs%s", s.server.URL, s.job, query), nil)
	if err != nil {
		s.Fatal(err)
	}
	token := s.tokens[tenant]
	proof, err := token.Mint(warrant.Call{Host: r.URL.Host, Method: r.Method, Path: r.URL.RequestURI()}, time.Now())
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", proof)
	res, err := s.server.Client().Do(r)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = res.Body.Close() })
	return &logStream{logScene: s, status: res.StatusCode, lines: bufio.NewScanner(res.Body), end: cancel}
}

// next returns the next event, in short; empty is the end of the stream.
func (l *logStream) next() string {
	l.Helper()
	for l.lines.Scan() {
		if text, ok := strings.CutPrefix(l.lines.Text(), "id: "); ok {
			l.id = text
		}
		text, ok := strings.CutPrefix(l.lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e api.Log
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			l.Fatal(err)
		}
		return strings.Join(strings.Fields(fmt.Sprint(e.Kind, " ", e.Node, " ", e.Stream, " ", e.At, " ", e.Bytes, " ", string(e.Data()), " ", e.State, e.Reason)), " ")
	}
	return ""
}

func (l *logStream) want(list ...string) {
	l.Helper()
	for _, want := range list {
		if got := l.next(); got != want {
			l.Fatalf("the stream says %q, want %q", got, want)
		}
	}
}

func out(at uint64, text string) tail.Piece {
	return tail.Piece{Kind: tail.Output, At: at, Data: []byte(text)}
}

// TestLogs: a client follows a task that has not begun, over a node that goes away for a
// while, from one attempt to the next, to its end, and gets each byte once; what it was
// too late for it reads from the result, and what nobody has is said to be left out.
func TestLogs(t *testing.T) {
	s := newLogScene(t)
	c := s.follow("acme", "")
	s.place("n1")
	c.want("attempt n1 0 0")
	a := <-s.tails
	if a.node != "n1" || a.Epoch != 1 || a.Job != s.job || a.Want != [tail.Streams]bool{true, true} {
		t.Errorf("asked %+v", a.Query)
	}
	a.tell(t, tail.Piece{Kind: tail.Begun, Run: 5}, out(0, "one\n"))
	c.want("output stdout 0 0 one")
	a.err <- errors.New("connection lost")
	c.want("delayed 0 0 the node does not answer")
	a = <-s.tails
	if a.From[tail.Stdout] != 4 || a.Run != 5 {
		t.Errorf("asked again for %+v", a.Query)
	}
	a.tell(t, tail.Piece{Kind: tail.Begun, Run: 5}, out(4, "\xff\n"), out(10, "far\n"))
	c.want("output stdout 4 0 \xff", "left_out stdout 6 4", "output stdout 10 0 far")
	s.report("n1", 1, ledger.TaskFailed, "one\n\xff\n....far\nlate\n", "oops\n")
	c.want("output stdout 14 0 late", "output stderr 0 0 oops")
	if <-a.ctx.Done(); c.id != "1.5.19.5" {
		t.Errorf("the last event is %s", c.id)
	}
	s.place("n2")
	c.want("attempt n2 0 0")
	a = <-s.tails
	a.tell(t, tail.Piece{Kind: tail.Begun, Run: 6}, out(0, "two\n"), tail.Piece{Kind: tail.Begun, Run: 7}, out(0, "anew\n"), tail.Piece{Kind: tail.Ended, Sizes: [tail.Streams]uint64{8, 0}})
	c.want("output stdout 0 0 two", "attempt n2 0 0", "output stdout 0 0 anew")
	a.err <- nil
	later := s.follow("acme", "?stream=stdout&after="+c.id)
	a = <-s.tails
	if a.From[tail.Stdout] != 5 || a.Run != 7 || a.Want != [tail.Streams]bool{true, false} {
		t.Errorf("somebody who comes back asks for %+v", a.Query)
	}
	s.report("n2", 2, ledger.TaskSucceeded, "anew\nend\n", "")
	c.want("output stdout 5 0 end", "ended 0 0 succeeded", "")
	later.want("output stdout 5 0 end", "ended 0 0 succeeded", "")
	s.follow("acme", "?tail=4").want("attempt n2 0 0", "left_out stdout 0 5", "output stdout 5 0 end", "ended 0 0 succeeded", "")
}

// TestLogsLost: an attempt that is gone with its output has left that out, and the next
// one is told.
func TestLogsLost(t *testing.T) {
	s := newLogScene(t)
	s.place("n1")
	c := s.follow("acme", "?stream=stdout")
	a := <-s.tails
	a.tell(t, tail.Piece{Kind: tail.Begun, Run: 5}, out(0, "one\n"), tail.Piece{Kind: tail.Ended, Sizes: [tail.Streams]uint64{9, 99}})
	a.err <- nil
	s.ledger.apply(t, &ledger.Release{Node: "n1", Epochs: []ledger.Epoch{1}, Cause: ledger.CauseDrain})
	c.want("attempt n1 0 0", "output stdout 0 0 one", "left_out stdout 4 5")
	s.place("n2")
	c.want("attempt n2 0 0")
	s.ledger.apply(t, &ledger.Cancel{Job: s.job})
	<-s.tails
	s.ledger.apply(t, &ledger.Report{Node: "n2", Leases: []ledger.LeaseReport{{Epoch: 2, Runs: []ledger.Run{{Count: 1, State: ledger.TaskKilled}}}}})
	c.want("ended 0 0 killed", "")
}

// TestLogsMay: a task is followed by who may read its results, as long as they may, and
// nothing is held for who goes away.
func TestLogsMay(t *testing.T) {
	s := newLogScene(t)
	s.place("n1")
	if other := s.follow("other", ""); other.status != http.StatusNotFound {
		t.Errorf("another tenant: status %d", other.status)
	}
	for _, query := range []string{"?after=x", "?after=1.2.3", "?after=1.2.3.-4", "?after=1.2.3.18446744073709551615", "?stream=stdin"} {
		if bad := s.follow("acme", query); bad.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d", query, bad.status)
		}
	}
	gone := s.follow("acme", "")
	a := <-s.tails
	gone.end()
	<-a.ctx.Done()
	revoked := s.follow("acme", "")
	a = <-s.tails
	a.tell(t, tail.Piece{Kind: tail.Begun, Run: 5}, out(0, "one\n"))
	revoked.want("attempt n1 0 0", "output stdout 0 0 one")
	token := s.tokens["acme"]
	s.ledger.mu.Lock()
	s.ledger.do(t, &ledger.Revoke{ID: token.Grant().IDs[0]})
	s.ledger.mu.Unlock()
	var reading sync.WaitGroup
	reading.Go(func() {
		for revoked.next() != "" {
		}
	})
	for at, err := uint64(4), error(nil); err == nil; at++ {
		if err = a.visit(out(at, "x")); err != nil {
			a.err <- err
		}
	}
	reading.Wait()
	<-a.ctx.Done()
}
