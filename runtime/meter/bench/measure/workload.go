// Package measure runs kernels and real programs with and without metering, and
// on other engines, and tells how long each run took. One call of Start is one
// start of a process, because where machine code comes to lie in memory moves a
// kernel by tens of per cent, and that is decided anew in each process.
package measure

import (
	"fmt"
)

// Kind says which part of the table a workload belongs to.
type Kind string

// The kinds of workload. The empty loop has a goal of its own and counts in no
// mean.
const (
	Kernel  Kind = "kernel"
	Empty   Kind = "empty"
	Program Kind = "program"
)

// Guest is an instance whose exported functions are called one by one.
type Guest interface {
	// Call calls an export and returns its first result, or 0.
	Call(name string, args ...uint64) (uint64, error)
	// Write and Read move bytes to and from linear memory, or return an error
	// when the range does not lie in it. What Read returns is a copy.
	Write(at uint32, data []byte) error
	Read(at, size uint32) ([]byte, error)
}

// Step is a piece of work that can be repeated. It returns a result that is the
// same each time and on each engine.
type Step func() (string, error)

// HostFunc stands for an import other than WASI's.
type HostFunc func(g Guest, args []uint64) uint64

// Workload is a module and a fixed amount of work for it. Either Begin is set,
// and the module is a library, or it is a WASI command.
type Workload struct {
	Name   string
	Kind   Kind
	Source Source
	// Licence and what it is, for the list below the table.
	Licence, What string

	// Begin prepares a fresh instance and returns what is measured.
	Begin func(Guest) (Step, error)
	// Host holds imports by "module.name"; all others return 0.
	Host map[string]HostFunc

	// Args are a command's arguments, the name of the program first.
	Args []string
	// Stdin makes what the command reads; nil means nothing.
	Stdin func() ([]byte, error)
	// Result takes from the output what does not depend on time; nil means
	// all of it.
	Result func(stdout string) string
}

// Ready is a workload with its module and its input.
type Ready struct {
	Workload
	Module []byte
	Input  []byte
}

// result is what a run of a command is compared by.
func (w *Ready) result(stdout string) string {
	if w.Result != nil {
		return w.Result(stdout)
	}
	return stdout
}

// Job is a workload that is compiled and ready to be repeated.
type Job interface {
	// Do does the work once. Fuel is what it burnt, 0 where nothing counts.
	Do() (result string, fuel uint64, err error)
	Close() error
}

// Engine compiles workloads in one way.
type Engine interface {
	// Variant names the column.
	Variant() string
	Open(w *Ready) (Job, error)
}

// runKernel calls run(n), after the constructors of a reactor.
func runKernel(n uint64) func(Guest) (Step, error) {
	return func(g Guest) (Step, error) {
		return func() (string, error) {
			r, err := g.Call("run", n)
			return fmt.Sprint(uint32(r)), err
		}, nil
	}
}
