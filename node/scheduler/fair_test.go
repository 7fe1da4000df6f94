package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// TestTenantsShare: who comes later waits for nobody's queue, and where one lease at a
// time fits, so that nobody holds anything when it is given, leases go by weight.
func TestTenantsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.mustDo(&ledger.CreateTenant{Tenant: "u", Weight: 3, BandMax: ledger.BandTop})
		g.add(1, 1)
		g.open()
		flood := g.submit(spec(10_000_000))
		synctest.Wait()
		g.expect("tasks of who comes first", min(out(g.job(flood)), 1), 1)
		other := spec(10_000_000)
		other.Tenant = "u"
		late := g.submit(other)
		const rounds = 40
		of := map[ledger.JobID]int{}
		for i := range rounds {
			g.wait(2 * time.Second)
			g.finish(0)
			synctest.Wait()
			for _, l := range g.leases(0) {
				of[l.Job]++
				if i == 0 && l.Job != late {
					t.Error("the first lease that is free goes to who had the grid")
				}
			}
		}
		if n := of[late]; n < rounds*3/4-4 || n > rounds*3/4+4 || of[late]+of[flood] != rounds {
			t.Errorf("%d and %d of %d leases, want three quarters for a weight of 3", n, of[flood], rounds)
		}
	})
}
