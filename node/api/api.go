// Package api is what a node's HTTP interface speaks of: the nouns as JSON has
// them, and the codes of its errors. Servers and clients share it; it knows
// neither.
package api

import "time"

// Prefix is what the paths of the interface begin with; it changes when a
// client of an earlier version could not cope.
const Prefix = "/v1"

// Limits of requests and answers.
const (
	// JobBytesMax bounds a job file.
	JobBytesMax = 1 << 20
	// PageMax bounds the entries of a page, PageDefault is what it has unless
	// asked otherwise.
	PageMax     = 1000
	PageDefault = 100
	// WaitSecondsMax bounds how long an answer may be waited for.
	WaitSecondsMax = 300
)

// Usage is what work has cost.
type Usage struct {
	Fuel              uint64  `json:"fuel" doc:"Fuel that was burnt"`
	MemoryByteSeconds uint64  `json:"memory_byte_seconds" doc:"Peak memory of each attempt, times its duration"`
	WallSeconds       float64 `json:"wall_seconds" doc:"Durations of all attempts together"`
	EgressBytes       uint64  `json:"egress_bytes,omitempty" doc:"Bytes exchanged with the world outside"`
}

// Tasks counts a job's tasks by state.
type Tasks struct {
	Waiting     uint32 `json:"waiting,omitempty"`
	Queued      uint32 `json:"queued,omitempty"`
	Leased      uint32 `json:"leased,omitempty"`
	Running     uint32 `json:"running,omitempty"`
	Unreachable uint32 `json:"unreachable,omitempty"`
	Succeeded   uint32 `json:"succeeded,omitempty"`
	Failed      uint32 `json:"failed,omitempty"`
	Killed      uint32 `json:"killed,omitempty"`
	Refused     uint32 `json:"refused,omitempty"`
}

// Ended returns how many tasks have ended.
func (t Tasks) Ended() uint32 { return t.Succeeded + t.Failed + t.Killed + t.Refused }

// The states of a job.
const (
	JobWaiting   = "waiting"
	JobActive    = "active"
	JobStopping  = "stopping"
	JobSucceeded = "succeeded"
	JobFailed    = "failed"
	JobKilled    = "killed"
)

// Job is a job as it stands.
type Job struct {
	ID       string     `json:"id" doc:"32 hexadecimal digits"`
	Name     string     `json:"name,omitempty"`
	Tenant   string     `json:"tenant"`
	Module   string     `json:"module" doc:"sha256: and 64 hexadecimal digits"`
	State    string     `json:"state" enum:"waiting,active,stopping,succeeded,failed,killed"`
	Cause    string     `json:"cause,omitempty" doc:"Why it was stopped"`
	Blame    string     `json:"blame,omitempty" doc:"The job because of which it was stopped"`
	Band     uint8      `json:"band" doc:"Priority; a larger one goes first"`
	Count    uint32     `json:"count" doc:"Number of tasks"`
	Tasks    Tasks      `json:"tasks" doc:"Number of tasks by state"`
	Created  time.Time  `json:"created"`
	Queued   *time.Time `json:"queued,omitempty" doc:"When it waited for no other job any more"`
	Placed   *time.Time `json:"placed,omitempty" doc:"When a node first got a lease on some of it"`
	Stopped  *time.Time `json:"stopped,omitempty"`
	Finished *time.Time `json:"finished,omitempty"`
	// RetentionSeconds is how long it is kept when it has ended; KeptUntil is
	// known from then on.
	RetentionSeconds uint64     `json:"retention_seconds" doc:"How long it is kept when it has ended"`
	KeptUntil        *time.Time `json:"kept_until,omitempty" doc:"When it is forgotten, with its results; known when it has ended"`

	Labels map[string]string `json:"labels,omitempty" doc:"What it is, to those who give machines"`

	Reads  []Read `json:"reads,omitempty" doc:"What other jobs have put out and its tasks are given"`
	Spares uint32 `json:"spares,omitempty" doc:"Number of tasks that have a second attempt at present"`
	Usage  Usage  `json:"usage"`
	Events uint32 `json:"events" doc:"Number of its last event"`
	Order  string `json:"order,omitempty" doc:"The standing order that made it"`
	Index  uint64 `json:"index" doc:"The ledger's index up to which this holds"`
}

// Read is what a job has put out and another one reads.
type Read struct {
	Job    string `json:"job" doc:"The job that has put it out"`
	Stream string `json:"stream" enum:"stdout,stderr"`
	Input  string `json:"input,omitempty" doc:"Its name below /input; without one it is stdin"`
	Lines  bool   `json:"lines,omitempty" doc:"Each task gets its share of the lines"`
}

// Final reports whether the job stays as it is.
func (j *Job) Final() bool {
	return j.State == JobSucceeded || j.State == JobFailed || j.State == JobKilled
}

// Jobs is a page of jobs.
type Jobs struct {
	Jobs []Job `json:"jobs"`
	// Next is what to ask for the next page with; empty is that there is none.
	Next  string `json:"next,omitempty"`
	Index uint64 `json:"index"`
}

