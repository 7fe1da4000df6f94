package meter_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
	"github.com/dugnad/dugnad/runtime/meter"
)

// probe is code whose time is compared with its fuel: a function that performs
// an operator so and so often in a round.
type probe struct {
	class meter.Class
	// name is that of the operator, or what is special here.
	name string
	// chains is how many chains of operators that wait for one another stand
	// side by side: 1 or chainsMany.
	chains int
	// ops counts the operators in a round.
	ops int
	// value is the type of the chains' values.
	value wasm.ValType
	// code is a round, module what else the module has, init the code before
	// the first round, pages the size of its memory.
	code, module, init string
	pages              int
	// with lists operators that stand beside each of ops, whose own time is
	// taken away. Where half is set, it holds the inverse, and both are taken
	// to last as long.
	with []string
	half bool
	// prepare fills the memory.
	prepare func(api.Memory)
	// warm is how many rounds are run before those that are timed.
	warm uint64
	// aside marks what the row of its class leaves out: what depends on a length,
	// or on what fuel cannot know, such as what is in a cache.
	aside bool
	// fresh is set when each run needs an instance of its own.
	fresh bool
}

const (
	// chainsMany are as many as fit into the registers.
	chainsMany = 6
	// opsPerRound is a multiple of chainsMany.
	opsPerRound = 60
)

// The locals of a probe. 0 counts the rounds; what follows holds operands that
// the compiler does not know, then the chains' values.
const (
	localI32 = 1 + iota
	localI64
	localF32
	localF64
	localV128
	localF32x4
	localF64x2
	localZero
	localBig32
	localBig64
	localChain
)

var operandLocal = map[wasm.ValType]int{wasm.I32: localI32, wasm.I64: localI64, wasm.F32: localF32, wasm.F64: localF64, wasm.V128: localV128}

// bridges lead from one type to another; each of the first lines is measured
// together with its inverse.
var bridges = map[string][]string{
	"i32 i64": {"i64.extend_i32_u"}, "i64 i32": {"i32.wrap_i64"},
	"i32 f32": {"f32.reinterpret_i32"}, "f32 i32": {"i32.reinterpret_f32"},
	"i64 f64": {"f64.reinterpret_i64"}, "f64 i64": {"i64.reinterpret_f64"},
	"i32 v128": {"i32x4.splat"}, "v128 i32": {"i32x4.extract_lane"},
	"i64 v128": {"i64x2.splat"}, "v128 i64": {"i64x2.extract_lane"},
	"f32 v128": {"f32x4.splat"}, "v128 f32": {"f32x4.extract_lane"},
	"f64 v128": {"f64x2.splat"}, "v128 f64": {"f64x2.extract_lane"},
	"f32 f64": {"f64.promote_f32"}, "f64 f32": {"f32.demote_f64"},

	"i32 f64": {"i64.extend_i32_u", "f64.reinterpret_i64"}, "f64 i32": {"i64.reinterpret_f64", "i32.wrap_i64"},
	"i64 f32": {"i32.wrap_i64", "f32.reinterpret_i32"}, "f32 i64": {"i32.reinterpret_f32", "i64.extend_i32_u"},
}

// bridge returns the operators that lead from one type to another.
func bridge(from, to wasm.ValType) []string {
	if from == to {
		return nil
	}
	b, ok := bridges[from.String()+" "+to.String()]
	if !ok {
		panic(fmt.Sprintf("no way from %s to %s", from, to))
	}
	return b
}

// inverse returns the other half of a pair of bridges, or "".
func inverse(op string) string {
	for way, b := range bridges {
		if len(b) == 1 && b[0] == op {
			from, to, _ := strings.Cut(way, " ")
			return bridges[to+" "+from][0]
		}
	}
	return ""
}

// operatorProbes measures every operator that takes and makes numbers, by its
// signature: in one chain, and in several.
func operatorProbes() []probe {
	var all []probe
	for op := wasm.Opcode(0); op < 0x300; op++ {
		info := wasm.Lookup(op)
		if info == nil || info.Special || len(info.Results) == 0 || op == wasm.OpMemoryGrow || op == wasm.OpTableSize {
			continue
		}
		if answers(info) {
			all = append(all, answerProbe(op, info))
			continue
		}
		for _, chains := range []int{1, chainsMany} {
			all = append(all, operatorProbe(op, info, chains))
		}
	}
	return all
}

