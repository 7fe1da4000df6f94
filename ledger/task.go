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
	key := pendingKey{j.ID, p.Phase, p.Tasks.First}
	h := s.pendings.records[key]
	if h == nil {
		h = &heldPending{}
		s.pendings.put(key, h)
	}
	h.Pending, h.changed, h.gone = p, true, false
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
	s.pendings.records[pendingKey{j.ID, p.Phase, p.Tasks.First}].gone = true
}

// record writes down that tasks are final.
func (s *session) record(j *heldJob, e Ending) {
	tasks := e.Tasks
	for at := tasks.First; at < tasks.End; {
		number := at / chunkTasks
		end := (number + 1) * chunkTasks
		if e.Tasks = tasks.Within(at, end); !e.Tasks.Empty() {
			s.chunk(j.ID, number).add(e)
		}
		at = end
	}
}

// add puts tasks into the chunk.
func (c *Chunk) add(e Ending) {
	if e.State == TaskSucceeded {
		c.Succeeded = c.Succeeded.Union(e.Tasks)
		return
	}
	c.Endings = gather(c.Endings, e)
}

// gather adds tasks to the ending of their kind. When there are EndingsMax kinds
// already, those that would be another one have ExitVarious.
func gather(list []Ending, e Ending) []Ending {
	for range 2 {
		for i := range list {
			if is := &list[i]; is.State == e.State && is.Cause == e.Cause && is.Exit == e.Exit {
				is.Tasks = is.Tasks.Union(e.Tasks)
				return list
			}
		}
		if len(list) < EndingsMax {
			break
		}
		e.Exit = ExitVarious
	}
	return append(list, e)
}

// in returns the chunk's tasks in a final state.
func (c *Chunk) in(state TaskState) Range {
	if state == TaskSucceeded {
		return c.Succeeded
	}
	var tasks Range
	for i := range c.Endings {
		if c.Endings[i].State == state {
			tasks = tasks.Union(c.Endings[i].Tasks)
		}
	}
	return tasks
}

// find returns how a task ended, and whether it did.
func (c *Chunk) find(task uint32) (Ending, bool) {
	if c.Succeeded.Has(task) {
		return Ending{State: TaskSucceeded}, true
	}
	for _, e := range c.Endings {
		if e.Tasks.Has(task) {
			return e, true
		}
	}
	return Ending{}, false
}

// open returns the number of tasks that are not final.
func (t *Tally) open() uint32 {
	var n uint32
	for state := TaskWaiting; state < TaskSucceeded; state++ {
		n += t[state]
	}
	return n
}
