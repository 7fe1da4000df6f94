package placement

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// nodeStates counts the states of a node that have a name, and one for others.
const nodeStates = int(ledger.NodeGone) + 2

// Plan decides where the ready tasks of in.Jobs go.
func Plan(in Input) Output {
	var p Planner
	return p.Plan(in)
}

// Planner makes plans and keeps its scratch memory from one to the next. It
// remembers nothing else: Planner.Plan and Plan give the same result. The zero
// value is ready for use. It must not be used by two goroutines at a time.
type Planner struct {
	in     Input
	params Params

	nodes   []node
	order   []int32 // the nodes of in.Nodes sorted by id
	classes []class
	away    [nodeStates]uint32 // nodes by state, where they are not up
	stale   uint32
	usable  uint32
	index   index
	diskMin uint64 // least room for modules on any usable node
	// untilMin is how long the usable node stays that is switched off first.
	untilMin int64
	// rules are those for labels of any usable node.
	rules map[ledger.LabelRule]struct{}

	demands []demand
	tenants []tenant
	pools   []pool
	shapes  []shape
	jobs    []job
	turns   []int32
	fetched []fetched
	spreads []spread
	quotas  []Quota // what tenants may still lease
	// all is what the nodes that are up have together, weights the sum of the
	// weights of the tenants with jobs.
	all       total
	weights   uint64
	claimants []claimant
	heap      []int32 // the claimants of the band in hand
	withheld  []int32 // nodes of which what is free is for some bands only
	yields    map[int32]*yield
	stuck     map[bandShape]bool
	// preemptLooks counts towards Params.PreemptLooksMax.
	preemptLooks int
	avoid        []int32
	marks        []bool // by class: denies the tenant of the job in hand
	here         here
	sifted       []int32 // classes that deny the tenant of the job in hand

	classOf map[string]int32
	boundOf map[boundKey]int32
	// boundTo has, for each node that secrets are bound to, which these are, in
	// ascending order.
	boundTo  map[ledger.NodeID][]int32
	tenantOf map[ledger.TenantID]int32
	demandOf map[string]int32
	poolOf   map[poolKey]int32
	shapeOf  map[shapeKey]int32
	moduleOf map[ledger.ModuleID]int32
	spreadOf map[string]int32
	quotaOf  map[ledger.TenantID]int32
	claimOf  map[ledger.TenantID]int32
	reasonOf map[reasonKey]found
	key      []byte

	looks int // how many nodes reasons may still look at
	out   Output
}

// job is where the planning of one job stands.
type job struct {
	*Job
	shape, module, claim int32
	// spread, quota and tenant are indices of Planner.spreads, quotas and
	// tenants, or -1.
	spread, quota, tenant int32
	hash                  moduleHash
	// expected is how long a task is likely to run, longest how long it may.
	expected, longest int64
	remote            uint64 // the score for locality of a node without the module
	// at is the range in hand, rest what is left of it.
	at         int
	rest       ledger.Range
	behind     int // the first range that was passed over with tasks left, or -1
	left       uint64
	slots      uint64 // in use by leases and by this plan
	placements int
	held       []holding // slots by value of the spread label, once asked for
	counted    bool      // held is filled
	done       bool
}

// Plan is like the function Plan.
func (p *Planner) Plan(in Input) Output {
	p.prepare(in)
	for lo := 0; lo < len(p.jobs); {
		hi := lo + 1
		for hi < len(p.jobs) && p.jobs[lo].Spec.Band == p.jobs[hi].Spec.Band {
			hi++
		}
		p.withhold(p.jobs[lo].Spec.Band)
		p.band(lo, hi)
		lo = hi
	}
	p.out.Left = p.left()
	p.preempt()
	p.out.Stats.Classes, p.out.Stats.Demands, p.out.Stats.Shapes = len(p.classes), len(p.demands), len(p.shapes)
	out := p.out
	p.release()
	return out
}

