package lint

import (
	"math/bits"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// class tells how the body's loop treats an opcode.
type class uint8

const (
	classOther  class = iota // decoded by the reader, checked by other
	classPlain               // no immediates, operands from the signature
	classMemory              // as classPlain, with an alignment and an offset
	classConst32
	classConst64
	classLocalGet
	classLocalSet
	classLocalTee
	classGlobalGet
	classGlobalSet
	classBlock
	classEnd
	classBr
	classBrIf
	classCall
)

// signature is what the loop must know of an opcode, in few bytes.
type signature struct {
	class   class
	params  uint8
	results uint8
	align   uint8 // greatest exponent of the alignment
	slow    uint8 // further instructions that the compiler makes of it
	param   [3]byte
	result  byte
}

// signatures has one entry for each wasm.Opcode.
var signatures = func() (t [0x300]signature) {
	for op := range wasm.Opcode(len(t)) {
		info := wasm.Lookup(op)
		if info == nil {
			continue
		}
		s := &t[op]
		s.params, s.results = uint8(len(info.Params)), uint8(len(info.Results))
		for i, p := range info.Params {
			s.param[i] = byte(p)
		}
		for _, r := range info.Results {
			s.result = byte(r)
		}
		if info.Width > 0 {
			s.align = uint8(bits.Len8(info.Width) - 1)
		}
		s.slow = slowness(op)
		switch {
		case op >= 0x100 || info.Special:
		case info.Imm == wasm.ImmNone:
			s.class = classPlain
		case info.Imm == wasm.ImmMemArg:
			s.class = classMemory
		}
	}
	for op, c := range map[wasm.Opcode]class{
		wasm.OpI32Const: classConst32, wasm.OpI64Const: classConst64,
		wasm.OpLocalGet: classLocalGet, wasm.OpLocalSet: classLocalSet, wasm.OpLocalTee: classLocalTee,
		wasm.OpGlobalGet: classGlobalGet, wasm.OpGlobalSet: classGlobalSet,
		wasm.OpBlock: classBlock, wasm.OpLoop: classBlock, wasm.OpIf: classBlock,
		wasm.OpEnd: classEnd, wasm.OpBr: classBr, wasm.OpBrIf: classBrIf, wasm.OpCall: classCall,
	} {
		t[op].class = c
	}
	return t
}()

// slowness is how many instructions beyond one the compiler makes of op:
// bounds checks, divisions that may trap, calls into the host.
func slowness(op wasm.Opcode) uint8 {
	switch {
	case op >= 0x28 && op <= 0x3e:
		return 4
	case op >= 0x6d && op <= 0x70 || op >= 0x7f && op <= 0x82, op >= 0xa8 && op <= 0xb1,
		op == wasm.OpTableGet || op == wasm.OpTableSet || op == wasm.OpMemoryGrow:
		return 8
	case op >= 0x100 && op < 0x200:
		return 10
	case op >= 0x200:
		return 6
	}
	return 0
}
