package ledger_test

import (
	"fmt"
	"strings"
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

// TestRefusedAgain: tasks that a node refuses wait twice as long with each of the refusals
// that their placement had, up to a bound, and no longer than at first when it had none.
func TestRefusedAgain(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.spread(jobNumber(1), 1, "n1")
	epoch := ledger.Epoch(1)
	place := func(refusals uint8) ledger.Item {
		return d.try(&ledger.Place{Placements: []ledger.Placement{{Job: jobNumber(1), Count: 1, Slots: 1, Node: "n1", Expiry: d.now + second, Refusals: refusals}}}).Items[0]
	}
	for _, refusals := range []uint8{0, 1, 2, ledger.RefusalsTop, 0} {
		d.do(&ledger.RefuseLease{Node: "n1", Epochs: []ledger.Epoch{epoch}})
		d.now += 100 * ledger.RefusalNanos
		d.do(&ledger.Tick{})
		item := place(refusals)
		if epoch = item.Epoch; item.Code != ledger.CodeOK {
			t.Fatal(item)
		}
		d.do(&ledger.RefuseLease{Node: "n1", Epochs: []ledger.Epoch{epoch}})
		list, err := ledger.PendingOf(d.Memory, jobNumber(1), 2)
		if err != nil || len(list) != 1 || list[0].NotBefore-d.now != ledger.RefusalNanos<<refusals || list[0].Refusals != refusals {
			t.Errorf("refused %d times: %+v, %v", refusals, list, err)
		}
		d.now += 100 * ledger.RefusalNanos
		d.do(&ledger.Tick{})
		epoch = place(0).Epoch
	}
	d.do(&ledger.Release{Node: "n1", Epochs: []ledger.Epoch{epoch}, Cause: ledger.CauseReleased})
	if item := place(ledger.RefusalsTop + 1); item.Code != ledger.CodeInvalid {
		t.Errorf("too many refusals: %s", item.Code)
	}
	d.check()
}

// TestLabels: a job's labels are words in order, each name once, and not too many.
func TestLabels(t *testing.T) {
	label := func(name, value string) []ledger.Label { return []ledger.Label{{Name: name, Value: value}} }
	many := []ledger.Label{}
	for i := range ledger.JobLabelsMax + 1 {
		many = append(many, ledger.Label{Name: fmt.Sprintf("l%02d", i), Value: "x"})
	}
	long := strings.Repeat("a", ledger.JobLabelBytesMax)
	for name, c := range map[string]struct {
		labels []ledger.Label
		what   string
	}{
		"none": {}, "one": {label("team", "a"), ""}, "most": {many[:ledger.JobLabelsMax], ""}, "long": {label(long, long), ""}, "all letters": {label("Az09._/-", "1-"), ""},
		"many":        {many, "labels"},
		"no name":     {label("", "a"), "job label "},
		"no value":    {label("team", ""), "job label team"},
		"longer name": {label(long+"a", "a"), "job label " + long + "a"}, "longer value": {label("a", long+"a"), "job label a"},
		"space": {label("te am", "a"), "job label te am"}, "escape": {label("team", "\x1b[31m"), "job label team"}, "equals": {label("a=b", "c"), "job label a=b"},
		"dash first":  {label("-a", "b"), "job label -a"},
		"twice":       {[]ledger.Label{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}, "job label a"},
		"other order": {[]ledger.Label{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}}, "job label a"},
	} {
		d := newDriver(t)
		d.found("n1")
		spec := plainSpec(1)
		spec.Labels = c.labels
		switch r := d.try(&ledger.Submit{Job: jobNumber(1), Spec: spec}); {
		case c.what == "" && r.Code != ledger.CodeOK, c.what != "" && (r.Code != ledger.CodeInvalid || r.What != c.what):
			t.Errorf("%s: %s %q, want %q", name, r.Code, r.What, c.what)
		}
	}
}

// TestLabelRules: a rule of a name covers every value, one with a value that alone.
func TestLabelRules(t *testing.T) {
	labels := []ledger.Label{{Name: "team", Value: "a"}}
	for rule, want := range map[ledger.LabelRule]bool{{Name: "team"}: true, {Name: "team", Value: "a"}: true, {Name: "team", Value: "b"}: false, {Name: "a"}: false} {
		if rule.Covers(labels) != want || rule.Covers(nil) {
			t.Errorf("%s: %v of %v", rule, !want, labels)
		}
	}
}
