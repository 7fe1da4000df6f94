package ledger

import "fmt"

// nameOf returns the name of a value of an enumeration; what has none is a number of
// its kind.
func nameOf[T ~uint8](names []string, v T, kind string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s %d", kind, uint8(v))
}

// JobState is where a job stands. The values are stored.
type JobState uint8

// The states of a job.
const (
	// JobWaiting: jobs that it comes after have not ended yet.
	JobWaiting JobState = iota
	// JobActive: its tasks are queued, leased, running or unreachable.
	JobActive
	// JobStopping: it was cancelled or ran into a deadline; nothing is placed
	// any more and its leases are waited for.
	JobStopping
	// JobSucceeded, JobFailed and JobKilled are final: all tasks succeeded; at
	// least one failed or was refused; it was stopped.
	JobSucceeded
	JobFailed
	JobKilled

	jobStates
)

var jobStateNames = [jobStates]string{"waiting", "active", "stopping", "succeeded", "failed", "killed"}

// String returns the state's name.
func (s JobState) String() string {
	return nameOf(jobStateNames[:], s, "job state")
}

// Final reports whether a job in this state stays in it.
func (s JobState) Final() bool { return s >= JobSucceeded && s < jobStates }

// Cause says why a job was stopped or a task left its lease. The values are
// stored.
type Cause uint8

// The causes.
const (
	CauseNone Cause = iota
	// CauseCancelled: the tenant or an operator asked for it.
	CauseCancelled
	// CauseQueueDeadline and CauseTotalDeadline: the job's own bounds.
	CauseQueueDeadline
	CauseTotalDeadline
	// CauseDependency: a job that it comes after did not succeed.
	CauseDependency
	// CauseOutcome: the task ended by itself, and not well.
	CauseOutcome
	// CauseLost: the lease ran out and was not renewed within the grace.
	CauseLost
	// CauseBudget: the tenant's fuel does not allow for another attempt.
	CauseBudget
	// CauseReleased: the node handed the task back unfinished.
	CauseReleased
	// CauseRefused: the node did not take the lease, for a reason that has no
	// cause of its own.
	CauseRefused
	// CauseDrain: the node is being drained.
	CauseDrain
	// CausePreempted: a higher band needs the room.
	CausePreempted
	// CauseGone: the node was declared gone, and its leases with it.
	CauseGone
	// CauseFull: the node refused, as it has no room after all.
	CauseFull
	// CauseModule: the node refused, as it could not get the module or make it
	// run.
	CauseModule
	// CausePreference: the node refused, as its operator does not want such
	// work, or not now.
	CausePreference
	// CauseOrder: the standing order that made the job has ended, or replaced it by
	// its next one.
	CauseOrder

	causes
)

var causeNames = [causes]string{"none", "cancelled", "queue_deadline", "total_deadline", "dependency", "outcome", "lost", "budget", "released", "refused", "drain", "preempted", "gone", "full", "module", "preference", "order"}

// String returns the cause's name, which is stable.
func (c Cause) String() string {
	return nameOf(causeNames[:], c, "cause")
}

// NodeState is what may be placed on a node. The values are stored.
type NodeState uint8

// The states of a node.
const (
	// NodeUp: placements are welcome.
	NodeUp NodeState = iota
	// NodeDraining: what runs may end, nothing is placed any more.
	NodeDraining
	// NodeUnreachable: nobody has heard of it for a while; its leases run on
	// until they expire.
	NodeUnreachable
	// NodeGone: it is not coming back; its leases are lost at once.
	NodeGone

	nodeStates
)

var nodeStateNames = [nodeStates]string{"up", "draining", "unreachable", "gone"}

// String returns the state's name.
func (s NodeState) String() string {
	return nameOf(nodeStateNames[:], s, "node state")
}

// LeaseState is where a lease stands. The values are stored.
type LeaseState uint8

// The states of a lease.
const (
	// LeaseGranted: the node has not begun.
	LeaseGranted LeaseState = iota
	// LeaseRunning: the node has said that it began.
	LeaseRunning
	// LeaseUnreachable: it ran out. The node may still renew it, until the
	// job's grace has passed.
	LeaseUnreachable

	leaseStates
)

var leaseStateNames = [leaseStates]string{"granted", "running", "unreachable"}

// String returns the state's name.
func (s LeaseState) String() string {
	return nameOf(leaseStateNames[:], s, "lease state")
}

// task returns the state of the tasks of a lease in this state.
func (s LeaseState) task() TaskState { return TaskLeased + TaskState(s) }

// Phase is what the tasks of a pending range wait for. The values are stored.
type Phase uint8

// The phases of a pending range.
const (
	// PhaseReady: for a placement.
	PhaseReady Phase = iota
	// PhaseBackoff: for a point in time.
	PhaseBackoff
	// PhaseWaiting: for another job.
	PhaseWaiting

	phases
)

var phaseNames = [phases]string{"ready", "backoff", "waiting"}

// String returns the phase's name.
func (p Phase) String() string {
	return nameOf(phaseNames[:], p, "phase")
}

// task returns the state of tasks in this phase.
func (p Phase) task() TaskState {
	if p == PhaseWaiting {
		return TaskWaiting
	}
	return TaskQueued
}
