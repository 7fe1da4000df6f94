package ledger

// job checks a job with everything that hangs on it.
func (c *checker) job(key, value []byte) {
	var j Job
	c.parse(key, value, &j)
	var spec JobSpec
	if !c.load(keySpec(j.ID), &spec) {
		wrong("job %s: no spec", j.ID)
	}
	equal(string(key), string(keyJob(j.ID)), "job %s: key", j.ID)
	c.want[tableJob]++
	c.want[tableSpec]++
	c.expect(keyTenantJob(j.Tenant, j.ID), "job %s", j.ID)
	equal(j.Tenant, spec.Tenant, "job %s: tenant", j.ID)
	equal(j.Count, spec.Count, "job %s: count", j.ID)
	if c.get(keyPayload(j.ID)) != nil {
		c.want[tablePayload]++
	}
	if c.get(keyReasons(j.ID)) != nil {
		c.want[tableReasons]++
		if j.State.Final() {
			wrong("job %s: finished, and has reasons why it waits", j.ID)
		}
	}
	c.seen = append(c.seen[:0], make([]uint64, (j.Count+63)/64)...)
	tasks := Tally{}
	tasks[TaskKilled] = j.Unlisted
	c.pending(&j, &spec, &tasks)
	c.leases(&j, &spec, &tasks)
	c.spares(&j, &spec)
	c.chunks(&j, &tasks)
	if !j.Pruning {
		equal(j.Tasks, tasks, "job %s: tasks by state", j.ID)
	}
	var sum uint64
	for _, n := range j.Tasks {
		sum += uint64(n)
	}
	equal(sum, uint64(j.Count), "job %s: sum of its tasks", j.ID)
	c.jobState(&j, &spec)
	c.jobTimers(&j, &spec)
	c.jobRecords(&j, &spec)
	t := c.owner(j.Tenant)
	t.FuelReserved += (uint64(j.Tasks.open()) + uint64(j.Spares)) * spec.FuelMax
	t.Queued += uint64(j.Tasks[TaskWaiting] + j.Tasks[TaskQueued])
	t.Stored += j.Stored
	if !j.State.Final() {
		t.Jobs++
	}
	c.jobDays(&j)
	c.modules[spec.Module]++
}

// owner returns the tenant's sums.
func (c *checker) owner(id TenantID) *Tenant {
	if c.tenants[id] == nil {
		c.tenants[id] = &Tenant{}
	}
	return c.tenants[id]
}

// claim marks tasks as found, which must not have been found before.
func (c *checker) claim(j *Job, r Range, where string) {
	if r.Empty() || r.End > j.Count {
		wrong("job %s: %s has tasks %s of %d", j.ID, where, r, j.Count)
	}
	r.Runs(func(first, end uint32) {
		for t := first; t < end; t++ {
			if c.seen[t/64]>>(t%64)&1 == 1 {
				wrong("job %s: task %d is in %s and somewhere else", j.ID, t, where)
			}
			c.seen[t/64] |= 1 << (t % 64)
		}
	})
}

func (c *checker) pending(j *Job, spec *JobSpec, tasks *Tally) {
	var pending, ready uint32
	c.each(prefixPending(j.ID), func(key, value []byte) {
		var p Pending
		c.parse(key, value, &p)
		c.claim(j, p.Tasks, "a pending range")
		equal(string(key), string(keyPending(j.ID, p.Phase, p.Tasks.First)), "job %s: key of pending range %s", j.ID, p.Tasks)
		if (p.NotBefore != 0) != (p.Phase == PhaseBackoff) {
			wrong("job %s: pending range %s is %s until %d", j.ID, p.Tasks, p.Phase, p.NotBefore)
		}
		c.tries(j, spec, p.Attempt, p.Losses)
		c.place(j, &p)
		switch p.Phase {
		case PhaseReady:
			ready++
		case PhaseBackoff:
			c.timer(p.NotBefore, timerBackoff, whatBackoff(j.ID, p.Tasks.First), "job %s: back-off of %s", j.ID, p.Tasks)
		}
		if (p.Phase == PhaseWaiting) != (j.State == JobWaiting || j.State == JobStopping && j.Queued == 0) {
			wrong("job %s is %s, its range %s is %s", j.ID, j.State, p.Tasks, p.Phase)
		}
		tasks[p.Phase.task()] += p.Tasks.Count()
		c.want[tablePending]++
		pending++
	})
	equal(j.Pending, pending, "job %s: pending ranges", j.ID)
	equal(j.Ready, ready, "job %s: ready ranges", j.ID)
}

// place verifies that a pending range is the fresh one of its job, or of no more
// than a lease's tasks, which were placed before.
func (c *checker) place(j *Job, p *Pending) {
	fresh := p.Tasks.First >= j.Fresh
	if fresh && (p.Tasks.First != j.Fresh || p.Tasks.End != j.Count || !p.Tasks.Whole() || p.Phase == PhaseBackoff) ||
		!fresh && (p.Tasks.End > j.Fresh || p.Tasks.End-p.Tasks.First > LeaseTasksMax) {
		wrong("job %s: pending range %s is %s, the first fresh task is %d", j.ID, p.Tasks, p.Phase, j.Fresh)
	}
}