// Submitted is the answer to a submission.
type Submitted struct {
	ID    string `json:"id"`
	Index uint64 `json:"index" doc:"The ledger's index at which it was accepted"`
	// Known says that the same submission had been accepted before.
	Known bool `json:"known,omitempty"`
	// Kind is that of a standing order, which makes jobs: cron or daemon.
	Kind string `json:"kind,omitempty"`
}

// Event is something that happened to a job; those of a job are numbered from 1.
type Event struct {
	Number uint32     `json:"number"`
	At     time.Time  `json:"at"`
	Kind   string     `json:"kind"`
	First  uint32     `json:"first" doc:"The first of the tasks that it is about"`
	Count  uint32     `json:"count"`
	Node   string     `json:"node,omitempty"`
	Epoch  uint64     `json:"epoch,omitempty"`
	State  string     `json:"state,omitempty" doc:"How the tasks ended"`
	Cause  string     `json:"cause,omitempty"`
	Exit   string     `json:"exit,omitempty" doc:"Kind of outcome"`
	Until  *time.Time `json:"until,omitempty"`
	Job    string     `json:"job,omitempty" doc:"How the job ended"`
	Band   uint8      `json:"band,omitempty" doc:"Of the job to which the tasks give way, with the cause preempted"`
}

// Kinds of Log.
const (
	// LogAttempt: an attempt at the task begins, or one that begins anew under the same
	// lease. What follows is its output, from the beginning unless that was left out.
	LogAttempt = "attempt"
	// LogOutput is a piece of a stream.
	LogOutput = "output"
	// LogLeftOut: bytes of a stream do not come, as there are too many, or their node is
	// gone with them.
	LogLeftOut = "left_out"
	// LogDelayed: the attempt's node cannot be asked now. It is asked again.
	LogDelayed = "delayed"
	// LogEnded: the task has ended. It is the last.
	LogEnded = "ended"
)

// Log is a part of what a task puts out, as it comes, or says what becomes of that.
type Log struct {
	Kind string `json:"kind" enum:"attempt,output,left_out,delayed,ended"`
	// Attempt, Node and Epoch are of an attempt.
	Attempt uint32 `json:"attempt,omitempty" doc:"Attempts that failed before"`
	Node    string `json:"node,omitempty"`
	Epoch   uint64 `json:"epoch,omitempty"`
	// Stream, At and one of Text and Base64 are of output.
	Stream string `json:"stream,omitempty" enum:"stdout,stderr"`
	At     uint64 `json:"at,omitempty" doc:"Where in the stream it begins, in bytes"`
	Text   string `json:"text,omitempty" doc:"The output, when it is UTF-8"`
	Base64 []byte `json:"base64,omitempty" doc:"The output, when it is not UTF-8; a character may be divided between two"`
	Bytes  uint64 `json:"bytes,omitempty" doc:"How many are left out"`
	Reason string `json:"reason,omitempty" doc:"Why it is delayed"`
	State  string `json:"state,omitempty" doc:"How the task has ended"`
	Exit   string `json:"exit,omitempty" doc:"Kind of outcome"`
}

// Data is the output.
func (l *Log) Data() []byte {
	if l.Text != "" {
		return []byte(l.Text)
	}
	return l.Base64
}

// Task is one task of a job.
type Task struct {
	Index   uint32 `json:"index"`
	State   string `json:"state"`
	Attempt uint32 `json:"attempt" doc:"Attempts that failed before"`
	Losses  uint32 `json:"losses,omitempty" doc:"Attempts that were lost with their node"`
	Node    string `json:"node,omitempty"`
	Epoch   uint64 `json:"epoch,omitempty"`
	// A second attempt runs beside the first, see Job.Spares.
	SpareNode  string `json:"spare_node,omitempty" doc:"Where a second attempt runs beside the first"`
	SpareEpoch uint64 `json:"spare_epoch,omitempty"`
	Cause      string `json:"cause,omitempty"`
	Exit       string `json:"exit,omitempty" doc:"Kind of outcome"`
	// NotBefore is the end of its back-off.
	NotBefore *time.Time `json:"not_before,omitempty"`
	Result    *Result    `json:"result,omitempty"`
}

// Result is how an attempt ended, and what it put out.
type Result struct {
	Node        string   `json:"node"`
	Kind        string   `json:"kind"`
	ExitCode    uint32   `json:"exit_code"`
	Message     string   `json:"message,omitempty"`
	Trap        string   `json:"trap,omitempty"`
	Stack       []string `json:"stack,omitempty"`
	LimitsHit   []string `json:"limits_hit,omitempty"`
	Fuel        uint64   `json:"fuel"`
	MemoryBytes uint64   `json:"memory_peak_bytes"`
	WallSeconds float64  `json:"wall_seconds"`
	StdoutBytes int64    `json:"stdout_bytes"`
	StderrBytes int64    `json:"stderr_bytes"`
	EgressBytes uint64   `json:"egress_bytes,omitempty" doc:"Bytes of HTTP requests and of the answers"`
	// Object is the object that has it.
	Object string `json:"object"`
}

