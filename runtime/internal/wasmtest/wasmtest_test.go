package wasmtest

import (
	"strings"
	"testing"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

func TestPrintIsWhatWasAssembled(t *testing.T) {
	const body = `local i64
block -> i32
  local.get 0
  br_table 0 0 0
end
loop type 0
  i32.const -5
  i32.load offset=8
  br_if 0
  i64.const 9223372036854775807
  drop
end
call_indirect 0 0
ref.null funcref
table.grow 0
drop
end
`
	module := Assemble("type (i32) -> (i32)\nmemory 1 2\ntable 3\nfunc (i32) -> (i32) " + body)
	got, err := PrintFunction(module, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The notation indents by depth; compare the instructions.
	if a, b := strings.Fields(got), strings.Fields(body); strings.Join(a, " ") != strings.Join(b, " ") {
		t.Errorf("printed\n%s\nassembled\n%s", got, body)
	}
	if _, err := PrintFunction(module, 1); err == nil {
		t.Error("function 1 of 1 was printed")
	}
}

func TestAssembleTellsTheLine(t *testing.T) {
	defer func() {
		if v, _ := recover().(string); !strings.Contains(v, "line 2") || !strings.Contains(v, "no.such") {
			t.Errorf("panic %q names neither line nor word", v)
		}
	}()
	Assemble("func () -> ()\nno.such\nend")
}

func TestEveryFamilyHasANotation(t *testing.T) {
	for name, op := range opcodes {
		switch wasm.Lookup(op).Imm {
		case wasm.ImmV128, wasm.ImmShuffle, wasm.ImmLane, wasm.ImmMemArgLane:
			continue // no test has needed one
		}
		words := map[wasm.Imm][]string{
			wasm.ImmBrTable: {"0", "0"}, wasm.ImmI32: {"1"}, wasm.ImmI64: {"1"}, wasm.ImmF32: {"1"}, wasm.ImmF64: {"1"},
			wasm.ImmRefType: {"externref"},
		}[wasm.Lookup(op).Imm]
		if immediates(wasm.Lookup(op), words) == "" && wasm.Lookup(op).Imm != wasm.ImmNone {
			t.Errorf("%s: no immediates", name)
		}
	}
}
