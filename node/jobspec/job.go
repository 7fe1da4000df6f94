// Package jobspec is a job as tenants write it, and what of it goes where: a
// ledger.JobSpec for those who place it, a Program for the nodes that run it.
//
// A job file is YAML, of which JSON is a part. Reading it is strict: Parse tells
// every mistake at once, each with its place and with what to do about it.
package jobspec

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/task"
)

// Job is a job file. Default gives the values of what a file leaves out. The
// field names of the file are those of the JSON form, which Parse reads too.
type Job struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name,omitempty"`
	// Module is a file until the client has uploaded it.
	Module Reference `json:"module"`
	// Count is the number of tasks, from 1 to ledger.CountMax.
	Count uint64            `json:"count"`
	Args  []string          `json:"args,omitempty"`
	Env   map[string]string `json:"env,omitempty"`
	// Secrets has the name of a tenant's secret for each variable.
	Secrets map[string]string `json:"secrets,omitempty"`
	// Stdin may be nil, which is empty.
	Stdin      *File   `json:"stdin,omitempty"`
	Inputs     []Named `json:"inputs,omitempty"`
	Limits     Limits  `json:"limits"`
	RealClock  bool    `json:"real_clock,omitempty"`
	RealRandom bool    `json:"real_random,omitempty"`
	Seed       uint64  `json:"seed,omitempty"`
	// Priority is the ledger's band, from 0 to ledger.BandTop.
	Priority    uint64      `json:"priority"`
	Retry       Retry       `json:"retry"`
	Deadlines   Deadlines   `json:"deadlines,omitzero"`
	Constraints Constraints `json:"constraints,omitzero"`
	// Labels say what the job is to those who give machines.
	Labels map[string]string `json:"labels,omitempty"`
	// Capabilities are what tasks may do beyond computing, by the names of package abi.
	Capabilities []string `json:"capabilities,omitempty"`
	HTTP         HTTP     `json:"http,omitzero"`
	// Spread is the label over whose values tasks are spread, or "operator".
	Spread string `json:"spread,omitempty"`
	After  After  `json:"after,omitzero"`
	// Retention is how long the job is kept when it has ended.
	Retention Duration `json:"retention"`
	// Schedule, Timezone, Overlap and CatchUp belong to KindCron.
	Schedule string  `json:"schedule,omitempty"`
	Timezone string  `json:"timezone,omitempty"`
	Overlap  Overlap `json:"overlap,omitempty"`
	CatchUp  CatchUp `json:"catch_up,omitempty"`
}

// File is where a task's bytes come from: a local file until the client has
// uploaded it and an object from then on, or what the tasks of a job have put
// out, one after another in order of index.
type File struct {
	Path   string `json:"path,omitempty"`
	Object Hash   `json:"object,omitzero"`
	// Job is a job that has to have succeeded: After need not name it.
	Job JobID `json:"job,omitzero"`
	// Stream is the one of Job that is read; empty is Stdout.
	Stream Stream `json:"stream,omitempty"`
	// Lines gives each task its share of the lines.
	Lines bool `json:"lines,omitempty"`
}

// Named is a file or folder that a task sees at /input/NAME.
type Named struct {
	Name string `json:"name"`
	File
	// Folder says that Path is a folder, and the object a tar archive.
	Folder bool `json:"folder,omitempty"`
}

// Limits bound each attempt, as task.Limits does.
type Limits struct {
	Fuel         Fuel     `json:"fuel"`
	Memory       Size     `json:"memory"`
	Timeout      Duration `json:"timeout"`
	Output       Size     `json:"output"`
	Scratch      Size     `json:"scratch"`
	ScratchFiles uint64   `json:"scratch_files"`
	Stack        Size     `json:"stack"`
	OpenFiles    uint64   `json:"open_files"`
}

// Task returns the limits as the sandbox takes them.
func (l Limits) Task() task.Limits {
	return task.Limits{
		Fuel: uint64(l.Fuel), MemoryBytes: uint64(l.Memory), Timeout: time.Duration(l.Timeout),
		OutputBytes: uint64(l.Output), ScratchBytes: uint64(l.Scratch), ScratchFiles: l.ScratchFiles,
		StackBytes: uint64(l.Stack), OpenFiles: l.OpenFiles,
	}
}

