package placement

import (
	"math"
	"math/bits"

	"github.com/dugnad/dugnad/ledger"
)

const (
	// ShareMax is all of the grid, as a share of it.
	ShareMax = 1 << 40
	// shareTop bounds shares: who is given more than the grid has, of late or by
	// nodes that have gone, is behind whoever is not.
	shareTop = 16 * ShareMax
	// factorOne is the factor of a tenant without past use.
	factorOne = 1 << 10
	// PastMaxTop bounds Params.PastMax, so that no rank overflows.
	PastMaxTop = 63
)

// total is what nodes have together, at most the largest number of each.
type total struct {
	memory, rate, slots uint64
}

func (t *total) add(r *ledger.Resources) {
	t.memory = addMax(t.memory, r.MemoryBytes)
	t.rate = addMax(t.rate, r.FuelRate)
	t.slots = addMax(t.slots, uint64(r.Slots))
}

func addMax(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	return sum | -carry
}

// claimant is a tenant with jobs of which tasks are ready.
type claimant struct {
	// has is what its leases hold and what this plan gives it.
	has ledger.Resources
	// recent is what it had just now, past what it had in the last hours.
	recent, past   uint64
	weight, factor uint64
	// rank orders claimants: the least is next.
	rank uint64
	// first is the first of its jobs in the band in hand; count is how many there
	// are.
	first, count int32
	// Its jobs in Planner.turns: those of equal age in hand begin at lo, of whom
	// those at at and behind it have their turn before mid ends the round, and those
	// before kept have another one. The next group begins at rest, the last ends at
	// end.
	lo, kept, at, mid, rest, end int32
}

// claimFor returns the claimant of a tenant.
func (p *Planner) claimFor(id ledger.TenantID) int32 {
	i, ok := p.claimOf[id]
	if !ok {
		i = p.enterClaim(&Claim{Tenant: id})
	}
	return i
}

func (p *Planner) enterClaim(in *Claim) int32 {
	i := int32(len(p.claimants))
	p.claimOf[in.Tenant] = i
	p.claimants = append(p.claimants, claimant{
		has: in.Leased, recent: min(in.Recent, ShareMax), past: min(in.Past, ShareMax), weight: uint64(max(in.Weight, 1)),
	})
	return i
}

// readClaims works out the factors, once it is known whose jobs there are: past use
// counts by what the tenant would have had if all of them had shared by weight.
func (p *Planner) readClaims() {
	p.weights = 0
	for i := range p.claimants {
		if c := &p.claimants[i]; c.count > 0 {
			p.weights += c.weight
			c.count = 0
		}
	}
	for i := range p.claimants {
		c := &p.claimants[i]
		past := mulDiv(c.past, p.weights, c.weight)
		c.factor = factorOne + min(past/(ShareMax/factorOne), uint64(p.params.PastMax)*factorOne)
		c.past /= c.weight
		p.rank(c)
	}
}

// rank is how much a tenant has by its weight, more when it has had much.
func (p *Planner) rank(c *claimant) {
	c.rank = max(p.dominant(&c.has), c.recent) * c.factor / c.weight
}

func (p *Planner) dominant(r *ledger.Resources) uint64 { return p.all.shares(r).Dominant() }

func part(have, all uint64) uint64 {
	if have == 0 {
		return 0
	}
	return min(mulDiv(have, ShareMax, all), shareTop)
}

// mulDiv returns a × b / c, at most the largest number, which it is for c = 0.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// line puts the claimants of the jobs from lo to hi, which are of one band, into
// Planner.heap, and their jobs into Planner.turns.
func (p *Planner) line(lo, hi int) {
	p.heap, p.turns = p.heap[:0], p.turns[:0]
	for i := lo; i < hi; i++ {
		if p.jobs[i].done {
			continue
		}
		c := &p.claimants[p.jobs[i].claim]
		if c.count == 0 {
			c.first = int32(i)
			p.heap = append(p.heap, p.jobs[i].claim)
		}
		c.count++
		p.turns = append(p.turns, 0)
	}
	at := int32(0)
	for _, i := range p.heap {
		c := &p.claimants[i]
		c.lo, c.kept, c.at, c.mid, c.rest, c.end = at, at, at, at, at, at
		at += c.count
		c.count = 0
	}
	for i := lo; i < hi; i++ {
		if !p.jobs[i].done {
			c := &p.claimants[p.jobs[i].claim]
			p.turns[c.end] = int32(i)
			c.end++
		}
	}
	for i := len(p.heap)/2 - 1; i >= 0; i-- {
		p.sink(i)
	}
}

