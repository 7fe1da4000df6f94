package ledger

import "fmt"

// Quota bounds what a tenant may hold; zero is no bound.
type Quota struct {
	// FuelTotal bounds reserved and used fuel together.
	FuelTotal uint64
	// MemoryBytes bounds the memory of tasks that are leased at the same time.
	MemoryBytes uint64
	// QueuedTasks bounds the tasks that wait, Jobs the jobs that have not ended.
	QueuedTasks uint64
	Jobs        uint32
	// FuelPerDay bounds reserved fuel together with that used on one day, in UTC.
	FuelPerDay uint64
	// FuelRate bounds the fuel per second of tasks that are leased at the same time:
	// while they have less, another one is placed.
	FuelRate uint64
	// StoredBytes bounds the results that are kept for its jobs: above it no job is
	// taken.
	StoredBytes uint64
	// EgressPerDay bounds the bytes that its tasks exchange with the world outside on
	// one day, in UTC.
	EgressPerDay uint64
}

// Tenant is a tenant with its quota and account.
type Tenant struct {
	ID TenantID
	// Weight is its share beside others, from 1.
	Weight uint32
	// BandMax is the highest priority band of its jobs.
	BandMax uint8
	Quota   Quota
	// FuelReserved is FuelMax for each of its tasks that is not final, FuelUsed
	// the fuel of all reports that were accepted.
	FuelReserved, FuelUsed uint64
	// Leased is what its leases take on their nodes.
	Leased Resources
	// Queued counts its waiting and queued tasks, Jobs its jobs that have not
	// ended.
	Queued uint64
	Jobs   uint32
	// Stored is the size of the results that are kept for its jobs, as far as reports
	// told it.
	Stored uint64
	// Rate is the fuel per second of its leases that were granted under a quota of that.
	Rate uint64
	// Capabilities are what its jobs may ask for beyond computing.
	Capabilities Capabilities
	// Revocations is how many of its delegations were taken back and are remembered.
	Revocations uint32
}

// Label is a property that a node declares.
type Label struct{ Name, Value string }

// Node is a member that can run tasks.
type Node struct {
	ID       NodeID
	State    NodeState
	Changed  Time // of State
	Capacity Resources
	// Reserved is what its leases take.
	Reserved Resources
	Leases   uint32
	// Labels are in ascending order of name, Features of themselves.
	Labels   []Label
	Features []string
	// Until is when a node that drains hands back what still runs; zero is never.
	Until Time
	// Key verifies its reports; zero is that they are not signed.
	Key [32]byte
}

// Module is what the ledger knows of a module: not its bytes.
type Module struct {
	ID    ModuleID
	Bytes uint64
	// References counts the jobs that name it and have not been pruned.
	References uint64
	// Holders are nodes that have it, in ascending order: hints.
	Holders []NodeID
}

// Tally counts tasks by state.
type Tally [taskStates]uint32

// String returns the counts that are not zero, such as "queued:2,failed:1".
func (t Tally) String() string {
	text := ""
	for state, n := range t {
		if n == 0 {
			continue
		}
		if text != "" {
			text += ","
		}
		text += fmt.Sprint(TaskState(state), ":", n)
	}
	return text
}

// Job is a job's state; its JobSpec is kept beside it.
type Job struct {
	ID     JobID
	Tenant TenantID
	State  JobState
	// Cause says why it was stopped, Blame for CauseDependency by which job.
	Cause Cause
	Blame JobID
	Band  uint8
	// Tasks counts its tasks by state; the sum is Count.
	Count uint32
	Tasks Tally
	// Unlisted is how many of the killed were never written down one by one:
	// those that waited when the job was stopped.
	Unlisted uint32
	// Created, Queued, Placed, Stopped and Finished are when it was submitted,
	// became ready, was first placed, was stopped and ended; zero is not yet.
	Created, Queued, Placed, Stopped, Finished Time
	// Ready counts its ready pending ranges, Pending all of them, Leases its
	// leases, DependsOn the jobs that it still waits for, Dependents those that
	// wait for it.
	Ready, Pending, Leases, DependsOn, Dependents uint32
	// Fresh is the first task that was never placed: it and all behind it are
	// in one range, or were killed as they waited.
	Fresh uint32
	// Events is the number of events so far. A command that changes which leases
	// the job has, or their slots, adds at least one.
	Events uint32
	// Usage sums up its accepted reports.
	Usage Usage
	// Spares counts its leases beside Leases that are spare.
	Spares uint32
	// Pruning says that its retention is over and parts of it are gone already.
	Pruning bool
	// Stored is the size of its results.
	Stored uint64
	// Today is the part of Usage that is from receipts of Day, the last day on which
	// there were any; earlier days have records of their own.
	Day   uint32
	Today Usage
}

