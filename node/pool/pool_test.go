package pool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.ChildCommand {
		os.Exit(worker.Main(context.Background()))
	}
	if dir := os.Getenv(firstVariable); dir != "" {
		os.Exit(firstMain(dir))
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait for something that must happen.
const patience = 2 * time.Minute

func open(t *testing.T, change func(*Config)) *Pool {
	t.Helper()
	c := Default(t.TempDir())
	c.Registerer = prometheus.NewRegistry()
	if change != nil {
		change(&c)
	}
	p, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func guest(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(guestFile(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func prepare(t testing.TB, p *Pool, name string) Image {
	t.Helper()
	module := guest(t, name)
	i, err := p.Prepare(t.Context(), "a", sha256.Sum256(module), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(module)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func run(t *testing.T, p *Pool, tenant string, i Image, spec task.Spec) (task.Outcome, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	o := p.run(ctx, tenant, i, spec, worker.Streams{Stdout: &out})
	return o, out.String()
}

// run runs one task.
func (p *Pool) run(ctx context.Context, tenant string, i Image, spec task.Spec, s worker.Streams) (o task.Outcome) {
	p.RunSeries(ctx, tenant, i, []worker.Task{{Spec: spec, Streams: s}}, func(_ int, one task.Outcome) { o = one }, nil)
	return o
}

// pid returns the process of a tenant's worker, or zero.
func (p *Pool) pid(tenant string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.crews[tenant]; c != nil && c.worker != nil {
		return c.worker.PID()
	}
	return 0
}

func TestTenantsHaveTheirOwnProcesses(t *testing.T) {
	p := open(t, nil)
	hello := prepare(t, p, "hello")
	for _, tenant := range []string{"a", "b"} {
		if o, out := run(t, p, tenant, hello, task.Spec{}); o.Kind != task.Exited || out != "hello\n" {
			t.Errorf("%s: %+v, %q", tenant, o, out)
		}
	}
	a, b := p.pid("a"), p.pid("b")
	if a == 0 || b == 0 || a == b {
		t.Errorf("processes %d and %d", a, b)
	}
	if _, _ = run(t, p, "a", hello, task.Spec{}); p.pid("a") != a {
		t.Error("the worker was not kept")
	}
}

func TestInputsAreTheTenantsOwn(t *testing.T) {
	p := open(t, nil)
	input := prepare(t, p, "input")
	dir, err := p.InputDir("a")
	if err != nil {
		t.Fatal(err)
	}
	spec := task.Spec{Inputs: []task.Input{{Name: "x", Path: filepath.Join(dir, "x")}}}
	if err := os.WriteFile(spec.Inputs[0].Path, []byte("of a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o, out := run(t, p, "a", input, spec); o.Kind != task.Exited || out != "of a" {
		t.Errorf("own: %+v, %q", o, out)
	}
	o, out := run(t, p, "b", input, spec)
	if out != "" {
		t.Errorf("another tenant read %q", out)
	}
	p.mu.Lock()
	confined := p.crews["b"].worker.Report().FilesConfined()
	p.mu.Unlock()
	if confined && o.Kind != task.Refused {
		t.Errorf("another tenant: %+v", o)
	}
	for _, bad := range []string{"", ".", "..", "a/b"} {
		if _, err := p.InputDir(bad); !errors.Is(err, ErrTenant) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestLostWorkerIsReplaced(t *testing.T) {
	p := open(t, nil)
	hello := prepare(t, p, "hello")
	run(t, p, "a", hello, task.Spec{})
	first := p.pid("a")
	process, err := os.FindProcess(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	gone := p.crews["a"].worker.Gone()
	p.mu.Unlock()
	<-gone
	if o, out := run(t, p, "a", hello, task.Spec{}); o.Kind != task.Exited || out != "hello\n" || p.pid("a") == first {
		t.Errorf("%+v, %q, process %d after %d", o, out, p.pid("a"), first)
	}
}

func TestIdleWorkerEnds(t *testing.T) {
	p := open(t, func(c *Config) { c.IdleMax = time.Millisecond })
	hello := prepare(t, p, "hello")
	c, err := p.join(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	gone := c.worker.Gone()
	p.leave(c)
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the idle worker goes on")
	}
	if o, _ := run(t, p, "a", hello, task.Spec{}); o.Kind != task.Exited {
		t.Errorf("after that: %+v", o)
	}
}

func TestRoomForWorkers(t *testing.T) {
	p := open(t, func(c *Config) { c.WorkersMax = 1 })
	hello := prepare(t, p, "hello")
	c, err := p.join(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := p.run(ctx, "b", hello, task.Spec{}, worker.Streams{}); o.Kind != task.WorkerLost {
		t.Errorf("beyond the limit: %+v", o)
	}
	done := make(chan task.Outcome, 1)
	go func() {
		o, _ := run(t, p, "b", hello, task.Spec{})
		done <- o
	}()
	p.leave(c)
	if o := <-done; o.Kind != task.Exited {
		t.Errorf("once there is room: %+v", o)
	}
	if p.pid("a") != 0 {
		t.Error("the idle worker was kept beyond the limit")
	}
}

func TestRefusedModule(t *testing.T) {
	p := open(t, nil)
	module := []byte("\x00asm\x01\x00\x00\x00 no module")
	_, err := p.Prepare(t.Context(), "a", sha256.Sum256(module), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(module)), nil })
	var r *RefusedError
	if !errors.As(err, &r) || r.Code == "" || r.Refusal() == "" {
		t.Errorf("error %v", err)
	}
	broken := errors.New("broken pipe")
	if _, err := p.Prepare(t.Context(), "a", [32]byte{1}, func() (io.ReadCloser, error) { return nil, broken }); !errors.Is(err, broken) || errors.As(err, &r) {
		t.Errorf("unreadable module: %v", err)
	}
}

// TestKnownModule needs no bytes of a module that was compiled before, here or
// by an earlier process.
func TestKnownModule(t *testing.T) {
	p := open(t, nil)
	hello := prepare(t, p, "hello")
	never := func() (io.ReadCloser, error) { return nil, errors.New("was asked for its bytes") }
	for range 2 {
		if _, err := p.Prepare(t.Context(), "a", hello.Hash, never); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		clear(p.images)
		p.mu.Unlock()
	}
}

func TestClosed(t *testing.T) {
	p := open(t, nil)
	hello, spin := prepare(t, p, "hello"), prepare(t, p, "spin")
	begun, done := make(chan struct{}), make(chan task.Outcome, 1)
	go func() {
		done <- p.run(t.Context(), "a", spin, task.Spec{}, worker.Streams{Stdout: first(func() { close(begun) })})
	}()
	<-begun
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if o := <-done; o.Kind != task.WorkerLost {
		t.Errorf("what ran: %+v", o)
	}
	if o, _ := run(t, p, "a", hello, task.Spec{}); o.Kind != task.WorkerLost {
		t.Errorf("after Close: %+v", o)
	}
}

// first calls f at the first write.
func first(f func()) io.Writer { return &onWrite{f} }

type onWrite struct{ f func() }

func (w *onWrite) Write(b []byte) (int, error) {
	if w.f != nil {
		w.f()
		w.f = nil
	}
	return len(b), nil
}
