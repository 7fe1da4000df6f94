package ledger

import (
	"cmp"
	"fmt"
	"slices"
)

// Task is where one task of a job stands.
type Task struct {
	State TaskState
	// Attempt and Losses count the attempts that failed or were lost before;
	// Node and Epoch name its lease; NotBefore is the end of its back-off. They
	// are known while the task is not final.
	Attempt, Losses uint32
	Node            NodeID
	Epoch           Epoch
	NotBefore       Time
	// SpareNode and SpareEpoch name the lease of a second attempt beside the first,
	// if there is one.
	SpareNode  NodeID
	SpareEpoch Epoch
	// Cause says why it waits again, or why it ended; Exit is the class of its
	// exit, or ExitVarious.
	Cause Cause
	Exit  uint8
}

// FindTask returns one task of a job, or ErrNotFound. What it reads does not grow
// with the job: of the ranges and leases it looks at those that begin at most
// LeaseTasksMax tasks before the one asked for, the nearest first.
func FindTask(tx Tx, id JobID, index uint32) (t Task, err error) {
	defer catch(&err)
	j, err := FindJob(tx, id)
	if err == nil && (index >= j.Count || j.Pruning) {
		err = fmt.Errorf("read task %d of job %s: %w", index, id, ErrNotFound)
	}
	if err != nil {
		return t, err
	}
	r := reader{tx}
	if index >= j.Fresh {
		return r.freshTask(&j), nil
	}
	var c Chunk
	r.load(keyChunk(id, index/chunkTasks), &c)
	if e, ok := c.find(index); ok {
		return Task{State: e.State, Cause: e.Cause, Exit: e.Exit}, nil
	}
	if l := r.leaseOf(id, index); l != nil {
		t = Task{State: l.State.task(), Attempt: l.Attempt, Losses: l.Losses, Node: l.Node, Epoch: l.Epoch}
		if key := keySpare(id, index); j.Spares > 0 {
			if value := r.get(key); value != nil {
				_, spare := parseSpare(key, value)
				t.SpareNode, t.SpareEpoch = spare.node, spare.epoch
			}
		}
		return t, nil
	}
	if p := r.pendingOf(id, index); p != nil {
		return Task{State: p.Phase.task(), Attempt: p.Attempt, Losses: p.Losses, NotBefore: p.NotBefore, Cause: p.Cause}, nil
	}
	return Task{State: TaskKilled, Cause: j.Cause}, nil
}

// freshTask returns a task that was never placed. What is nowhere was killed.
func (r reader) freshTask(j *Job) Task {
	switch {
	case r.get(keyPending(j.ID, PhaseReady, j.Fresh)) != nil:
		return Task{State: TaskQueued}
	case r.get(keyPending(j.ID, PhaseWaiting, j.Fresh)) != nil:
		return Task{State: TaskWaiting}
	}
	return Task{State: TaskKilled, Cause: j.Cause}
}

// leaseOf returns the lease in whose open tasks one is, or nil: never a spare, which
// the index by job does not have.
func (r reader) leaseOf(id JobID, task uint32) (found *Lease) {
	prefix := prefixJobLease(id)
	lookBack(task, func(low, high uint32) bool {
		var near []leaseName
		r.scan(prefix, keyJobLease(id, low, 0), func(key, value []byte) bool {
			first, epoch, end, node := parseJobLease(key, value)
			if first <= high && end > task {
				near = append(near, leaseName{node, epoch})
			}
			return first <= high
		})
		for _, name := range near {
			var l Lease
			if r.load(keyLease(name.node, name.epoch), &l); l.Open.Has(task) {
				found = &l
				return true
			}
		}
		return false
	})
	return found
}

type leaseName struct {
	node  NodeID
	epoch Epoch
}

