package cli

import (
	"context"
	"io"
	"time"

	"github.com/dugnad/dugnad/node/outbound"
	"github.com/dugnad/dugnad/runtime/task"
)

// streams are one attempt's standard streams.
type streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Interactive lets a read of In return what has arrived.
	Interactive bool
}

// runnerConfig is what an opener needs to know.
type runnerConfig struct {
	// DataDir exists and belongs to this user alone.
	DataDir string
	// Parallel is how many attempts run at the same time.
	Parallel int
	// MemoryBytes is the memory limit of one attempt.
	MemoryBytes uint64
	// ReadOnly are absolute paths that guests may read: the inputs.
	ReadOnly []string
	// Outbound is what guests may reach whose tasks ask for it.
	Outbound outbound.Config
}

// runner runs attempts at one module.
type runner interface {
	// Prepare checks, meters and compiles module, or finds it in the cache.
	// compiling is called at most once, when a compile starts, with the time
	// that it should take. A module that is not acceptable is a *refusedError;
	// any other error is dugnad's own.
	Prepare(ctx context.Context, module []byte, compiling func(estimate time.Duration)) error
	// Run makes one attempt and says how it ended. Several may run at once.
	Run(ctx context.Context, spec task.Spec, s streams) task.Outcome
	// Close ends the worker process and waits for it.
	Close() error
}

// opener starts a runner and returns without waiting for its worker process,
// which comes up while the module is being read; what goes wrong there is an
// error of Prepare.
type opener func(ctx context.Context, cfg runnerConfig) (runner, error)

// refusedError says why a module was not accepted.
type refusedError struct {
	// err is one sentence.
	err error
	// detail is what --json shows as "refusal"; nil when there is none.
	detail *refusal
}

// refusal is the JSON form of why and where a module was refused.
type refusal struct {
	Code string `json:"code"`
	// Limit, Found and Max are set when the module is beyond a limit.
	Limit   string `json:"limit,omitempty"`
	Found   uint64 `json:"found,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Section string `json:"section,omitempty"`
	Offset  int    `json:"offset"`
	// Function is the index of the function at fault.
	Function *int   `json:"function,omitempty"`
	Help     string `json:"help,omitempty"`
}

func (e *refusedError) Error() string { return e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }
