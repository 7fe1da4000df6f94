package ledger_test

import (
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestOutputsOf looks for the outputs of one task: little is read, and that of the
// last attempt is found wherever its run begins.
func TestOutputsOf(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	const count = 3000
	spec := plainSpec(count)
	spec.Retry.BackoffNanos, spec.Retry.BackoffMaxNanos = 0, 0
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: spec})
	place := func(start, count uint32) {
		t.Helper()
		d.do(&ledger.Place{Placements: []ledger.Placement{{Job: jobNumber(1), Start: start, Count: count, Slots: 1, Node: "n1", Expiry: 600 * second}}})
	}
	report := func(epoch ledger.Epoch, state ledger.TaskState, runs ...uint32) {
		t.Helper()
		r := ledger.LeaseReport{Epoch: epoch}
		for i := 0; i < len(runs); i += 2 {
			r.Runs = append(r.Runs, ledger.Run{First: runs[i], Count: runs[i+1], State: state, Exit: 1, Digest: [32]byte{byte(epoch), byte(runs[i] >> 8), byte(runs[i])}})
		}
		d.do(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{r}})
	}
	place(0, count)
	// Eleven fail one by one, and again together; the last of all succeed one by one.
	// That of the eleven which is far from the others has a run of its own near by.
	for task := range uint32(10) {
		report(1, ledger.TaskFailed, task, 1)
	}
	report(1, ledger.TaskFailed, 400, 1)
	place(0, 11)
	report(2, ledger.TaskFailed, 0, 11)
	place(0, 11)
	report(3, ledger.TaskSucceeded, 0, 11)
	report(1, ledger.TaskSucceeded, 10, 390, 401, 109)
	for task := uint32(510); task < count; task++ {
		report(1, ledger.TaskSucceeded, task, 1)
	}
	d.check()
	for task, want := range map[uint32]struct {
		first, epoch uint32
		reads        int
	}{0: {0, 3, 20}, 9: {0, 3, 40}, 10: {10, 1, 40}, 399: {10, 1, 500}, 400: {0, 3, 500}, 509: {401, 1, 200}, 510: {510, 1, 200}, count - 1: {count - 1, 1, 200}} {
		c := &counter{Tx: d.Memory}
		list, err := ledger.OutputsOf(c, jobNumber(1), task)
		if err != nil || len(list) == 0 {
			t.Fatalf("task %d: %v, %v", task, list, err)
		}
		last := list[0]
		for _, o := range list {
			if o.Epoch > last.Epoch {
				last = o
			}
		}
		if last.Epoch != ledger.Epoch(want.epoch) || last.Tasks.First != want.first || !last.Tasks.Has(task) {
			t.Errorf("task %d: %+v, want the run from %d of epoch %d", task, last, want.first, want.epoch)
		}
		if c.reads > want.reads {
			t.Errorf("task %d took %d reads, at most %d", task, c.reads, want.reads)
		}
	}
	if list, err := ledger.OutputsOf(d.Memory, jobNumber(1), count); err != nil || len(list) > 0 {
		t.Errorf("a task that there is not: %v, %v", list, err)
	}
}
