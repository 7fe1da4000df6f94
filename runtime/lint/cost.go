package lint

import (
	"fmt"
	"time"
)

// The estimate follows what wazero's optimising compiler does with a function,
// step by step and in one pass: it numbers the basic blocks, keeps the depth of
// the dominator tree, and for every local the joins that lie between a use and
// the value it finds, because each of them gets a block parameter. Instructions
// cost little; what makes a small module cost minutes is one of the products
// below. RATIONALE.md has the measurements that the weights were fitted to.

// features are the cost drivers of a function.
type features struct {
	instrs float64 // instructions, each with the values that it moves
	blocks float64 // basic blocks
	preds2 float64 // over labels: branches to it, squared
	dom    float64 // over edges: depth in the dominator tree
	walk   float64 // steps to find the value of a local
	phi    float64 // block parameters × predecessors
	phi2   float64 // block parameters² × predecessors × loop nesting
	live   float64 // over blocks: live values
	loops  float64 // over blocks: values live in an earlier loop
	bounds float64 // over blocks: addresses known to be in bounds
	spill  float64 // over values: distance in the dominator tree
	alias  float64 // over uses: joins passed since the value was set
}

// The weights, in nanoseconds of the reference machine.
const (
	nsInstr, nsBlock, nsPreds2, nsDom = 250, 2000, 0.6, 10
	nsWalk, nsPhi, nsPhi2, nsLive     = 5, 250, 1.5, 12
	nsLoops, nsBounds, nsSpill        = 3, 25, 60
	nsAlias                           = 2

	// nsGrowth is for each instruction of the largest function, whose memory is
	// touched for the first time.
	nsGrowth = 1500
	// nsFunction, nsLocal, nsByte are for each of these in the module.
	nsFunction, nsLocal, nsByte = 3000, 30, 2
	// nsWork is at least what a step of the estimate itself costs the compiler.
	nsWork = 100
)

func (f *features) ns() float64 {
	return f.instrs*nsInstr + f.blocks*nsBlock + f.preds2*nsPreds2 + f.dom*nsDom + f.walk*nsWalk + f.phi*nsPhi +
		f.phi2*nsPhi2 + f.live*nsLive + f.loops*nsLoops + f.bounds*nsBounds + f.spill*nsSpill + f.alias*nsAlias
}

// weight is the size of the function in the compiler's memory.
func (f *features) weight() float64 { return f.instrs + 5*f.blocks }

// What the compiler holds in memory, in bytes.
const (
	bytesBase    = 16 << 20
	bytesModule  = 3    // per byte of the module
	bytesCode    = 12   // per byte of code: the machine code and its parts
	bytesInstr   = 800  // per instruction of the function that takes most
	bytesBlock   = 1000 // per block of it
	bytesPhi     = 90   // per block parameter and predecessor of it
	bytesBound   = 13   // per block and address known to be in bounds
	bytesElement = 120  // per element of a segment
)

func (f *features) bytes() float64 {
	return f.instrs*bytesInstr + f.blocks*bytesBlock + f.phi*bytesPhi + f.bounds*bytesBound
}

// cost estimates one function after the other and sums up.
type cost struct {
	walker

	instrsMax float64 // instructions that the function may have
	budget    float64 // nanoseconds that the module may cost
	total     float64 // nanoseconds of the functions so far
	worst     int     // the costliest function
	worstNS   float64
	weight    float64 // of the heaviest function
	bytes     float64 // of the function that takes most memory
	deepest   float64 // greatest number of blocks in a function so far
	highest   float64 // greatest operand stack so far
	tables    float64 // nanoseconds for clearing tables of that size per function
	consts    float64
}

// What is compiled is the metered module: see meter. It charges every block,
// passes its counter through calls, makes two loops of one with a check and a
// refill between them, and puts a function before each exported one.
const (
	meterBlockInstrs = 4
	meterCallInstrs  = 4
	meterFuncInstrs  = 20
	meterFuncBlocks  = 3
	// meterJoin is how many block parameters' worth the counter is at a join
	// for each predecessor.
	meterJoin = 5
)

// constant books a constant expression, for which the compiler searches the imports.
func (k *cost) constant(imports int) { k.consts += 200 + float64(imports) }

