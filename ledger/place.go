package ledger

import (
	"encoding/binary"
	"slices"
)

func (c *Place) apply(s *session) Result {
	if len(c.Placements) > ItemsMax {
		return over(CodeTooMany, "placements", uint64(len(c.Placements)), ItemsMax)
	}
	r := Result{Items: make([]Item, len(c.Placements))}
	for i := range c.Placements {
		r.Items[i] = s.place(&c.Placements[i])
	}
	return r
}

// place accepts a placement against what is committed, or refuses it: the plan
// may be older than the state.
func (s *session) place(p *Placement) Item {
	j, n := s.job(p.Job), s.node(p.Node)
	switch {
	case j == nil:
		return Item{Code: CodeJobUnknown}
	case j.State != JobActive:
		return Item{Code: CodeJobState}
	case n == nil:
		return Item{Code: CodeNodeUnknown}
	case n.State != NodeUp:
		return Item{Code: CodeNodeState}
	case p.Count == 0 || p.Count > LeaseTasksMax || p.Slots == 0 || p.Slots > p.Count, p.Refusals > RefusalsTop,
		p.Expiry <= s.now || p.Expiry > s.now+SpanMax:
		return Item{Code: CodeInvalid}
	}
	if p.Spare {
		return s.placeSpare(j, n, p)
	}
	from := s.pending(j.ID, PhaseReady, p.Start)
	if from == nil {
		return Item{Code: CodeRangeUnknown}
	}
	if p.Heed && slices.Contains(from.Avoid, n.ID) {
		return Item{Code: CodeAvoided}
	}
	tasks, rest := from.Tasks.Split(p.Count)
	slots := min(p.Slots, tasks.Count())
	if code := s.fits(j, n, slots); code != CodeOK {
		return Item{Code: code}
	}
	s.removePending(j, from)
	if !rest.Empty() {
		s.addPending(j, Pending{Tasks: rest, Attempt: from.Attempt, Losses: from.Losses, Cause: from.Cause, Avoid: from.Avoid, Preempted: from.Preempted, For: from.For, Refusals: from.Refusals})
	}
	s.meta().Epoch++
	l := &Lease{
		Node: n.ID, Epoch: s.meta().Epoch, Job: j.ID, Tasks: tasks, Open: tasks, Slots: slots,
		Granted: s.now, Expiry: p.Expiry, Timer: p.Expiry,
		Attempt: from.Attempt, Losses: from.Losses, Avoid: from.Avoid, Preempted: from.Preempted, Refusals: p.Refusals,
	}
	s.grant(j, n, l)
	return Item{Epoch: l.Epoch, Count: tasks.Count()}
}

// fits checks a placement's demands but for Avoid, which is advice.
func (s *session) fits(j *heldJob, n *heldNode, slots uint32) Code {
	spec := s.specOf(j)
	for _, c := range spec.Constraints {
		if !n.Meets(c) {
			return CodeConstraint
		}
	}
	for _, f := range spec.Features {
		if !n.Offers(f) {
			return CodeFeature
		}
	}
	take := spec.Task.Times(slots)
	if !take.Fits(n.Capacity.Minus(n.Reserved)) {
		return CodeCapacity
	}
	t := s.tenant(j.Tenant)
	if limit := t.Quota.MemoryBytes; limit != 0 && t.Leased.MemoryBytes+take.MemoryBytes > limit {
		return CodeQuotaMemory
	}
	if limit := t.Quota.FuelRate; limit != 0 && addMax(t.Rate, uint64(slots-1)*TaskRate(&spec.Task, &n.Node)) >= limit {
		return CodeQuotaRate
	}
	return CodeOK
}

// grant stores a new lease.
func (s *session) grant(j *heldJob, n *heldNode, l *Lease) {
	if at, ok := j.queueDeadline(s.specOf(j)); ok {
		s.disarm(at, timerQueueDeadline, j.ID[:])
	}
	if j.Placed == 0 {
		j.Placed = s.now
	}
	j.Fresh = max(j.Fresh, l.Tasks.End)
	j.Leases++
	s.move(j, TaskQueued, TaskLeased, l.Tasks.Count())
	s.occupy(j, n, l)
	s.listLease(l)
	s.noteLease(j, l, l.Tasks, Event{Kind: EventPlaced})
}

// occupy stores a new lease and takes what it needs on its node.
func (s *session) occupy(j *heldJob, n *heldNode, l *Lease) {
	take := s.specOf(j).Task.Times(l.Slots)
	n.Reserved = n.Reserved.Plus(take)
	t := s.tenant(j.Tenant)
	t.Leased = t.Leased.Plus(take)
	if t.Quota.FuelRate != 0 {
		l.Rate = TaskRate(&s.specOf(j).Task, &n.Node)
		t.Rate += l.Rate * uint64(l.Slots)
	}
	n.Leases++
	s.saveLease(l)
	s.arm(l.Timer, timerLease, whatLease(l.Node, l.Epoch))
}

// listLease puts a lease on the list of its job's.
func (s *session) listLease(l *Lease) {
	s.set(keyJobLease(l.Job, l.Tasks.First, l.Epoch), append(binary.BigEndian.AppendUint32(nil, l.Tasks.End), l.Node...))
}