// pendingOf returns the pending range in which a task is that was placed before,
// or nil.
func (r reader) pendingOf(id JobID, task uint32) (found *Pending) {
	for _, phase := range []Phase{PhaseReady, PhaseBackoff} {
		prefix := append(prefixPending(id), byte(phase))
		lookBack(task, func(low, high uint32) bool {
			r.scan(prefix, keyPending(id, phase, low), func(key, value []byte) bool {
				_, first := parsePending(key)
				if first > high {
					return false
				}
				var p Pending
				if r.parse(key, value, &p); p.Tasks.Has(task) {
					found = &p
				}
				return found == nil
			})
			return found != nil
		})
	}
	return found
}

// OutputsOf returns the outputs that have a task in them: that of its last attempt
// which left one, and of those before, which failed, perhaps not all. What it reads
// does not grow with the job, and for a task that has succeeded not with what was
// reported of those before it either.
func OutputsOf(tx Tx, job JobID, task uint32) (list []Output, err error) {
	defer catch(&err)
	r, prefix := reader{tx}, prefixOutput(job)
	lookBack(task, func(low, high uint32) bool {
		last := false
		r.scan(prefix, keyOutput(job, low, 0), func(key, value []byte) bool {
			if parseOutput(key) > high {
				return false
			}
			var o Output
			if r.parse(key, value, &o); o.Tasks.Has(task) {
				list = append(list, o)
				// Only what failed is attempted again.
				last = last || o.State != TaskFailed
			}
			return true
		})
		return last
	})
	return list, nil
}

// lookBack calls visit with stretches of first tasks, from low to high, of what
// may have the task in it, the nearest first and each eight times as long as
// the one before, until visit returns true.
func lookBack(task uint32, visit func(low, high uint32) bool) {
	for high, span := task, uint32(128); ; span *= 8 {
		low := task - min(task, span-1, LeaseTasksMax-1)
		if visit(low, high) || low == 0 || span >= LeaseTasksMax {
			return
		}
		high = low - 1
	}
}

// TasksIn returns ranges of the tasks of a job that are in a state and not below
// from, disjoint and in ascending order of where they begin: at most limit of
// them. Those in final states do not overlap, so that the next page begins with
// the End of the last. Tasks that were killed while they waited (Job.Unlisted)
// are not listed.
func TasksIn(tx Tx, id JobID, state TaskState, from uint32, limit int) (list []Range, err error) {
	defer catch(&err)
	r := reader{tx}
	if limit <= 0 {
		return nil, nil
	}
	add := func(tasks Range) bool {
		if tasks = tasks.Within(from, CountMax); !tasks.Empty() {
			list = append(list, tasks)
		}
		return len(list) < limit
	}
	switch {
	case state.Final():
		r.scan(prefixChunk(id), keyChunk(id, from/chunkTasks), func(key, value []byte) bool {
			var c Chunk
			r.parse(key, value, &c)
			return add(c.in(state))
		})
	case state <= TaskQueued:
		r.pendingIn(id, state, from, add)
	default:
		r.leasedIn(id, state, from, add)
	}
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	return list[:min(len(list), limit)], nil
}

// pendingIn gives the pending ranges of a phase to add until it returns false,
// then those of the next phase.
func (r reader) pendingIn(id JobID, state TaskState, from uint32, add func(Range) bool) {
	var j Job
	r.load(keyJob(id), &j)
	for phase := PhaseReady; phase < phases; phase++ {
		if phase.task() != state {
			continue
		}
		prefix := append(prefixPending(id), byte(phase))
		low := min(from-min(from, LeaseTasksMax-1), j.Fresh)
		r.scan(prefix, keyPending(id, phase, low), func(key, value []byte) bool {
			var p Pending
			r.parse(key, value, &p)
			return add(p.Tasks)
		})
	}
}

// leasedIn gives the open tasks of leases to add until it returns false.
func (r reader) leasedIn(id JobID, state TaskState, from uint32, add func(Range) bool) {
	first, epoch := from-min(from, LeaseTasksMax-1), Epoch(0)
	for {
		leases := r.jobLeases(id, first, epoch, 256)
		for i := range leases {
			l := &leases[i]
			first, epoch = l.Tasks.First, l.Epoch
			if l.State.task() == state && !add(l.Open) {
				return
			}
		}
		if len(leases) < 256 {
			return
		}
	}
}
