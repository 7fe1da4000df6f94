package executor

import (
	"errors"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// seriesTime is how long the tasks of a series may take together, by what the
// last ones took: short enough that a slot is given back soon, long enough that
// starting them costs little beside it.
const seriesTime = 10 * time.Millisecond

// pace is how many tasks of a job are run in one series, guarded by Executor.mu.
// It begins with one, at most doubles, and stays one when the job has cost a
// worker: then it shall be known which task did it.
type pace struct {
	length int
	alone  bool
}

func (p *pace) next() int { return max(p.length, 1) }

// note takes in that n tasks took so long.
func (p *pace) note(n int, took time.Duration) {
	most := min(2*n, worker.SeriesMax)
	if took > 0 {
		most = int(min(time.Duration(most), seriesTime*time.Duration(n)/took))
	}
	if p.alone {
		most = 1
	}
	p.length = max(most, 1)
}

// series are tasks of a lease that are run one after the other.
type series struct {
	l *lease
	// environ are variables whose values are secrets.
	environ []string
	tasks   []worker.Task
	ends    []ended
	given   []*given

	// run tells it from other runs under the lease; 0 goes on with one that an earlier
	// process has begun.
	run uint64
	// feed tells those who follow a task. It guards phases.
	feed   feed
	phases []phase
}

// attemptTasks runs tasks that were taken out of the lease.
func (l *lease) attemptTasks(indexes []uint32) {
	environ, err := l.secrets()
	if err != nil {
		l.withhold(indexes, err)
		return
	}
	s := &series{
		l: l, environ: environ, tasks: make([]worker.Task, 0, len(indexes)),
		ends: make([]ended, len(indexes)), given: make([]*given, 0, len(indexes)), phases: make([]phase, len(indexes)),
	}
	for i, index := range indexes {
		if !s.add(index) {
			l.pushBack(indexes[i:])
			break
		}
	}
	if len(s.tasks) > 0 {
		l.begin(s)
		defer l.over(s)
		l.e.config.Sandbox.RunSeries(l.ctx, string(l.job.spec.Tenant), l.image, s.tasks, s.ended, s.back)
	}
}

// add puts a task at the end of the series, or ends it here when it is to be
// refused. It reports false when what the task is to be given does not fit beside
// what the others are, or not at all: then the lease goes back.
func (s *series) add(index uint32) bool {
	l, j := s.l, s.l.job
	spec := j.program.Task(j.id, index, j.spec.Count, l.attempt)
	spec.Limits = spec.Limits.WithDefaults()
	spec.Limits.OutputBytes = min(spec.Limits.OutputBytes, l.e.config.OutputBytesMax)
	given, err := j.give(index)
	switch {
	case errors.Is(err, ErrInput):
		l.ended(refusedTask(l, index, err))
		return true
	case err != nil && len(s.tasks) == 0:
		l.handBackFor(err)
		return false
	case err != nil:
		return false
	}
	spec.Inputs, spec.Env = given.inputs, append(spec.Env, s.environ...)
	end := &s.ends[len(s.tasks)]
	*end = ended{
		l: l, index: index,
		out:  output{e: l.e, feed: &s.feed, max: spec.Limits.OutputBytes},
		errs: output{e: l.e, feed: &s.feed, max: spec.Limits.OutputBytes},
	}
	s.given = append(s.given, given)
	streams := worker.Streams{Stdin: given.stdin, Stdout: &end.out, Stderr: &end.errs}
	if out := l.e.config.Outbound; out != nil && spec.HTTP != nil {
		streams.Outbound = out(&j.spec, j.id, index, *spec.HTTP)
	}
	s.tasks = append(s.tasks, worker.Task{Spec: spec, Key: l.key(index), Notice: l.notice, Streams: streams})
	return true
}

// refusedTask is a task that no node can run.
func refusedTask(l *lease, index uint32, err error) ended {
	return ended{l: l, index: index, outcome: task.Outcome{Kind: task.Refused, Message: err.Error()}}
}

// ended takes the outcome of a task. When a series has cost the worker, its tasks
// are run again one by one: those that were not to blame end as they would have.
func (s *series) ended(i int, o task.Outcome) {
	s.given[i].close()
	end := s.ends[i]
	if o.Kind == task.WorkerLost && len(s.tasks) > 1 && s.l.ctx.Err() == nil {
		s.turn(i, phaseAgain)
		end.close()
		s.l.pushBack([]uint32{end.index})
		s.l.runAlone()
		return
	}
	end.outcome = o
	s.turn(i, phaseOver)
	s.l.ended(end)
}

// back takes tasks that have not begun.
func (s *series) back(from, to int) {
	indexes := make([]uint32, 0, to-from)
	for i := from; i < to; i++ {
		s.given[i].close()
		s.turn(i, phaseAgain)
		indexes = append(indexes, s.ends[i].index)
	}
	s.l.pushBack(indexes)
}

// handBackFor hands the lease back because a task cannot be given what it is to.
func (l *lease) handBackFor(err error) {
	cause := ledger.CauseModule
	switch {
	case errors.Is(err, ErrInputBytes):
		cause = ledger.CauseFull
	case len(l.job.program.Secrets) > 0:
		cause = ledger.CauseRefused
	}
	l.e.log.Warn("lease is handed back", "job", l.job.id, "epoch", l.epoch, "err", err)
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.handBack(true, cause)
}

// runAlone makes each further task of the job a series of its own.
func (l *lease) runAlone() {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.job.pace.alone, l.job.pace.length = true, 1
}
