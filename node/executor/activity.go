package executor

import (
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// Activity is what a job does on this node now.
type Activity struct {
	Job    ledger.JobID
	Tenant ledger.TenantID
	Module ledger.ModuleID
	// Name is what its tenant calls it, any text; empty is none.
	Name string
	Band uint8
	// Leases are those that it has here, Since is when the oldest was taken.
	Leases int
	Since  time.Time
	// Running is how many of its tasks run, a series counting as one, Left how many
	// have not begun, Slots what one task takes.
	Running, Left, Slots uint32
	// MemoryBytes is the memory limit of one task.
	MemoryBytes uint64
	// Ended counts the attempts that have ended since the job was last new here, and
	// Fuel what they have burnt.
	Ended, Fuel uint64
}

// Activity returns what the jobs that have leases here do, in the order of their ids.
func (e *Executor) Activity() []Activity {
	e.mu.Lock()
	defer e.mu.Unlock()
	of := map[*job]*Activity{}
	var list []*Activity
	for _, l := range e.leases {
		j := l.job
		a := of[j]
		if a == nil {
			a = &Activity{
				Job: j.id, Tenant: j.spec.Tenant, Module: j.spec.Module, Band: j.spec.Band, Since: l.since,
				Running: uint32(j.running.Load()), Slots: j.slots, MemoryBytes: j.spec.Task.MemoryBytes, Ended: j.ended, Fuel: j.fuel,
			}
			if j.program != nil {
				a.Name = j.program.Name
			}
			of[j] = a
			list = append(list, a)
		}
		a.Leases++
		a.Left += l.left()
		if l.since.Before(a.Since) {
			a.Since = l.since
		}
	}
	out := make([]Activity, 0, len(list))
	for _, a := range list {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Activity) int { return slices.Compare(a.Job[:], b.Job[:]) })
	return out
}
