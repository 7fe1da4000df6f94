package worker

import (
	"time"

	"github.com/dugnad/dugnad/runtime/jail"
	"github.com/dugnad/dugnad/runtime/task"
)

// childMode is what a child process is for.
type childMode string

const (
	// modeRun: the child runs tasks of one tenant.
	modeRun childMode = "run"
	// modeCompile: the child compiles one module.
	modeCompile childMode = "compile"
)

// setup is the payload of frameSetup.
type setup struct {
	Version int         `json:"version"`
	Mode    childMode   `json:"mode"`
	Policy  jail.Policy `json:"policy"`
	// Dir is the child's private folder: read-only for modeRun, writable for
	// modeCompile.
	Dir string `json:"dir"`
	// HeapBytes is the soft limit of the Go heap.
	HeapBytes int64 `json:"heap_bytes,omitempty"`
	// SliceFuel is passed to the sandbox; 0 means its default.
	SliceFuel uint64 `json:"slice_fuel,omitempty"`
	// OrphanMax is how long the child may be without a parent; 0 is that it ends
	// with its parent. Otherwise the child has a listening socket.
	OrphanMax time.Duration `json:"orphan_ns,omitempty"`
	// Workers is the number of goroutines that compile.
	Workers int `json:"workers,omitempty"`
}

// hello is the payload of frameHello. Error is set instead of the rest when
// the child cannot serve.
type hello struct {
	Version int         `json:"version"`
	Jail    jail.Report `json:"jail"`
	Error   string      `json:"error,omitempty"`
}

// load is the payload of frameLoad.
type load struct {
	// File is the skeleton's name in the child's private folder.
	File string `json:"file"`
	// Traits are passed to the sandbox.
	Traits Traits `json:"traits"`
}

// Traits is what a worker must know of a metered module besides its bytes.
type Traits struct {
	FunctionShift int    `json:"function_shift"`
	StartFuel     uint64 `json:"start_fuel"`
}

// refusal is the payload of frameRefused.
type refusal struct {
	Message string `json:"message"`
}

// start is the payload of frameStart and frameStartMore.
type start struct {
	Image uint32 `json:"image"`
	Stdin bool   `json:"stdin,omitempty"`
	// Interactive is for the sandbox's streams.
	Interactive bool       `json:"interactive,omitempty"`
	Spec        *task.Spec `json:"spec"`
	// Key is what a later parent knows the task by; a task without one ends with
	// its parent.
	Key []byte `json:"key,omitempty"`
	// Read lists tasks with keys whose outcomes the parent has read since the last
	// start: they need not be kept any more.
	Read []uint32 `json:"read,omitempty"`
}

// adoption is the payload of frameAdopt.
type adoption struct {
	Version int `json:"version"`
}

// kept is the payload of frameKept: a task of an earlier parent.
type kept struct {
	Key []byte `json:"key"`
	// Elapsed is how long ago the task began, without the time that it was frozen.
	Elapsed time.Duration `json:"elapsed_ns"`
	// Moved is the bytes of its HTTP requests so far.
	Moved uint64 `json:"moved_bytes,omitempty"`
}

// attached is the payload of frameAttached.
type attached struct {
	// StdinBytes is how much of its stdin the child has been given.
	StdinBytes int64 `json:"stdin_bytes,omitempty"`
	// Credit is how much more it may be sent of it without asking.
	Credit int `json:"credit,omitempty"`
}

// compiled is the payload of frameCompiled. Error is the engine's message when
// the module is not valid.
type compiled struct {
	Error       string        `json:"error,omitempty"`
	CompileTime time.Duration `json:"compile_ns"`
	MemoryBytes uint64        `json:"memory_bytes"`
}
