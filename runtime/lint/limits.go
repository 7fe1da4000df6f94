package lint

import (
	"errors"
	"fmt"
	"time"
)

// ErrLimits is returned by Validate when a limit makes no sense.
var ErrLimits = errors.New("lint limits are unusable")

// Limits is what a module may have at most. RATIONALE.md has the measurements
// behind the defaults. The largest honest module that was looked at is named
// in brackets.
type Limits struct {
	// ModuleBytes is the size of the module (clang, 75 MB).
	ModuleBytes uint32
	// Types is the number of function types (clang, 542).
	Types uint32
	// Params and Results are those of one function type (Yosys, 33 and 1).
	// Every call moves all of them.
	Params, Results uint32
	// Imports is the number of imports (Pyodide, 548). Some steps of the
	// compiler search them one by one.
	Imports uint32
	// Functions is the number of functions with a body (clang, 133,398).
	Functions uint32
	// Locals is the number of locals of one function with its parameters (swc,
	// 534). A few bytes declare any number of them.
	Locals uint32
	// LocalsTotal is the number of locals of all functions (clang, 456,491).
	LocalsTotal uint32
	// Nesting is how deep blocks stand within one another (the Go compiler,
	// 7,740). Time is quadratic in it.
	Nesting uint32
	// Operands is the height of the operand stack (FFmpeg, 258).
	Operands uint32
	// BrTable is the number of targets of one br_table (the Go compiler,
	// 12,049). Time is quadratic in it.
	BrTable uint32
	// BrTableTotal is the number of br_table targets in one function.
	BrTableTotal uint32
	// BodyBytes is the size of one function body (the Go compiler, 666,326).
	BodyBytes uint32
	// Tables is the number of tables, imported ones included (Pyodide, 3).
	Tables uint32
	// TableEntries is the sum of the minimum sizes of all tables (clang,
	// 37,270); each entry takes 8 bytes in every instance.
	TableEntries uint32
	// MemoryPages is the minimum size of the memory in pages of 64 KiB (Z3,
	// 32,768). A task's own memory limit is checked when it starts.
	MemoryPages uint32
	// Globals is the number of globals with a value (Z3, 4,479).
	Globals uint32
	// Exports is the number of exports (Pyodide, 8,560).
	Exports uint32
	// ElementSegments is the number of element segments (swc, 2).
	ElementSegments uint32
	// Elements is the number of elements in all segments (clang, 37,269); each
	// costs the compiler some 100 bytes.
	Elements uint32
	// DataSegments is the number of data segments (Go's linker stops at, and
	// reaches, 100,000).
	DataSegments uint32
	// CustomSections is the number of custom sections.
	CustomSections uint32
	// CustomBytes is their size, debug information for the most part (CPython,
	// 12.9 MB).
	CustomBytes uint32
	// NameBytes is the length of one name (C++ templates reach kilobytes).
	NameBytes uint32
	// NameEntries is the number of names in the name section.
	NameEntries uint32
	// CompileCost is the estimated processor time of compiling on the reference
	// machine, metered and on one core.
	CompileCost time.Duration
	// CompileCostBase and CompileCostByte hold small modules to small costs: a
	// module may cost CompileCostBase and CompileCostByte for each of its bytes.
	CompileCostBase, CompileCostByte time.Duration
	// CompileBytes is the estimated memory of compiling.
	CompileBytes uint64
}

// Default returns the published limits.
func Default() Limits {
	return Limits{
		ModuleBytes:     128 << 20,
		Types:           20_000,
		Params:          255,
		Results:         64,
		Imports:         10_000,
		Functions:       500_000,
		Locals:          20_000,
		LocalsTotal:     5_000_000,
		Nesting:         20_000,
		Operands:        10_000,
		BrTable:         50_000,
		BrTableTotal:    200_000,
		BodyBytes:       8 << 20,
		Tables:          100,
		TableEntries:    2_000_000,
		MemoryPages:     65_536,
		Globals:         50_000,
		Exports:         100_000,
		ElementSegments: 10_000,
		Elements:        2_000_000,
		DataSegments:    100_000,
		CustomSections:  10_000,
		CustomBytes:     96 << 20,
		NameBytes:       64 << 10,
		NameEntries:     2_000_000,
		CompileCost:     120 * time.Second,
		CompileCostBase: 2 * time.Second,
		CompileCostByte: 10 * time.Microsecond,
		CompileBytes:    3 << 30,
	}
}

// Validate returns ErrLimits when a limit is zero or out of range.
func (l Limits) Validate() error {
	if l.ModuleBytes > 1<<30 {
		return fmt.Errorf("check module_bytes %d, at most 2^30: %w", l.ModuleBytes, ErrLimits)
	}
	if l.CompileCost <= 0 || l.CompileCostBase < 0 || l.CompileCostByte < 0 || l.CompileBytes == 0 {
		return fmt.Errorf("check compile cost: %w", ErrLimits)
	}
	if l.MemoryPages > 1<<16 {
		return fmt.Errorf("check memory_pages %d, at most 2^16: %w", l.MemoryPages, ErrLimits)
	}
	if l.ModuleBytes < 8 || l.Locals == 0 || l.Nesting == 0 || l.Operands == 0 || l.NameBytes == 0 {
		return fmt.Errorf("check limits, one is zero: %w", ErrLimits)
	}
	return nil
}

// limitHelp says what to do about each limit.
var limitHelp = map[string]string{
	"module_bytes":     "strip debug information (`wasm-tools strip`), or read large data from an input instead of embedding it",
	"types":            "split the program",
	"params":           "pass a pointer to a structure",
	"results":          "return a pointer to a structure",
	"imports":          "link the libraries in statically",
	"functions":        "split the program, or let the linker drop unused functions (--gc-sections)",
	"locals":           "compile with optimisation (-O2 merges locals), or split the function",
	"locals_total":     "compile with optimisation (-O2 merges locals)",
	"nesting":          "split the function",
	"operands":         "split the expression; compilers store values in locals",
	"br_table":         "split the switch, or use a table in memory",
	"br_table_total":   "split the function",
	"body_bytes":       "split the function",
	"tables":           "use one table",
	"table_entries":    "let the table grow when it is needed",
	"memory_pages":     "let the memory grow when it is needed",
	"globals":          "keep the values in memory",
	"exports":          "export only what is called from outside",
	"element_segments": "join the segments",
	"elements":         "take fewer functions' addresses, or split the program",
	"data_segments":    "join the segments, as linkers do unless told otherwise",
	"custom_sections":  "strip them with `wasm-tools strip`",
	"custom_bytes":     "strip debug information with `wasm-tools strip`",
	"name_bytes":       "strip debug information with `wasm-tools strip`, or shorten the name",
	"name_entries":     "strip debug information with `wasm-tools strip`",
	"compile_cost":     "split the function; many branches to one label, many locals within many loops and deep nesting cost most",
	"compile_bytes":    "split the function; many locals within many blocks cost most",
}
