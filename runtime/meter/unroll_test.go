package meter_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter"
)

// straightLoops are loops in a function of two parameters: how often the loop goes
// on, and when it is left early.
var straightLoops = []struct {
	name     string
	unrolled int
	code     string
}{
	{"goes on to its end", 1, `
		loop
		  local.get 2
		  local.get 0
		  i32.add
		  local.set 2
		  local.get 0
		  i32.const 1
		  i32.sub
		  local.tee 0
		  br_if 0
		end`},
	{"is left early", 1, `
		block
		  loop
		    local.get 2
		    i32.const 3
		    i32.add
		    local.tee 2
		    local.get 1
		    i32.eq
		    br_if 1
		    local.get 0
		    i32.const 1
		    i32.sub
		    local.tee 0
		    br_if 0
		  end
		  i32.const 1000
		  local.set 2
		end`},
	{"is left early in two ways, and has a tail", 1, `
		block
		  block
		    loop
		      local.get 2
		      i32.const 2
		      i32.add
		      local.tee 2
		      local.get 1
		      i32.eq
		      br_if 2
		      local.get 2
		      i32.const 1
		      i32.add
		      local.get 1
		      i32.eq
		      br_if 1
		      local.get 0
		      i32.const 1
		      i32.sub
		      local.tee 0
		      br_if 0
		      local.get 2
		      i32.const 7
		      i32.mul
		      local.set 2
		    end
		    local.get 2
		    i32.const 5
		    i32.mul
		    local.set 2
		  end
		  local.get 2
		  i32.const 100000
		  i32.add
		  local.set 2
		end`},
	{"goes on from its tail", 1, `
		loop
		  local.get 2
		  i32.const 1
		  i32.add
		  local.set 2
		  local.get 0
		  i32.const 1
		  i32.sub
		  local.tee 0
		  i32.const 3
		  i32.rem_u
		  br_if 0
		  local.get 2
		  i32.const 1000
		  i32.add
		  local.set 2
		  local.get 0
		  i32.const 0
		  i32.gt_s
		  br_if 0
		end`},
	{"leaves to the outer loop", 1, `
		loop
		  block
		    loop
		      local.get 2
		      i32.const 1
		      i32.add
		      local.tee 2
		      local.get 1
		      i32.eq
		      br_if 1
		      local.get 0
		      i32.const 1
		      i32.sub
		      local.tee 0
		      br_if 0
		    end
		    local.get 2
		    i32.const 65536
		    i32.add
		    return
		  end
		  local.get 0
		  i32.const 1
		  i32.sub
		  local.tee 0
		  i32.const 0
		  i32.gt_s
		  br_if 0
		end`},
	{"has operands below the branch", 0, `
		loop
		  local.get 2
		  i32.const 5
		  i32.add
		  local.get 0
		  i32.const 1
		  i32.sub
		  local.tee 0
		  br_if 0
		  local.set 2
		end`},
	{"takes an operand along", 0, `
		block -> i32
		  loop
		    local.get 2
		    i32.const 1
		    i32.add
		    local.tee 2
		    local.get 2
		    local.get 1
		    i32.eq
		    br_if 1
		    drop
		    local.get 0
		    i32.const 1
		    i32.sub
		    local.tee 0
		    br_if 0
		  end
		  i32.const 77
		end
		local.set 2`},
	{"has a result", 0, `
		loop -> i32
		  local.get 2
		  i32.const 1
		  i32.add
		  local.set 2
		  local.get 0
		  i32.const 1
		  i32.sub
		  local.tee 0
		  br_if 0
		  local.get 2
		end
		local.set 2`},
}

// TestStraightLoops runs loops that are repeated, and some that may not be, for
// every small number of rounds and every place to leave them early.
func TestStraightLoops(t *testing.T) {
	for _, test := range straightLoops {
		t.Run(test.name, func(t *testing.T) {
			module := wasmtest.Assemble("func \"run\" (i32 i32) -> (i32) local i32\n" + test.code + "\nlocal.get 2\nend\n")
			r, err := meter.Rewrite(module)
			if err != nil {
				t.Fatal(err)
			}
			if r.Unrolled != test.unrolled {
				t.Errorf("%d loops are repeated, want %d", r.Unrolled, test.unrolled)
			}
			likeReference(t, module, 1, 14, 20)
		})
	}
}

// likeReference calls run of a module, metered, with each of firsts numbers from base
// on and each of seconds from 0 on, in long and short slices: result and fuel are those
// of the module that counts one by one.
func likeReference(t *testing.T, module []byte, base, firsts, seconds uint64) {
	t.Helper()
	counting, err := naive(module)
	if err != nil {
		t.Fatal(err)
	}
	reference := plain(t, counting)
	for slice, config := range map[int64]wazero.RuntimeConfig{1: compiler(), 1000: compiler(), 7: interpreter()} {
		h := newHost(t, config, module)
		h.slice = slice
		for first := base; first < base+firsts; first++ {
			for second := range seconds {
				before := reference.ExportedGlobal(countExport).Get()
				want, err := reference.ExportedFunction("run").Call(context.Background(), first, second)
				if err != nil {
					t.Fatal(err)
				}
				got, fuel, err := h.call("run", first, second)
				if err != nil || got[0] != want[0] {
					t.Fatalf("run(%d, %d) = %v, %v; unmetered %v", first, second, got, err, want)
				}
				if count := int64(reference.ExportedGlobal(countExport).Get() - before); count != fuel {
					t.Fatalf("run(%d, %d) took fuel %d, counted one by one %d", first, second, fuel, count)
				}
			}
		}
	}
}

// TestRepeatedCodeIsBounded gives the rewriter more short loops than it may repeat.
func TestRepeatedCodeIsBounded(t *testing.T) {
	const loops = 20_000
	body := strings.Repeat("loop\nlocal.get 0\ni32.const 1\ni32.sub\nlocal.tee 0\nbr_if 0\nend\n", loops)
	module := wasmtest.Assemble(fmt.Sprintf("func \"run\" (i32) -> ()\n%send\n", body))
	r, err := meter.Rewrite(module)
	if err != nil {
		t.Fatal(err)
	}
	if r.Unrolled == 0 || r.Unrolled > loops/5 {
		t.Errorf("%d of %d loops are repeated", r.Unrolled, loops)
	}
}

// TestLengthsInLoopsAreCharged fills and grows memory in loops that are short
// enough to be repeated.
func TestLengthsInLoopsAreCharged(t *testing.T) {
	const rest = "local.get 0\ni32.const 1\ni32.sub\nlocal.tee 0\nbr_if 0\nend\nend\n"
	for code, least := range map[string]int64{
		"i32.const 0\ni32.const 1\ni32.const 65536\nmemory.fill\n": 65536 / meter.BytesPerFuel,
		"i32.const 0\ni32.const 8\ni32.const 65528\nmemory.copy\n": 65528 / meter.BytesPerFuel,
		"i32.const 1\nmemory.grow\ndrop\n":                         meter.PageFuel,
	} {
		const rounds = 10
		h := newHost(t, compiler(), wasmtest.Assemble("memory 1 100\nfunc \"run\" (i32) -> ()\nloop\n"+code+rest))
		if _, fuel, err := h.call("run", rounds); err != nil || fuel < rounds*least {
			t.Errorf("%q took fuel %d in %d rounds, at least %d each expected: %v", code, fuel, rounds, least, err)
		}
	}
}
