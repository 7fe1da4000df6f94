package task

import "time"

// Kind says how an attempt ended. The strings are stable: they cross the wire
// and stand in receipts and metrics.
type Kind string

// The kinds of outcome.
const (
	// Exited: the guest ended by itself; ExitCode is its own.
	Exited Kind = "exited"
	// Trapped: the guest broke a rule of WebAssembly; Trap says which.
	Trapped Kind = "trap"
	// OutOfFuel: Limits.Fuel was used up.
	OutOfFuel Kind = "out_of_fuel"
	// DeadlineExceeded: Limits.Timeout passed.
	DeadlineExceeded Kind = "deadline"
	// Cancelled: the caller's context ended.
	Cancelled Kind = "cancelled"
	// OutputLimit: Limits.OutputBytes was reached.
	OutputLimit Kind = "output_limit"
	// ScratchLimit: Limits.ScratchBytes or ScratchFiles was reached, and then
	// the guest exited with another code than 0 or trapped; Message says which.
	ScratchLimit Kind = "scratch_limit"
	// MemoryLimit: the module needs more memory to start than MemoryBytes.
	MemoryLimit Kind = "memory_limit"
	// Refused: the module or the task is not acceptable; it never ran.
	Refused Kind = "refused"
	// WorkerLost: the process that ran the guest died; the guest may have
	// been running.
	WorkerLost Kind = "worker_lost"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{
		Exited, Trapped, OutOfFuel, DeadlineExceeded, Cancelled,
		OutputLimit, ScratchLimit, MemoryLimit, Refused, WorkerLost,
	}
}

// Outcome tells how one attempt ended.
type Outcome struct {
	Kind Kind `json:"kind"`
	// ExitCode is the guest's own, valid when Kind is Exited.
	ExitCode uint32 `json:"exit_code"`
	// Trap is set when Kind is Trapped.
	Trap *Trap `json:"trap,omitempty"`
	// Stack is where the guest was when it was stopped, innermost call first.
	Stack []Frame `json:"stack,omitempty"`
	// LimitsHit names each limit that the guest ran into, also when it went
	// on: a failed memory.grow names "memory".
	LimitsHit []LimitHit `json:"limits_hit,omitempty"`
	// Message is one sentence for people; empty when Kind is Exited and no
	// limit was hit.
	Message string `json:"message,omitempty"`
	Usage   Usage  `json:"usage"`
}

// LimitHit is a limit that an attempt ran into.
type LimitHit struct {
	// Name is the flag's name: fuel, memory, timeout, output, scratch,
	// scratch-files, stack, open-files; or http-requests.
	Name string `json:"name"`
	// Max is the limit, in bytes, fuel, files or nanoseconds.
	Max uint64 `json:"max"`
}

// Usage is what an attempt cost.
type Usage struct {
	// Fuel is deterministic: the same module, input and limits give the same
	// number on every machine.
	Fuel uint64 `json:"fuel"`
	// MemoryPeakBytes is the largest size that linear memory and tables
	// reached together.
	MemoryPeakBytes uint64 `json:"memory_peak_bytes"`
	// WallTime runs from the worker's start of the task to its end.
	WallTime time.Duration `json:"wall_ns"`
	// CPUTime is the processor time of the thread that ran the guest.
	CPUTime time.Duration `json:"cpu_ns"`
	// OutputBytes counts stdout and stderr.
	OutputBytes uint64 `json:"output_bytes"`
	// EgressBytes counts what went to the world and came from it: heads and bodies
	// of HTTP requests and of the answers.
	EgressBytes uint64 `json:"egress_bytes,omitempty"`
}

// TrapKind is a rule of WebAssembly that a guest broke.
type TrapKind string

// The kinds of trap.
const (
	TrapUnreachable      TrapKind = "unreachable"
	TrapMemory           TrapKind = "out_of_bounds_memory_access"
	TrapTable            TrapKind = "out_of_bounds_table_access"
	TrapDivideByZero     TrapKind = "integer_divide_by_zero"
	TrapIntegerOverflow  TrapKind = "integer_overflow"
	TrapConversion       TrapKind = "invalid_conversion_to_integer"
	TrapIndirectCallType TrapKind = "indirect_call_type_mismatch"
	TrapStack            TrapKind = "call_stack_exhausted"
	TrapOther            TrapKind = "other"
)

// Trap is a broken rule of WebAssembly and what the engine said of it.
type Trap struct {
	Kind    TrapKind `json:"kind"`
	Message string   `json:"message"`
}

// Frame is one guest call.
type Frame struct {
	// Function is the name from the module's name section, or "$N" for
	// function N of the module as it was submitted.
	Function string `json:"function"`
}