// tries verifies that tasks which are open have an attempt left.
func (c *checker) tries(j *Job, spec *JobSpec, attempt, losses uint32) {
	if attempt >= spec.Retry.AttemptsMax || losses > spec.Retry.LossesMax {
		wrong("job %s: tasks are open after %d failed and %d lost attempts", j.ID, attempt, losses)
	}
}

func (c *checker) leases(j *Job, spec *JobSpec, tasks *Tally) {
	var leases uint32
	c.each(prefixJobLease(j.ID), func(key, value []byte) {
		first, epoch, end, node := parseJobLease(key, value)
		var l Lease
		if !c.load(keyLease(node, epoch), &l) || l.Job != j.ID || l.Tasks.First != first || l.Tasks.End != end {
			wrong("job %s: no lease for index %x", j.ID, key)
		}
		c.claim(j, l.Open, "a lease")
		if l.Tasks.End > j.Fresh || l.Tasks.End-l.Tasks.First > LeaseTasksMax {
			wrong("job %s: lease %d has tasks %s, the first fresh one is %d", j.ID, l.Epoch, l.Tasks, j.Fresh)
		}
		if !l.Tasks.Contains(l.Open) || l.Slots == 0 || l.Slots > l.Open.Count() || l.Timer > l.Expiry {
			wrong("job %s: lease %d has tasks %s, open %s, slots %d, timer %d, expiry %d", j.ID, l.Epoch, l.Tasks, l.Open, l.Slots, l.Timer, l.Expiry)
		}
		if l.Spare || !l.Tasks.Contains(l.Elsewhere) || !l.Elsewhere.Minus(l.Open).equal(l.Elsewhere) {
			wrong("job %s: lease %d, spare %v, has tasks %s, of which %s ended elsewhere", j.ID, l.Epoch, l.Spare, l.Open, l.Elsewhere)
		}
		tasks[l.State.task()] += l.Open.Count()
		c.lease(j, spec, &l)
		leases++
		c.want[tableJobLease]++
	})
	equal(j.Leases, leases, "job %s: leases", j.ID)
}

// lease sums up what a lease takes.
func (c *checker) lease(j *Job, spec *JobSpec, l *Lease) {
	c.tries(j, spec, l.Attempt, l.Losses)
	c.timer(l.Timer, timerLease, whatLease(l.Node, l.Epoch), "lease %d", l.Epoch)
	if l.Notice != 0 && (l.Spare || l.Notice != l.Preempted+NoticeNanos || l.For <= j.Band || l.Expiry > l.Notice+NoticeLateNanos) {
		wrong("job %s: lease %d, of band %d, has notice until %s for band %d since %s, and expires at %s", j.ID, l.Epoch, j.Band, l.Notice, l.For, l.Preempted, l.Expiry)
	}
	take := spec.Task.Times(l.Slots)
	if c.nodes[l.Node] == nil {
		c.nodes[l.Node] = &Node{}
	}
	n, t := c.nodes[l.Node], c.owner(j.Tenant)
	n.Reserved, t.Leased = n.Reserved.Plus(take), t.Leased.Plus(take)
	t.Rate += l.Rate * uint64(l.Slots)
	n.Leases++
	c.last = max(c.last, l.Epoch)
	c.want[tableLease]++
}

// spares verifies that each spare is beside the lease of its task, on another
// node.
func (c *checker) spares(j *Job, spec *JobSpec) {
	var spares uint32
	c.each(prefixSpare(j.ID), func(key, value []byte) {
		task, name := parseSpare(key, value)
		var l Lease
		if !c.load(keyLease(name.node, name.epoch), &l) || l.Job != j.ID || !l.Spare {
			wrong("job %s: no lease for spare %x", j.ID, key)
		}
		if own := Tasks(task, task+1); !l.Tasks.equal(own) || !l.Open.equal(own) || l.Slots != 1 || !l.Elsewhere.Empty() || l.State == LeaseUnreachable || l.Timer > l.Expiry {
			wrong("job %s: spare of task %d is %+v", j.ID, task, l)
		}
		first := c.leaseOf(j.ID, task)
		if first == nil || first.Node == l.Node || j.State != JobActive {
			wrong("job %s is %s: spare of task %d on %s is not beside a lease on another node", j.ID, j.State, task, l.Node)
		}
		c.lease(j, spec, &l)
		c.want[tableSpare]++
		spares++
	})
	equal(j.Spares, spares, "job %s: spares", j.ID)
	if spares > spec.SparesMax {
		wrong("job %s has %d spares, at most %d", j.ID, spares, spec.SparesMax)
	}
}

