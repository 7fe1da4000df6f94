// Package replica is one member of the book: it keeps a copy of the state,
// takes part in agreeing on what comes next, and hands on what was agreed.
//
// A few members vote, by Raft. All others follow outside Raft: they stream the
// changes from any member, in a tree of bounded fan-out, so that the leader's
// work does not grow with the grid. Which is which is the leader's business and
// changes when members come, go and break. Every member answers the same calls:
// Propose and Read find the leader, View and Watch look at the own copy.
//
// The package knows the state machine as a function of bytes and the network as
// a listener and a dial function. DESIGN.md beside this file has the protocols,
// the goroutines and what each promise rests on.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Replica is one member. Its methods are safe for concurrent use.
type Replica struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	opened  time.Time

	book      *book
	history   *history
	stall     *stall
	fsm       *fsm
	engine    *engine
	pipeline  *pipeline
	reader    *reader
	callers   *callers
	conns     connSet
	tree      tree
	proposing chan struct{}
	sending   chan struct{}

	// changed tells those who wait that there may be another leader, parent,
	// or member.
	changed signal
	// hint is the leader as the parent has told it.
	hint atomic.Pointer[hintError]
	// followed is the address of whom this member took for the leader last.
	followed        atomic.Pointer[string]
	lastFollowError atomic.Pointer[error]
	probing         atomic.Bool
	// announced is the history in which this member has seen itself.
	announced atomic.Pointer[string]
	leaving   atomic.Bool

	ctx    context.Context
	cancel context.CancelFunc
	// stopped is closed when stopCause is set.
	stopped chan struct{}

	mu        sync.Mutex
	stopCause error
	isClosed  bool
	seeds     []string
	running   sync.WaitGroup
	done      chan struct{}
}

// Open starts a member. One that was in a grid before is in it again, with no
// further call; a new one waits for Found or Join. The listener belongs to the
// replica from now on, also when Open fails.
func Open(ctx context.Context, config Config) (*Replica, error) {
	r, err := open(ctx, config)
	if err != nil {
		if config.Listener != nil {
			err = errors.Join(err, config.Listener.Close())
		}
		return nil, fmt.Errorf("open replica: %w", err)
	}
	return r, nil
}

func open(ctx context.Context, config Config) (*Replica, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := errors.Join(ctx.Err(), os.MkdirAll(config.Dir, 0o700)); err != nil {
		return nil, err
	}
	m, err := newMetrics(config.Registerer)
	if err != nil {
		return nil, err
	}
	r := &Replica{
		config: config, log: config.Log, metrics: m, opened: time.Now(), book: &book{},
		history: newHistory(config.Store.Applied(), config.HistoryBytesMax),
		conns:   connSet{open: map[*conn]struct{}{}}, tree: tree{children: map[string]*child{}},
		proposing: make(chan struct{}, config.QueueMax), sending: make(chan struct{}, config.SnapshotsMax),
		stopped: make(chan struct{}), done: make(chan struct{}),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.log = r.log.With("member", config.ID)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if err := r.book.load(config.Store); err != nil {
		return nil, err
	}
	snaps := &snapshots{config: &r.config, book: r.book}
	r.stall = newStall(&r.config, r.log, m, r.changed.signal)
	r.fsm = &fsm{
		config: &r.config, history: r.history, book: r.book, metrics: m, snapshots: snaps, stall: r.stall, stopped: r.fault,
	}
	if err := snaps.repair(r.fsm); err != nil {
		return nil, err
	}
	if err := r.history.load(&r.config, r.book.view().lineage); err != nil {
		r.log.Info("followers and watches cannot resume from before the restart", "err", err)
	}
	r.engine = &engine{replica: r, snapshots: snaps}
	r.pipeline = newPipeline(&r.config, r.engine, r.stall, m)
	r.reader = &reader{replica: r, requests: make(chan chan outcome)}
	r.callers = newCallers(r)
	if err := r.engine.start(nil); err != nil {
		return nil, err
	}
	for _, run := range []func(){
		r.accept,
		r.pipeline.land,
		func() { r.pipeline.fill(r.ctx) },
		func() { r.reader.run(r.ctx) },
		func() { r.follow(r.ctx) },
		func() { r.mind(r.ctx) },
		func() { r.listen(r.ctx) },
	} {
		r.running.Go(run)
	}
	return r, nil
}

// Close ends the member's work, not its membership, and waits for all of it. It
// may be called again.
func (r *Replica) Close() error {
	r.mu.Lock()
	if r.isClosed {
		r.mu.Unlock()
		<-r.done
		return nil
	}
	r.isClosed = true
	r.mu.Unlock()
	defer close(r.done)
	r.cancel()
	err := r.config.Listener.Close()
	r.land()
	r.engine.stop()
	r.conns.close()
	r.running.Wait()
	r.engine.stop()
	if err := r.history.save(&r.config, r.book.view().lineage); err != nil {
		r.log.Info("followers and watches will not resume from before the restart", "err", err)
	}
	if err != nil {
		return fmt.Errorf("close listener: %w", err)
	}
	return nil
}

// land gives the commands that are under way a moment to be answered, before
// Raft forgets them.
func (r *Replica) land() {
	const moment = 100 * time.Millisecond
	t := time.NewTimer(moment)
	defer t.Stop()
	select {
	case <-r.pipeline.ended:
	case <-t.C:
	}
}

// spawn runs f in a goroutine that Close waits for, unless it has begun.
func (r *Replica) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed {
		return false
	}
	r.running.Go(f)
	return true
}

func (r *Replica) closed() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// fault notes a fault of the machine or of what is stored and takes the member
// out of Raft's work. Only the first counts. It is called by Raft's goroutines and
// does not wait for them.
func (r *Replica) fault(cause error) {
	r.mu.Lock()
	if r.stopCause != nil {
		r.mu.Unlock()
		return
	}
	r.stopCause = cause
	close(r.stopped)
	r.mu.Unlock()
	r.log.Error("replica stops: nothing more can be applied", "err", cause)
	r.metrics.stopped.Set(1)
	r.spawn(r.engine.halt)
	r.changed.signal()
}

func (r *Replica) cause() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopCause
}

// stopError returns ErrStopped with its cause after a fault.
func (r *Replica) stopError() error {
	if cause := r.cause(); cause != nil {
		return fmt.Errorf("%w: %w", ErrStopped, cause)
	}
	return nil
}

// unusable returns why the member cannot propose or read, or nil.
func (r *Replica) unusable() error {
	if r.ctx.Err() != nil {
		return ErrClosed
	}
	return r.stopError()
}

// Stopped is closed when the state machine had a fault; Err tells it.
func (r *Replica) Stopped() <-chan struct{} { return r.stopped }

// Err returns ErrStopped with its cause after a fault, ErrClosed after Close,
// or nil.
func (r *Replica) Err() error {
	if err := r.stopError(); err != nil {
		return err
	}
	if r.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// pause waits for d and reports whether the member still runs.
func (r *Replica) pause(d time.Duration) bool { return pause(d, r.ctx.Done()) }

// pause reports whether d passed before the end.
func pause(d time.Duration, end <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-end:
		return false
	}
}

// signal wakes everybody who waits.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that the next signal closes.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