// TaskList is a page of tasks.
type TaskList struct {
	Tasks []Task  `json:"tasks"`
	Next  *uint32 `json:"next,omitempty" doc:"The first task of the next page"`
	Index uint64  `json:"index"`
}

// Reason is why nodes were passed over: for Nodes of them, What was the first
// thing that spoke against them.
type Reason struct {
	What   string `json:"what"`
	Detail string `json:"detail,omitempty"`
	Nodes  uint32 `json:"nodes"`
	Need   uint64 `json:"need,omitempty"`
	Have   uint64 `json:"have,omitempty" doc:"The most that one of these nodes has"`
	Help   string `json:"help,omitempty" doc:"What would help"`
}

// Why says what a job waits for.
type Why struct {
	Job     string     `json:"job,omitempty"`
	State   string     `json:"state"`
	Text    string     `json:"text" doc:"One sentence"`
	Since   *time.Time `json:"since,omitempty" doc:"Since when the reasons are the same"`
	Nodes   uint32     `json:"nodes" doc:"Nodes that the planner knew"`
	Sampled uint32     `json:"sampled,omitempty" doc:"How many of them it looked at; 0 is all"`
	Reasons []Reason   `json:"reasons,omitempty"`
	FreeAt  *time.Time `json:"free_at,omitempty" doc:"When the first full node is expected to have room"`
	After   []string   `json:"after,omitempty" doc:"Jobs that it waits for"`
}

// Plan says what would become of a job that is not submitted.
type Plan struct {
	Job     Why            `json:"job"`
	Starts  uint64         `json:"starts" doc:"Tasks that would start at once"`
	Waits   uint64         `json:"waits" doc:"Tasks that would wait"`
	Nodes   map[string]int `json:"nodes,omitempty" doc:"Tasks that would start at once, by node"`
	Refused string         `json:"refused,omitempty" doc:"Why it would not be accepted"`
	// Next is when a cron order would run first.
	Next []time.Time `json:"next,omitempty" doc:"When a cron order would run first; the plan is of a run now"`
}

// Module is a module that the grid knows.
type Module struct {
	Module  string   `json:"module" doc:"sha256: and 64 hexadecimal digits"`
	Bytes   uint64   `json:"bytes"`
	Jobs    uint64   `json:"jobs" doc:"Jobs that name it and are kept"`
	Holders []string `json:"holders,omitempty"`
}

// Modules is a page of modules.
type Modules struct {
	Modules []Module `json:"modules"`
	Next    string   `json:"next,omitempty"`
	Index   uint64   `json:"index"`
}

// Resources are what a node can give, or tasks take.
type Resources struct {
	MemoryBytes  uint64 `json:"memory_bytes"`
	FuelRate     uint64 `json:"fuel_rate" doc:"Fuel per second"`
	Slots        uint32 `json:"slots" doc:"Tasks at the same time"`
	ScratchBytes uint64 `json:"scratch_bytes"`
}

// Node is a node of the grid.
type Node struct {
	ID       string            `json:"id"`
	Name     string            `json:"name,omitempty"`
	State    string            `json:"state" enum:"up,draining,unreachable,gone"`
	Since    time.Time         `json:"since" doc:"Since when it is in this state"`
	Withheld string            `json:"withheld,omitempty" doc:"Why its operator lets it give nothing now, as far as the node that answers has heard"`
	Until    *time.Time        `json:"until,omitempty" doc:"When a node that drains hands back what still runs there"`
	Self     bool              `json:"self,omitempty" doc:"It is the node that answers"`
	Leader   bool              `json:"leader,omitempty"`
	Voter    bool              `json:"voter,omitempty"`
	Capacity Resources         `json:"capacity"`
	Reserved Resources         `json:"reserved" doc:"What its leases take"`
	Leases   uint32            `json:"leases"`
	Labels   map[string]string `json:"labels,omitempty"`
	Features []string          `json:"features,omitempty"`
	Download *Bandwidth        `json:"download,omitempty" doc:"Of the node that answers"`
	Upload   *Bandwidth        `json:"upload,omitempty" doc:"Of the node that answers"`
}

// Bandwidth is what users of the grid move over the network in one direction.
type Bandwidth struct {
	Bound          uint64 `json:"bound,omitempty" doc:"Its operator's bound in bytes per second; none if absent"`
	BytesPerSecond uint64 `json:"bytes_per_second" doc:"The mean of the last seconds"`
	Bytes          uint64 `json:"bytes" doc:"Since the node started"`
	Waiting        int    `json:"waiting,omitempty" doc:"Streams that the bound holds up now"`
}

// Nodes is a page of nodes.
type Nodes struct {
	Nodes []Node `json:"nodes"`
	Next  string `json:"next,omitempty"`
	Index uint64 `json:"index"`
}

// Object is an object that was put.
type Object struct {
	Object string `json:"object" doc:"sha256: and 64 hexadecimal digits"`
	Bytes  int64  `json:"bytes"`
}
