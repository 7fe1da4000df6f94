package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// OrderID names a standing order. The proposer makes it; it sorts by time.
type OrderID [16]byte

// String returns the id in hexadecimal.
func (o OrderID) String() string { return hex.EncodeToString(o[:]) }

// OrderKind is what makes the jobs of a standing order. The values are stored.
type OrderKind uint8

// The kinds of order.
const (
	// OrderCron: the times of a schedule.
	OrderCron OrderKind = iota
	// OrderDaemon: the nodes that meet its constraints, each always having one.
	OrderDaemon

	orderKinds
)

var orderKindNames = [orderKinds]string{"cron", "daemon"}

// String returns the kind's name.
func (k OrderKind) String() string {
	return nameOf(orderKindNames[:], k, "order kind")
}

// OrderState is where a standing order stands. The values are stored.
type OrderState uint8

// The states of an order.
const (
	// OrderActive: it makes jobs.
	OrderActive OrderState = iota
	// OrderPaused: it makes none; those that it made go on.
	OrderPaused
	// OrderEnded: it never makes another one. This is final.
	OrderEnded

	orderStates
)

var orderStateNames = [orderStates]string{"active", "paused", "ended"}

// String returns the state's name.
func (s OrderState) String() string {
	return nameOf(orderStateNames[:], s, "order state")
}

// Overlap is what becomes of a run while jobs of earlier runs have not ended. The
// values are stored.
type Overlap uint8

// The ways to overlap.
const (
	// OverlapSkip lets the run pass.
	OverlapSkip Overlap = iota
	// OverlapQueue makes a job that comes after the earlier ones.
	OverlapQueue
	// OverlapReplace stops the earlier ones.
	OverlapReplace
	// OverlapAllow makes a job beside them.
	OverlapAllow

	overlaps
)

var overlapNames = [overlaps]string{"skip", "queue", "replace", "allow"}

// String returns the name that job files have for it.
func (o Overlap) String() string {
	return nameOf(overlapNames[:], o, "overlap")
}

// CatchUp says which of the times that passed while no leader could see them are
// made up for. The ledger keeps it for the leader. The values are stored.
type CatchUp uint8

// The ways to catch up.
const (
	CatchUpNone CatchUp = iota
	CatchUpOne
	CatchUpAll

	catchUps
)

var catchUpNames = [catchUps]string{"none", "one", "all"}

// String returns the name that job files have for it.
func (c CatchUp) String() string {
	return nameOf(catchUpNames[:], c, "catch-up")
}

// Order is a standing order: what makes jobs, all of the same JobSpec, which is
// kept beside it. The ledger computes no calendar: the leader says when.
type Order struct {
	ID      OrderID
	Tenant  TenantID
	Name    string
	Kind    OrderKind
	State   OrderState
	Created Time
	// Changed is when State last changed, Finished when it and all of its jobs had
	// ended; zero is not yet.
	Changed, Finished Time
	// Schedule and Zone say when a cron order runs: text that the leader reads.
	Schedule, Zone string
	Overlap        Overlap
	CatchUp        CatchUp
	// LastAt is the time of the latest run, made or not; no run of this time or of
	// an earlier one is ever made again. A new or resumed order has the time of that.
	LastAt Time
	// Open counts the jobs that it made and that have not ended.
	Open uint32
	// Made counts its jobs, the next three those of them that ended by how they did.
	Made, Succeeded, Failed, Killed uint64
	// Skipped counts runs that were not made because of earlier ones, Refused those
	// because of a quota or another limit, Missed times that passed while no leader
	// could see them and that are not made up for.
	Skipped, Refused, Missed uint64
	// Runs are the last RunsKept, the latest last.
	Runs []OrderRun
}

// OrderRun is one run of an order.
type OrderRun struct {
	// At is its time, and for a daemon when it was made.
	At Time
	// Code is CodeOK when a job was made, and says why not otherwise.
	Code Code
	// Job is the job that was made, State how it ended; while Ended is zero it has
	// not.
	Job   JobID
	State JobState
	Ended Time
}

// Seat is the place of a daemon order on a node.
type Seat struct {
	Order OrderID
	Node  NodeID
	// Job is the latest job there; Open says that it has not ended.
	Job  JobID
	Open bool
	// Began is when it was made, Number how many there were with it, Failures how
	// many of them in a row did not last.
	Began            Time
	Number, Failures uint32
	// NotBefore is when the next one may be made.
	NotBefore Time
}

// Limits of standing orders. They are part of the format, as those of limit.go.
const (
	// OrdersMax bounds the orders of a tenant that have not ended.
	OrdersMax = 256
	// OrderJobsMax bounds the jobs of a cron order that have not ended, so that a
	// job can come after all of them.
	OrderJobsMax = AfterMax - 1
	// RunsKept is the number of runs that an order keeps.
	RunsKept = 16
	// FiringsMax bounds the firings of one command.
	FiringsMax = 16
	// MissedMax bounds what one firing may count as missed.
	MissedMax = 1 << 20

	// DaemonBackoffNanos is the wait before a daemon's job is made again; it doubles
	// with each that did not last for DaemonBackoffMaxNanos, up to that.
	DaemonBackoffNanos    = Time(time.Second)
	DaemonBackoffMaxNanos = Time(5 * time.Minute)
)

// LabelNode is the label that has a node's own id: no node can declare another's.
const LabelNode = "node"

// RunJob returns the id of the job of a cron order's run. It sorts by time, and it is
// the same whoever asks for the run.
func RunJob(order OrderID, at Time) JobID {
	return madeJob("dugnad run v1\n", at, order[:], binary.BigEndian.AppendUint64(nil, uint64(at)))
}

// seatJob returns the id of the job that a daemon order has on a node, by its number.
func seatJob(order OrderID, node NodeID, number uint32, now Time) JobID {
	return madeJob("dugnad seat v1\n", now, order[:], binary.BigEndian.AppendUint32(nil, number), []byte(node))
}

// madeJob makes an id that sorts by time from what names a job.
func madeJob(domain string, at Time, parts ...[]byte) (id JobID) {
	h := sha256.New()
	h.Write([]byte(domain))
	for _, p := range parts {
		h.Write(p)
	}
	copy(id[6:], h.Sum(nil))
	ms := binary.BigEndian.AppendUint64(nil, uint64(max(at, 0)/Time(time.Millisecond)))
	copy(id[:6], ms[2:])
	return id
}