func limitsOf(l task.Limits) Limits {
	return Limits{
		Fuel: Fuel(l.Fuel), Memory: Size(l.MemoryBytes), Timeout: Duration(l.Timeout),
		Output: Size(l.OutputBytes), Scratch: Size(l.ScratchBytes), ScratchFiles: l.ScratchFiles,
		Stack: Size(l.StackBytes), OpenFiles: l.OpenFiles,
	}
}

// Retry says which attempts are repeated and when.
type Retry struct {
	// Attempts bounds the attempts that end by themselves, Losses those that are
	// lost with their node.
	Attempts uint64 `json:"attempts"`
	Losses   uint64 `json:"losses"`
	// Backoff is the wait before the second attempt; it doubles up to BackoffMax.
	Backoff    Duration `json:"backoff"`
	BackoffMax Duration `json:"backoff_max"`
	// LossGrace is how long a task whose node is silent may go on elsewhere before
	// it is queued again.
	LossGrace Duration `json:"loss_grace"`
	// On lists the outcomes after which there is another attempt; empty is all
	// that another attempt could change. RetryOutcomes lists what it may name.
	On []string `json:"on,omitempty"`
	// Spare allows a second attempt beside one that takes much longer than the
	// job's other tasks: whichever ends first counts.
	Spare bool `json:"spare"`
}

// Deadlines bound the job's time beside Limits.Timeout; zero is no bound.
type Deadlines struct {
	// Queue bounds the wait for the first placement, Total the whole job.
	Queue Duration `json:"queue,omitempty"`
	Total Duration `json:"total,omitempty"`
}

// Constraints are demands on a node; all must be met.
type Constraints struct {
	Labels   Labels   `json:"labels,omitempty"`
	Features []string `json:"features,omitempty"`
}

// HTTP narrows the requests of a job with the capability http.
type HTTP struct {
	// Hosts are those of task.HTTP.
	Hosts []string `json:"hosts,omitempty"`
}

// After names jobs that must have ended before this one is queued.
type After struct {
	Jobs []ledger.JobID
	// Condition is how they must have ended; empty is Succeeded.
	Condition Condition
}

// Limits of a job file.
const (
	// FileBytesMax bounds a job file.
	FileBytesMax = 256 << 10
	// InputsMax bounds Job.Inputs.
	InputsMax = 64
	// RetryOnMax bounds Retry.On.
	RetryOnMax = 32
	// SpareCountMin is the number of tasks from which on a job may have second
	// attempts, at one task in SparePart at the same time; of fewer tasks it is not
	// known how long one takes.
	SpareCountMin = 4
	SparePart     = 10
	// PathBytesMax bounds a path, InputNameBytesMax the name of an input.
	PathBytesMax      = 4096
	InputNameBytesMax = 255
	// ArrayFuel bounds the fuel that the tasks of an array have together by
	// default: all of it is reserved, in 64 bits for all jobs of a tenant.
	ArrayFuel = 1_000_000_000_000_000_000
	// SpanMax bounds every time but limits.timeout: ten years.
	SpanMax = Duration(10 * 365 * 24 * time.Hour)
)

// DefaultFuel is the fuel limit of each task of a job that does not say one: that
// of a single task, or the task's share of ArrayFuel when that is less, rounded
// down to three digits.
func DefaultFuel(count uint64) Fuel {
	return min(Fuel(task.Default().Fuel), Fuel(roundFuel(ArrayFuel/max(count, 1))))
}

// Default returns a job that lacks only its module.
func Default() Job {
	return Job{
		Kind: KindJob, Count: 1, Priority: 3, Limits: limitsOf(task.Default()),
		Retry: Retry{
			Attempts: 3, Losses: 10, LossGrace: Duration(2 * time.Second),
			Backoff: Duration(time.Second), BackoffMax: Duration(time.Minute), Spare: true,
		},
		Retention: Duration(ledger.RetentionNanos),
	}
}
