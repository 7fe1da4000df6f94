package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/ledger/replica"
)

// errTermOver ends the wait for a leadership that is lost already.
var errTermOver = errors.New("term is over")

// lead is what a scheduler knows and does during one term. All of it belongs to
// the goroutine of run; others send it functions to call.
type lead struct {
	*Scheduler
	ctx   context.Context
	term  uint64
	began time.Time
	// group are the goroutines of this term.
	group sync.WaitGroup
	// calls are to be done by run, ended is closed when it has returned.
	calls chan func()
	ended chan struct{}
	feed  chan news
	// broken says why the feed has ended.
	broken chan error

	backlog  *ledger.Backlog
	roll     *ledger.Roll
	snapshot placement.Snapshot
	planner  placement.Planner
	seed     uint64
	// index is that of the last change which backlog and roll have taken in.
	index uint64

	// due is when the next pass begins, zero when there is no reason for one.
	due     time.Time
	flight  *flight
	refused int // passes in a row of which nothing was accepted
	waits   waits
	board   seats
	brake   brake
	ticks   ticks
	orders  orders
	daemons daemons
	notes   notes
	spares  spares
	// preempts is the state of what makes room for higher bands.
	preempts preempts
	failing  bool
}

// news is changes of the ledger, up to index.
type news struct {
	index   uint64
	changes []replica.Change
}

func newLead(ctx context.Context, s *Scheduler, term uint64) *lead {
	now := time.Now()
	return &lead{
		Scheduler: s, ctx: ctx, term: term, began: now, seed: term << 32,
		calls: make(chan func()), ended: make(chan struct{}), feed: make(chan news), broken: make(chan error, 1),
		board: seats{of: map[ledger.NodeID]*seat{}, next: now}, notes: newNotes(now.Add(s.config.SettleWait)), brake: newBrake(now, s.config.ReplacePerSecond),
		spares: spares{tried: map[attempt]bool{}},
	}
}

