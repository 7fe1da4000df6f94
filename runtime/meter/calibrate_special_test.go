package meter_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
	"github.com/dugnad/dugnad/runtime/meter"
)

// specialProbes measures what a signature does not describe.
func specialProbes() []probe {
	var all []probe
	for _, part := range [][]probe{variableProbes(), memoryProbes(), chaseProbes(), branchProbes(), callProbes(), tableProbes(), bulkProbes()} {
		all = append(all, part...)
	}
	return all
}

// one measures a step that turns an i32 on the stack into the next.
func one(op wasm.Opcode, name string, chains int, step, module string) probe {
	p := probe{class: meter.ClassOf(op), name: name, chains: chains, ops: opsPerRound, value: wasm.I32, module: module}
	p.init, p.code = chained(localZero, step, chains)
	return p
}

// both measures a step in one chain and in several.
func both(op wasm.Opcode, name, step, module string, with ...string) []probe {
	single, many := one(op, name, 1, step, module), one(op, name, chainsMany, step, module)
	single.with, many.with = with, with
	return []probe{single, many}
}

// beside measures code that leaves the stack alone, and that nothing waits for;
// %d becomes the number of the repetition.
func beside(op wasm.Opcode, name string, ops int, code, module string, with ...string) probe {
	p := probe{class: meter.ClassOf(op), name: name, chains: chainsMany, ops: ops, value: wasm.I32, module: module, with: with}
	for i := range ops {
		p.code += strings.ReplaceAll(code, "%d", fmt.Sprint(i)) + "\n"
	}
	return p
}

const (
	globalCell = 7 // the global that is written
	increment  = "local.get 11\nlocal.get 1\ni32.add\nlocal.set 11\n"
)

func variableProbes() []probe {
	all := both(wasm.OpLocalGet, "local.set, local.get", "local.set 12\nlocal.get 12\n", "")
	all = append(all, both(wasm.OpSelect, "select", "local.get 1\nlocal.get 8\nselect\n", "")...)
	global := one(wasm.OpGlobalGet, "global.set, global.get", 1, fmt.Sprintf("global.set %d\nglobal.get %[1]d\n", globalCell), "")
	global.ops *= 2
	return append(
		all, global,
		beside(wasm.OpGlobalSet, "global.set", opsPerRound, fmt.Sprintf("local.get 1\nglobal.set %d", globalCell), ""),
		one(wasm.OpGlobalGet, "global.get", chainsMany, fmt.Sprintf("global.get %d\ni32.add\n", globalCell), "").adding("i32.add"),
	)
}

func (p probe) adding(with ...string) probe {
	p.with = with
	return p
}

// memoryProbes stores in each way, beside a load from the same place and alone.
func memoryProbes() []probe {
	var all []probe
	for op := wasm.Opcode(0); op < 0x300; op++ {
		info := wasm.Lookup(op)
		if info == nil || info.Width == 0 || len(info.Results) > 0 {
			continue
		}
		store := fmt.Sprintf("%s%s offset=%%d", get(localZero)+get(operandLocal[info.Params[1]]), info.Name)
		p := beside(op, info.Name, opsPerRound, store, "")
		p.code = strings.ReplaceAll(p.code, "offset=", "offset=1")
		all = append(all, p)
	}
	back := probe{class: meter.ClassOf(opI32Store), name: "i32.store, then i32.load of it", chains: 1, ops: opsPerRound, value: wasm.I32, with: []string{"i32.add"}}
	for range opsPerRound {
		back.code += "local.get 8\nlocal.get 11\ni32.store\nlocal.get 8\ni32.load\nlocal.get 1\ni32.add\nlocal.set 11\n"
	}
	return append(append(all, back), both(opI64Load, "i64.load across two cache lines", "i64.load offset=61\ni32.wrap_i64\n", "", "i32.wrap_i64")...)
}

const (
	opI32Load  wasm.Opcode = 0x28
	opI64Load  wasm.Opcode = 0x29
	opI32Store wasm.Opcode = 0x36
)

