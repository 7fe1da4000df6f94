package executor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/worker"
)

// popTasks is how many tasks of a lease are taken out of its range at once.
const popTasks = 256

// lease is a lease that this node holds.
type lease struct {
	e     *Executor
	epoch ledger.Epoch
	job   *job
	// tasks are those granted; runs are counted along them.
	tasks   ledger.Range
	attempt uint32
	// width is how many run at the same time.
	width uint32
	since time.Time
	// image is set by prepare.
	image worker.Image
	// ctx ends with one of errStopped, errStale and errHandedBack.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// notice ends when it has to give way, and not with ctx; warn ends it.
	notice context.Context
	warn   context.CancelFunc

	// The rest is guarded by Executor.mu.

	// todo and popped are the tasks that have not been started.
	todo   ledger.Range
	popped []uint32
	// kept are those of popped that an earlier process has begun.
	kept []taskKey
	// open is the number of tasks that have ended and wait for the ledger, cut
	// those that were cut short and are not reported.
	open, cut uint32
	// series are those that the sandbox has.
	series map[*series]struct{}
	// working says that its goroutine runs, running that it has come to the tasks,
	// tried that one of them has been started, begun that the ledger knows of it.
	working, running, tried, begun bool
	// preparing says that the module is made ready to run.
	preparing bool
	// runners take tasks; active is how many of them go on to.
	runners sync.WaitGroup
	active  uint32
	// back says how it is handed back instead of being finished; nil is not.
	back *handing
	// noticed says that it has to give way.
	noticed bool
	// gone says that it is not held any more.
	gone bool
	// feed is woken when a series has begun, or the lease is gone.
	feed feed
	// spans counts the spans below that of the lease, by name.
	spans map[string]int
	// index is that of the last report, or part of it handed back, which the ledger has
	// taken.
	index uint64
}

// handing says how a lease is handed back.
type handing struct {
	refuse bool
	cause  ledger.Cause
	// sent says that it waits in Executor.hands.
	sent bool
}

// hand is a lease that is to be handed back, or with a part some tasks of it.
type hand struct {
	epoch  ledger.Epoch
	refuse bool
	cause  ledger.Cause
	part   ledger.Range
}

// handBack starts no further task, and hands the lease back: at once what has not
// begun, the rest when what runs has ended and the ledger knows how. What is refused
// goes back as a whole. The first cause counts. The caller holds e.mu.
func (l *lease) handBack(refuse bool, cause ledger.Cause) {
	if l.back == nil {
		l.back = &handing{refuse: refuse, cause: cause}
	}
	if !l.running {
		l.cancel(errHandedBack)
	}
	l.e.settle(l)
	l.handBackPart()
}

// handBackPart hands back the tasks that have not begun of a lease of which others
// run. The caller holds e.mu.
func (l *lease) handBackPart() {
	if l.gone || l.back.refuse || l.back.sent || !l.running || l.ctx.Err() != nil || l.left() == 0 {
		return
	}
	part := l.todo
	for _, index := range l.popped {
		part = part.Union(ledger.Tasks(index, index+1))
	}
	l.e.hands = append(l.e.hands, hand{epoch: l.epoch, cause: l.back.cause, part: part})
	notify(l.e.kicked)
}

// parted forgets tasks that the ledger has got back. The caller holds e.mu.
func (l *lease) parted(part ledger.Range) {
	l.todo = l.todo.Minus(part)
	l.popped = slices.DeleteFunc(slices.Clone(l.popped), part.Has)
	l.e.settle(l)
}

// kill ends the tasks of a lease whose job was stopped: those that run are
// reported, the others end as the ledger gets them back. The caller holds e.mu.
func (l *lease) kill() {
	l.cancel(errStopped)
	l.handBack(false, ledger.CauseReleased)
}

// drop forgets a lease that is not held any more. The caller holds e.mu.
func (l *lease) drop(index uint64, how string) {
	if l.gone {
		return
	}
	e := l.e
	l.gone = true
	l.cancel(errStale)
	l.feed.wake()
	delete(e.leases, l.epoch)
	e.done[l.epoch] = index
	l.traceEnd(how)
	l.leave()
	e.metrics.leases.WithLabelValues(how).Inc()
	e.metrics.held.Set(float64(len(e.leases)))
	if len(e.leases) == 0 && e.emptied != nil {
		close(e.emptied)
		e.emptied = nil
	}
}

