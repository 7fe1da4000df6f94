package jobspec

import (
	"fmt"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// Standing reports whether the file describes a standing order, which makes jobs,
// rather than one job.
func (j *Job) Standing() bool { return j.Kind == KindCron || j.Kind == KindDaemon }

// Order returns the standing order as the ledger takes it, but for its id. Its error
// is Errors.
func (j *Job) Order(tenant ledger.TenantID) (*ledger.CreateOrder, error) {
	spec, err := j.Spec(tenant)
	if err != nil {
		return nil, err
	}
	c := &ledger.CreateOrder{Name: j.Name, Kind: ledger.OrderDaemon, Spec: spec}
	if j.Kind == KindCron {
		c.Kind, c.Schedule, c.Zone = ledger.OrderCron, j.Schedule, j.Timezone
		c.Overlap = ledger.Overlap(numberOf(string(j.Overlap), ledger.Overlap.String))
		c.CatchUp = ledger.CatchUp(numberOf(string(j.CatchUp), ledger.CatchUp.String))
	}
	return c, nil
}

// numberOf returns the ledger's number of a name; that of no name is 0, the default.
func numberOf[T ~uint8](name string, text func(T) string) uint8 {
	names := make([]string, 8)
	for i := range names {
		names[i] = text(T(i))
	}
	return uint8(max(slices.Index(names, name), 0))
}

// checkStanding reports what a standing order cannot have.
func (j *Job) checkStanding(c *checker) {
	if !j.Standing() {
		return
	}
	if len(j.dependencies()) > 0 {
		c.add("after", "and inputs from other jobs belong to kind: job, and this is kind: "+string(j.Kind), "remove them: ended jobs are forgotten, and the order's own come after each other with overlap: queue")
	}
	if n := len(j.Constraints.Labels); j.Kind == KindDaemon && n == ledger.ConstraintsMax {
		c.add("constraints.labels", fmt.Sprintf("has %d demands, at most %d for a daemon", n, n-1), "ask for less: one more is the node itself")
	}
}
