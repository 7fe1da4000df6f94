package meter

import (
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// ClassOf returns the row of the cost table that an instruction belongs to. It
// panics when there is no such instruction.
func ClassOf(op wasm.Opcode) Class {
	info := wasm.Lookup(op)
	if info == nil {
		panic("meter: no class for " + op.String())
	}
	switch {
	case op >= 0x200:
		return vectorClass(op, info)
	case info.Imm == wasm.ImmMemArg:
		if len(info.Results) == 0 {
			return classStore
		}
		return classLoad
	case !info.Special && info.Imm == wasm.ImmNone:
		return numberClass(info)
	}
	return singleClass(op)
}

// singleClass returns the class of what is neither arithmetic nor a load or
// store.
func singleClass(op wasm.Opcode) Class {
	switch op {
	case wasm.OpUnreachable:
		return classTrap
	case wasm.OpIf, wasm.OpBr, wasm.OpBrIf:
		return classBranch
	case wasm.OpBrTable:
		return classBranchTable
	case wasm.OpReturn:
		return classReturn
	case wasm.OpCall:
		return classCall
	case wasm.OpCallIndirect:
		return classCallIndirect
	case wasm.OpSelect, wasm.OpSelectTyped:
		return classSelect
	case wasm.OpLocalGet, wasm.OpLocalSet, wasm.OpLocalTee:
		return classLocal
	case wasm.OpGlobalGet, wasm.OpGlobalSet:
		return classGlobal
	case wasm.OpI32Const, wasm.OpI64Const, wasm.OpF32Const, wasm.OpF64Const:
		return classConstant
	case wasm.OpRefNull, wasm.OpRefIsNull:
		return classReference
	case wasm.OpRefFunc:
		return classReferenceMake
	}
	return storageClass(op)
}

// storageClass returns the class of what manages memories, tables and
// segments. What is left is structure.
func storageClass(op wasm.Opcode) Class {
	switch op {
	case wasm.OpMemorySize:
		return classMemorySize
	case wasm.OpMemoryGrow:
		return classMemoryGrow
	case wasm.OpMemoryFill:
		return classMemoryFill
	case wasm.OpMemoryCopy, wasm.OpMemoryInit:
		return classMemoryBulk
	case wasm.OpDataDrop, wasm.OpElemDrop:
		return classSegmentDrop
	case wasm.OpTableGet, wasm.OpTableSet:
		return classTableEntry
	case wasm.OpTableSize:
		return classTableSize
	case wasm.OpTableGrow:
		return classTableGrow
	case wasm.OpTableFill, wasm.OpTableCopy, wasm.OpTableInit:
		return classTableBulk
	}
	return classStructure
}

// numberClass returns the class of scalar arithmetic, by its name, such as
// "i32.div_s", and the types of its operands.
func numberClass(info *wasm.Op) Class {
	shape, verb, _ := strings.Cut(info.Name, ".")
	stem, _, _ := strings.Cut(verb, "_")
	from := info.Params[0]
	float := from == wasm.F32 || from == wasm.F64
	switch stem {
	case "eq", "eqz", "ne", "lt", "gt", "le", "ge":
		return classCompare
	case "convert", "demote", "promote", "reinterpret":
		return classConvert
	case "clz", "ctz", "popcnt":
		return classCount
	case "shl", "shr", "rotl", "rotr":
		return classShift
	case "ceil", "floor", "nearest":
		return classFloatRound
	case "trunc":
		if stem != verb {
			return classTruncate
		}
		return classFloatRound
	case "min", "max":
		return classFloatMinMax
	case "sqrt":
		return classFloatRoot
	case "div", "rem":
		switch {
		case float:
			return classFloatDivide
		case shape == "i64":
			return classDivide64
		}
		return classDivide32
	}
	switch {
	case float:
		return classFloat
	case stem == "mul":
		return classMultiply
	}
	return classInteger
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

func vectorClass(op wasm.Opcode, info *wasm.Op) Class {
	shape, verb, _ := strings.Cut(info.Name, ".")
	stem, _, _ := strings.Cut(verb, "_")
	switch {
	case vectorSlow[info.Name] || stem == "trunc" && stem != verb || shape == "i64x2" && stem == "extmul":
		return classVectorSlow
	case op == wasm.OpV128Const:
		return classVectorConstant
	case info.Width > 0 && len(info.Results) == 0:
		return classVectorStore
	case info.Width > 0:
		return classVectorLoad
	case info.Imm == wasm.ImmLane || stem == "splat":
		return classVectorLane
	case info.Results[0] == wasm.I32:
		return classVectorTest
	case stem == "convert" || stem == "demote" || stem == "promote":
		return classVectorConvert
	case shape[0] == 'f':
		return classVectorFloat
	}
	return classVectorInteger
}