// chaseProbes follows pointers through memories that fit into a cache or not.
func chaseProbes() []probe {
	var all []probe
	for _, size := range []struct {
		name  string
		pages int
		warm  bool
	}{{"256 KiB", 4, true}, {"8 MiB", 128, true}, {"256 MiB", 4096, false}} {
		for _, p := range both(opI32Load, "i32.load at random in "+size.name, "i32.load\n", "") {
			p.pages, p.prepare, p.aside = size.pages, shuffleLines, true
			if size.warm {
				p.warm = uint64(size.pages<<16/lineBytes/opsPerRound + 1)
			}
			for i := range p.chains {
				p.init += fmt.Sprintf("i32.const %d\nlocal.set %d\n", size.pages<<16/chainsMany*i&^63, localChain+i)
			}
			all = append(all, p)
		}
	}
	store := beside(opI32Store, "i32.store at random in 256 MiB", opsPerRound, next+"i32.const 4\ni32.shr_u\nlocal.get 1\ni32.store", "")
	store.pages, store.aside, store.with = 4097, true, []string{"i32.mul", "i32.add", "i32.shr_u"}
	return append(all, store)
}

// next leaves the next of a row of random numbers on the stack.
const next = "local.get 12\ni32.const 1664525\ni32.mul\ni32.const 1013904223\ni32.add\nlocal.tee 12\n"

const lineBytes = 64

// shuffleLines makes a cycle through all lines of a memory, in random order:
// each begins with the address of the next.
func shuffleLines(m api.Memory) {
	bytes, _ := m.Read(0, m.Size())
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(bytes) / lineBytes)
	for i, line := range order {
		to := order[(i+1)%len(order)] * lineBytes
		m.WriteUint32Le(uint32(line*lineBytes), uint32(to))
	}
}

func branchProbes() []probe {
	all := []probe{
		beside(wasm.OpBr, "br", opsPerRound, "block\nbr 0\nend\n"+increment, "", "i32.add"),
		beside(wasm.OpBrIf, "br_if, not taken", opsPerRound, "block\nlocal.get 8\nbr_if 0\n"+increment+"end", "", "i32.add"),
		beside(wasm.OpBrIf, "br_if, taken", opsPerRound, "block\nlocal.get 1\nbr_if 0\n"+increment+"end", ""),
		beside(wasm.OpIf, "if, taken", opsPerRound, "local.get 1\nif\n"+increment+"end", "", "i32.add"),
	}
	all = append(all, randomBranches())
	for _, width := range []int{2, 16, 256} {
		all = append(all, beside(wasm.OpBrTable, fmt.Sprintf("br_table of %d", width), opsPerRound/10, jump(get(localI32), width), "", "i32.add"))
	}
	luck := beside(wasm.OpBrTable, "br_table of 16, at random", opsPerRound/10, jump(next+"i32.const 28\ni32.shr_u\n", 16), "", "i32.add", "i32.mul", "i32.add", "i32.shr_u")
	luck.aside = true
	return append(all, luck)
}

// randomBranches tests eight bits of each random number.
func randomBranches() probe {
	p := beside(wasm.OpBrIf, "br_if, at random", opsPerRound, "", "", "i32.add", "i32.and")
	p.aside, p.code = true, ""
	for i := range opsPerRound {
		if i%8 == 0 {
			p.code += next + "drop\n"
		}
		p.code += fmt.Sprintf("block\nlocal.get 12\ni32.const %d\ni32.and\nbr_if 0\n%send\n", 1<<(23+i%8), increment)
	}
	return p
}

// jump goes through a table to one of so many blocks, each of which adds.
func jump(index string, width int) string {
	labels, ends := make([]string, width), ""
	for i := range labels {
		labels[i] = fmt.Sprint(i)
		ends += fmt.Sprintf("end\n%sbr %d\n", increment, width-1-i)
	}
	return strings.Repeat("block\n", width+1) + index + "br_table " + strings.Join(labels, " ") + "\n" + ends + "end\n"
}

func callProbes() []probe {
	const identity = "func (i32) -> (i32)\nlocal.get 0\nend\n"
	const table = "table 8 8\nelem 0 1 2 3 4 5 6 7 8\n"
	all := both(wasm.OpCall, "call", "call 1\n", identity)
	all = append(all, both(wasm.OpReturn, "call, return", "call 1\n", "func (i32) -> (i32)\nlocal.get 0\nreturn\nend\n", "call")...)
	all = append(all, both(wasm.OpCallIndirect, "call_indirect", "local.get 8\ncall_indirect 1\n", table+strings.Repeat(identity, 8))...)
	random := one(wasm.OpCallIndirect, "call_indirect, at random", 1, next+"i32.const 29\ni32.shr_u\ncall_indirect 1\n", table+strings.Repeat(identity, 8))
	random.aside, random.with = true, []string{"i32.mul", "i32.add", "i32.shr_u"}
	host := one(wasm.OpCall, "call of the host", 1, "call 0\n", "import \"env\" \"host\" (i32) -> (i32)\n")
	host.aside = true
	return append(all, random, host)
}

