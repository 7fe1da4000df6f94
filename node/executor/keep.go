package executor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/jobspec"
)

// enroll reads which leases this node has, when the changes since were not heard.
func (e *Executor) enroll() (uint64, error) {
	var roll *ledger.Roll
	index, err := e.config.Ledger.View(func(tx ledger.Tx) (err error) {
		roll, err = ledger.NewRoll(tx, ledger.LeasePrefix(e.config.Node))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read which leases there are: %w", err)
	}
	e.mu.Lock()
	e.roll = roll
	e.mu.Unlock()
	return index, nil
}

// watchLeases keeps the roll, and signals leases of this node that are new or over.
func (e *Executor) watchLeases(from uint64) {
	prefix := ledger.LeasePrefix(e.config.Node)
	e.watch(prefix, from, e.enroll, func(changes []replica.Change) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, c := range changes {
			value := c.Value
			if c.Deleted {
				value = nil
			}
			if err := e.roll.Change(c.Key, value); err != nil {
				return err
			}
			epoch := ledger.Epoch(binary.BigEndian.Uint64(c.Key[len(prefix):]))
			_, over := e.done[epoch]
			l := e.leases[epoch]
			if held := l != nil; c.Deleted == held && !over {
				notify(e.changed)
			}
			if is, _ := e.roll.Find(e.config.Node, epoch); l != nil && is.Notice != 0 && !l.noticed {
				notify(e.changed)
			}
		}
		return nil
	})
}

// watchJobs signals changes of the jobs of which leases are held.
func (e *Executor) watchJobs(from uint64) {
	prefix := ledger.JobPrefix()
	e.watch(prefix, from, e.soilJobs, func(changes []replica.Change) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, c := range changes {
			if len(c.Key) != len(prefix)+len(ledger.JobID{}) {
				continue
			}
			if id := ledger.JobID(c.Key[len(prefix):]); e.jobs[id] != nil {
				e.dirty[id] = struct{}{}
				notify(e.changed)
			}
		}
		return nil
	})
}

// soilJobs has all jobs read again, when the changes since were not heard.
func (e *Executor) soilJobs() (uint64, error) {
	index, err := e.config.Ledger.View(func(ledger.Tx) error { return nil })
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.jobs {
		e.dirty[id] = struct{}{}
	}
	return index, err
}

// watch visits changes until the executor stops. After a gap again looks at everything
// anew, and returns the index from which on changes are news.
func (e *Executor) watch(prefix []byte, from uint64, again func() (uint64, error), visit func([]replica.Change) error) {
	for failures := 0; ; {
		err := e.config.Ledger.Watch(e.ctx, prefix, from, func(index uint64, changes []replica.Change) error {
			from, failures = index, 0
			return visit(changes)
		})
		if e.ctx.Err() != nil {
			return
		}
		failures++
		if failures == 1 && !errors.Is(err, replica.ErrTooOld) {
			e.log.Warn("own copy of the ledger cannot be watched", "err", err)
		}
		if errors.Is(err, replica.ErrTooOld) {
			if index, err := again(); err == nil {
				from = index
			}
		}
		notify(e.changed)
		e.pause(e.ctx, failures)
	}
}

// keep looks at the own copy of the ledger whenever it was signalled to have
// changed.
func (e *Executor) keep() {
	for failures := 0; ; {
		select {
		case <-e.changed:
		case <-e.ctx.Done():
			return
		}
		if _, err := e.refresh(); err != nil {
			if failures++; failures == 1 {
				e.log.Warn("own copy of the ledger cannot be read", "err", err)
			}
			notify(e.changed)
			e.pause(e.ctx, failures)
			continue
		}
		failures = 0
	}
}

// found is what a look at the ledger has shown.
type found struct {
	// leases are those that are not held.
	leases []ledger.Lease
	// jobs are those of new leases and those that changed, specs those of the
	// former.
	jobs  map[ledger.JobID]ledger.Job
	specs map[ledger.JobID]ledger.JobSpec
}

// sought is what a look at the ledger reads: leases that are not held, of which some
// may be over here, and jobs.
type sought struct {
	leases []ledger.Epoch
	over   map[ledger.Epoch]bool
	dirty  map[ledger.JobID]struct{}
	// more says that there are more such leases than one look reads.
	more bool
}

