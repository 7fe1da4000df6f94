package meter_test

import (
	"testing"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter"
)

// dispatchLoops are functions of two parameters, the number of the place to begin
// at and a number that decides the ways. They add to local 2 what tells the ways
// apart; local 3 bounds the rounds.
var dispatchLoops = []struct {
	name         string
	straightened int
	code         string
}{
	{"forward, backward, by default and out", 4, `
		block
		  loop
		    block
		      block
		        block
		          local.get 0
		          br_table 0 1 2 4 1
		        end
		        local.get 2
		        i32.const 1
		        i32.add
		        local.set 2
		        local.get 1
		        i32.const 1
		        i32.and
		        if
		          i32.const 2
		          local.set 0
		          br 3
		        end
		        local.get 1
		        i32.const 2
		        i32.and
		        if
		          i32.const 3
		          local.set 0
		          br 3
		        end
		        local.get 1
		        i32.const 4
		        i32.and
		        if
		          i32.const -1
		          local.set 0
		          br 3
		        end
		        i32.const 1000
		        local.set 0
		        br 2
		      end
		      local.get 2
		      i32.const 100
		      i32.add
		      local.set 2
		    end
		    local.get 2
		    i32.const 10000
		    i32.add
		    local.set 2
		    local.get 1
		    i32.const 1
		    i32.shr_u
		    local.set 1
		    local.get 3
		    i32.const 1
		    i32.add
		    local.tee 3
		    i32.const 5
		    i32.lt_u
		    if
		      i32.const 0
		      local.set 0
		      br 1
		    end
		  end
		end`},
	{"to a block that is closed, where another is open", 1, `
		block
		  loop
		    block
		      block
		        local.get 0
		        br_table 0 1 3
		      end
		      local.get 2
		      i32.const 1
		      i32.add
		      local.set 2
		    end
		    local.get 2
		    i32.const 100
		    i32.add
		    local.set 2
		    block
		      block
		        local.get 3
		        i32.const 1
		        i32.add
		        local.tee 3
		        i32.const 4
		        i32.gt_u
		        if
		          i32.const 7
		          local.set 0
		          br 3
		        end
		        local.get 1
		        local.get 3
		        i32.shr_u
		        i32.const 1
		        i32.and
		        if
		          i32.const 0
		          local.set 0
		          br 3
		        end
		        i32.const 1
		        local.set 0
		        br 2
		      end
		      local.get 2
		      i32.const 10000
		      i32.add
		      local.set 2
		    end
		  end
		end`},
	{"the number goes into another local, or is none", 0, `
		block
		  loop
		    block
		      block
		        local.get 0
		        br_table 0 1 3
		      end
		      local.get 2
		      i32.const 1
		      i32.add
		      local.set 2
		      local.get 3
		      i32.const 1
		      i32.add
		      local.tee 3
		      i32.const 5
		      i32.gt_u
		      br_if 2
		      local.get 1
		      i32.const 1
		      i32.and
		      if
		        i32.const 1
		        local.set 1
		        br 2
		      end
		      local.get 1
		      i32.const 2
		      i32.shr_u
		      local.set 0
		      br 1
		    end
		    local.get 2
		    i32.const 100
		    i32.add
		    local.set 2
		  end
		end`},
	{"operands are left behind, and the function", 2, `
		loop
		  block
		    local.get 0
		    br_table 0 2 3
		  end
		  local.get 2
		  i32.const 1
		  i32.add
		  local.set 2
		  local.get 3
		  i32.const 1
		  i32.add
		  local.tee 3
		  i32.const 3
		  i32.lt_u
		  if
		    i32.const 0
		    local.set 0
		    br 1
		  end
		  local.get 1
		  i32.const 3
		  i32.and
		  if
		    local.get 2
		    local.get 1
		    i32.const 1
		    local.set 0
		    br 1
		  end
		  i32.const 5
		  local.set 0
		  br 0
		end`},
	{"the loop has a parameter", 0, `
		i32.const 40
		loop type 0
		  block
		    block
		      local.get 0
		      br_table 0 1 3
		    end
		    local.get 1
		    i32.const 1
		    i32.and
		    if
		      i32.const 9
		      i32.const 1
		      local.set 0
		      br 2
		    end
		  end
		  local.get 2
		  i32.add
		  local.set 2
		end`},
	{"the table is not the first thing", 0, `
		block
		  loop
		    block
		      local.get 2
		      i32.const 1
		      i32.add
		      local.set 2
		      local.get 0
		      br_table 0 2
		    end
		    i32.const 1
		    local.set 0
		    br 0
		  end
		end`},
}

// TestDispatchLoops runs loops whose branches are straightened, and some whose
// branches may not be, from every place and by every way.
func TestDispatchLoops(t *testing.T) {
	for _, test := range dispatchLoops {
		t.Run(test.name, func(t *testing.T) {
			// The work is in a function without results, as a branch out of it is
			// one of the ways; what it finds on the others stands in a global.
			module := wasmtest.Assemble("type (i32) -> ()\nglobal mut i32 0\nfunc (i32 i32) -> () local i32 i32\nblock\n" + test.code +
				"\nend\nlocal.get 2\nglobal.set 0\nend\nfunc \"run\" (i32 i32) -> (i32)\n" +
				"local.get 0\nlocal.get 1\ncall 0\nglobal.get 0\nend\n")
			r, err := meter.Rewrite(module)
			if err != nil {
				t.Fatal(err)
			}
			if r.Straightened != test.straightened {
				t.Errorf("%d branches are straightened, want %d", r.Straightened, test.straightened)
			}
			likeReference(t, module, 0, 6, 64)
		})
	}
}
