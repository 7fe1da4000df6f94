package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/p2p/capacity"
)

// refuse has a node refuse what it was given last, and returns whether there was any.
func (g *grid) refuse(i int) bool {
	g.Helper()
	list := g.leases(i)
	if len(list) > 0 {
		g.mustDo(&ledger.RefuseLease{Node: nodeID(i), Epochs: []ledger.Epoch{list[len(list)-1].Epoch}, Cause: ledger.CausePreference})
	}
	return len(list) > 0
}

// TestRefusesAgain: the only node, which refuses a task whenever it is given it, is given
// it more and more seldom.
func TestRefusesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.open()
		g.submit(spec(1))
		synctest.Wait()
		refused := 0
		for range 600 {
			if g.refuse(0) {
				refused++
			}
			g.wait(time.Second)
		}
		// After 1, 2, 4, 8, 16 and 32 s, and every 64 s from then on.
		if refused < 7+7 || refused > 7+9 {
			t.Errorf("%d refusals in ten minutes", refused)
		}
	})
}

// TestRefusesNoMore: a task that a node has refused waits for room on another one, and
// goes to the first one at once when its operator wants something else.
func TestRefusesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.want(0, capacity.LabelWanted, "1")
		g.open()
		id := g.submit(spec(1))
		synctest.Wait()
		g.add(1, 4)
		full := spec(4)
		full.Constraints = []ledger.Constraint{{Label: "b", Value: "b"}}
		g.mustDo(&ledger.RegisterNode{Node: nodeID(1), Capacity: room(4), Labels: []ledger.Label{{Name: "b", Value: "b"}}})
		g.submit(full)
		g.wait(g.config.BoardInterval)
		if !g.refuse(0) {
			t.Fatal("it was given nothing")
		}
		g.run(5 * time.Second)
		g.expect("tasks out while its operator wants the same", out(g.job(id)), 0)
		g.want(0, capacity.LabelWanted, "2")
		g.run(2 * time.Second)
		g.expect("tasks out afterwards", out(g.job(id)), 1)
		if l := g.leases(0); len(l) != 1 {
			t.Errorf("it has %+v", l)
		}
	})
}

// TestWants: nothing is placed on a node whose operator lets a job's labels not in, or
// that is switched off before a task has ended for sure, and the job's reasons say so.
func TestWants(t *testing.T) {
	for name, test := range map[string]struct {
		key, value string
		code       placement.Code
		detail     string
	}{
		"denied":      {capacity.LabelJobLabelDenied, "team", placement.CodeLabelDenied, "team " + string(nodeID(0))},
		"value":       {capacity.LabelJobLabelDenied, "team=a", placement.CodeLabelDenied, "team=a " + string(nodeID(0))},
		"other value": {capacity.LabelJobLabelDenied, "team=b", placement.CodeFits, ""},
		"allowed":     {capacity.LabelJobLabelAllowed, "team=a", placement.CodeFits, ""},
		"not allowed": {capacity.LabelJobLabelAllowed, "team=b", placement.CodeLabelNotAllowed, string(nodeID(0))},
		"until":       {capacity.LabelUntil, time.Date(2000, 1, 1, 0, 50, 0, 0, time.UTC).Format(time.RFC3339), placement.CodeLeaves, string(nodeID(0))},
		"later":       {capacity.LabelUntil, time.Date(2000, 1, 1, 1, 10, 0, 0, time.UTC).Format(time.RFC3339), placement.CodeFits, ""},
		"no time":     {capacity.LabelUntil, "soon", placement.CodeFits, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGrid(t)
				g.add(1, 4)
				g.want(0, test.key, test.value)
				g.open()
				synctest.Wait()
				e, err := g.Explain(t.Context(), labelled())
				if err != nil {
					t.Fatal(err)
				}
				id := g.submit(labelled())
				g.wait(2 * time.Second)
				if test.code == placement.CodeFits {
					g.expect("tasks out", out(g.job(id)), 1)
					return
				}
				g.expect("tasks out", out(g.job(id)), 0)
				if r := e.Reasons; r == nil || len(r.Counts) != 1 || r.Counts[0].Code != test.code || r.Counts[0].Detail != test.detail {
					t.Errorf("it waits for %+v", r)
				}
			})
		})
	}
}
