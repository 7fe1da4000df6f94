// Package ledger is the grid's book of record: a pure state machine that
// decides what runs where, on whose account, and how it ended.
//
// It imports the standard library only and has no clock, no randomness and no
// input but its commands and its transaction: replicas that apply the same
// commands hold the same bytes. DESIGN.md beside this file explains the tables,
// the life of a task and what each promise rests on.
package ledger

import (
	"encoding/hex"
	"fmt"
	"time"
)

// TenantID names a tenant: 1 to 64 of a-z, 0-9 and "-".
type TenantID string

// NodeID names a node: the text form of its key, 1 to 128 bytes.
type NodeID string

// ModuleID names a module by the SHA-256 of its bytes.
type ModuleID [32]byte

// String returns the hash in hexadecimal.
func (m ModuleID) String() string { return hex.EncodeToString(m[:]) }

// JobID names a job. The proposer makes it; it sorts by time.
type JobID [16]byte

// String returns the id in hexadecimal.
func (j JobID) String() string { return hex.EncodeToString(j[:]) }

// ParseJobID is the inverse of JobID.String.
func ParseJobID(s string) (JobID, error) {
	var j JobID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(j) {
		return j, fmt.Errorf("job id %q is not 32 hexadecimal digits", s)
	}
	copy(j[:], b)
	return j, nil
}

// Epoch numbers a lease. Epochs grow and are never used twice, so that what an
// earlier holder of a task says can be told from what its present one says.
type Epoch uint64

// Time is a point in time, in nanoseconds since 1970-01-01 UTC. It always comes
// in a command.
type Time int64

// String returns the time in UTC, as in RFC 3339.
func (t Time) String() string { return time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano) }

// Resources are what one running task takes, or a node can give.
type Resources struct {
	// MemoryBytes is the task's memory limit.
	MemoryBytes uint64
	// FuelRate is fuel per second.
	FuelRate uint64
	// Slots is the number of tasks at the same time.
	Slots uint32
	// ScratchBytes is space for scratch files.
	ScratchBytes uint64
}

// Fits reports whether r fits into free.
func (r Resources) Fits(free Resources) bool {
	return r.MemoryBytes <= free.MemoryBytes && r.FuelRate <= free.FuelRate &&
		r.Slots <= free.Slots && r.ScratchBytes <= free.ScratchBytes
}

// Plus returns r + s.
func (r Resources) Plus(s Resources) Resources {
	return Resources{r.MemoryBytes + s.MemoryBytes, r.FuelRate + s.FuelRate, r.Slots + s.Slots, r.ScratchBytes + s.ScratchBytes}
}

// Minus returns r - s, zero where s is larger.
func (r Resources) Minus(s Resources) Resources {
	sub := func(a, b uint64) uint64 { return a - min(a, b) }
	return Resources{sub(r.MemoryBytes, s.MemoryBytes), sub(r.FuelRate, s.FuelRate), r.Slots - min(r.Slots, s.Slots), sub(r.ScratchBytes, s.ScratchBytes)}
}

// Times returns n times r.
func (r Resources) Times(n uint32) Resources {
	return Resources{r.MemoryBytes * uint64(n), r.FuelRate * uint64(n), r.Slots * n, r.ScratchBytes * uint64(n)}
}

// TaskState is where a task of a job stands. The values are stored.
type TaskState uint8

// The states of a task.
const (
	// TaskWaiting: its job waits for another job.
	TaskWaiting TaskState = iota
	// TaskQueued: it waits for a placement.
	TaskQueued
	// TaskLeased: a node holds a lease on it and has not begun.
	TaskLeased
	// TaskRunning: the node has said that it began.
	TaskRunning
	// TaskUnreachable: its lease ran out and it may still run.
	TaskUnreachable
	// TaskSucceeded, TaskFailed, TaskKilled and TaskRefused are final.
	TaskSucceeded
	TaskFailed
	TaskKilled
	TaskRefused

	taskStates
)

var taskStateNames = [taskStates]string{"waiting", "queued", "leased", "running", "unreachable", "succeeded", "failed", "killed", "refused"}

// String returns the state's name.
func (s TaskState) String() string {
	return nameOf(taskStateNames[:], s, "state")
}

// Final reports whether a task in this state stays in it.
func (s TaskState) Final() bool { return s >= TaskSucceeded && s < taskStates }

// ExitVarious stands for several classes of exit: nodes do not report it.
const ExitVarious = 255

// CountMax bounds the tasks of a job.
const CountMax = 10_000_000

// Constraint is one demand on a node.
type Constraint struct {
	// Label must have Value, or be absent when Not is set and Value is empty;
	// Not turns the demand round.
	Label, Value string
	Not          bool
}

// String writes the constraint as specifications do: zone=oslo, zone!=oslo, !zone.
func (c Constraint) String() string {
	switch {
	case !c.Not:
		return c.Label + "=" + c.Value
	case c.Value == "":
		return "!" + c.Label
	default:
		return c.Label + "!=" + c.Value
	}
}

// Retry says which attempts are repeated and when.
type Retry struct {
	// AttemptsMax bounds the attempts of a task that failed by itself, from 1.
	AttemptsMax uint32
	// LossesMax bounds the attempts that were lost with their node.
	LossesMax uint32
	// BackoffNanos is the wait before the second attempt; it doubles with each
	// up to BackoffMaxNanos.
	BackoffNanos, BackoffMaxNanos int64
}

// JobSpec is what a tenant asks for, as far as the ledger looks at it.
type JobSpec struct {
	Tenant TenantID
	Module ModuleID
	// Count is the number of tasks, from 1 to CountMax.
	Count uint32
	// Band is the priority band, 0 to 7; a larger one goes first.
	Band uint8
	// Task is what one task takes while it runs.
	Task Resources
	// FuelMax is the most that one task may burn; it is reserved for each.
	FuelMax uint64
	Retry   Retry
	// QueueNanos bounds the wait for the first placement, TotalNanos the whole
	// job; zero is no bound. LossGraceNanos is how long a task whose lease ran
	// out may stay unreachable before it is queued again.
	QueueNanos, TotalNanos, LossGraceNanos int64
	Constraints                            []Constraint
	// Features are what the node's runtime must offer.
	Features []string
	// SpreadLabel asks for tasks to be spread over this label's values.
	SpreadLabel string
	// After lists jobs that must have succeeded: all of them, or with AfterOne at
	// least one. With AfterAny they must have ended, however.
	After    []JobID
	AfterAny bool
	AfterOne bool
	// RetentionNanos is how long the job is kept when it has ended, from
	// RetentionMinNanos to RetentionMaxNanos; zero is RetentionNanos.
	RetentionNanos int64
	// SparesMax is how many of its tasks may have a second attempt at the same
	// time, at most SparesLimit.
	SparesMax uint32
	// Secrets are the tenant's secrets that tasks are given, in ascending order: at most
	// JobSecretsMax.
	Secrets []SecretName
	// Labels say what the job is, in ascending order of name: at most JobLabelsMax. They
	// are demands on nothing: nodes have rules for them.
	Labels []Label
	// TimeoutNanos is the longest that an attempt may take; zero is that the ledger was
	// not told.
	TimeoutNanos int64
	// Payload is the rest of the specification, which the ledger only keeps:
	// at most PayloadBytesMax.
	Payload []byte
}

// PayloadBytesMax bounds JobSpec.Payload: larger parts belong in the content
// store.
const PayloadBytesMax = 64 << 10
