package meter

import (
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// The cost table, version 1, in fuel. One unit is about the time of an
// integer addition. Structure (block, loop, end, else, nop, drop) is free, and
// everything that is not listed costs costPlain.
const (
	costPlain = 1
	// costDiv32 and costDiv64 are for integer division and remainder.
	costDiv32 = 6
	costDiv64 = 10
	// costFloatDiv and costFloatSqrt are for scalar and vector alike.
	costFloatDiv  = 5
	costFloatSqrt = 8
	// costFloatMinMax: minimum and maximum must order NaN and signed zero.
	costFloatMinMax = 4
	// costRefFunc is for making a reference, which the engine leaves to the
	// host.
	costRefFunc = 60
	// costTruncate is for conversions from floating point to integer, which
	// check their range.
	costTruncate = 4
	// costVector is for a vector operation that is one machine instruction
	// or two, costVectorSlow for one that is made of several.
	costVector     = 2
	costVectorSlow = 8
	// costCall is for the call itself; costIndirect includes the look-up and
	// the check of the type.
	costCall     = 8
	costIndirect = 12
	// costBrTable is for a jump through a table, however wide.
	costBrTable = 4
	// costEntry is for reading or writing a table's entry.
	costEntry = 3
	// costBulk is for starting a bulk operation; its length is charged when
	// it is known.
	costBulk = 8
	// costGrow is for asking the host to grow a memory or table.
	costGrow = 200
	// localsPerFuel: this many zeroed locals cost one unit.
	localsPerFuel = 4
)

// Costs in proportion to a length that is known only when the guest runs.
const (
	// BytesPerFuel: this many bytes of a bulk memory operation cost one unit.
	BytesPerFuel = 8
	// PageFuel is the cost of one 64 KiB page of linear memory, which the
	// host has to clear before the guest touches it.
	PageFuel = 65_536
	// EntryFuel is the cost of one table entry that is written.
	EntryFuel = 1
	// ElementFuel and SegmentFuel are the costs of one element of an element
	// segment and of one data segment, which the engine evaluates one by one.
	ElementFuel = 30
	SegmentFuel = 250
	// InstanceFuel is the cost of making an instance of a module, before what
	// its segments and its memory cost.
	InstanceFuel = 200_000
)

// costs holds the fuel of every instruction.
var costs = costTable()

func costTable() *[0x300]uint8 {
	var t [0x300]uint8
	for op := range t {
		if info := wasm.Lookup(wasm.Opcode(op)); info != nil {
			t[op] = costOf(wasm.Opcode(op), info.Name)
		}
	}
	return &t
}

func costOf(op wasm.Opcode, name string) uint8 {
	switch op {
	case wasm.OpNop, wasm.OpBlock, wasm.OpLoop, wasm.OpEnd, wasm.OpElse, wasm.OpDrop:
		return 0
	case wasm.OpCall:
		return costCall
	case wasm.OpCallIndirect:
		return costIndirect
	case wasm.OpBrTable:
		return costBrTable
	case wasm.OpRefFunc:
		return costRefFunc
	case wasm.OpTableGet, wasm.OpTableSet:
		return costEntry
	case wasm.OpMemoryGrow, wasm.OpTableGrow:
		return costGrow
	case wasm.OpMemoryInit, wasm.OpMemoryCopy, wasm.OpMemoryFill, wasm.OpTableInit, wasm.OpTableCopy, wasm.OpTableFill:
		return costBulk
	}
	shape, verb, _ := strings.Cut(name, ".")
	if op >= 0x200 {
		return costOfVector(verb, name)
	}
	switch {
	case strings.HasPrefix(verb, "div") || strings.HasPrefix(verb, "rem"):
		switch shape {
		case "i32":
			return costDiv32
		case "i64":
			return costDiv64
		}
		return costFloatDiv
	case verb == "sqrt":
		return costFloatSqrt
	case verb == "min" || verb == "max":
		return costFloatMinMax
	case strings.HasPrefix(verb, "trunc_"):
		return costTruncate
	}
	return costPlain
}

// vectorSlow lists the vector operations that take several machine
// instructions on amd64 or arm64.
var vectorSlow = map[string]bool{
	"i8x16.shl": true, "i8x16.shr_s": true, "i8x16.shr_u": true, "i64x2.shr_s": true,
	"i64x2.mul": true, "i8x16.popcnt": true, "i64x2.abs": true,
	"f32x4.min": true, "f32x4.max": true, "f64x2.min": true, "f64x2.max": true,
	"f32x4.sqrt": true, "f64x2.sqrt": true, "f32x4.div": true, "f64x2.div": true,
	"i8x16.shuffle": true, "i8x16.swizzle": true,
	"f32x4.convert_i32x4_u": true, "f64x2.convert_low_i32x4_u": true,
}

func costOfVector(verb, name string) uint8 {
	if vectorSlow[name] || strings.HasPrefix(verb, "trunc_sat") {
		return costVectorSlow
	}
	return costVector
}

// Cost returns the fuel of one instruction, without what depends on a length.
func Cost(op wasm.Opcode) uint64 { return uint64(costs[op]) }

// LocalsCost returns the fuel of entering a function with so many parameters
// and locals.
func LocalsCost(locals uint64) uint64 { return locals / localsPerFuel }
