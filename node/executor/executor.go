// Package executor runs this node's leases: it sees them in the node's own copy
// of the ledger, fetches what their tasks need, runs these in the sandbox, keeps
// their output and reports how they ended. What is under way goes on while the
// ledger has no leader; a lease is given up only when the ledger says so.
package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// Why the context of a lease ends.
var (
	// errStopped: the job was stopped; what ran was killed and is reported so.
	errStopped = errors.New("job was stopped")
	// errStale: the lease has ended for the ledger; nothing of it is reported.
	errStale = errors.New("lease is no longer held")
	// errHandedBack: the tasks are to run elsewhere; those that were cut short are
	// not reported.
	errHandedBack = errors.New("lease is handed back")
)

// Executor runs the leases of one node.
type Executor struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	slots   *slots
	gather  *gather
	queue   *queue
	inputs  *inputs
	// collections are the outputs of jobs that tasks read here.
	collections collections
	// followers counts those who follow tasks.
	followers atomic.Int32

	// ctx ends when everything is to stop, whatever is left.
	ctx  context.Context
	stop context.CancelFunc
	// loops are the goroutines that live as long as the executor, work those of
	// leases and jobs.
	loops, work sync.WaitGroup
	// changed, kicked: the ledger changed for this node, there is something to
	// tell it.
	changed, kicked chan struct{}
	// asked is taken from by the loop that renews leases: see Answer.
	asked chan struct{}

	mu sync.Mutex
	// roll is which leases the own copy of the ledger has, as far as its changes were
	// heard; leases are those that are held.
	roll   *ledger.Roll
	leases map[ledger.Epoch]*lease
	jobs   map[ledger.JobID]*job
	// done has the leases that are over here and may still be seen in the own copy
	// of the ledger, with the index at which they ended.
	done map[ledger.Epoch]uint64
	// replayed has what the journal says of leases that were not taken up again
	// yet, orphans how many of their tasks wait for the ledger.
	replayed map[ledger.Epoch][]ledger.Run
	orphans  map[ledger.Epoch]uint32
	// unanswered are leases that are not held any more and whose reports the ledger has not
	// answered, for their spans: it may say that a lease is over before it answers the
	// report that ends it. There are none without a tracer.
	unanswered map[ledger.Epoch]*lease
	// kept has the tasks that an earlier process has begun and whose leases were not
	// taken up again yet. What is left of them is ended at keptUntil.
	kept      map[ledger.Epoch][]taskKey
	keptUntil time.Time
	// dirty has the jobs whose record changed.
	dirty map[ledger.JobID]struct{}
	hands []hand
	// doubts has the results that the ledger may not know.
	doubts []doubt
	// away says that no new lease is taken.
	away bool
	// emptied is closed when the last lease is gone; nil while nobody waits.
	emptied chan struct{}

	closing sync.Once
	closed  error
}

// Open starts the executor of a node. The leases that the node still holds are
// taken up again, but for the tasks of which the journal knows how they ended.
func Open(ctx context.Context, config Config) (*Executor, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open executor: %w", err)
	}
	e := newExecutor(config)
	var err error
	if e.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, fmt.Errorf("open executor: register metrics: %w", err)
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open executor: %w", err)
	}
	j, waiting, err := openJournal(config.Dir)
	if err != nil {
		return nil, fmt.Errorf("open executor: %w", err)
	}
	e.queue = newQueue(j, waiting, config.JournalBytesMax)
	e.queue.show(e.metrics)
	for i := range waiting {
		w := &waiting[i]
		e.replayed[w.epoch] = append(e.replayed[w.epoch], w.run)
		e.orphans[w.epoch] += w.run.Count
	}
	e.findKept()
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	enrolled, err := e.enroll()
	index := enrolled
	if err == nil {
		index, err = e.refresh()
	}
	if err != nil {
		e.stop()
		e.work.Wait()
		return nil, fmt.Errorf("open executor: %w", errors.Join(err, j.close()))
	}
	if n := len(e.leases); n > 0 || len(waiting) > 0 {
		e.log.Info("took up work again", "leases", n, "runs_to_report", len(waiting))
	}
	e.loops.Go(func() { e.watchLeases(enrolled) })
	e.loops.Go(func() { e.watchJobs(index) })
	e.loops.Go(e.keep)
	e.loops.Go(e.pulse)
	e.loops.Go(e.record)
	e.loops.Go(e.report)
	return e, nil
}

