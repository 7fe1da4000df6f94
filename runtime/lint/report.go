package lint

import "time"

// Report is what Check counted in an accepted module.
type Report struct {
	Bytes             int    // size of the module
	Types             int    // function types
	Imports           int    // imports of every kind
	ImportedFunctions int    // of them, functions
	Functions         int    // functions with a body
	Tables            int    // tables, imported ones included
	TableEntries      uint64 // sum of their minimum sizes
	Memory            bool   // there is a memory
	MemoryPages       uint32 // its minimum, in pages of 64 KiB
	MemoryPagesMax    uint32 // its maximum, when MemoryBounded
	MemoryBounded     bool   // the memory has a maximum
	Globals           int    // globals with a value
	MutableGlobals    int    // changing globals, imported ones included
	Exports           int    // exports
	Start             bool   // there is a start function
	ElementSegments   int    // element segments
	Elements          int    // elements in all of them
	DataSegments      int    // data segments
	DataBytes         int    // bytes in all of them
	CustomSections    int    // custom sections
	CustomBytes       int    // bytes in all of them
	NameEntries       int    // names in the name section
	CodeBytes         int    // bytes of all bodies
	BodyBytesMax      int    // the largest body
	Instructions      int    // instructions in all bodies
	Blocks            int    // block, loop and if instructions
	Loops             int    // of them, loops
	LocalsMax         int    // most locals in a function, with its parameters
	LocalsTotal       int    // locals of all functions, with their parameters
	NestingMax        int    // deepest nesting
	OperandsMax       int    // highest operand stack
	BrTableMax        int    // widest br_table
	SIMD              bool   // vector instructions are used

	// CompileCost estimates the processor time of compiling the metered module
	// on the reference machine.
	CompileCost time.Duration
	// CompileBytes estimates the memory that compiling takes, in bytes.
	CompileBytes uint64
	// CostliestFunction is the index of the function that takes longest to
	// compile, CostliestCost its part of CompileCost.
	CostliestFunction int
	CostliestCost     time.Duration
}
