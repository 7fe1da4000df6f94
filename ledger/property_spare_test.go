package ledger_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// race is a job of which many tasks have two attempts at the same time.
type race struct {
	*driver
	t   *rapid.T
	job ledger.JobID
	// ended has the tasks that are final, and spent what the reports must have
	// cost.
	ended map[uint32]ledger.TaskState
	spent uint64
	// elsewhere has the tasks of each lease that a spare has ended and of which the
	// lease has not been heard.
	elsewhere map[ledger.Epoch]ledger.Range
}

var raceNodes = []ledger.NodeID{"n1", "n2", "n3"}

const raceTasks = 12

// TestRandomSpares: whichever of two attempts ends first ends the task, once; the
// fuel of both counts; and when one is lost the other has the task.
func TestRandomSpares(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := &race{driver: newDriver(t), t: rt, job: jobNumber(1), ended: map[uint32]ledger.TaskState{}, elsewhere: map[ledger.Epoch]ledger.Range{}}
		r.found(raceNodes...)
		spec := plainSpec(raceTasks)
		spec.SparesMax, spec.Retry.LossesMax, spec.Retry.AttemptsMax = uint32(r.n(1, 4)), uint32(r.n(0, 2)), uint32(r.n(1, 3))
		spec.LossGraceNanos = int64(r.n(0, 1)) * 5e9
		if r.n(0, 1) == 0 {
			// Enough for all tasks and one or two attempts beside.
			r.do(&ledger.SetQuota{Tenant: "acme", Weight: 1, BandMax: 7, Quota: ledger.Quota{FuelTotal: (raceTasks + uint64(r.n(0, 2))) * spec.FuelMax}})
		}
		r.do(&ledger.Submit{Job: r.job, Spec: spec})
		for range r.n(1, 60) {
			r.now += second * ledger.Time(r.n(0, 3))
			r.step()
			if err := ledger.Check(r.Memory); err != nil {
				rt.Fatal(err)
			}
			r.compare()
		}
	})
}

func (r *race) n(low, high int) int { return rapid.IntRange(low, high).Draw(r.t, "n") }

func (r *race) node() ledger.NodeID { return rapid.SampledFrom(raceNodes).Draw(r.t, "node") }

// leases returns those of all nodes.
func (r *race) leases() (list []ledger.Lease) {
	for _, node := range raceNodes {
		of, err := ledger.LeasesOf(r.Memory, node, 0, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, of...)
	}
	return list
}

func (r *race) step() {
	expiry := r.now + second*ledger.Time(r.n(1, 30))
	leases := r.leases()
	if len(leases) == 0 || r.n(0, 6) == 0 {
		r.place(expiry)
		return
	}
	l := rapid.SampledFrom(leases).Draw(r.t, "lease")
	epochs := []ledger.Epoch{l.Epoch}
	// Small numbers are drawn more often than large ones.
	switch r.n(0, 19) {
	case 0, 1, 2, 3, 4:
		r.report(&l)
	case 5, 6, 7, 8, 9:
		r.try(&ledger.Place{Placements: []ledger.Placement{{Job: r.job, Start: l.Open.First, Count: 1, Slots: 1, Node: r.node(), Expiry: expiry, Spare: true}}})
	case 10, 11:
		r.try(&ledger.Begin{Node: l.Node, Epochs: epochs})
	case 12, 13:
		r.try(&ledger.Renew{Node: l.Node, Epochs: epochs, Expiry: expiry})
	case 14:
		release := &ledger.Release{Node: l.Node, Epochs: epochs, Cause: ledger.CauseReleased}
		if r.n(0, 1) == 0 {
			_, rest := l.Open.Split(uint32(r.n(0, 3)))
			release.Parts = []ledger.Range{rest}
		}
		r.try(release)
	case 15:
		r.try(&ledger.RefuseLease{Node: l.Node, Epochs: epochs})
	case 16, 17:
		r.now += second * ledger.Time(r.n(0, 30))
		r.try(&ledger.Tick{})
	case 18:
		r.try(&ledger.SetNodeState{Node: l.Node, State: ledger.NodeGone})
		r.try(&ledger.SetNodeState{Node: l.Node, State: ledger.NodeUp})
	case 19:
		if r.n(0, 4) == 0 {
			r.try(&ledger.Cancel{Job: r.job})
		}
	}
}

func (r *race) place(expiry ledger.Time) {
	pending, err := ledger.PendingOf(r.Memory, r.job, 10)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range pending {
		r.try(&ledger.Place{Placements: []ledger.Placement{{
			Job: r.job, Start: p.Tasks.First, Count: 6 - uint32(r.n(1, 5)), Slots: 1, Node: r.node(), Expiry: expiry,
		}}})
	}
}

