package meter_test

import "github.com/dugnad/dugnad/runtime/meter"

// overrunMost bounds what most of these programs burn between two checks.
const overrunMost = 150

// exhaustible are programs that leave a mark in memory or in a global at every
// few instructions. run(n) calls the last of their functions.
var exhaustible = []struct {
	name string
	n    uint64
	// overrun bounds the fuel between the end of the budget and the check that
	// sees it.
	overrun int64
	text    string
}{
	{"nested loops", 7, overrunMost, `
		memory 1
		global mut i32 0
		func "run" (i32) -> (i32) local i32 i32
		  loop
		    i32.const 0
		    local.set 2
		    loop
		      global.get 0
		      local.get 1
		      i32.store8 offset=100
		      global.get 0
		      i32.const 1
		      i32.add
		      global.set 0
		      local.get 2
		      i32.const 1
		      i32.add
		      local.tee 2
		      local.get 1
		      i32.lt_u
		      br_if 0
		    end
		    local.get 1
		    i32.const 1
		    i32.add
		    local.tee 1
		    local.get 0
		    i32.lt_u
		    br_if 0
		  end
		  global.get 0
		end`},
	{"recursion", 5, overrunMost, `
		memory 1
		global mut i32 0
		func (i32) -> ()
		  global.get 0
		  local.get 0
		  i32.store8
		  global.get 0
		  i32.const 1
		  i32.add
		  global.set 0
		end
		func "run" (i32) -> (i32)
		  local.get 0
		  call 0
		  local.get 0
		  i32.const 2
		  i32.lt_u
		  if
		    local.get 0
		    return
		  end
		  local.get 0
		  i32.const 1
		  i32.sub
		  call 1
		  local.get 0
		  call 0
		  local.get 0
		  i32.const 2
		  i32.sub
		  call 1
		  i32.add
		  global.get 0
		  call 0
		end`},
	{"long ways back from calls", 12, overrunMost, `
		memory 1
		global mut i32 1
		func (i32) -> ()
		  local.get 0
		  if
		    local.get 0
		    i32.const 1
		    i32.sub
		    call 0
		  end
		  global.get 0
		  global.get 0
		  i32.store8
		  global.get 0
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 3
		  i32.div_u
		  i32.const 1
		  i32.add
		  global.get 0
		  i32.add
		  global.set 0
		end
		func "run" (i32) -> (i32)
		  local.get 0
		  call 0
		  global.get 0
		end`},
	{"branches", 12, overrunMost, `
		memory 1
		global mut i64 0
		func "run" (i32) -> (i32) local i32
		  block
		    loop
		      local.get 1
		      local.get 0
		      i32.ge_u
		      br_if 1
		      block
		        block
		          block
		            local.get 1
		            i32.const 3
		            i32.rem_u
		            br_table 0 1 2
		          end
		          local.get 1
		          i32.const 65
		          i32.store8
		          global.get 0
		          i64.const 1
		          i64.add
		          global.set 0
		        end
		        local.get 1
		        local.get 1
		        i32.store8 offset=50
		        local.get 1
		        i32.const 7
		        i32.eq
		        if
		          global.get 0
		          i64.const 100
		          i64.mul
		          global.set 0
		        else
		          global.get 0
		          i64.const 3
		          i64.add
		          global.set 0
		        end
		      end
		      local.get 1
		      i32.const 1
		      i32.add
		      local.set 1
		      br 0
		    end
		  end
		  local.get 1
		end`},
	{"indirect calls and a loop with a parameter", 9, overrunMost, `
		type (i32) -> (i32)
		memory 1
		global mut i32 1
		table 3
		elem 0 0 1 2
		func (i32) -> (i32)
		  global.get 0
		  i32.const 3
		  i32.mul
		  global.set 0
		  local.get 0
		  i32.const 1
		  i32.sub
		end
		func (i32) -> (i32) local i32
		  local.get 0
		  global.get 0
		  i32.store
		  loop
		    local.get 1
		    local.get 1
		    i32.store8 offset=300
		    local.get 1
		    i32.const 1
		    i32.add
		    local.tee 1
		    i32.const 3
		    i32.lt_u
		    br_if 0
		  end
		  local.get 0
		  i32.const 0
		  call_indirect 0 0
		end
		func (i32) -> (i32)
		  local.get 0
		  i32.const 1
		  call_indirect 0 0
		end
		func "run" (i32) -> (i32)
		  local.get 0
		  loop type 0
		    global.get 0
		    i32.const 3
		    i32.rem_u
		    call_indirect 0 0
		    global.get 0
		    i32.const 1
		    i32.add
		    global.set 0
		    local.tee 0
		    local.get 0
		    br_if 0
		  end
		end`},
	{"loop with a parameter", 30, overrunMost, `
		type (i32) -> (i32)
		memory 1
		global mut i32 0
		func "run" (i32) -> (i32)
		  local.get 0
		  loop type 0
		    global.get 0
		    i32.const 1
		    i32.store8
		    global.get 0
		    i32.const 1
		    i32.add
		    global.set 0
		    i32.const 1
		    i32.sub
		    local.tee 0
		    local.get 0
		    br_if 0
		  end
		end`},
	{"bulk memory, tables and growth", 2, meter.PageFuel, `
		memory 1 4
		table 10
		global mut i32 0
		func "run" (i32) -> (i32) local i32
		  loop
		    local.get 1
		    i32.const 40
		    i32.mul
		    local.get 1
		    i32.const 65
		    i32.add
		    i32.const 33
		    memory.fill
		    i32.const 1000
		    i32.const 3
		    i32.const 70
		    memory.copy
		    ref.null funcref
		    i32.const 1
		    table.grow 0
		    global.set 0
		    i32.const 0
		    ref.null funcref
		    i32.const 10
		    table.fill 0
		    local.get 1
		    i32.const 3
		    i32.and
		    i32.eqz
		    memory.grow
		    global.get 0
		    i32.add
		    global.set 0
		    local.get 1
		    i32.const 1
		    i32.add
		    local.tee 1
		    local.get 0
		    i32.lt_u
		    br_if 0
		  end
		  global.get 0
		end`},
	{"start function", 3, overrunMost, `
		memory 1
		global mut i32 0
		func () -> ()
		  loop
		    global.get 0
		    global.get 0
		    i32.store8
		    global.get 0
		    i32.const 1
		    i32.add
		    global.set 0
		    global.get 0
		    i32.const 10
		    i32.lt_u
		    br_if 0
		  end
		end
		func "run" (i32) -> (i32)
		  call 0
		  global.get 0
		  local.get 0
		  i32.add
		  global.set 0
		  call 0
		  global.get 0
		end
		start 0`},
}
