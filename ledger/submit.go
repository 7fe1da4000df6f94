package ledger

import "bytes"

func (c *Submit) apply(s *session) Result {
	spec := &c.Spec
	if r := spec.check(); r.Code != CodeOK {
		return r
	}
	t := s.tenant(spec.Tenant)
	switch {
	case t == nil:
		return refuse(CodeTenantUnknown, string(spec.Tenant))
	case s.job(c.Job) != nil:
		return refuse(CodeJobExists, c.Job.String())
	case spec.Band > t.BandMax:
		return over(CodeBandCeiling, "band", uint64(spec.Band), uint64(t.BandMax))
	}
	if r := t.permit(spec); r.Code != CodeOK {
		return r
	}
	if r := t.admit(spec.Count, spec.FuelMax); r.Code != CodeOK {
		return r
	}
	if r := s.admitToday(t, spec); r.Code != CodeOK {
		return r
	}
	if r := s.secrets(spec); r.Code != CodeOK {
		return r
	}
	waits, r := s.dependencies(spec)
	if r.Code != CodeOK {
		return r
	}
	if !s.refer(spec.Module, 1) {
		return refuse(CodeModuleUnknown, spec.Module.String())
	}
	j := &heldJob{spec: spec, Job: Job{
		ID: c.Job, Tenant: spec.Tenant, Band: spec.Band, Count: spec.Count,
		Created: s.now, DependsOn: uint32(len(waits)),
	}}
	s.jobs.put(c.Job, j)
	s.save(keySpec(c.Job), spec)
	if len(spec.Payload) > 0 {
		s.set(keyPayload(c.Job), spec.Payload)
	}
	s.index(keyTenantJob(spec.Tenant, c.Job))
	j.Tasks[TaskWaiting] = spec.Count
	t.FuelReserved += uint64(spec.Count) * spec.FuelMax
	t.Queued += uint64(spec.Count)
	t.Jobs++
	s.note(j, Event{Kind: EventSubmitted, Count: spec.Count})
	s.addPending(j, Pending{Phase: PhaseWaiting, Tasks: Tasks(0, spec.Count)})
	if spec.TotalNanos > 0 {
		s.arm(s.now+Time(spec.TotalNanos), timerTotalDeadline, j.ID[:])
	}
	for _, dep := range waits {
		dep.Dependents++
		s.index(keyDependent(dep.ID, c.Job))
	}
	if len(waits) == 0 {
		s.activate(j)
	}
	return Result{}
}

// dependencies returns the jobs that the spec names and waits for: those that
// have not ended, or none when it need not wait any more.
func (s *session) dependencies(spec *JobSpec) ([]*heldJob, Result) {
	var waits []*heldJob
	var succeeded, failed *heldJob
	for _, id := range spec.After {
		dep := s.job(id)
		switch {
		case dep == nil:
			return nil, refuse(CodeDependencyUnknown, id.String())
		case !dep.State.Final():
			waits = append(waits, dep)
		case dep.State == JobSucceeded:
			succeeded = dep
		case !spec.AfterAny && !spec.AfterOne:
			return nil, refuse(CodeDependencyFailed, id.String())
		default:
			failed = dep
		}
	}
	switch {
	case spec.AfterOne && succeeded != nil:
		return nil, Result{}
	case spec.AfterOne && failed != nil && len(waits) == 0:
		return nil, refuse(CodeDependencyFailed, failed.ID.String())
	}
	return waits, Result{}
}

// activate makes a waiting job's tasks ready.
func (s *session) activate(j *heldJob) {
	p := s.pending(j.ID, PhaseWaiting, 0)
	s.removePending(j, p)
	j.State, j.Queued = JobActive, s.now
	s.move(j, TaskWaiting, TaskQueued, p.Tasks.Count())
	s.addPending(j, Pending{Tasks: p.Tasks})
	if wait := s.specOf(j).QueueNanos; wait > 0 {
		s.arm(s.now+Time(wait), timerQueueDeadline, j.ID[:])
	}
	s.note(j, Event{Kind: EventQueued, Count: j.Count})
}

// check refuses a spec that is wrong by itself.
func (s *JobSpec) check() Result {
	r := s.Retry
	for _, limit := range []struct {
		what         string
		n, low, high uint64
	}{
		{"count", uint64(s.Count), 1, CountMax},
		{"band", uint64(s.Band), 0, BandTop},
		{"memory_bytes", s.Task.MemoryBytes, 0, AmountMax},
		{"fuel_rate", s.Task.FuelRate, 0, AmountMax},
		{"scratch_bytes", s.Task.ScratchBytes, 0, AmountMax},
		{"slots", uint64(s.Task.Slots), 1, TaskSlotsMax},
		{"fuel_max", s.FuelMax, 1, 1<<64 - 1},
		{"attempts_max", uint64(r.AttemptsMax), 1, AttemptsMax},
		{"losses_max", uint64(r.LossesMax), 0, AttemptsMax},
		// A negative number is a large one.
		{"backoff", uint64(r.BackoffNanos), 0, uint64(SpanMax)},
		{"backoff_max", uint64(r.BackoffMaxNanos), uint64(r.BackoffNanos), uint64(SpanMax)},
		{"queue", uint64(s.QueueNanos), 0, uint64(SpanMax)},
		{"total", uint64(s.TotalNanos), 0, uint64(SpanMax)},
		{"loss_grace", uint64(s.LossGraceNanos), 0, uint64(SpanMax)},
		{"constraints", uint64(len(s.Constraints)), 0, ConstraintsMax},
		{"features", uint64(len(s.Features)), 0, FeaturesMax},
		{"after", uint64(len(s.After)), 0, AfterMax},
		{"retention", uint64(s.Retention()), uint64(RetentionMinNanos), uint64(RetentionMaxNanos)},
		{"spares", uint64(s.SparesMax), 0, SparesLimit},
		{"timeout", uint64(s.TimeoutNanos), 0, uint64(SpanMax)},
		{"spread_label", uint64(len(s.SpreadLabel)), 0, TextBytesMax},
		{"payload", uint64(len(s.Payload)), 0, PayloadBytesMax},
	} {
		if limit.n < limit.low || limit.n > limit.high {
			return outside(limit.what, limit.n, limit.low, limit.high)
		}
	}
	return s.checkLists()
}

func (s *JobSpec) checkLists() Result {
	if !validTenant(s.Tenant) {
		return refuse(CodeInvalid, "tenant")
	}
	for _, c := range s.Constraints {
		if !validText(c.Label) || len(c.Value) > TextBytesMax {
			return refuse(CodeInvalid, "constraint "+clip(c.Label))
		}
	}
	for _, f := range s.Features {
		if !validText(f) {
			return refuse(CodeInvalid, "feature "+clip(f))
		}
	}
	if r := s.checkSecrets(); r.Code != CodeOK {
		return r
	}
	if r := s.checkLabels(); r.Code != CodeOK {
		return r
	}
	if s.AfterAny && s.AfterOne {
		return refuse(CodeInvalid, "after")
	}
	for i, id := range s.After {
		for _, other := range s.After[:i] {
			if bytes.Equal(id[:], other[:]) {
				return refuse(CodeInvalid, "after "+id.String())
			}
		}
	}
	return Result{}
}
