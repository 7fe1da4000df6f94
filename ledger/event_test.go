package ledger_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/ledger"
)

// TestManyLeasesMakeFewEvents does the same to 300 leases, by one command.
func TestManyLeasesMakeFewEvents(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.spread(jobNumber(1), 300, "n1")
	var epochs []ledger.Epoch
	for e := range 300 {
		epochs = append(epochs, ledger.Epoch(e+1))
	}
	d.do(&ledger.Begin{Node: "n1", Epochs: epochs})
	events, err := ledger.Events(d.Memory, jobNumber(1), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprint(e.Number, " ", e.Kind, " ", e.Count, " from ", e.First, " ", e.Node, "/", e.Epoch))
	}
	want := []string{
		"1 submitted 300 from 0 /0", "2 queued 300 from 0 /0",
		"3 placed 1 from 0 n1/1", "4 placed 1 from 1 n1/2", "5 placed 1 from 2 n1/3", "6 placed 297 from 3 n1/0",
		"7 running 1 from 0 n1/1", "8 running 1 from 1 n1/2", "9 running 1 from 2 n1/3", "10 running 297 from 3 n1/0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	d.check()
}

// TestEventsOfOneCommand has more events in one command than a job keeps.
func TestEventsOfOneCommand(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	spec := plainSpec(300)
	spec.Retry.LossesMax, spec.LossGraceNanos = 0, 0
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: spec})
	c := &ledger.Report{Node: "n1"}
	for i := range uint32(300) {
		d.do(&ledger.Place{Placements: []ledger.Placement{{Job: jobNumber(1), Start: i, Count: 1, Node: "n1", Slots: 1, Expiry: 60 * second}}})
		c.Leases = append(c.Leases, ledger.LeaseReport{Epoch: ledger.Epoch(i + 1), Runs: []ledger.Run{{First: i, Count: 1, State: ledger.TaskFailed, Terminal: true, Exit: uint8(i % 250)}}})
	}
	d.check()
	d.do(c)
	d.check()
	events, err := ledger.Events(d.Memory, jobNumber(1), 0, 1000)
	if err != nil || len(events) != ledger.EventsKept || events[ledger.EventsKept-1].Kind != ledger.EventFinished {
		t.Errorf("%d events, %v", len(events), err)
	}
}