// front books a function that the meter puts between one of type t and whoever
// does not know of the counter: it pushes the parameters and calls.
func (k *cost) front(t *funcType) {
	moved := float64(len(t.params) + len(t.results))
	k.consts += nsFunction + nsBlock + nsInstr*(meterFuncInstrs+meterCallInstrs+moved*5)
}

// grant sets what the module may cost.
func (k *cost) grant(c *checker) {
	if k.budget == 0 {
		k.budget = float64(c.limits.allowance(len(c.module)))
	}
}

// begin starts the estimate of a function.
func (k *cost) begin(c *checker, locals int) {
	k.grant(c)
	k.reset(&c.body, locals, float64(c.report.MutableGlobals+2))
	k.limit = k.stepsMax()
	k.instrsMax = (k.budget-k.total)/nsInstr + 1
}

// estimate is what the estimate of one function comes to.
type estimate struct {
	ns, weight, bytes float64
	blocks, high      float64
	steps             float64
}

// estimate ends the estimate of the function that has been read.
func (k *cost) estimate(c *checker) estimate {
	f := k.sum()
	f.instrs += meterFuncInstrs + meterBlockInstrs*f.blocks
	f.blocks += meterFuncBlocks
	ns := f.ns()
	if k.steps > k.limit {
		ns = max(ns, k.steps*nsWork)
	}
	if k.full {
		ns = max(ns, k.budget)
	}
	return estimate{ns, f.weight(), f.bytes(), f.blocks, float64(c.body.high), k.steps}
}

// book adds a function to the module.
func (k *cost) book(c *checker, at int, e estimate) error {
	k.total += e.ns
	if own := e.ns + e.weight*nsGrowth; own > k.worstNS {
		k.worstNS, k.worst = own, c.function
	}
	k.weight = max(k.weight, e.weight)
	k.bytes = max(k.bytes, e.bytes)
	k.deepest = max(k.deepest, e.blocks)
	k.highest = max(k.highest, e.high)
	k.tables += k.deepest*3.2 + k.highest*0.7
	if k.total+k.weight*nsGrowth > k.budget {
		return c.unaffordable(at, k.total+k.weight*nsGrowth)
	}
	return nil
}

// stepsMax is how many steps the estimate of the next function may take.
func (k *cost) stepsMax() float64 { return (k.budget-k.total)/nsWork + 1 }

// allowance is what a module of size bytes may cost.
func (l *Limits) allowance(size int) time.Duration {
	return min(l.CompileCost, l.CompileCostBase+time.Duration(size)*l.CompileCostByte)
}

// affordable sums up and refuses what costs too much.
func (c *checker) affordable() error {
	k := &c.cost
	fns := float64(c.report.Functions)
	ns := k.total + k.weight*nsGrowth + k.tables + k.consts + fns*nsFunction +
		float64(c.report.LocalsTotal)*nsLocal + float64(len(c.module))*nsByte +
		fns*(float64(len(c.globals))*9+float64(c.report.Imports)*2+float64(len(c.types))*8)
	bytes := k.bytes + bytesBase + bytesModule*float64(len(c.module)) + bytesCode*float64(c.report.CodeBytes) +
		bytesElement*float64(c.report.Elements)
	c.report.CompileCost = time.Duration(ns)
	c.report.CompileBytes = uint64(bytes)
	c.report.CostliestFunction, c.report.CostliestCost = k.worst, time.Duration(k.worstNS)
	k.budget = float64(c.limits.allowance(len(c.module)))
	if ns > k.budget {
		return c.unaffordable(len(c.module), ns)
	}
	return c.atMost(len(c.module), "compile_bytes", c.report.CompileBytes, c.limits.CompileBytes, "compiling would take about %d bytes of memory")
}

// unaffordable refuses for its cost, in milliseconds.
func (c *checker) unaffordable(at int, ns float64) error {
	k := &c.cost
	detail := "compiling would take at least %d ms of processor time"
	if time.Duration(k.budget) < c.limits.CompileCost {
		detail += fmt.Sprintf(", too much for a module of %d bytes,", len(c.module))
	}
	r := over(at, "compile_cost", uint64(ns/1e6), uint64(k.budget/1e6), detail)
	if c.function < 0 && k.worstNS > ns/2 {
		c.function = k.worst
	}
	return r
}