func tableProbes() []probe {
	const table = "table 1024 100000\nelem 0 0\n"
	all := []probe{
		one(wasm.OpRefNull, "ref.null, ref.is_null", chainsMany, "ref.null funcref\nref.is_null\ni32.add\n", "").adding("i32.add"),
		one(wasm.OpRefFunc, "ref.func", chainsMany, "ref.func 0\nref.is_null\ni32.add\n", table).adding("i32.add"),
		one(wasm.OpTableGet, "table.get", 1, "table.get 0\nref.is_null\n", table),
		one(wasm.OpTableGet, "table.get", chainsMany, "table.get 0\nref.is_null\n", table),
		beside(wasm.OpTableSet, "table.set", opsPerRound, "i32.const %d\nref.null funcref\ntable.set 0", table),
		one(wasm.OpTableSize, "table.size", chainsMany, "table.size 0\ni32.add\n", table).adding("i32.add"),
		beside(wasm.OpTableGrow, "table.grow by none", opsPerRound, "ref.null funcref\nlocal.get 8\ntable.grow 0\ndrop", table),
	}
	for _, n := range []int{0, 1, 1024} {
		length := fmt.Sprintf("i32.const %d\n", n)
		fill := beside(wasm.OpTableFill, fmt.Sprintf("table.fill of %d", n), opsPerRound, "local.get 8\nref.null funcref\n"+length+"table.fill 0", table)
		move := beside(wasm.OpTableCopy, fmt.Sprintf("table.copy of %d", n), opsPerRound, "local.get 8\nlocal.get 8\n"+length+"table.copy 0 0", table)
		fill.aside, move.aside = n > 0, n > 0
		all = append(all, fill, move)
	}
	return append(all,
		beside(wasm.OpTableInit, "table.init of 0", opsPerRound, "local.get 8\nlocal.get 8\nlocal.get 8\ntable.init 0 0", table),
		beside(wasm.OpElemDrop, "elem.drop", opsPerRound, "elem.drop 0", table))
}

func bulkProbes() []probe {
	const data = "data 0 \"abcd\"\n"
	all := []probe{
		beside(wasm.OpMemoryGrow, "memory.grow by none", opsPerRound, "local.get 8\nmemory.grow\ndrop", ""),
		beside(wasm.OpMemoryInit, "memory.init of 0", opsPerRound, "local.get 8\nlocal.get 8\nlocal.get 8\nmemory.init 0", data),
		beside(wasm.OpDataDrop, "data.drop", opsPerRound, "data.drop 0", data),
	}
	for _, n := range []struct {
		name         string
		bytes, pages int
	}{{"0", 0, 1}, {"1 byte", 1, 1}, {"8 bytes", 8, 1}, {"64 bytes", 64, 1}, {"1 KiB", 1 << 10, 1}, {"16 KiB", 16 << 10, 1}, {"1 MiB", 1 << 20, 32}, {"64 MiB", 64 << 20, 2048}} {
		ops := opsPerRound
		if n.bytes > 1<<16 {
			ops = 1
		}
		fill := beside(wasm.OpMemoryFill, "memory.fill of "+n.name, ops, fmt.Sprintf("local.get 8\nlocal.get 1\ni32.const %[1]s\nmemory.fill", fmt.Sprint(n.bytes)), "")
		half := n.pages << 15
		move := beside(wasm.OpMemoryCopy, "memory.copy of "+n.name, ops, fmt.Sprintf("local.get 8\ni32.const %[2]s\ni32.const %[1]s\nmemory.copy", fmt.Sprint(n.bytes), fmt.Sprint(half)), "")
		fill.pages, move.pages = n.pages, n.pages
		fill.aside, move.aside = n.bytes != 64, n.bytes > 64
		all = append(all, fill, move)
	}
	return append(all, growProbe())
}

// growProbe grows a memory page by page and touches all of each.
func growProbe() probe {
	p := beside(wasm.OpMemoryGrow, "memory.grow by a page, and a store in each 4 KiB", 1, "", "")
	p.aside, p.fresh = true, true
	p.code = "local.get 1\nmemory.grow\ni32.const 16\ni32.shl\nlocal.set 12\n"
	for at := 0; at < 1<<16; at += 4096 {
		p.code += fmt.Sprintf("local.get 12\nlocal.get 1\ni32.store offset=%d\n", at)
	}
	return p
}