// settle finishes or hands back a lease of which nothing runs any more and all
// that has ended is known to the ledger. The caller holds e.mu.
func (e *Executor) settle(l *lease) {
	switch {
	case l.gone || l.working || l.open > 0:
	case l.todo.Empty() && len(l.popped) == 0 && l.cut == 0:
		l.drop(l.index, "finished")
	case l.back != nil && !l.back.sent:
		l.back.sent = true
		e.hands = append(e.hands, hand{epoch: l.epoch, refuse: l.back.refuse, cause: l.back.cause})
		notify(e.kicked)
	}
}

// start begins work on a lease. The caller holds e.mu.
func (l *lease) start() {
	l.working = true
	l.e.work.Go(l.main)
}

// main prepares the job and runs its tasks, width at a time.
func (l *lease) main() {
	e := l.e
	if l.prepare() {
		e.mu.Lock()
		if e.away {
			// It was ready just as the node was told to pause.
			l.handBack(false, ledger.CauseDrain)
		}
		l.running = true
		l.staff()
		e.mu.Unlock()
		l.runners.Wait()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l.letGo()
	e.leaveJob(l.job)
	l.working = false
	if l.left() > 0 && l.back == nil {
		l.back = &handing{cause: ledger.CauseReleased}
	}
	e.settle(l)
}

// staff starts as many runners as there are tasks for. The caller holds e.mu.
func (l *lease) staff() {
	for want := min(l.width, l.left()); l.active < want; l.active++ {
		l.runners.Go(l.run)
	}
}

// run runs tasks, some at a time one after the other, until none is left.
func (l *lease) run() {
	e := l.e
	for {
		if e.gather.admit(l.ctx) != nil || e.slots.take(l.ctx, l.job.slots) != nil {
			return
		}
		began := time.Now()
		indexes := l.pop()
		if len(indexes) > 0 {
			l.job.running.Add(1)
			l.attemptTasks(indexes)
			l.job.running.Add(-1)
		}
		took := time.Since(began)
		e.slots.give(l.job.slots, took)
		if len(indexes) == 0 {
			return
		}
		e.mu.Lock()
		l.job.pace.note(len(indexes), took)
		e.mu.Unlock()
	}
}

// pop takes the next tasks to be run one after the other, none when the lease is
// not to be worked on: then the runner ends.
func (l *lease) pop() []uint32 {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	left := l.left()
	if l.gone || l.back != nil || left == 0 {
		l.active -= min(l.active, 1)
		return nil
	}
	if len(l.popped) == 0 {
		var first ledger.Range
		first, l.todo = l.todo.Split(popTasks)
		l.popped = make([]uint32, 0, first.Count())
		first.Runs(func(from, end uint32) {
			for ; from < end; from++ {
				l.popped = append(l.popped, from)
			}
		})
	}
	// No runner shall be without a task because another has several.
	share := (left + max(l.width, 1) - 1) / max(l.width, 1)
	n := min(l.job.pace.next(), len(l.popped), int(share))
	if len(l.kept) > 0 {
		n = 1 // it is among the first, and runs already
	}
	indexes := l.popped[:n:n]
	l.popped = l.popped[n:]
	l.tried = true
	return indexes
}

// pushBack takes back tasks that have not begun, and has somebody run them.
func (l *lease) pushBack(indexes []uint32) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.popped = append(slices.Clip(indexes), l.popped...)
	switch {
	case l.gone:
	case l.back == nil:
		l.staff()
	default:
		l.handBackPart()
	}
}

// left returns how many tasks have not been started. The caller holds e.mu.
func (l *lease) left() uint32 { return l.todo.Count() + uint32(len(l.popped)) }

// after returns the task of the lease that comes behind a task of it, or the end
// of the lease.
func (l *lease) after(index uint32) uint32 {
	if l.tasks.Whole() {
		return index + 1
	}
	for from, span := index+1, uint32(64); from < l.tasks.End; from, span = from+span, 2*span {
		if near := l.tasks.Within(from, from+span); !near.Empty() {
			return near.First
		}
	}
	return l.tasks.End
}
