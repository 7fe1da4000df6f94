package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// handBack does what nodes do with the leases that have notice.
func (g *grid) handBack() (leases int) {
	g.Helper()
	for i := range g.nodes {
		for _, l := range g.leases(i) {
			if l.Notice != 0 {
				leases++
				g.mustDo(&ledger.Release{Node: nodeID(i), Epochs: []ledger.Epoch{l.Epoch}, Cause: ledger.CausePreempted})
			}
		}
	}
	return leases
}

// TestPreempt: tasks of a low band fill a grid. One of a higher band waits for a moment,
// then a lease gives way to it, and one only; it runs, the others go on. A job of the
// same band makes nobody give way, and none does twice within a minute.
func TestPreempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(3, 2)
		g.open()
		synctest.Wait()
		low := spec(6)
		low.Band = 1
		first := g.submit(low)
		g.wait(time.Second)
		g.expect("tasks out", out(g.job(first)), 6)
		same := spec(1)
		same.Band = 1
		g.submit(same)
		high := spec(1)
		high.Band = 2
		wanted := g.submit(high)
		g.wait(time.Second)
		g.expect("notices before the wait is over", g.metric("preemptions_total", ""), 0)
		g.wait(5 * time.Second)
		g.expect("notices", g.metric("preemptions_total", ledger.CodeOK.String()), 1)
		if n := g.handBack(); n != 1 {
			t.Errorf("%d leases have notice", n)
		}
		g.wait(time.Second)
		g.expect("tasks of the high band out", out(g.job(wanted)), 1)
		j := g.job(first)
		if j.Tasks[ledger.TaskQueued] == 0 || out(j)+int(j.Tasks[ledger.TaskQueued]) != 6 {
			t.Errorf("of the low band: %s", j.Tasks)
		}
		g.renew()
		g.wait(5 * time.Second)
		g.expect("notices in the end", g.metric("preemptions_total", ""), 1)
	})
}

// TestPreemptWhole: two leases make room for one large task. What comes back first is
// kept for it, though the low band's tasks wait as well.
func TestPreemptWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 2)
		g.open()
		synctest.Wait()
		a, b := g.submit(spec(1)), g.submit(spec(1))
		g.wait(time.Second)
		large := spec(1)
		large.Band, large.Task.Slots = 1, 2
		wanted := g.submit(large)
		g.wait(4 * time.Second)
		list := g.leases(0)
		if len(list) != 2 || list[0].Notice == 0 || list[1].Notice == 0 {
			t.Fatalf("leases are %+v", list)
		}
		for i, l := range list {
			g.expect("tasks of the large one out", out(g.job(wanted)), 0)
			g.mustDo(&ledger.Release{Node: nodeID(0), Epochs: []ledger.Epoch{l.Epoch}, Cause: ledger.CausePreempted})
			g.wait(2 * time.Second)
			g.expect("small ones out", out(g.job(a))+out(g.job(b)), 1-i)
		}
		g.expect("tasks of the large one out", out(g.job(wanted)), 1)
		g.finish(0)
		g.wait(time.Second)
		g.expect("small ones out in the end", out(g.job(a))+out(g.job(b)), 2)
	})
}
