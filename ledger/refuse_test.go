package ledger_test

import (
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestRefusalsSayNumbers looks for the field, its value and its bounds in what is
// refused.
func TestRefusalsSayNumbers(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	spec := func(change func(s *ledger.JobSpec)) ledger.Command {
		s := plainSpec(1)
		change(&s)
		return &ledger.Submit{Job: jobNumber(1), Spec: s}
	}
	for _, c := range []struct {
		command ledger.Command
		want    ledger.Result
	}{
		{spec(func(s *ledger.JobSpec) { s.Count = 0 }), ledger.Result{What: "count", Min: 1, Max: ledger.CountMax}},
		{spec(func(s *ledger.JobSpec) { s.Count = ledger.CountMax + 1 }), ledger.Result{What: "count", Have: ledger.CountMax + 1, Min: 1, Max: ledger.CountMax}},
		{spec(func(s *ledger.JobSpec) { s.Retry.BackoffMaxNanos = 5 }), ledger.Result{What: "backoff_max", Have: 5, Min: 1e9, Max: uint64(ledger.SpanMax)}},
		{&ledger.CreateTenant{Tenant: "birch"}, ledger.Result{What: "weight", Min: 1, Max: ledger.WeightMax}},
		{
			&ledger.RegisterNode{Node: "n2", Capacity: ledger.Resources{FuelRate: ledger.AmountMax + 1}},
			ledger.Result{What: "fuel_rate", Have: ledger.AmountMax + 1, Max: ledger.AmountMax},
		},
		{
			&ledger.RegisterNode{Node: "n2", Capacity: ledger.Resources{Slots: ledger.NodeSlotsMax + 1}},
			ledger.Result{What: "slots", Have: ledger.NodeSlotsMax + 1, Max: ledger.NodeSlotsMax},
		},
		{&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 2}, ledger.Result{What: "bytes", Have: 2, Min: 1, Max: 1}},
		{&ledger.Renew{Node: "n1", Expiry: 3}, ledger.Result{What: "expiry", Have: 3, Min: uint64(d.now) + 1, Max: uint64(d.now + ledger.SpanMax)}},
		{&ledger.Release{Node: "n1", Cause: ledger.CauseLost}, ledger.Result{What: "cause", Have: uint64(ledger.CauseLost), Min: uint64(ledger.CauseReleased), Max: uint64(ledger.CausePreempted)}},
	} {
		got := d.try(c.command)
		want := c.want
		if got.Code != ledger.CodeInvalid || got.What != want.What || got.Have != want.Have || got.Min != want.Min || got.Max != want.Max {
			t.Errorf("%T: %+v, want %+v", c.command, got, want)
		}
	}
}

// TestRefusedForAReason has a node refuse a lease: its reason is the cause of the
// wait.
func TestRefusedForAReason(t *testing.T) {
	for cause, want := range map[ledger.Cause]ledger.Cause{
		ledger.CauseNone: ledger.CauseRefused, ledger.CauseFull: ledger.CauseFull,
		ledger.CauseModule: ledger.CauseModule, ledger.CausePreference: ledger.CausePreference,
	} {
		d := newDriver(t)
		d.found("n1")
		d.spread(jobNumber(1), 1, "n1")
		if r := d.try(&ledger.RefuseLease{Node: "n1", Epochs: []ledger.Epoch{1}, Cause: ledger.CauseDrain}); r.Code != ledger.CodeInvalid {
			t.Errorf("refuses for %s: %s", ledger.CauseDrain, r.Code)
		}
		d.do(&ledger.RefuseLease{Node: "n1", Epochs: []ledger.Epoch{1}, Cause: cause})
		if task, err := ledger.FindTask(d.Memory, jobNumber(1), 0); err != nil || task.State != ledger.TaskQueued || task.Cause != want {
			t.Errorf("refused for %s: task is %+v, %v", cause, task, err)
		}
	}
}