// refresh compares what is held with what the own copy of the ledger says. It reads
// as much as has changed, however much is held or was.
func (e *Executor) refresh() (uint64, error) {
	s := e.seek()
	f := found{jobs: map[ledger.JobID]ledger.Job{}, specs: map[ledger.JobID]ledger.JobSpec{}}
	index, err := e.config.Ledger.View(func(tx ledger.Tx) error {
		for _, epoch := range s.leases {
			l, err := ledger.FindLease(tx, e.config.Node, epoch)
			if errors.Is(err, ledger.ErrNotFound) {
				continue
			}
			if err == nil && !s.over[epoch] {
				err = f.look(tx, l.Job, true)
			}
			if err != nil {
				return err
			}
			f.leases = append(f.leases, l)
		}
		for id := range s.dirty {
			if err := f.look(tx, id, false); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.mu.Lock()
		for id := range s.dirty {
			e.dirty[id] = struct{}{}
		}
		e.mu.Unlock()
		return 0, fmt.Errorf("look for leases: %w", err)
	}
	e.mu.Lock()
	doubts := e.compare(&f, index)
	e.mu.Unlock()
	e.resolve(doubts)
	if s.more {
		notify(e.changed)
	}
	return index, nil
}

// seek returns what is to be read.
func (e *Executor) seek() sought {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := sought{over: map[ledger.Epoch]bool{}, dirty: e.dirty}
	e.dirty = map[ledger.JobID]struct{}{}
	for _, held := range e.roll.Of(e.config.Node) {
		if e.leases[held.Epoch] != nil {
			continue
		}
		if s.more = len(s.leases) == e.config.LeasesMax+ledger.ItemsMax; s.more {
			break
		}
		s.leases = append(s.leases, held.Epoch)
		_, s.over[held.Epoch] = e.done[held.Epoch]
	}
	return s
}

// look reads a job once.
func (f *found) look(tx ledger.Tx, id ledger.JobID, withSpec bool) error {
	if _, ok := f.jobs[id]; !ok {
		j, err := ledger.FindJob(tx, id)
		if errors.Is(err, ledger.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		f.jobs[id] = j
	}
	if _, ok := f.specs[id]; ok || !withSpec {
		return nil
	}
	spec, err := ledger.FindSpec(tx, id)
	if err == nil {
		f.specs[id] = spec
	}
	return err
}

// compare takes up new leases, drops those that are over and stops those whose
// job was stopped. It returns the doubts that can be resolved now. The caller
// holds e.mu.
func (e *Executor) compare(f *found, index uint64) []doubt {
	for i := range f.leases {
		l := &f.leases[i]
		ended, over := e.done[l.Epoch]
		switch {
		case e.leases[l.Epoch] != nil:
		case !over:
			e.takeUp(l, f.jobs[l.Job], f.specs[l.Job])
		case index >= ended && ended > 0:
			e.log.Error("ledger has a lease that has ended here", "epoch", l.Epoch, "open", l.Open.Count())
			e.done[l.Epoch] = math.MaxUint64
			e.hands = append(e.hands, hand{epoch: l.Epoch, cause: ledger.CauseReleased})
			notify(e.kicked)
		}
	}
	for epoch, l := range e.leases {
		is, has := e.roll.Find(e.config.Node, epoch)
		switch j, ok := f.jobs[l.job.id]; {
		case !has:
			l.drop(index, "stale")
		case ok && j.State == ledger.JobStopping:
			l.kill()
		case is.Notice != 0 && !l.noticed:
			l.giveWay(&is)
		}
	}
	for epoch := range e.done {
		if !e.roll.Has(e.config.Node, epoch) {
			delete(e.done, epoch)
		}
	}
	return e.due(index)
}

// takeUp begins a lease, or refuses it. The caller holds e.mu.
func (e *Executor) takeUp(l *ledger.Lease, j ledger.Job, spec ledger.JobSpec) {
	held := &lease{
		e: e, epoch: l.Epoch, tasks: l.Tasks, todo: l.Open, attempt: l.Attempt,
		width: l.Slots, since: time.Now(), open: e.orphans[l.Epoch], begun: l.Begun,
		series: map[*series]struct{}{},
	}
	held.ctx, held.cancel = context.WithCancelCause(e.ctx)
	held.notice, held.warn = context.WithCancel(context.WithoutCancel(e.ctx))
	for _, run := range e.replayed[l.Epoch] {
		tasks, _ := l.Tasks.Within(run.First, l.Tasks.End).Split(run.Count)
		held.todo = held.todo.Minus(tasks)
	}
	delete(e.replayed, l.Epoch)
	delete(e.orphans, l.Epoch)
	held.claim(l.Job)
	full := len(e.leases) >= e.config.LeasesMax
	e.leases[l.Epoch] = held
	e.metrics.held.Set(float64(len(e.leases)))
	cause, program, err := e.welcome(l, &spec, full)
	held.job = e.joinJob(l.Job, spec, program, cause == ledger.CauseNone && j.State != ledger.JobStopping)
	switch {
	case j.State == ledger.JobStopping:
		held.kill()
	case cause != ledger.CauseNone:
		e.log.Info("lease is refused", "epoch", l.Epoch, "job", l.Job, "cause", cause, "err", err)
		held.handBack(true, cause)
	case held.left() == 0:
		e.settle(held)
	default:
		held.start()
		notify(e.kicked)
		return
	}
	held.letGo()
	e.leaveJob(held.job)
}

// welcome says whether a lease is taken: CauseNone, or why it is refused.
func (e *Executor) welcome(l *ledger.Lease, spec *ledger.JobSpec, full bool) (ledger.Cause, *jobspec.Program, error) {
	// What the operator does not want is said first: that may be over before anything else is.
	if e.config.Accept != nil {
		if cause := e.config.Accept(*l, *spec); cause != ledger.CauseNone {
			return cause, nil, errors.New("not accepted")
		}
	}
	switch {
	case e.away:
		return ledger.CauseRefused, nil, errHandedBack
	case full:
		e.metrics.limit("leases")
		return ledger.CauseFull, nil, fmt.Errorf("%w: %d", ErrLeases, e.config.LeasesMax)
	case spec.Task.Slots > e.config.Slots:
		e.metrics.limit("slots")
		return ledger.CauseFull, nil, fmt.Errorf("%w: %d of %d", ErrSlots, spec.Task.Slots, e.config.Slots)
	}
	program, err := jobspec.DecodeProgram(spec.Payload)
	if err != nil {
		return ledger.CauseRefused, nil, err
	}
	return ledger.CauseNone, program, nil
}

// refuse hands a lease back that cannot be worked on here.
func (e *Executor) refuse(l *lease, cause ledger.Cause, err error) {
	e.log.Warn("lease is refused", "epoch", l.epoch, "job", l.job.id, "cause", cause, "err", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	l.handBack(true, cause)
}
