package ledger

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A spare is a second attempt at a task that takes long where it is: a lease of
// that one task on another node, beside the lease whose task it is. The task is
// counted with the latter. Whichever ends it first has ended it; when the lease
// gives the task up in any way, the spare is its lease from then on.

// placeSpare grants a spare.
func (s *session) placeSpare(j *heldJob, n *heldNode, p *Placement) Item {
	spec, t := s.specOf(j), s.tenant(j.Tenant)
	if p.Count != 1 {
		return Item{Code: CodeInvalid}
	}
	l := s.leaseOf(j.ID, p.Start)
	switch {
	case l == nil || j.Spares >= spec.SparesMax || s.get(keySpare(j.ID, p.Start)) != nil:
		return Item{Code: CodeRangeUnknown}
	case l.Node == n.ID || slices.Contains(l.Avoid, n.ID):
		return Item{Code: CodeAvoided}
	}
	// Both may burn all that one task may.
	held, carry := bits.Add64(addMax(t.FuelReserved, t.FuelUsed), spec.FuelMax, 0)
	if carry != 0 || t.Quota.FuelTotal != 0 && held > t.Quota.FuelTotal {
		return Item{Code: CodeQuotaFuel}
	}
	if limit := t.Quota.FuelPerDay; limit != 0 && addMax(held, s.today(t.ID).Usage.Fuel) > limit {
		return Item{Code: CodeQuotaDay}
	}
	if code := s.fits(j, n, 1); code != CodeOK {
		return Item{Code: code}
	}
	s.meta().Epoch++
	spare := &Lease{
		Node: n.ID, Epoch: s.meta().Epoch, Job: j.ID, Tasks: Tasks(p.Start, p.Start+1), Open: Tasks(p.Start, p.Start+1), Slots: 1,
		Granted: s.now, Expiry: p.Expiry, Timer: p.Expiry, Attempt: l.Attempt, Losses: l.Losses, Avoid: l.Avoid, Preempted: l.Preempted, Spare: true,
	}
	t.FuelReserved += spec.FuelMax
	j.Spares++
	s.occupy(j, n, spare)
	s.set(keySpare(j.ID, p.Start), append(binary.BigEndian.AppendUint64(nil, uint64(spare.Epoch)), n.ID...))
	s.noteLease(j, spare, spare.Tasks, Event{Kind: EventSpare})
	return Item{Epoch: spare.Epoch, Count: 1}
}

// sparesOf returns the spares of tasks, of which a job has at most SparesMax.
func (r reader) sparesOf(j *Job, tasks Range) (list []*Lease) {
	if j.Spares == 0 || tasks.Empty() {
		return nil
	}
	var names []leaseName
	r.scan(prefixSpare(j.ID), keySpare(j.ID, tasks.First), func(key, value []byte) bool {
		task, name := parseSpare(key, value)
		if tasks.Has(task) {
			names = append(names, name)
		}
		return task < tasks.End
	})
	for _, name := range names {
		l := &Lease{}
		r.load(keyLease(name.node, name.epoch), l)
		list = append(list, l)
	}
	return list
}

// dropSpares ends the spares of tasks that have ended, or whose job was stopped.
func (s *session) dropSpares(j *heldJob, tasks Range) {
	for _, l := range s.sparesOf(&j.Job, tasks) {
		s.dropSpare(j, l)
	}
}

// dropSpare ends a spare; its task stays where it is.
func (s *session) dropSpare(j *heldJob, l *Lease) {
	s.vacate(j, l, l.Slots)
	s.unspare(j, l)
	s.forgetLease(l)
}

// failSpare does so because of something that has happened to the spare.
func (s *session) failSpare(j *heldJob, l *Lease, cause Cause) {
	s.dropSpare(j, l)
	s.noteLease(j, l, l.Open, Event{Kind: EventSpare, Cause: cause})
}

// unspare takes a lease off the list of spares.
func (s *session) unspare(j *heldJob, l *Lease) {
	s.delete(keySpare(j.ID, l.Tasks.First))
	s.tenant(j.Tenant).FuelReserved -= s.specOf(j).FuelMax
	j.Spares--
}

// promote makes the spares of tasks that lease l gives up their leases, with the
// attempts and losses that the tasks would wait with. It returns the tasks.
func (s *session) promote(j *heldJob, l *Lease, tasks Range, to Pending) (kept Range) {
	for _, spare := range s.sparesOf(&j.Job, tasks) {
		s.unspare(j, spare)
		spare.Spare = false
		spare.Attempt, spare.Losses, spare.Avoid = to.Attempt, to.Losses, to.Avoid
		spare.Preempted = l.Preempted
		j.Leases++
		s.move(j, l.State.task(), spare.State.task(), 1)
		s.saveLease(spare)
		s.listLease(spare)
		s.noteLease(j, spare, spare.Open, Event{Kind: EventPlaced})
		kept = kept.Union(spare.Tasks)
	}
	return kept
}

// reportSpare settles the run of a spare. One that fails, and could be tried
// again, has cost its fuel and changes nothing else.
func (s *session) reportSpare(j *heldJob, l *Lease, runs []Run) Item {
	item := Item{}
	for i := range runs {
		run := &runs[i]
		if run.First != l.Tasks.First || run.Count != 1 || item.Count > 0 {
			item.Code = CodeSettled
			continue
		}
		item.Count = 1
		s.charge(j, run)
		cause := CauseNone
		switch {
		case run.State == TaskRefused:
			cause = CauseRefused
		case run.State == TaskFailed && run.Terminal:
			cause = CauseOutcome
		case run.State != TaskSucceeded:
			s.failSpare(j, l, CauseOutcome)
			item.Code = CodeSettled
			continue
		}
		s.settleBySpare(j, l, run, cause)
	}
	return item
}

// settleBySpare makes the task of a spare final, and takes it from its lease.
func (s *session) settleBySpare(j *heldJob, l *Lease, run *Run, cause Cause) {
	task := l.Tasks
	if run.Digest != [32]byte{} {
		s.save(keyOutput(j.ID, task.First, l.Epoch), &Output{task, run.State, l.Node, l.Epoch, run.Digest})
		s.store(j, run)
	}
	first := s.leaseOf(j.ID, task.First)
	first.Open, first.Elsewhere = first.Open.Minus(task), first.Elsewhere.Union(task)
	e := Ending{State: run.State, Cause: cause, Exit: run.Exit, Tasks: task}
	s.record(j, e)
	s.move(j, first.State.task(), e.State, 1)
	s.noteLease(j, l, task, Event{Kind: EventEnded, State: e.State, Cause: e.Cause, Exit: e.Exit})
	s.dropSpare(j, l)
	s.settleLease(j, first)
}