// Usage is what attempts have cost.
type Usage struct {
	Fuel              uint64
	MemoryByteSeconds uint64
	WallNanos         uint64
	// EgressBytes is what was exchanged with the world outside, both ways.
	EgressBytes uint64
}

// Pending is a range of tasks that wait, all in the same way.
type Pending struct {
	Job   JobID
	Phase Phase
	Tasks Range
	// Attempt is the number of attempts that failed, Losses of those lost; Cause
	// says why the last lease gave the tasks back, none when there was none.
	Attempt, Losses uint32
	Cause           Cause
	// NotBefore is the end of its back-off.
	NotBefore Time
	// Avoid lists the nodes that failed, lost or refused it, the latest last.
	Avoid []NodeID
	// Preempted is when its tasks last had a notice, or gave way; zero is never. For is
	// the band of the job to which they gave way, with CausePreempted.
	Preempted Time
	For       uint8
	// Refusals is that of the placement under which they were refused.
	Refusals uint8
}

// Lease is the right of a node to run some tasks of a job for a while.
type Lease struct {
	Node  NodeID
	Epoch Epoch
	Job   JobID
	State LeaseState
	// Begun says that the node began: whether it is running again after having
	// been unreachable.
	Begun bool
	// Tasks are those granted, Open those of them that have not ended.
	Tasks, Open Range
	// Slots of them run at the same time, each with the resources of one task.
	Slots   uint32
	Granted Time
	// Expiry is when it runs out; while it is unreachable, when it is lost.
	Expiry Time
	// Timer is when the ledger looks at it again: not after Expiry.
	Timer           Time
	Attempt, Losses uint32
	Avoid           []NodeID
	// Spare says that it is a second attempt at its one task, which is counted with
	// another lease. Elsewhere are the tasks that a spare has ended: an attempt of
	// this lease at them costs its fuel and nothing more.
	Spare     bool
	Elsewhere Range
	// Notice is when it has to give way to a job of band For, zero while it has not:
	// its node hands it back by then.
	Notice Time
	For    uint8
	// Preempted is when its tasks last had a notice, or gave way; zero is never.
	Preempted Time
	// Rate is the fuel per second of a slot, for a tenant with a quota of that.
	Rate uint64
	// Refusals is that of its placement.
	Refusals uint8
	// retries and retry say that tasks which failed under it wait in the
	// back-off range that begins with task retry.
	retries bool
	retry   uint32
}

// Chunk is the outcomes of up to chunkTasks tasks of a job.
type Chunk struct {
	Succeeded Range
	// Endings are those of the other tasks, each kind once: at most EndingsMax,
	// and one more for each state and cause.
	Endings []Ending
}

// Ending is how tasks ended that did not succeed.
type Ending struct {
	State TaskState
	Cause Cause
	// Exit is the class of the exit as it was reported, or ExitVarious.
	Exit  uint8
	Tasks Range
}

// Output is the content of a range of tasks that ended.
type Output struct {
	Tasks  Range
	State  TaskState
	Node   NodeID
	Epoch  Epoch
	Digest [32]byte
}

// Account is what a tenant has used on one day.
type Account struct {
	Usage Usage
	// Tasks counts those that became final.
	Tasks Tally
	// Receipts is the part of Usage that is from reports which their nodes have signed,
	// Forgotten the part of Receipts whose jobs were pruned. The others have it still:
	// Receipts is Forgotten and what the jobs say of the day, and what its modules say.
	Receipts, Forgotten Usage
	// Modules counts the modules that have an account of the day, but for that of the
	// others together.
	Modules uint32
}

// Reason is why nodes were passed over for a job: for Nodes of them What was the
// first thing that spoke against them.
type Reason struct {
	// What is the name of a constraint, as the planner knows it; Detail says
	// which one where there are several: the feature, the demand on a label, the
	// node's state.
	What, Detail string
	Nodes        uint32
	// Need is what the job needs of an amount, Have the most that one of these
	// nodes has; both are zero where it is not about an amount.
	Have, Need uint64
}

// Reasons are why a job's tasks could not be placed, as the planner saw it.
type Reasons struct {
	// At is when this was first noted; it has not changed since.
	At   Time
	List []Reason
	// Nodes is the number of nodes that the planner knew, Sampled how many of
	// them it looked at; zero is all.
	Nodes, Sampled uint32
	// FreeAt is when the first of the full nodes is expected to have room; zero
	// is not known.
	FreeAt Time
}

// client is the memory of a client's last command.
type client struct {
	Seq uint64
	// Last is when it was, Timer when the ledger looks at the record again.
	Last, Timer Time
	Result      []byte
}

// meta is the one record of the ledger itself.
type meta struct {
	// Epoch is the last one given.
	Epoch Epoch
	// Revocations is how many there are.
	Revocations uint32
}
