package ledger

import "slices"

func (c *Begin) apply(s *session) Result {
	return s.eachLease(c.Node, c.Epochs, func(_ int, j *heldJob, l *Lease) Item {
		if j.State == JobStopping {
			return Item{Code: CodeStopped}
		}
		if !l.Begun {
			l.Begun = true
			if l.State == LeaseGranted {
				s.setLeaseState(j, l, LeaseRunning)
				s.noteLease(j, l, l.Open, Event{Kind: EventRunning})
			}
			s.saveLease(l)
		}
		return Item{Epoch: l.Epoch, Count: l.Open.Count()}
	})
}

func (c *Renew) apply(s *session) Result {
	if c.Expiry <= s.now || c.Expiry > s.now+SpanMax {
		return outside("expiry", uint64(c.Expiry), uint64(s.now)+1, uint64(s.now+SpanMax))
	}
	return s.eachLease(c.Node, c.Epochs, func(_ int, j *heldJob, l *Lease) Item {
		if j.State == JobStopping {
			return Item{Code: CodeStopped}
		}
		if l.State == LeaseUnreachable {
			state := LeaseGranted
			if l.Begun {
				state = LeaseRunning
			}
			s.setLeaseState(j, l, state)
			s.noteLease(j, l, l.Open, Event{Kind: EventReturned})
		}
		l.Expiry = c.Expiry
		if l.Notice != 0 {
			l.Expiry = min(l.Expiry, l.Notice+NoticeLateNanos)
		}
		// A timer that is early is put right when it fires, so that a renewal
		// costs one write.
		if l.Timer > l.Expiry {
			s.setLeaseTimer(l, l.Expiry)
		}
		s.saveLease(l)
		return Item{Epoch: l.Epoch, Count: l.Open.Count()}
	})
}

func (c *Release) apply(s *session) Result {
	if c.Cause < CauseReleased || c.Cause > CausePreempted {
		return outside("cause", uint64(c.Cause), uint64(CauseReleased), uint64(CausePreempted))
	}
	if n := len(c.Parts); n > 0 && n != len(c.Epochs) {
		return outside("parts", uint64(n), uint64(len(c.Epochs)), uint64(len(c.Epochs)))
	}
	return s.eachLease(c.Node, c.Epochs, func(i int, j *heldJob, l *Lease) Item {
		tasks := l.Open
		if len(c.Parts) > 0 {
			tasks = l.Open.Minus(l.Open.Minus(c.Parts[i]))
		}
		n := tasks.Count()
		if n == 0 {
			return Item{Code: CodeSettled}
		}
		s.giveBack(j, l, tasks, c.Cause, Pending{Attempt: l.Attempt, Losses: l.Losses, Avoid: l.Avoid})
		return Item{Epoch: l.Epoch, Count: n}
	})
}

func (c *RefuseLease) apply(s *session) Result {
	cause := c.Cause
	switch cause {
	case CauseNone:
		cause = CauseRefused
	case CauseRefused, CauseFull, CauseModule, CausePreference:
	default:
		return refuse(CodeInvalid, "cause")
	}
	return s.eachLease(c.Node, c.Epochs, func(_ int, j *heldJob, l *Lease) Item {
		n := l.Open.Count()
		s.giveBack(j, l, l.Open, cause, Pending{
			Attempt: l.Attempt, Losses: l.Losses, NotBefore: s.now + RefusalNanos<<l.Refusals, Avoid: avoid(l.Avoid, l.Node), Refusals: l.Refusals,
		})
		return Item{Epoch: l.Epoch, Count: n}
	})
}

// eachLease calls do for each of a node's leases that are still its own. The
// others have gone to somebody else, or have ended.
func (s *session) eachLease(node NodeID, epochs []Epoch, do func(int, *heldJob, *Lease) Item) Result {
	if len(epochs) > ItemsMax {
		return over(CodeTooMany, "leases", uint64(len(epochs)), ItemsMax)
	}
	if s.node(node) == nil {
		return refuse(CodeNodeUnknown, string(clip(node)))
	}
	r := Result{Items: make([]Item, len(epochs))}
	for i, epoch := range epochs {
		var l Lease
		if !s.load(keyLease(node, epoch), &l) {
			r.Items[i] = Item{Code: CodeStaleLease, Epoch: epoch}
			continue
		}
		item := do(i, s.job(l.Job), &l)
		item.Epoch = epoch
		r.Items[i] = item
	}
	return r
}

