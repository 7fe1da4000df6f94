package ledger

import "slices"

func (c *Report) apply(s *session) Result {
	runs := 0
	for _, l := range c.Leases {
		runs += len(l.Runs)
	}
	if runs > ItemsMax || len(c.Leases) > ItemsMax {
		return over(CodeTooMany, "runs", uint64(max(runs, len(c.Leases))), ItemsMax)
	}
	for _, l := range c.Leases {
		for _, run := range l.Runs {
			if !run.State.Final() || run.Count == 0 || run.Exit == ExitVarious || run.StoredBytes > AmountMax {
				return refuse(CodeInvalid, "run")
			}
		}
	}
	if n := s.node(c.Node); n != nil && n.Key != [32]byte{} {
		if s.receipt = c.SignedBy(n.Key); !s.receipt {
			return refuse(CodeSignature, string(clip(c.Node)))
		}
	}
	epochs := make([]Epoch, len(c.Leases))
	for i, l := range c.Leases {
		epochs[i] = l.Epoch
	}
	return s.eachLease(c.Node, epochs, func(i int, j *heldJob, l *Lease) Item {
		if l.Spare {
			return s.reportSpare(j, l, c.Leases[i].Runs)
		}
		return s.report(j, l, c.Leases[i].Runs)
	})
}

// tally gathers the runs of a report by what becomes of their tasks, so that
// each record is written once however many runs there are.
type tally struct {
	ended   []Ending
	retried Range
}

// report settles runs of a lease. A run whose tasks are not all open under this
// lease was counted before, or is wrong: it is left out as a whole.
func (s *session) report(j *heldJob, l *Lease, runs []Run) Item {
	var t tally
	item := Item{}
	for i := range runs {
		run := &runs[i]
		tasks, _ := l.Tasks.Within(run.First, l.Tasks.End).Split(run.Count)
		if tasks.Count() != run.Count || !l.Open.Contains(tasks.Minus(l.Elsewhere)) {
			item.Code = CodeSettled
			continue
		}
		item.Count += run.Count
		s.charge(j, run)
		late := tasks.Minus(l.Open)
		l.Elsewhere = l.Elsewhere.Minus(late)
		if tasks = tasks.Minus(late); tasks.Empty() {
			// It has cost its fuel, and its output is not the tasks'.
			item.Code = CodeSettled
			continue
		}
		l.Open = l.Open.Minus(tasks)
		if run.Digest != [32]byte{} {
			s.save(keyOutput(j.ID, tasks.First, l.Epoch), &Output{tasks, run.State, l.Node, l.Epoch, run.Digest})
			s.store(j, run)
		}
		cause := s.finality(j, l, run)
		if run.State == TaskFailed && cause == CauseNone {
			t.retried = t.retried.Union(tasks)
			continue
		}
		t.ended = gather(t.ended, Ending{run.State, cause, run.Exit, tasks})
	}
	if item.Count == 0 {
		return item
	}
	for _, e := range t.ended {
		s.end(j, l, e)
	}
	t.retried = t.retried.Minus(s.promote(j, l, t.retried, Pending{Attempt: l.Attempt + 1, Losses: l.Losses, Avoid: avoid(l.Avoid, l.Node)}))
	if !t.retried.Empty() {
		s.retry(j, l, t.retried)
	}
	s.settleLease(j, l)
	return item
}

// charge books what a run has cost. No task can have burnt more than it may.
func (s *session) charge(j *heldJob, run *Run) {
	usage := run.Usage
	usage.Fuel = min(usage.Fuel, uint64(run.Count)*s.specOf(j).FuelMax)
	t := s.tenant(j.Tenant)
	t.FuelUsed = addMax(t.FuelUsed, usage.Fuel)
	j.Usage.Add(usage)
	a := s.account(j.Tenant)
	a.Usage.Add(usage)
	if s.receipt && usage != (Usage{}) {
		a.Receipts.Add(usage)
		s.chargeModule(j, a, usage)
		s.chargeDay(j, usage)
	}
}

// finality says why the tasks of a run get no other attempt; CauseNone is that
// they have succeeded, or failed and get one. A tenant whose fuel is used or reserved to the
// last unit gets none: what an attempt has burnt that failed is gone, and the
// next one would need as much again.
func (s *session) finality(j *heldJob, l *Lease, run *Run) Cause {
	switch {
	case run.State == TaskSucceeded:
		return CauseNone
	case run.State == TaskRefused:
		return CauseRefused
	case j.State == JobStopping:
		return j.Cause
	case run.State == TaskKilled:
		return CauseOutcome
	case run.Terminal || l.Attempt+1 >= s.specOf(j).Retry.AttemptsMax:
		return CauseOutcome
	case s.tenant(j.Tenant).overdrawn():
		return CauseBudget
	}
	return CauseNone
}

// retry queues tasks that failed for another attempt, after a wait. Failures
// under one lease gather in one range, so that a report of a single task does
// not make a record of its own: a task joins the range when that leaves it at
// least half of its own wait.
func (s *session) retry(j *heldJob, l *Lease, tasks Range) {
	s.move(j, l.State.task(), TaskQueued, tasks.Count())
	wait := max(s.specOf(j).Retry.wait(l.Attempt+1), s.untilRenewed(s.tenant(j.Tenant)))
	p := Pending{Tasks: tasks, Attempt: l.Attempt + 1, Losses: l.Losses, Cause: CauseOutcome, NotBefore: s.now + wait, Avoid: avoid(l.Avoid, l.Node), Preempted: l.Preempted}
	phase := PhaseReady
	if wait > 0 {
		phase = PhaseBackoff
	}
	if with := s.pendingOf(l, phase); with != nil && with.joins(&p, wait, s.now) {
		s.removePending(j, with)
		p.Tasks, p.NotBefore = p.Tasks.Union(with.Tasks), with.NotBefore
	}
	s.addPending(j, p)
	l.retries, l.retry = true, p.Tasks.First
	s.noteLease(j, l, tasks, Event{Kind: EventRequeued, Cause: CauseOutcome, Until: p.NotBefore})
}

// pendingOf returns the range in which tasks wait that failed under the lease, or
// nil.
func (s *session) pendingOf(l *Lease, phase Phase) *Pending {
	if !l.retries {
		return nil
	}
	return s.pending(l.Job, phase, l.retry)
}

// joins reports whether q, which would wait for wait from now on, may join p.
func (p *Pending) joins(q *Pending, wait, now Time) bool {
	span := max(p.Tasks.End, q.Tasks.End) - min(p.Tasks.First, q.Tasks.First)
	return p.Attempt == q.Attempt && p.Losses == q.Losses && p.Cause == q.Cause && p.Preempted == q.Preempted && slices.Equal(p.Avoid, q.Avoid) &&
		span <= LeaseTasksMax && (wait == 0 || p.NotBefore >= now+wait/2)
}

// wait returns the back-off after the given number of failed attempts, from 1.
func (r Retry) wait(failed uint32) Time {
	wait := r.BackoffNanos
	for ; failed > 1 && wait < r.BackoffMaxNanos; failed-- {
		wait *= 2
	}
	return Time(min(wait, r.BackoffMaxNanos))
}
