package httpd

import (
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

// TestWhyNothingWaits: what was noted for the last task that waited is not said of those
// that run.
func TestWhyNothingWaits(t *testing.T) {
	s := newShop(t)
	job := ledger.JobID{1}
	public, _ := nodeKey(t)
	s.book.do(t,
		&ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{Slots: 1}, Key: public},
		&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1},
		&ledger.Submit{Job: job, Spec: ledger.JobSpec{Tenant: "default", Module: ledger.ModuleID{1}, Count: 1, Task: ledger.Resources{Slots: 1}, FuelMax: 1, Retry: ledger.Retry{AttemptsMax: 1}}},
		&ledger.NoteReasons{Notes: []ledger.Note{{Job: job, Nodes: 1, Reasons: []ledger.Reason{{What: "full-slots", Nodes: 1}}}}},
	)
	why := func() api.Why {
		return expect[api.Why](s, s.ask(true, "GET", "/v1/jobs/"+job.String()+"/why", ""), 200)
	}
	if w := why(); len(w.Reasons) != 1 || !strings.Contains(w.Text, "1 nodes were passed over") {
		t.Errorf("while it waits: %+v", w)
	}
	s.book.do(t, &ledger.Place{Placements: []ledger.Placement{{Job: job, Count: 1, Node: "n1", Slots: 1, Expiry: s.book.now + 1e9}}})
	if w := why(); len(w.Reasons) != 0 || !strings.Contains(w.Text, "nothing waits") {
		t.Errorf("while it runs: %+v", w)
	}
}