// band gives the jobs from lo to hi, which are of one band, their turns, one of a
// job of the tenant that has least after the other, until none gets anything any
// more.
func (p *Planner) band(lo, hi int) {
	for p.line(lo, hi); len(p.heap) > 0 && !p.full(); {
		c := &p.claimants[p.heap[0]]
		i, ok := p.nextTurn(c)
		if !ok {
			p.leave()
			continue
		}
		if p.turn(&p.jobs[i]); !p.jobs[i].done {
			p.turns[c.kept] = i
			c.kept++
		}
		p.sink(0)
	}
}

// full reports whether the pass has made all the placements that it may.
func (p *Planner) full() bool { return len(p.out.Placements) >= p.params.PlacementsMax }

// turn makes at most RoundPlacementsMax placements for j, and sets j.done when
// there can be no more in this pass.
func (p *Planner) turn(j *job) {
	for range p.params.RoundPlacementsMax {
		if p.full() {
			return
		}
		if !p.placeNext(j) {
			j.done = true
			return
		}
		if j.left == 0 || j.placements >= p.params.JobPlacementsMax {
			j.done = true
			return
		}
	}
}

// placeNext makes one placement from the first range for which there is a node.
// What does not fit now will not fit later in this pass, so that ranges are
// never gone back to.
func (p *Planner) placeNext(j *job) bool {
	for ; j.at < len(j.Pending); j.advance() {
		if j.rest.Empty() {
			continue
		}
		if p.overQuota(j) {
			return false
		}
		if n := p.choose(j, j.at); n >= 0 {
			p.place(j, n)
			return true
		}
		if p.shapes[j.shape].empty() {
			return false
		}
		if j.behind < 0 {
			j.behind = j.at
		}
	}
	return false
}

// advance goes on to the next range.
func (j *job) advance() {
	if j.at++; j.at < len(j.Pending) {
		j.rest = j.Pending[j.at].Tasks
	}
}

// firstLeft returns the index of the first range of which tasks are left. There must be
// one.
func (j *job) firstLeft() int {
	if j.behind >= 0 {
		return j.behind
	}
	if !j.rest.Empty() {
		return j.at
	}
	i := j.at + 1
	for j.Pending[i].Tasks.Empty() {
		i++
	}
	return i
}

// overQuota reports whether j's tenant may not lease another task.
func (p *Planner) overQuota(j *job) bool {
	return j.quota >= 0 && (p.quotas[j.quota].MemoryBytes < j.Spec.Task.MemoryBytes || p.quotas[j.quota].FuelRate == 0)
}

// place gives node n the first tasks of the range in hand.
func (p *Planner) place(j *job, n int32) {
	nd := &p.nodes[n]
	slots, count := p.amount(j, j.rest.Count(), n)
	p.out.Placements = append(p.out.Placements, ledger.Placement{
		Job: j.ID, Start: j.rest.First, Count: count, Node: nd.in.ID, Slots: slots,
		Expiry: p.in.Now + ledger.Time(p.lease(j, slots, count, nd)), Heed: !slices.Contains(j.Pending[j.at].Avoid, nd.in.ID),
		Refusals: j.refusals(j.at, nd.in.ID),
	})
	_, j.rest = j.rest.Split(count)
	j.left -= uint64(count)
	j.slots += uint64(slots)
	j.placements++
	p.charge(j, slots)
	if j.quota >= 0 {
		p.quotas[j.quota].take(j, slots, nd.in.Node)
	}
	nd.free = nd.free.Minus(j.Spec.Task.Times(slots))
	if !p.holds(j, nd) {
		nd.disk -= min(nd.disk, j.ModuleBytes)
		p.diskMin = min(p.diskMin, nd.disk)
		p.fetched = append(p.fetched, fetched{j.module, nd.fetched})
		nd.fetched = int32(len(p.fetched))
	}
	if j.spread >= 0 {
		p.hold(j, p.spreads[j.spread].of[n], slots)
	}
	p.shapes[j.shape].placed(n, p.params.Policy)
}