func operatorProbe(op wasm.Opcode, info *wasm.Op, chains int) probe {
	if chains > 1 && strings.HasSuffix(info.Name, "splat") {
		return splatProbe(op, info)
	}
	p := probe{class: meter.ClassOf(op), name: info.Name, chains: chains, ops: opsPerRound, value: wasm.I32}
	step := ""
	if len(info.Params) > 0 {
		p.value = info.Params[0]
		for _, t := range info.Params[1:] {
			step += get(operandOf(info, t))
		}
	}
	step += info.Name + immediate(info) + "\n"
	p.with = bridge(info.Results[0], p.value)
	if i := inverse(info.Name); len(p.with) == 1 && p.with[0] == i {
		p.half = chains == 1 || !strings.HasSuffix(i, "splat")
	}
	for _, b := range p.with {
		step += b + "\n"
	}
	if len(info.Params) == 0 {
		step += "i32.add\n"
		p.with = append(slices.Clone(p.with), "i32.add")
	}
	if more, with := refreshed(info.Name); with != "" {
		step += more
		p.with = append(slices.Clone(p.with), with)
	}
	p.init, p.code = chained(startOf(info, p.value), step, chains)
	return p
}

// answers reports whether an operator asks something of floats or vectors. The
// way back from its answer to such an operand would take longer than itself.
func answers(info *wasm.Op) bool {
	if len(info.Params) == 0 || info.Results[0] != wasm.I32 || info.Imm != wasm.ImmNone {
		return false
	}
	from := info.Params[0]
	return from == wasm.V128 || len(info.Params) == 2 && (from == wasm.F32 || from == wasm.F64)
}

// answerProbe adds up answers.
func answerProbe(op wasm.Opcode, info *wasm.Op) probe {
	step := ""
	for _, t := range info.Params {
		step += get(operandLocal[t])
	}
	return one(op, info.Name, chainsMany, step+info.Name+"\ni32.add\n", "").adding("i32.add")
}

// splatProbe adds up vectors that are made of a number or loaded. Led back to a
// number, each would wait for the one before even where it does not have to.
func splatProbe(op wasm.Opcode, info *wasm.Op) probe {
	p := one(op, info.Name, chainsMany, "", "").adding("i32x4.add")
	p.value = wasm.V128
	from := operandLocal[info.Params[0]]
	if info.Width > 0 {
		from = localZero
	}
	p.init, p.code = chained(localV128, get(from)+info.Name+"\ni32x4.add\n", chainsMany)
	return p
}

// operandOf returns the local with an operand that suits an instruction.
func operandOf(info *wasm.Op, t wasm.ValType) int {
	switch {
	case t == wasm.V128 && strings.HasPrefix(info.Name, "f32x4."):
		return localF32x4
	case t == wasm.V128 && strings.HasPrefix(info.Name, "f64x2."):
		return localF64x2
	}
	return operandLocal[t]
}

// startOf returns the local with the value that a chain begins with. A chain of
// loads begins with an address: memory is zero, so it stays one.
func startOf(info *wasm.Op, t wasm.ValType) int {
	switch {
	case info.Width > 0:
		return localZero
	case t == wasm.I32:
		return localBig32
	case t == wasm.I64:
		return localBig64
	}
	return operandOf(info, t)
}

// refreshed returns code that keeps the chain of an operator from arriving at a
// value that is quickly dealt with, and the operator which that takes.
func refreshed(name string) (code, with string) {
	switch {
	case strings.HasPrefix(name, "i32.rem"):
		return get(localBig32) + "i32.or\n", "i32.or"
	case strings.HasPrefix(name, "i64.rem"):
		return get(localBig64) + "i64.or\n", "i64.or"
	case name == "f32.sqrt":
		return get(localF32) + "f32.add\n", "f32.add"
	case name == "f64.sqrt":
		return get(localF64) + "f64.add\n", "f64.add"
	case name == "f32x4.sqrt":
		return get(localF32x4) + "f32x4.add\n", "f32x4.add"
	case name == "f64x2.sqrt":
		return get(localF64x2) + "f64x2.add\n", "f64x2.add"
	}
	return "", ""
}
