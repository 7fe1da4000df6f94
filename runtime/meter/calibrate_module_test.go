package meter_test

import (
	"fmt"
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

func get(local int) string { return fmt.Sprintf("local.get %d\n", local) }

func immediate(info *wasm.Op) string {
	switch info.Name {
	case "i32.const", "i64.const", "f32.const", "f64.const":
		return " 12345"
	case "v128.const":
		return " 1 2 3 4 5 6 7 8"
	case "i8x16.shuffle":
		return " 1 17 2 18 3 19 4 20 5 21 6 22 7 23 8 24"
	}
	return ""
}

// chained repeats a step that turns the value on the stack into the next, in so
// many chains that begin with a local's value.
func chained(start int, step string, chains int) (init, code string) {
	for i := range chains {
		chain := localChain + i
		init += get(start) + fmt.Sprintf("local.set %d\n", chain)
		code += get(chain) + strings.Repeat(step, opsPerRound/chains) + fmt.Sprintf("local.set %d\n", chain)
	}
	return init, code
}

// text writes the module of a probe. Its function 0, "run", takes the number of
// rounds; imports come before it.
func (p *probe) text() string {
	var b strings.Builder
	imports, module := "", p.module
	if strings.HasPrefix(module, "import") {
		imports, module, _ = strings.Cut(module, "\n")
	}
	fmt.Fprintf(&b, "%s\nfunc \"run\" (i32) -> () local i32 i64 f32 f64 v128 v128 v128 i32 i32 i64%s\n", imports, strings.Repeat(" "+p.value.String(), chainsMany))
	b.WriteString(prologue + p.init + "loop\n" + p.code + "local.get 0\ni32.const 1\ni32.sub\nlocal.tee 0\nbr_if 0\nend\n")
	for i := range chainsMany {
		fmt.Fprintf(&b, "i32.const 0\nlocal.get %d\n%s.store offset=%d\n", localChain+i, p.value, 4096+16*i)
	}
	fmt.Fprintf(&b, "end\nmemory %d\n%s%s", max(1, p.pages), operands, module)
	return b.String()
}

// operands are globals, so that the compiler does not know what they hold.
const operands = `
global mut i32 1
global mut i64 1
global mut f32 1.0000001
global mut f64 1.0000000000000002
global mut i32 0
global mut i32 0x7ffffff1
global mut i64 0x7ffffffffffffff1
global mut i32 0
`

const prologue = `
global.get 0
local.set 1
global.get 1
local.set 2
global.get 2
local.set 3
global.get 3
local.set 4
global.get 3
f64x2.splat
local.set 5
global.get 2
f32x4.splat
local.set 6
global.get 3
f64x2.splat
local.set 7
global.get 4
local.set 8
global.get 5
local.set 9
global.get 6
local.set 10
`
