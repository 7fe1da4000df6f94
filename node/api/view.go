package api

import "time"

// Limits of a map of tasks.
const (
	// CellsMax bounds the cells of a map, CellsDefault is what it has unless asked
	// otherwise.
	CellsMax     = 4096
	CellsDefault = 1024
)

// TaskMap shows any number of tasks as a bounded number of cells.
type TaskMap struct {
	From uint32 `json:"from" doc:"The first task of the first cell"`
	End  uint32 `json:"end" doc:"The last cell ends before this task"`
	Per  uint32 `json:"per" doc:"Tasks of each cell but the last, which may have fewer"`
	// Cells count the tasks of each cell by state.
	Cells []Tasks `json:"cells" doc:"How many tasks of each cell are in which state"`
	Index uint64  `json:"index"`
}

// Lease is what a node was given of a job.
type Lease struct {
	Epoch uint64 `json:"epoch"`
	// Job is empty when it is another tenant's.
	Job     string    `json:"job,omitempty" doc:"Left out when it is of another tenant"`
	State   string    `json:"state" enum:"leased,running,unreachable"`
	First   uint32    `json:"first" doc:"The first of its tasks"`
	Count   uint32    `json:"count" doc:"Number of its tasks"`
	Open    uint32    `json:"open" doc:"How many of them have not ended"`
	Slots   uint32    `json:"slots" doc:"How many of them run at the same time"`
	Granted time.Time `json:"granted"`
	Expiry  time.Time `json:"expiry" doc:"When it ends unless it is renewed"`
	Spare   bool      `json:"spare,omitempty" doc:"It is a second attempt beside another"`
}

// Leases is a page of a node's leases.
type Leases struct {
	Leases []Lease `json:"leases"`
	Next   uint64  `json:"next,omitempty" doc:"What to ask for the next page with; left out when there is none"`
	Index  uint64  `json:"index"`
}

// Inspection is what lint and the meter say of a module.
type Inspection struct {
	Module string `json:"module"`
	Bytes  int    `json:"bytes"`
	// Functions and Loops are the module's own; Unrolled are the loops that the
	// meter repeats.
	Functions int `json:"functions"`
	Loops     int `json:"loops"`
	Unrolled  int `json:"unrolled" doc:"Loops that the meter repeats"`
	// Straightened are the jumps by way of a table that go straight.
	Straightened int `json:"straightened" doc:"Jumps by way of a table that go straight"`
	// Blocks is the number of block, loop and if instructions, Charges that of
	// the straight pieces of code that are charged, Checks that of the places
	// where the guest may be stopped.
	Blocks       int     `json:"blocks"`
	Instructions int     `json:"instructions"`
	Charges      int     `json:"charges" doc:"Straight pieces of code that are charged"`
	Checks       int     `json:"checks" doc:"Places where the guest may be stopped"`
	MeteredBytes int     `json:"metered_bytes"`
	Growth       float64 `json:"growth" doc:"Metered size divided by size"`
	// StartFuel is what an attempt pays before its first instruction.
	StartFuel uint64 `json:"start_fuel" doc:"What an attempt pays before its first instruction"`
	// MemoryBytes is what the memory has when the module starts, MemoryBytesMax
	// what it may grow to, when the module says so.
	MemoryBytes    uint64 `json:"memory_bytes" doc:"Linear memory at the start"`
	MemoryBytesMax uint64 `json:"memory_bytes_max,omitempty" doc:"What it may grow to, when the module bounds it"`
	// MeterVersion is that of the cost table and the rewriting.
	MeterVersion int `json:"meter_version"`
	LintVersion  int `json:"lint_version"`
	// Classes are the rows of the cost table that the module has instructions
	// of, the dearest together first.
	Classes []ClassShare `json:"classes"`
	// CompileNanos is the estimated processor time of compiling, in nanoseconds
	// of the reference machine, CompileBytes the memory that it takes.
	CompileNanos int64  `json:"compile_nanos" doc:"Estimated processor time of compiling on the reference machine"`
	CompileBytes uint64 `json:"compile_bytes" doc:"Estimated memory of compiling"`
	// Costliest is the function that takes longest to compile.
	Costliest int `json:"costliest_function"`
}

// ClassShare is how many instructions of a class stand in a module, and what
// each costs when it runs, without what depends on a length.
type ClassShare struct {
	Class        string `json:"class"`
	Fuel         uint64 `json:"fuel" doc:"What each costs when it runs, without what depends on a length"`
	Instructions int    `json:"instructions"`
}