func (c *checker) chunks(j *Job, tasks *Tally) {
	c.each(prefixChunk(j.ID), func(key, value []byte) {
		var chunk Chunk
		c.parse(key, value, &chunk)
		endings := chunk.Endings
		if !chunk.Succeeded.Empty() {
			endings = append(endings, Ending{State: TaskSucceeded, Tasks: chunk.Succeeded})
		}
		for i, e := range endings {
			r := e.Tasks
			c.claim(j, r, "the outcomes")
			equal(string(key), string(keyChunk(j.ID, r.First/chunkTasks)), "job %s: key of outcomes %s", j.ID, r)
			equal(r.First/chunkTasks, (r.End-1)/chunkTasks, "job %s: last chunk of outcomes %s", j.ID, r)
			if !e.State.Final() || i >= EndingsMax && e.State != TaskSucceeded && e.Exit != ExitVarious || r.End > j.Fresh {
				wrong("job %s: outcomes %s are %s, exit %d; the first fresh task is %d", j.ID, r, e.State, e.Exit, j.Fresh)
			}
			tasks[e.State] += r.Count()
		}
		c.want[tableChunk]++
	})
}

func (c *checker) jobState(j *Job, spec *JobSpec) {
	open := j.Tasks.open()
	if j.State.Final() != (open == 0) || (j.Finished != 0) != j.State.Final() || j.Pruning && open > 0 {
		wrong("job %s is %s with %d open tasks, finished at %d", j.ID, j.State, open, j.Finished)
	}
	if (j.State == JobWaiting) != (j.DependsOn > 0) {
		wrong("job %s is %s and waits for %d jobs", j.ID, j.State, j.DependsOn)
	}
	if (j.State == JobSucceeded) != (j.Tasks[TaskSucceeded] == j.Count) {
		wrong("job %s is %s with %d of %d tasks succeeded", j.ID, j.State, j.Tasks[TaskSucceeded], j.Count)
	}
	if j.Unlisted > 0 && j.Cause == CauseNone {
		wrong("job %s: tasks were killed unlisted, and it was not stopped", j.ID)
	}
	if j.inQueue() {
		c.expect(keyQueue(j), "job %s in the queue", j.ID)
	}
	if j.State == JobWaiting {
		var waits uint32
		for _, id := range spec.After {
			if c.get(keyDependent(id, j.ID)) != nil {
				waits++
				continue
			}
			// A job that was submitted later has the id of one that was pruned.
			var dep Job
			if c.load(keyJob(id), &dep) && dep.Created <= j.Created && spec.after(dep.State, j.DependsOn) != afterLater {
				wrong("job %s waits, though %s is %s", j.ID, id, dep.State)
			}
		}
		equal(j.DependsOn, waits, "job %s: jobs that it waits for", j.ID)
	}
}

func (c *checker) jobTimers(j *Job, spec *JobSpec) {
	if at, ok := j.queueDeadline(spec); ok {
		c.timer(at, timerQueueDeadline, j.ID[:], "job %s: queue deadline", j.ID)
	}
	if at, ok := j.totalDeadline(spec); ok {
		c.timer(at, timerTotalDeadline, j.ID[:], "job %s: total deadline", j.ID)
	}
	if j.State == JobStopping && j.Pending > 0 {
		c.timer(j.Stopped, timerStop, j.ID[:], "job %s: ranges to kill", j.ID)
	}
	if j.State.Final() {
		c.timer(j.Finished+spec.Retention(), timerPrune, j.ID[:], "job %s: retention", j.ID)
		if j.Dependents > 0 {
			c.timer(j.Finished, timerDependents, j.ID[:], "job %s: dependents", j.ID)
		} else if c.get(keyTimer(j.Finished, timerDependents, j.ID[:])) != nil {
			// The last ones wait no longer: others were told that they were cancelled,
			// or need not wait. The timer will find nothing to do.
			c.want[tableTimer]++
		}
	}
}

func (c *checker) jobRecords(j *Job, spec *JobSpec) {
	var dependents, events, last uint32
	c.each(prefixDependent(j.ID), func(key, _ []byte) {
		var d Job
		id := parseJob(key[17:])
		if !c.load(keyJob(id), &d) || d.State != JobWaiting {
			wrong("job %s: dependent %s does not wait", j.ID, id)
		}
		dependents++
		c.want[tableDependent]++
	})
	equal(j.Dependents, dependents, "job %s: dependents", j.ID)
	c.each(prefixEvent(j.ID), func(key, value []byte) {
		var e Event
		c.parse(key, value, &e)
		equal(string(key), string(keyEvent(j.ID, e.Number)), "job %s: key of event %d", j.ID, e.Number)
		if last != 0 && e.Number != last+1 {
			wrong("job %s: event %d follows %d", j.ID, e.Number, last)
		}
		last = e.Number
		events++
		c.want[tableEvent]++
	})
	if !j.Pruning {
		equal(last, j.Events, "job %s: last event", j.ID)
		equal(events, min(j.Events, EventsKept), "job %s: events kept", j.ID)
	}
	c.each(prefixOutput(j.ID), func(key, value []byte) {
		var o Output
		c.parse(key, value, &o)
		if o.Tasks.End > j.Count {
			wrong("job %s: an output of tasks %s", j.ID, o.Tasks)
		}
		c.want[tableOutput]++
	})
	equal(len(spec.Payload), 0, "job %s: payload within the spec", j.ID)
}