// open reads the picture and begins to listen. It reports false when the term is
// over.
func (l *lead) open() (leads bool, err error) {
	ctx, cancel := context.WithCancelCause(l.ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			changed := l.config.Ledger.Changed()
			if !l.leads() {
				cancel(errTermOver)
				return
			}
			select {
			case <-changed:
			case <-stop:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	l.index, err = l.config.Ledger.Read(ctx, func(tx ledger.Tx) error {
		var err error
		if l.backlog, err = ledger.NewBacklog(tx, l.config.Queue); err == nil {
			l.roll, err = ledger.NewRoll(tx, ledger.RollPrefix())
		}
		if err == nil {
			err = l.ticks.read(tx)
		}
		if err == nil {
			err = l.readOrders(tx)
		}
		return err
	})
	close(stop)
	watching.Wait()
	switch {
	case errors.Is(context.Cause(ctx), errTermOver):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read the queue: %w", err)
	}
	l.group.Go(func() { l.broken <- l.listen(l.index) })
	return true, nil
}

// listen hands the ledger's changes to run.
func (l *lead) listen(from uint64) error {
	return l.config.Ledger.Watch(l.ctx, nil, from, func(index uint64, changes []replica.Change) error {
		select {
		case l.feed <- news{index, changes}:
			return nil
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	})
}

// leads reports whether this is still the replica's term.
func (l *lead) leads() bool {
	s := l.config.Ledger.Status()
	return s.Leads && s.Term == l.term
}

// run schedules until the term is over, which is no error.
func (l *lead) run() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if l.backlog.Queued() > 0 {
		l.wake(time.Now(), wakeQueue)
	} else {
		l.brake.based = true
	}
	changed := l.config.Ledger.Changed()
	for {
		select {
		case <-l.ctx.Done():
			return nil
		case <-changed:
			changed = l.config.Ledger.Changed()
			if !l.leads() {
				return nil
			}
		case err := <-l.broken:
			return fmt.Errorf("listen to the ledger: %w", err)
		case n := <-l.feed:
			if err := l.hear(n); err != nil {
				return err
			}
		case call := <-l.calls:
			call()
		case <-timer.C:
		}
		if err := l.work(time.Now()); err != nil {
			return err
		}
		timer.Reset(max(time.Until(l.next()), 0))
	}
}

// work does what is due.
func (l *lead) work(now time.Time) error {
	if !now.Before(l.board.next) {
		l.look(now)
		if err := l.help(now); err != nil {
			return err
		}
	}
	if err := l.land(now); err != nil {
		return err
	}
	if l.flight == nil && !l.due.IsZero() && !now.Before(l.due) {
		if err := l.pass(now); err != nil {
			return err
		}
	}
	l.tick(now)
	l.order(now)
	l.daemon(now)
	l.note(now)
	return nil
}

// next returns when there is something to do if nothing happens before.
func (l *lead) next() time.Time {
	at := l.board.next
	for _, t := range []time.Time{l.passAt(), l.tickAt(time.Now()), l.noteAt(), l.orderAt(), l.daemonAt()} {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

func (l *lead) passAt() time.Time {
	if l.flight != nil {
		return time.Time{}
	}
	return l.due
}

// wake makes a pass due at a time, unless one is due before.
func (l *lead) wake(at time.Time, cause string) {
	if l.due.IsZero() || at.Before(l.due) {
		l.due = at
		l.metrics.wakes.WithLabelValues(cause).Inc()
	}
}

// wanted reports whether a pass is due already.
func (l *lead) wanted(now time.Time) bool { return !l.due.IsZero() && !now.Before(l.due) }

// answer is what became of a command.
type answer struct {
	result ledger.Result
	index  uint64
	err    error
}

// propose proposes the commands of each lane one after another, and the lanes at
// the same time; run calls done with the answers, by lane. A lane ends with its
// first error.
func (l *lead) propose(lanes [][]ledger.Command, done func(answers [][]answer)) {
	answers := make([][]answer, len(lanes))
	l.group.Go(func() {
		var flying sync.WaitGroup
		for i, lane := range lanes[1:] {
			flying.Go(func() { answers[i+1] = l.proposeAll(lane) })
		}
		answers[0] = l.proposeAll(lanes[0])
		flying.Wait()
		select {
		case l.calls <- func() { l.judge(answers); done(answers) }:
		case <-l.ctx.Done():
		}
	})
}

func (l *lead) proposeAll(lane []ledger.Command) (answers []answer) {
	for _, c := range lane {
		ctx, cancel := context.WithTimeout(l.ctx, l.config.ProposeTimeout)
		r, index, err := l.config.Ledger.Do(ctx, c)
		cancel()
		answers = append(answers, answer{r, index, err})
		if err != nil {
			break
		}
	}
	return answers
}

// judge counts errors, and logs when they begin and end.
func (l *lead) judge(answers [][]answer) {
	var failed error
	for _, lane := range answers {
		for _, a := range lane {
			if a.err != nil {
				failed = a.err
				l.metrics.failed.Inc()
			}
		}
	}
	if failing := failed != nil; failing != l.failing {
		l.failing = failing
		if failing {
			l.log.Warn("the ledger takes no plans", "err", failed)
		} else {
			l.log.Info("the ledger takes plans again")
		}
	}
}

// inLanes spreads commands over at most lanesMax lanes.
func inLanes(commands []ledger.Command) [][]ledger.Command {
	lanes := make([][]ledger.Command, min(len(commands), lanesMax))
	for i, c := range commands {
		lanes[i%len(lanes)] = append(lanes[i%len(lanes)], c)
	}
	return lanes
}

// lanesMax bounds the commands of one kind that are under way at a time.
const lanesMax = 8

// stamp is a time as the ledger has it.
func stamp(t time.Time) ledger.Time { return ledger.Time(t.UnixNano()) }

// stamp is a time of this process, about now, as this machine's clock has it.
func (l *lead) stamp(t time.Time) ledger.Time {
	if l.config.Now == nil {
		return stamp(t)
	}
	return stamp(l.config.Now().Add(time.Until(t)))
}

// local is a time of the ledger's as this process sees it now: if the machine's
// clock is set later, that does not move it.
func (l *lead) local(at ledger.Time, now time.Time) time.Time {
	return now.Add(time.Duration(at - l.stamp(now)))
}
