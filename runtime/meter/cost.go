package meter

import "github.com/dugnad/dugnad/runtime/internal/wasm"

// Class is a row of the cost table: instructions of one kind, which cost the
// same. BENCHMARKS.md shows how long each takes for its fuel: make calibrate.
type Class uint8

const (
	classStructure Class = iota
	classConstant
	classLocal
	classGlobal
	classInteger
	classCompare
	classShift
	classCount
	classMultiply
	classDivide32
	classDivide64
	classFloat
	classFloatRound
	classFloatMinMax
	classFloatDivide
	classFloatRoot
	classConvert
	classTruncate
	classLoad
	classStore
	classMemorySize
	classMemoryGrow
	classMemoryBulk
	classMemoryFill
	classSegmentDrop
	classSelect
	classTrap
	classBranch
	classBranchTable
	classReturn
	classCall
	classCallIndirect
	classReference
	classReferenceMake
	classTableEntry
	classTableSize
	classTableGrow
	classTableBulk
	classVectorConstant
	classVectorLoad
	classVectorStore
	classVectorLane
	classVectorTest
	classVectorInteger
	classVectorFloat
	classVectorConvert
	classVectorSlow
	classes
)

// table is the cost table, in fuel: Version changes with it. One unit is about half the time
// of an addition that waits for the one before, which takes another unit for
// its operand.
var table = [classes]struct {
	name string
	fuel uint8
}{
	// The engine dissolves structure into jumps, which are charged where they
	// are asked for.
	classStructure:  {"structure", 0},
	classConstant:   {"constant", 1},
	classLocal:      {"local", 1},
	classGlobal:     {"global", 1},
	classInteger:    {"integer: add, subtract, logic, width", 1},
	classCompare:    {"comparison", 1},
	classShift:      {"shift, rotate", 1},
	classCount:      {"bits counted", 1},
	classMultiply:   {"multiplication", 1},
	classDivide32:   {"division and remainder, 32 bits", 6},
	classDivide64:   {"division and remainder, 64 bits", 10},
	classFloat:      {"float: add, subtract, multiply, sign", 1},
	classFloatRound: {"float: rounding", 1},
	// Minimum and maximum must order NaN and signed zero.
	classFloatMinMax: {"float: minimum, maximum", 4},
	classFloatDivide: {"float: division", 5},
	classFloatRoot:   {"float: square root", 8},
	classConvert:     {"conversion to float or of its bits", 1},
	// A conversion from floating point to integer checks its range.
	classTruncate:   {"float to integer", 4},
	classLoad:       {"load", 1},
	classStore:      {"store", 1},
	classMemorySize: {"memory.size", 1},
	// The host is asked to grow a memory or table. The pages and entries are
	// charged when it did.
	classMemoryGrow: {"memory.grow", 200},
	classTableGrow:  {"table.grow", 200},
	// A bulk operation pays for its start here, and for its length when it is
	// known.
	classMemoryBulk: {"memory.copy, memory.init", 8},
	// The engine fills by doubling: each step waits for the one before.
	classMemoryFill:  {"memory.fill", 40},
	classTableBulk:   {"table.fill, copy, init", 8},
	classSegmentDrop: {"segment dropped", 1},
	classSelect:      {"select", 1},
	classTrap:        {"unreachable", 1},
	classBranch:      {"branch", 1},
	// However wide the table is.
	classBranchTable: {"br_table", 4},
	classReturn:      {"return", 1},
	classCall:        {"call", 8},
	// The look-up and the check of the type are included.
	classCallIndirect: {"call_indirect", 12},
	classReference:    {"ref.null, ref.is_null", 1},
	// The engine leaves it to the host, which looks the function up.
	classReferenceMake:  {"ref.func", 250},
	classTableEntry:     {"table.get, table.set", 3},
	classTableSize:      {"table.size", 1},
	classVectorConstant: {"vector: constant", 2},
	classVectorLoad:     {"vector: load", 2},
	classVectorStore:    {"vector: store", 2},
	classVectorLane:     {"vector: lane moved", 2},
	classVectorTest:     {"vector: test", 2},
	classVectorInteger:  {"vector: integer", 2},
	classVectorFloat:    {"vector: float", 2},
	classVectorConvert:  {"vector: conversion", 2},
	// These are made of several machine instructions on amd64 or arm64, or of
	// a slow one.
	classVectorSlow: {"vector: several instructions", 8},
}

// String returns the name of the row.
func (c Class) String() string { return table[c].name }

// Fuel returns what each instruction of the class costs, without what depends
// on a length.
func (c Class) Fuel() uint64 { return uint64(table[c].fuel) }

// Classes returns all rows of the cost table, in its order.
func Classes() []Class {
	all := make([]Class, classes)
	for i := range all {
		all[i] = Class(i)
	}
	return all
}

// localsPerFuel: this many zeroed locals cost one unit.
const localsPerFuel = 4

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
		if wasm.Lookup(wasm.Opcode(op)) != nil {
			t[op] = table[ClassOf(wasm.Opcode(op))].fuel
		}
	}
	return &t
}

// Cost returns the fuel of one instruction, without what depends on a length.
func Cost(op wasm.Opcode) uint64 { return uint64(costs[op]) }

// LocalsCost returns the fuel of entering a function with so many parameters
// and locals.
func LocalsCost(locals uint64) uint64 { return locals / localsPerFuel }
