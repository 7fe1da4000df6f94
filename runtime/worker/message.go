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
}

// compiled is the payload of frameCompiled. Error is the engine's message when
// the module is not valid.
type compiled struct {
	Error       string        `json:"error,omitempty"`
	CompileTime time.Duration `json:"compile_ns"`
	MemoryBytes uint64        `json:"memory_bytes"`
}
