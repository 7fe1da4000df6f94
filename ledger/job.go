package ledger

func (c *Cancel) apply(s *session) Result {
	j := s.job(c.Job)
	if j == nil {
		return refuse(CodeJobUnknown, c.Job.String())
	}
	if j.State.Final() || j.State == JobStopping {
		return refuse(CodeJobState, j.State.String())
	}
	s.stop(j, CauseCancelled, JobID{})
	return Result{}
}

// stop ends a job that is waiting or active: what waits is killed, by an errand
// because it may be many ranges; what is leased is waited for.
func (s *session) stop(j *heldJob, cause Cause, blame JobID) {
	s.disarmDeadlines(j)
	s.dropSpares(j, Tasks(0, j.Count))
	if j.DependsOn > 0 {
		s.forgetDependencies(j)
	}
	j.State, j.Cause, j.Blame, j.Stopped = JobStopping, cause, blame, s.now
	s.note(j, Event{Kind: EventStopped, Cause: cause})
	if j.Pending > 0 {
		s.later(errand{timerStop, j.Stopped, string(j.ID[:])})
	}
	s.finishWhenDone(j)
}

// killPending kills what waits of a job that was stopped, at most steps ranges,
// and returns how many.
func (s *session) killPending(j *heldJob, steps int) int {
	s.flushPending()
	keys := s.keys(prefixPending(j.ID), steps)
	var killed uint32
	for _, key := range keys {
		phase, first := parsePending(key)
		p := s.pending(j.ID, phase, first)
		s.removePending(j, p)
		n := p.Tasks.Count()
		s.move(j, p.Phase.task(), TaskKilled, n)
		j.Unlisted += n
		killed += n
	}
	if killed > 0 {
		s.note(j, Event{Kind: EventEnded, State: TaskKilled, Cause: j.Cause, Count: killed})
	}
	s.finishWhenDone(j)
	return len(keys)
}

// finishWhenDone ends the job when all of its tasks are final.
func (s *session) finishWhenDone(j *heldJob) {
	if j.Tasks.open() > 0 || j.State.Final() {
		return
	}
	s.disarmDeadlines(j)
	switch {
	case j.Tasks[TaskSucceeded] == j.Count:
		j.State = JobSucceeded
	case j.State == JobStopping:
		j.State = JobKilled
	case j.Tasks[TaskFailed]+j.Tasks[TaskRefused] > 0:
		j.State = JobFailed
	default:
		j.State = JobKilled
	}
	j.Finished = s.now
	s.tenant(j.Tenant).Jobs--
	s.delete(keyReasons(j.ID))
	s.arm(j.Finished+s.specOf(j).Retention(), timerPrune, j.ID[:])
	s.note(j, Event{Kind: EventFinished, Job: j.State, Cause: j.Cause})
	if j.Dependents > 0 {
		s.later(errand{timerDependents, j.Finished, string(j.ID[:])})
	}
	s.tellMaker(j)
}

// queueDeadline returns when the job's queue deadline is due, and whether there
// is one: it lasts from the job being queued to its first placement.
func (j *Job) queueDeadline(spec *JobSpec) (Time, bool) {
	return j.Queued + Time(spec.QueueNanos), spec.QueueNanos > 0 && j.State == JobActive && j.Placed == 0
}

// totalDeadline returns when the job has to have ended, and whether it has to.
func (j *Job) totalDeadline(spec *JobSpec) (Time, bool) {
	return j.Created + Time(spec.TotalNanos), spec.TotalNanos > 0 && (j.State == JobActive || j.State == JobWaiting)
}

// disarmDeadlines is called before the job's state changes to one without.
func (s *session) disarmDeadlines(j *heldJob) {
	spec := s.specOf(j)
	if at, ok := j.queueDeadline(spec); ok {
		s.disarm(at, timerQueueDeadline, j.ID[:])
	}
	if at, ok := j.totalDeadline(spec); ok {
		s.disarm(at, timerTotalDeadline, j.ID[:])
	}
}

// forgetDependencies takes a job that waits no longer out of the lists of those
// that it waited for, and returns how many they are.
func (s *session) forgetDependencies(j *heldJob) (lists int) {
	for _, id := range s.specOf(j).After {
		key := keyDependent(id, j.ID)
		dep := s.job(id)
		if dep == nil || s.get(key) == nil {
			continue
		}
		s.delete(key)
		dep.Dependents--
		j.DependsOn--
		lists++
	}
	return lists
}

// tellDependents tells the jobs that come after a job how that one ended, while
// they and the lists that they are taken out of are less than steps, and returns
// how many.
func (s *session) tellDependents(j *heldJob, steps int) (used int) {
	prefix := prefixDependent(j.ID)
	for _, key := range s.keys(prefix, steps) {
		if used >= steps {
			break
		}
		used++
		s.delete(key)
		j.Dependents--
		id := parseJob(key[len(prefix):])
		d := s.job(id)
		d.DependsOn--
		switch s.specOf(d).after(j.State, d.DependsOn) {
		case afterNever:
			s.stop(d, CauseDependency, j.ID)
		case afterNow:
			if d.DependsOn > 0 {
				used += s.forgetDependencies(d)
			}
			s.activate(d)
		}
	}
	return used
}

// What the end of a job that it comes after means for a job.
const (
	afterLater = iota // it goes on waiting
	afterNow          // it is queued
	afterNever        // it can never be queued any more
)

// after says what it means that a job of After has ended in a state while so many
// others of them have not ended.
func (s *JobSpec) after(end JobState, others uint32) int {
	switch {
	case s.AfterOne && end == JobSucceeded:
		return afterNow
	case end != JobSucceeded && !s.AfterAny && (!s.AfterOne || others == 0):
		return afterNever
	case others == 0:
		return afterNow
	}
	return afterLater
}

// Retention is how long the job is kept when it has ended.
func (s *JobSpec) Retention() Time {
	if s.RetentionNanos == 0 {
		return RetentionNanos
	}
	return Time(s.RetentionNanos)
}

// prune forgets a finished job, at most steps records of each kind, and reports
// whether it is gone.
func (s *session) prune(j *heldJob, steps int) (used int, done bool) {
	j.Pruning = true
	for _, prefix := range [][]byte{prefixChunk(j.ID), prefixOutput(j.ID), prefixEvent(j.ID)} {
		keys := s.keys(prefix, steps-used)
		for _, key := range keys {
			s.delete(key)
		}
		used += len(keys)
	}
	used += s.forgetDays(j, steps-used)
	if used >= steps || j.Dependents > 0 {
		return used, false
	}
	s.forgetCharges(j)
	s.refer(s.specOf(j).Module, -1)
	s.delete(keySpec(j.ID))
	s.delete(keyPayload(j.ID))
	s.delete(keyTenantJob(j.Tenant, j.ID))
	s.delete(keyMaker(j.ID))
	j.gone = true
	return used + 1, true
}