// giveBack queues open tasks of a lease as to says; those of a job that was stopped
// are killed. The lease ends when it has none left.
func (s *session) giveBack(j *heldJob, l *Lease, tasks Range, cause Cause, to Pending) {
	if l.Spare {
		s.failSpare(j, l, cause)
		return
	}
	l.Open = l.Open.Minus(tasks)
	if j.State != JobStopping {
		tasks = tasks.Minus(s.promote(j, l, tasks, to))
	}
	switch {
	case tasks.Empty():
	case j.State == JobStopping:
		s.end(j, l, Ending{State: TaskKilled, Cause: j.Cause, Tasks: tasks})
	default:
		to.Tasks, to.Cause, to.Preempted = tasks, cause, l.Preempted
		if cause == CausePreempted {
			to.Preempted, to.For = s.now, l.For
		}
		s.move(j, l.State.task(), TaskQueued, tasks.Count())
		s.addPending(j, to)
		s.noteLease(j, l, tasks, Event{Kind: EventRequeued, Cause: cause, Until: to.NotBefore, Band: to.For})
	}
	s.settleLease(j, l)
}

// lose ends a lease whose node does not answer, CauseLost, or is gone, CauseGone.
func (s *session) lose(l *Lease, cause Cause) {
	j := s.job(l.Job)
	if !l.Spare && j.State != JobStopping && l.Losses >= s.specOf(j).Retry.LossesMax {
		l.Open = l.Open.Minus(s.promote(j, l, l.Open, Pending{Attempt: l.Attempt, Losses: l.Losses, Avoid: avoid(l.Avoid, l.Node)}))
		s.end(j, l, Ending{State: TaskFailed, Cause: cause, Tasks: l.Open})
		l.Open = Range{}
		s.settleLease(j, l)
		return
	}
	s.giveBack(j, l, l.Open, cause, Pending{Attempt: l.Attempt, Losses: l.Losses + 1, Avoid: avoid(l.Avoid, l.Node)})
}

// end makes tasks of a lease final; the caller takes them out of Open.
func (s *session) end(j *heldJob, l *Lease, e Ending) {
	if e.Tasks.Empty() {
		return
	}
	s.record(j, e)
	s.dropSpares(j, e.Tasks)
	s.move(j, l.State.task(), e.State, e.Tasks.Count())
	s.noteLease(j, l, e.Tasks, Event{Kind: EventEnded, State: e.State, Cause: e.Cause, Exit: e.Exit})
}

// settleLease stores a lease after some of its tasks have left it: it gives
// back slots that it cannot fill any more, and ends when it has no task left.
func (s *session) settleLease(j *heldJob, l *Lease) {
	if slots := min(l.Slots, l.Open.Count()); slots < l.Slots {
		s.vacate(j, l, l.Slots-slots)
		l.Slots = slots
	}
	if !l.Open.Empty() {
		s.saveLease(l)
		return
	}
	s.delete(keyJobLease(j.ID, l.Tasks.First, l.Epoch))
	s.forgetLease(l)
	j.Leases--
	s.finishWhenDone(j)
}

// vacate gives back slots of a lease.
func (s *session) vacate(j *heldJob, l *Lease, slots uint32) {
	free := s.specOf(j).Task.Times(slots)
	n, t := s.node(l.Node), s.tenant(j.Tenant)
	n.Reserved = n.Reserved.Minus(free)
	t.Leased = t.Leased.Minus(free)
	t.Rate -= l.Rate * uint64(slots)
}

// forgetLease deletes a lease of which no slots are left.
func (s *session) forgetLease(l *Lease) {
	s.delete(keyLease(l.Node, l.Epoch))
	s.disarm(l.Timer, timerLease, whatLease(l.Node, l.Epoch))
	s.node(l.Node).Leases--
}

func (s *session) saveLease(l *Lease) { s.save(keyLease(l.Node, l.Epoch), l) }

func (s *session) setLeaseState(j *heldJob, l *Lease, state LeaseState) {
	if !l.Spare {
		s.move(j, l.State.task(), state.task(), l.Open.Count())
	}
	l.State = state
}

func (s *session) setLeaseTimer(l *Lease, at Time) {
	s.disarm(l.Timer, timerLease, whatLease(l.Node, l.Epoch))
	l.Timer = at
	s.arm(at, timerLease, whatLease(l.Node, l.Epoch))
}

// avoid adds a node to the latest AvoidMax.
func avoid(nodes []NodeID, n NodeID) []NodeID {
	list := slices.DeleteFunc(slices.Clone(nodes), func(other NodeID) bool { return other == n })
	list = append(list, n)
	return list[max(0, len(list)-AvoidMax):]
}
