package ledger_test

import (
	"fmt"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// counter counts what a view reads.
type counter struct {
	ledger.Tx
	reads int
}

func (c *counter) Get(key []byte) ([]byte, error) {
	c.reads++
	return c.Tx.Get(key)
}

func (c *counter) Scan(prefix, from []byte, visit func(key, value []byte) bool) error {
	return c.Tx.Scan(prefix, from, func(key, value []byte) bool {
		c.reads++
		return visit(key, value)
	})
}

// TestFindReadsLittle looks for tasks of a job with very many leases and ranges.
func TestFindReadsLittle(t *testing.T) {
	d := newDriver(t)
	d.found("n1", "n2")
	d.spread(jobNumber(1), 4000, "n1")
	d.scatter(jobNumber(2), 4000, "n2")
	for _, task := range []uint32{0, 100, 2000, 3998} {
		for job, want := range map[int]ledger.TaskState{1: ledger.TaskLeased, 2: ledger.TaskQueued} {
			c := &counter{Tx: d.Memory}
			got, err := ledger.FindTask(c, jobNumber(job), task)
			if err != nil || got.State != want {
				t.Fatalf("task %d of job %d is %+v, %v; want %s", task, job, got, err, want)
			}
			// With one task to a lease or range it is among the nearest 128.
			if c.reads > 300 {
				t.Errorf("task %d of job %d took %d reads", task, job, c.reads)
			}
		}
	}
}

// TestFindFarBack has a task in a lease that begins far below it, behind others
// that end before it and one that lies within.
func TestFindFarBack(t *testing.T) {
	d := newDriver(t)
	d.found("n1", "n2")
	const size = ledger.LeaseTasksMax
	spec := plainSpec(3 * size)
	spec.Retry.BackoffNanos, spec.Retry.BackoffMaxNanos = 0, 0
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: spec})
	place := func(start, count uint32, node ledger.NodeID) {
		t.Helper()
		d.do(&ledger.Place{Placements: []ledger.Placement{{Job: jobNumber(1), Start: start, Count: count, Slots: 1, Node: node, Expiry: 600 * second}}})
	}
	place(0, size, "n1")
	place(size, size, "n1")
	fail := func(epoch ledger.Epoch, task uint32) {
		t.Helper()
		d.do(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: epoch, Runs: []ledger.Run{{First: task, Count: 1, State: ledger.TaskFailed, Exit: 4}}}}})
	}
	// The first and the last task of the first lease fail, and are placed as one
	// range that spans all of it; one between them waits.
	fail(1, 0)
	fail(1, size-1)
	place(0, 2, "n2")
	fail(1, 5)
	for task, want := range map[uint32]ledger.Task{
		0:          {State: ledger.TaskLeased, Attempt: 1, Node: "n2", Epoch: 3},
		1:          {State: ledger.TaskLeased, Node: "n1", Epoch: 1},
		5:          {State: ledger.TaskQueued, Attempt: 1, Cause: ledger.CauseOutcome},
		size - 2:   {State: ledger.TaskLeased, Node: "n1", Epoch: 1},
		size - 1:   {State: ledger.TaskLeased, Attempt: 1, Node: "n2", Epoch: 3},
		size:       {State: ledger.TaskLeased, Node: "n1", Epoch: 2},
		2*size - 1: {State: ledger.TaskLeased, Node: "n1", Epoch: 2},
		2 * size:   {State: ledger.TaskQueued},
		3*size - 1: {State: ledger.TaskQueued},
	} {
		if got, err := ledger.FindTask(d.Memory, jobNumber(1), task); err != nil || got != want {
			t.Errorf("task %d is %+v, %v; want %+v", task, got, err, want)
		}
	}
	for state, want := range map[ledger.TaskState]string{
		ledger.TaskQueued: fmt.Sprintf("[5 %d-%d]", 2*size, 3*size-1),
		ledger.TaskLeased: fmt.Sprintf("[0,%d 1-4,6-%d %d-%d]", size-1, size-2, size, 2*size-1),
	} {
		if got, err := ledger.TasksIn(d.Memory, jobNumber(1), state, 0, 10); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v; want %s", state, got, err, want)
		}
	}
	d.check()
}

// TestEndings has tasks end in more ways than a chunk tells apart.
func TestEndings(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: plainSpec(300)})
	d.do(&ledger.Place{Placements: []ledger.Placement{{Job: jobNumber(1), Count: 300, Slots: 1, Node: "n1", Expiry: 60 * second}}})
	for part := range uint32(3) {
		c := &ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: 1}}}
		for task := part * 100; task < part*100+100; task++ {
			c.Leases[0].Runs = append(c.Leases[0].Runs, ledger.Run{
				First: task, Count: 1, State: ledger.TaskFailed + ledger.TaskState(task%3), Exit: uint8(task % 100), Terminal: true,
			})
		}
		d.do(c)
		d.check()
	}
	for task, want := range map[uint32]ledger.Task{
		0:   {State: ledger.TaskFailed, Cause: ledger.CauseOutcome, Exit: 0},
		1:   {State: ledger.TaskKilled, Cause: ledger.CauseOutcome, Exit: 1},
		2:   {State: ledger.TaskRefused, Cause: ledger.CauseRefused, Exit: 2},
		290: {State: ledger.TaskRefused, Cause: ledger.CauseRefused, Exit: ledger.ExitVarious},
		299: {State: ledger.TaskRefused, Cause: ledger.CauseRefused, Exit: ledger.ExitVarious},
	} {
		if got, err := ledger.FindTask(d.Memory, jobNumber(1), task); err != nil || got != want {
			t.Errorf("task %d is %+v, %v; want %+v", task, got, err, want)
		}
	}
	c := &ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: 1, Runs: []ledger.Run{{Count: 1, State: ledger.TaskFailed, Exit: ledger.ExitVarious}}}}}
	if r := d.try(c); r.Code != ledger.CodeInvalid {
		t.Errorf("various exits from a node: %s", r.Code)
	}
}
