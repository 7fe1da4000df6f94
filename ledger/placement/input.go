package placement

import (
	"math"

	"github.com/dugnad/dugnad/ledger"
)

// Input is everything that a plan depends on. Plan does not change it.
type Input struct {
	// Now is the time at which the plan is made.
	Now ledger.Time
	// Seed makes the samples: give each pass another one.
	Seed uint64
	// Jobs have tasks that are ready, the higher band first. Tenants of a band
	// share; of one tenant the job that comes first is the more urgent one.
	Jobs []Job
	// Nodes have distinct ids. Their order does not matter; sorting by id saves
	// Plan the work.
	Nodes []Node
	// Quotas bound what tenants may lease in addition. A tenant that is not
	// listed is not bounded; each occurs once.
	Quotas []Quota
	// Claims say what tenants have and have had. A tenant that is not listed has
	// nothing, and a weight of one; each occurs once.
	Claims []Claim
	// Leases returns those leases of a node that are of a band below the given one, or have
	// notice: always the same ones. Nil is that nothing gives way. It is asked of a few
	// nodes, of each once, and only when something waits that may make others give way.
	Leases func(node ledger.NodeID, below uint8) []Tenure
	// Params must be valid.
	Params Params
}

// Tenure is a lease that may have to give way. Spares are not among them.
type Tenure struct {
	Epoch ledger.Epoch
	// Band is its job's, Task what each of its Slots takes.
	Band  uint8
	Slots uint32
	Task  ledger.Resources
	// Granted, Notice and Preempted are the ledger's.
	Granted, Notice, Preempted ledger.Time
}

// Job is a job with tasks that are ready to be placed.
type Job struct {
	ID ledger.JobID
	// Spec is read only, and of it Tenant, Module, Band, Task, FuelMax,
	// Constraints, Features, SpreadLabel, Labels and TimeoutNanos. It must not be nil.
	Spec *ledger.JobSpec
	// ModuleBytes is the module's size; zero when unknown or not needed.
	ModuleBytes uint64
	// ExpectedNanos is how long one task is likely to run. Zero is unknown:
	// FuelMax / FuelRate is taken, or Params.TaskNanos when one of them is zero.
	ExpectedNanos int64
	// SpreadMax bounds the slots that the job holds on nodes with the same value
	// of SpreadLabel; zero is no bound.
	SpreadMax uint32
	// Pending are the ready ranges; of each, Tasks, Avoid, Cause and Refusals are read.
	Pending []ledger.Pending
	// Ready is since when each of them is, by index, as far as is known: where it is
	// missing or zero, Since counts.
	Ready []ledger.Time
	// Running counts the slots that the job's leases hold, by the value of
	// SpreadLabel; each value occurs once. Without a SpreadLabel it has at most
	// one entry, whose value is not read.
	Running []Running
	// Since is when the oldest of its ready tasks became ready.
	Since ledger.Time
	// Bound are its secrets that are for some nodes only. In one input a tenant's secret
	// has the same nodes for all jobs.
	Bound []Bound
}

// Bound is a secret of a job's tenant, and the only nodes that are given it.
type Bound struct {
	Secret ledger.SecretName
	Nodes  []ledger.NodeID
}

// Unbounded is the amount that is no bound.
const Unbounded = math.MaxUint64

// Quota is what a tenant may still lease: QuotaOf says why it is these amounts only.
type Quota struct {
	Tenant      ledger.TenantID
	MemoryBytes uint64
	// FuelRate is fuel per second as ledger.TaskRate counts it: there is room for
	// another task while it is not zero.
	FuelRate uint64
}

// Claim is what a tenant's turn depends on.
type Claim struct {
	Tenant ledger.TenantID
	// Weight is its share beside others; zero counts as one.
	Weight uint32
	// Leased is what its leases hold; of it memory, fuel rate and slots are read.
	Leased ledger.Resources
	// Recent and Past are its dominant share on the average, where what is
	// Params.RecentNanos, or PastNanos, ago counts half: 0 to ShareMax, and more
	// counts as that.
	Recent, Past uint64
}

// Running is a number of slots in use on nodes with one value of a label.
type Running struct {
	Value string
	Slots uint32
}

// SpreadOperator as JobSpec.SpreadLabel spreads over operators, whatever the
// nodes' labels say. For every other label, a node that lacks it counts as one
// whose value is empty.
const SpreadOperator = "operator"

// ReliabilityMax is the reliability of a node that has never lost or spoilt a
// task.
const ReliabilityMax = 1000

// Node is a node and what is known of it beside the ledger.
type Node struct {
	// Node is the ledger's record, which is read only. It must not be nil. Only
	// nodes that are up get placements.
	*ledger.Node
	Operator string
	// Allow lists the only tenants that may run here, when it is not empty;
	// Deny those that may not.
	Allow, Deny []ledger.TenantID
	// AllowLabels are the rules of which a job has to meet one, when there are any;
	// DenyLabels those of which it may meet none.
	AllowLabels, DenyLabels []ledger.LabelRule
	// Reliability is 0 to ReliabilityMax; more counts as ReliabilityMax.
	Reliability uint32
	Offer       Offer
	// Held are the modules that the node has.
	Held Filter
	// BusyUntil is when the next of its slots is expected to be free; zero or
	// past when that is unknown.
	BusyUntil ledger.Time
	// Hold is the highest band for which leases of the node have notice to give way:
	// what is free there is not for lower ones. Zero is none.
	Hold uint8
}

// Offer is what a node said about itself.
type Offer struct {
	// At is when the offer arrived, by the clock that Input.Now is from. The
	// zero Offer is too old.
	At ledger.Time
	// Free is what the node can take on top of what it runs.
	Free ledger.Resources
	// Over is what its leases take beyond what it gives: so much has to end before
	// anything is free.
	Over ledger.Resources
	// DiskBytes is room for modules.
	DiskBytes uint64
	// WaitNanos is how long a task would wait there before it begins.
	WaitNanos int64
	// Until is when the node's machine is switched off; zero is not.
	Until ledger.Time
	// Changed is when what the operator wants became what it is, as far as that was seen:
	// a refusal for that reason from before it counts for nothing. Zero is long ago.
	Changed ledger.Time
}

// Output is a plan. It shares no memory with the Planner that made it.
type Output struct {
	// Placements are in the order in which they were decided, which is that in
	// which the ledger has to apply them: each takes the first tasks of a range,
	// and the next of the same range begins with the first task after them.
	Placements []ledger.Placement
	// Left has one entry for each job that still has ready tasks, in the order
	// of Input.Jobs.
	Left []Left
	// Preemptions name leases that are to have notice. PreemptAt is when to plan again
	// if nothing else happens, as then others may; zero is never.
	Preemptions []Preemption
	PreemptAt   ledger.Time
	Stats       Stats
}

// Preemption is the leases that give way to one task of a job.
type Preemption struct {
	Job    ledger.JobID
	Leases []ledger.LeaseName
}

// Left says why tasks of a job were not placed.
type Left struct {
	Job ledger.JobID
	// Tasks is the number of ready tasks that were not placed.
	Tasks uint64
	// Reasons may be shared between entries: it must not be changed.
	Reasons *Reasons
}

// Stats say how much work a plan was.
type Stats struct {
	// Classes of nodes, distinct demands, and shapes of jobs.
	Classes, Demands, Shapes int
	// Visits counts nodes looked at for a shape.
	Visits int
}
