package ledger

import "fmt"

// Task is where one task of a job stands.
type Task struct {
	State TaskState
	// Attempt and Losses count the attempts that failed or were lost before,
	// Node and Epoch name its lease, NotBefore is the end of its back-off. They
	// are known while the task is not final.
	Attempt, Losses uint32
	Node            NodeID
	Epoch           Epoch
	NotBefore       Time
}

// FindTask returns one task of a job, or ErrNotFound. It reads the job's ranges
// and leases one after another until it has found the task.
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
	var c Chunk
	r.load(keyChunk(id, index/chunkTasks), &c)
	for state := TaskSucceeded; state < taskStates; state++ {
		if c.of(state).Has(index) {
			return Task{State: state}, nil
		}
	}
	// What is nowhere was killed while it waited.
	t = Task{State: TaskKilled}
	r.scan(prefixPending(id), nil, func(key, value []byte) bool {
		var p Pending
		r.parse(key, value, &p)
		found := p.Tasks.Has(index)
		if found {
			t = Task{State: p.Phase.task(), Attempt: p.Attempt, Losses: p.Losses, NotBefore: p.NotBefore}
		}
		return !found
	})
	for after := Epoch(0); t.State == TaskKilled; {
		leases, err := JobLeases(tx, id, after, 256)
		if err != nil || len(leases) == 0 {
			return t, err
		}
		for i := range leases {
			after = leases[i].Epoch
			if l := &leases[i]; l.Open.Has(index) {
				return Task{State: l.State.task(), Attempt: l.Attempt, Losses: l.Losses, Node: l.Node, Epoch: l.Epoch}, nil
			}
		}
	}
	return t, nil
}

// TasksIn returns ranges of the tasks of a job that are in a state and not below
// from, disjoint and, for final states, in ascending order; at most limit of
// them. Tasks that were killed while they waited (Job.Unlisted) are not listed.
func TasksIn(tx Tx, id JobID, state TaskState, from uint32, limit int) (list []Range, err error) {
	defer catch(&err)
	r := reader{tx}
	add := func(tasks Range) bool {
		if tasks = tasks.Within(from, CountMax); !tasks.Empty() && len(list) < limit {
			list = append(list, tasks)
		}
		return len(list) < limit
	}
	if state.Final() {
		r.scan(prefixChunk(id), keyChunk(id, from/chunkTasks), func(key, value []byte) bool {
			var c Chunk
			r.parse(key, value, &c)
			return add(*c.of(state))
		})
		return list, nil
	}
	if state <= TaskQueued {
		r.scan(prefixPending(id), nil, func(key, value []byte) bool {
			var p Pending
			r.parse(key, value, &p)
			return p.Phase.task() != state || add(p.Tasks)
		})
		return list, nil
	}
	for after := Epoch(0); len(list) < limit; {
		leases, err := JobLeases(tx, id, after, 256)
		if err != nil || len(leases) == 0 {
			return list, err
		}
		for i := range leases {
			after = leases[i].Epoch
			if leases[i].State.task() == state {
				add(leases[i].Open)
			}
		}
	}
	return list, nil
}