// before orders the heap: by rank, then who has had less, then in the order of
// Input.Jobs.
func (p *Planner) before(a, b int32) bool {
	c, d := &p.claimants[a], &p.claimants[b]
	switch {
	case c.rank != d.rank:
		return c.rank < d.rank
	case c.past != d.past:
		return c.past < d.past
	}
	return c.first < d.first
}

// sink restores the heap's order below i, whose rank may have become greater.
func (p *Planner) sink(i int) {
	for {
		least := 2*i + 1
		if least >= len(p.heap) {
			return
		}
		if other := least + 1; other < len(p.heap) && p.before(p.heap[other], p.heap[least]) {
			least = other
		}
		if !p.before(p.heap[least], p.heap[i]) {
			return
		}
		p.heap[i], p.heap[least] = p.heap[least], p.heap[i]
		i = least
	}
}

// leave takes the first claimant out of the heap.
func (p *Planner) leave() {
	last := len(p.heap) - 1
	p.heap[0] = p.heap[last]
	p.heap = p.heap[:last]
	p.sink(0)
}

// nextTurn returns the job of a claimant whose turn it is. It reports false when
// there is none that could get anything.
func (p *Planner) nextTurn(c *claimant) (job int32, ok bool) {
	if c.at == c.mid {
		if c.mid = c.kept; c.kept == c.lo {
			if c.rest == c.end {
				return 0, false
			}
			c.lo = c.rest
			for c.rest++; c.rest < c.end && p.sameAge(p.turns[c.lo], p.turns[c.rest]); {
				c.rest++
			}
			c.mid = c.rest
		}
		c.at, c.kept = c.lo, c.lo
	}
	job = p.turns[c.at]
	c.at++
	return job, true
}

// sameAge reports whether two jobs began to wait in the same window.
func (p *Planner) sameAge(a, b int32) bool {
	return int64(p.jobs[a].Since)/p.params.AgeNanos == int64(p.jobs[b].Since)/p.params.AgeNanos
}

// step bounds the slots of a placement for a job of the heap's first claimant, so
// that it stays within a grain of the next one: 1 up.
func (p *Planner) step(j *job) uint32 {
	if len(p.heap) < 2 {
		return math.MaxUint32
	}
	c := &p.claimants[j.claim]
	next := p.claimants[p.heap[1]].rank
	if len(p.heap) > 2 {
		next = min(next, p.claimants[p.heap[2]].rank)
	}
	grain := mulDiv(ShareMax, c.weight, p.weights) / uint64(p.params.Grain)
	goal := max(mulDiv(next, c.weight, c.factor), max(p.dominant(&c.has), c.recent)+grain)
	slots := uint64(math.MaxUint32)
	fit := func(need, has, all uint64) {
		if need > 0 {
			up := mulDiv(goal, all, ShareMax)
			slots = min(slots, (up-min(up, has))/need)
		}
	}
	task := &j.Spec.Task
	fit(task.MemoryBytes, c.has.MemoryBytes, p.all.memory)
	fit(task.FuelRate, c.has.FuelRate, p.all.rate)
	fit(uint64(task.Slots), uint64(c.has.Slots), p.all.slots)
	return uint32(max(slots, 1))
}

// charge adds slots of j to what its tenant has.
func (p *Planner) charge(j *job, slots uint32) {
	c := &p.claimants[j.claim]
	c.has = c.has.Plus(j.Spec.Task.Times(slots))
	p.rank(c)
}
