package ledger

// move counts n tasks of a job from one state to another, with all that hangs
// on it: the tenant's queue, the fuel that is reserved, the day's account.
func (s *session) move(j *heldJob, from, to TaskState, n uint32) {
	j.Tasks[from] -= n
	j.Tasks[to] += n
	t := s.tenant(j.Tenant)
	if from <= TaskQueued {
		t.Queued -= uint64(n)
	}
	if to <= TaskQueued {
		t.Queued += uint64(n)
	}
	if to.Final() {
		t.FuelReserved -= uint64(n) * s.specOf(j).FuelMax
		s.account(j.Tenant).Tasks[to] += n
	}
}

// addPending stores a range of tasks that wait. A back-off that is over already
// is none.
func (s *session) addPending(j *heldJob, p Pending) {
	p.Job = j.ID
	if p.Phase != PhaseWaiting {
		p.Phase = PhaseReady
		if p.NotBefore > s.now {
			p.Phase = PhaseBackoff
		} else {
			p.NotBefore = 0
		}
	}
	j.Pending++
	switch p.Phase {
	case PhaseReady:
		j.Ready++
	case PhaseBackoff:
		s.arm(p.NotBefore, timerBackoff, whatBackoff(j.ID, p.Tasks.First))
	}
	s.save(keyPending(j.ID, p.Phase, p.Tasks.First), &p)
}

// removePending is the inverse of addPending.
func (s *session) removePending(j *heldJob, p *Pending) {
	j.Pending--
	switch p.Phase {
	case PhaseReady:
		j.Ready--
	case PhaseBackoff:
		s.disarm(p.NotBefore, timerBackoff, whatBackoff(j.ID, p.Tasks.First))
	}
	s.delete(keyPending(j.ID, p.Phase, p.Tasks.First))
}

// record writes down that tasks are final.
func (s *session) record(j *heldJob, tasks Range, state TaskState) {
	for at := tasks.First; at < tasks.End; {
		number := at / chunkTasks
		end := (number + 1) * chunkTasks
		if part := tasks.Within(at, end); !part.Empty() {
			key := keyChunk(j.ID, number)
			var c Chunk
			s.load(key, &c)
			set := c.of(state)
			*set = set.Union(part)
			s.save(key, &c)
		}
		at = end
	}
}

// of returns the chunk's tasks in a final state.
func (c *Chunk) of(state TaskState) *Range {
	switch state {
	case TaskSucceeded:
		return &c.Succeeded
	case TaskFailed:
		return &c.Failed
	case TaskKilled:
		return &c.Killed
	default:
		return &c.Refused
	}
}

// open returns the number of tasks that are not final.
func (t *Tally) open() uint32 {
	var n uint32
	for state := TaskWaiting; state < TaskSucceeded; state++ {
		n += t[state]
	}
	return n
}
