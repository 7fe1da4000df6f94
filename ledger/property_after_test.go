package ledger_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// web is small jobs that come after one another in every way.
type web struct {
	*driver
	t     *rapid.T
	specs map[ledger.JobID]ledger.JobSpec
	order []ledger.JobID
}

// TestRandomDependencies: a job is queued as soon as the jobs that it comes after
// allow it, and killed as soon as they cannot allow it any more; whoever ends,
// and in which order.
func TestRandomDependencies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &web{driver: newDriver(t), t: rt, specs: map[ledger.JobID]ledger.JobSpec{}}
		w.found("n1")
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			w.now += second
			w.step()
			w.do(&ledger.Tick{})
			if err := ledger.Check(w.Memory); err != nil {
				rt.Fatal(err)
			}
			for _, id := range w.order {
				w.compare(id)
			}
		}
	})
}

func (w *web) pick(label string) ledger.JobID { return rapid.SampledFrom(w.order).Draw(w.t, label) }

func (w *web) step() {
	if len(w.order) == 0 || rapid.IntRange(0, 2).Draw(w.t, "submit") == 0 {
		w.submit()
		return
	}
	id := w.pick("job")
	if rapid.IntRange(0, 9).Draw(w.t, "cancel") == 0 {
		w.try(&ledger.Cancel{Job: id})
		return
	}
	placed := w.try(&ledger.Place{Placements: []ledger.Placement{{Job: id, Count: 1, Node: "n1", Slots: 1, Expiry: w.now + 60*second}}}).Items[0]
	if placed.Code == ledger.CodeOK {
		state := rapid.SampledFrom([]ledger.TaskState{ledger.TaskSucceeded, ledger.TaskFailed}).Draw(w.t, "state")
		w.do(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: placed.Epoch, Runs: []ledger.Run{{Count: 1, State: state, Terminal: true}}}}})
	}
}

func (w *web) submit() {
	spec := plainSpec(1)
	if len(w.order) > 0 {
		for range rapid.IntRange(0, 5).Draw(w.t, "dependencies") {
			if id := w.pick("after"); !slices.Contains(spec.After, id) {
				spec.After = append(spec.After, id)
			}
		}
	}
	switch rapid.IntRange(0, 3).Draw(w.t, "condition") {
	case 0:
		spec.AfterAny = true
	case 1, 2:
		spec.AfterOne = true
	}
	id := jobNumber(len(w.order) + 1)
	_, never := w.outlook(&spec)
	r := w.try(&ledger.Submit{Job: id, Spec: spec})
	if refused := r.Code == ledger.CodeDependencyFailed; refused != never {
		w.t.Fatalf("a job that can never be queued: %v; the ledger says %s", never, r.Code)
	}
	if r.Code == ledger.CodeOK {
		w.specs[id] = spec
		w.order = append(w.order, id)
	}
}

// outlook says from what has ended whether a job may be queued now, and whether
// it never may.
func (w *web) outlook(spec *ledger.JobSpec) (now, never bool) {
	var open, succeeded, failed int
	for _, id := range spec.After {
		switch j, _ := ledger.FindJob(w, id); {
		case !j.State.Final():
			open++
		case j.State == ledger.JobSucceeded:
			succeeded++
		default:
			failed++
		}
	}
	switch {
	case len(spec.After) == 0:
		return true, false
	case spec.AfterAny:
		return open == 0, false
	case spec.AfterOne:
		return succeeded > 0, succeeded+open == 0
	}
	return open+failed == 0, failed > 0
}

func (w *web) compare(id ledger.JobID) {
	spec := w.specs[id]
	now, never := w.outlook(&spec)
	j, err := ledger.FindJob(w, id)
	if err != nil {
		w.t.Fatal(err)
	}
	switch {
	case j.State == ledger.JobWaiting && (now || never), j.Queued != 0 && !now, j.Cause == ledger.CauseDependency && !never:
		w.t.Fatalf("job %s is %s, queued at %d, cause %s; it may be queued now: %v, never: %v", id, j.State, j.Queued, j.Cause, now, never)
	}
}