// report reports some tasks of a lease in one run, also such as a spare has ended
// meanwhile.
func (r *race) report(l *ledger.Lease) {
	known := l.Open.Union(l.Elsewhere)
	first, _ := known.Within(known.First+uint32(r.n(0, 1)), known.End).Split(uint32(r.n(1, 3)))
	if first.Empty() {
		return
	}
	run := ledger.Run{
		First: first.First, Count: first.Count(), State: rapid.SampledFrom([]ledger.TaskState{
			ledger.TaskSucceeded, ledger.TaskSucceeded, ledger.TaskFailed, ledger.TaskFailed, ledger.TaskKilled, ledger.TaskRefused,
		}).Draw(r.t, "state"), Terminal: r.n(0, 3) == 0,
	}
	run.Usage.Fuel = uint64(r.n(0, 1000*int(run.Count)))
	final := run.State == ledger.TaskSucceeded || run.State == ledger.TaskRefused || run.State == ledger.TaskFailed && run.Terminal
	beside := r.leaseOf(l, first.First)
	// A run is counted along the lease's tasks, which may have other ones between.
	along, _ := l.Tasks.Within(run.First, l.Tasks.End).Split(run.Count)
	answer := r.try(&ledger.Report{Node: l.Node, Leases: []ledger.LeaseReport{{Epoch: l.Epoch, Runs: []ledger.Run{run}}}}).Items[0]
	switch {
	case !known.Contains(along):
		if answer.Code != ledger.CodeSettled {
			r.t.Fatalf("a run of tasks that are not the lease's: %+v", answer)
		}
	case (answer.Code == ledger.CodeSettled) != (l.Elsewhere.Contains(along) || l.Spare && !final) || answer.Count != run.Count:
		r.t.Fatalf("a run of %d open tasks: %+v", run.Count, answer)
	default:
		r.spent += run.Usage.Fuel
		r.elsewhere[l.Epoch] = r.elsewhere[l.Epoch].Minus(along)
		if l.Spare && final {
			r.elsewhere[beside] = r.elsewhere[beside].Union(along)
		}
	}
}

// leaseOf returns the lease beside which a spare is.
func (r *race) leaseOf(spare *ledger.Lease, task uint32) ledger.Epoch {
	for _, l := range r.leases() {
		if !l.Spare && l.Open.Has(task) {
			return l.Epoch
		}
	}
	return spare.Epoch
}

func (r *race) compare() {
	tenant, err := ledger.FindTenant(r.Memory, "acme")
	if err != nil || tenant.FuelUsed != r.spent {
		r.t.Fatalf("used %d fuel, the reports say %d, %v", tenant.FuelUsed, r.spent, err)
	}
	j, err := ledger.FindJob(r.Memory, r.job)
	if err != nil {
		r.t.Fatal(err)
	}
	spares := map[uint32]int{}
	for _, l := range r.leases() {
		if is := r.elsewhere[l.Epoch]; !l.Elsewhere.Contains(is) || !is.Contains(l.Elsewhere) {
			r.t.Fatalf("of lease %d %s ended elsewhere, the ledger says %s", l.Epoch, is, l.Elsewhere)
		}
		if l.Spare {
			spares[l.Tasks.First]++
		}
	}
	for task := range uint32(raceTasks) {
		at, err := ledger.FindTask(r.Memory, r.job, task)
		if err != nil {
			r.t.Fatal(err)
		}
		if was, final := r.ended[task]; final && at.State != was {
			r.t.Fatalf("task %d was %s and is %s", task, was, at.State)
		}
		if at.State.Final() {
			r.ended[task] = at.State
		}
		if n := spares[task]; n != 0 != (at.SpareEpoch != 0) || n > 0 && at.SpareEpoch == at.Epoch {
			r.t.Fatalf("task %d has %d spares, and is %+v", task, n, at)
		}
		if n := spares[task]; n > 1 || n > 0 && (at.State < ledger.TaskLeased || at.State.Final()) {
			r.t.Fatalf("task %d is %s and has %d spares", task, at.State, n)
		}
	}
	// When nobody has more quota than at first, what is held keeps to it but for
	// what failed attempts have burnt.
	if open := uint64(raceTasks - len(r.ended) + len(spares)); tenant.FuelReserved != open*1000 || j.Spares != uint32(len(spares)) {
		r.t.Fatalf("%d fuel is reserved for %d attempts, the job has %d spares", tenant.FuelReserved, open, j.Spares)
	}
}
