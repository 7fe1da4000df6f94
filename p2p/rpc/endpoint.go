package rpc

import (
	"context"
	"log/slog"
	"sync"

	"github.com/dugnad/dugnad/p2p"
)

// Endpoint calls other members, and answers them.
type Endpoint struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	methods map[string]*method
	// other stands for the methods that this member does not have itself.
	other  *method
	server *server

	// ctx ends with Close.
	ctx    context.Context
	cancel context.CancelFunc
	// goroutines are all that this endpoint started.
	goroutines sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	remotes map[p2p.NodeID]*remote
	// lines are the open streams, both ways.
	lines map[*line]bool
}

// method is a Method with its metrics.
type method struct {
	Method
	known          bool
	called, served *tally
}

// Open starts answering. ctx bounds nothing: Open does not wait.
func Open(_ context.Context, c Config) (*Endpoint, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		config: c, log: c.Logger, metrics: m,
		methods: make(map[string]*method), remotes: make(map[p2p.NodeID]*remote), lines: make(map[*line]bool),
	}
	e.other = e.method(Method{Name: "other", RequestBytesMax: BytesMax, ResponseBytesMax: BytesMax})
	for _, m := range c.Methods {
		e.methods[m.Name] = e.method(m)
		e.methods[m.Name].known = true
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.server = newServer(e)
	c.Network.Handle(Protocol, e.server.accept)
	return e, nil
}

func (e *Endpoint) method(m Method) *method {
	return &method{Method: m, called: e.metrics.tally("call", m.Name), served: e.metrics.tally("serve", m.Name)}
}

// caller returns what this side knows of a method that it calls.
func (e *Endpoint) caller(name string) *method {
	if m := e.methods[name]; m != nil {
		return m
	}
	return e.other
}

// Close ends all calls and watches with ErrClosed, cancels the handlers that
// run, and returns when they have.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	lines := make([]*line, 0, len(e.lines))
	for l := range e.lines {
		lines = append(lines, l)
	}
	e.mu.Unlock()
	e.cancel()
	for _, l := range lines {
		l.abandon()
	}
	e.config.Network.Handle(Protocol, nil)
	e.goroutines.Wait()
	return nil
}

// start runs f in a goroutine that Close waits for, unless Close was called.
func (e *Endpoint) start(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.goroutines.Go(f)
	return true
}

// work is start for who is itself waited for, so that it cannot be too late.
func (e *Endpoint) work(f func()) { e.goroutines.Go(f) }

// keep has the line ended by Close. It returns false when that was called.
func (e *Endpoint) keep(l *line) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.lines[l] = true
	return true
}

func (e *Endpoint) drop(l *line) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.lines, l)
}