func newExecutor(config Config) *Executor {
	if config.Now == nil {
		config.Now = time.Now
	}
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	e := &Executor{
		config: config, log: log,
		slots:   &slots{max: config.Slots},
		changed: make(chan struct{}, 1), kicked: make(chan struct{}, 1), asked: make(chan struct{}),
		leases: map[ledger.Epoch]*lease{}, jobs: map[ledger.JobID]*job{}, done: map[ledger.Epoch]uint64{},
		replayed: map[ledger.Epoch][]ledger.Run{}, orphans: map[ledger.Epoch]uint32{}, unanswered: map[ledger.Epoch]*lease{},
		dirty: map[ledger.JobID]struct{}{}, kept: map[ledger.Epoch][]taskKey{},
	}
	e.gather = newGather(e)
	e.inputs = newInputs(&e.config)
	return e
}

// Running returns the slots that tasks of this grid use now, and how long it will
// probably take until one is free: zero when one is.
func (e *Executor) Running() (slots uint32, busyFor time.Duration) { return e.slots.load() }

// Answer returns nil as soon as the loop that renews leases has come round, and
// an error when ctx ends before.
func (e *Executor) Answer(ctx context.Context) error {
	select {
	case e.asked <- struct{}{}:
		return nil
	case <-e.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("executor does not answer: %w", context.Cause(ctx))
	}
}

// Drain takes no new lease and starts no further task, hands back those that have not
// begun, and waits for those that run. When ctx ends they are cancelled, and handed
// back as well, with CauseDrain. It returns ErrUnfinished when that did not succeed within
// Config.CloseTimeout. Afterwards new leases are refused until Resume.
func (e *Executor) Drain(ctx context.Context) error {
	if e.ctx.Err() != nil {
		return ErrClosed
	}
	return e.leave(ctx, ledger.CauseDrain)
}

// HandBack takes no new lease, starts no further task and hands back those that have
// not begun, with CauseDrain; what runs goes on. Drain ends that, Resume takes leases
// again.
func (e *Executor) HandBack() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stepBack(false, ledger.CauseDrain)
}

// Pause is HandBack for a sandbox that is frozen meanwhile: a lease whose module it makes
// ready to run stays, too, and goes on with Resume.
func (e *Executor) Pause() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = true
	for _, l := range e.leases {
		if !l.preparing {
			l.handBack(false, ledger.CauseDrain)
		}
	}
}

// stepBack hands back what has not begun of all leases, and cuts short what has. The
// caller holds e.mu.
func (e *Executor) stepBack(cut bool, cause ledger.Cause) {
	e.away = true
	for _, l := range e.leases {
		if cut {
			l.cancel(errHandedBack)
		}
		l.handBack(false, cause)
	}
}

// Resume takes leases again after Drain, HandBack or Pause.
func (e *Executor) Resume() {
	e.mu.Lock()
	e.away = false
	e.mu.Unlock()
	notify(e.changed)
}

// Close cancels what runs, reports what has ended and hands back the rest, within
// Config.CloseTimeout. What could not be reported stays in the journal: the error
// is ErrUnfinished then.
func (e *Executor) Close() error {
	e.closing.Do(func() {
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		e.closed = errors.Join(e.leave(ctx, ledger.CauseReleased), e.end())
	})
	return e.closed
}

// end stops everything at once and waits for it: first for the loops, one of which
// begins work, then for the work, to which nothing is added any more.
func (e *Executor) end() error {
	e.stop()
	e.loops.Wait()
	e.work.Wait()
	return e.queue.close()
}

// leave hands back all leases: what has not begun at once, the rest when what runs
// has ended, or ctx.
func (e *Executor) leave(ctx context.Context, cause ledger.Cause) error {
	e.mu.Lock()
	e.stepBack(ctx.Err() != nil, cause)
	emptied := e.whenEmpty()
	e.mu.Unlock()
	select {
	case <-emptied:
		return nil
	case <-ctx.Done():
		e.cutShort()
	case <-e.ctx.Done():
		return ErrClosed
	}
	timeout := time.NewTimer(e.config.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-emptied:
		return nil
	case <-timeout.C:
		return e.unfinished()
	case <-e.ctx.Done():
		return ErrClosed
	}
}

// cutShort cancels the tasks of all leases.
func (e *Executor) cutShort() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.leases {
		l.cancel(errHandedBack)
	}
}

func (e *Executor) unfinished() error {
	e.mu.Lock()
	n := len(e.leases)
	e.mu.Unlock()
	runs := e.queue.size()
	return fmt.Errorf("%w: %d leases are still held, %d runs are in the journal", ErrUnfinished, n, runs)
}

// whenEmpty returns a channel that is closed when no lease is held. The caller
// holds e.mu.
func (e *Executor) whenEmpty() <-chan struct{} {
	if len(e.leases) == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if e.emptied == nil {
		e.emptied = make(chan struct{})
	}
	return e.emptied
}
