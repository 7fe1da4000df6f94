package placement

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// scoreMax is the best that each part of a score can be.
const scoreMax = 1000

// choose returns the node with the best score for tasks of range i, or -1.
func (p *Planner) choose(j *job, i int) int32 {
	s := &p.shapes[j.shape]
	p.readAvoid(j, i)
	p.readHeld(j)
	if p.saturated(j) {
		return -1
	}
	for {
		p.refill(s)
		best, pruned, refused := p.best(j, s)
		if best >= 0 {
			return best
		}
		if pruned && !s.empty() {
			continue
		}
		if !refused {
			return -1
		}
		return p.search(j, i, s)
	}
}

// readAvoid looks up the nodes that range i of j avoids, but for one that has refused it
// for what the operator wanted then and does not any more.
func (p *Planner) readAvoid(j *job, i int) {
	p.avoid = p.avoid[:0]
	r := &j.Pending[i]
	for k, id := range r.Avoid {
		n, ok := slices.BinarySearchFunc(p.nodes, id, func(n node, id ledger.NodeID) int {
			return cmp.Compare(n.in.ID, id)
		})
		if !ok || k == len(r.Avoid)-1 && r.Cause == ledger.CausePreference && p.nodes[n].in.Offer.Changed > j.refusedAt(i) {
			continue
		}
		p.avoid = append(p.avoid, int32(n))
	}
}

// refusedAt is when range i was refused, at the latest.
func (j *Job) refusedAt(i int) ledger.Time {
	return j.readyAt(i) - ledger.RefusalNanos<<min(j.Pending[i].Refusals, ledger.RefusalsTop)
}

// readyAt is since when range i is ready.
func (j *Job) readyAt(i int) ledger.Time {
	if i < len(j.Ready) && j.Ready[i] > 0 {
		return j.Ready[i]
	}
	return j.Since
}

// refusals returns Placement.Refusals for range i on a node.
func (j *Job) refusals(i int, n ledger.NodeID) uint8 {
	r := &j.Pending[i]
	switch r.Cause {
	case ledger.CauseRefused, ledger.CauseFull, ledger.CauseModule, ledger.CausePreference:
		if slices.Contains(r.Avoid, n) {
			return min(r.Refusals+1, ledger.RefusalsTop)
		}
	}
	return 0
}

// best returns the best node of the window, or -1. It drops those that do not
// fit any more, and tells whether there were any and whether j itself, unlike
// its shape, refused one.
func (p *Planner) best(j *job, s *shape) (best int32, pruned, refused bool) {
	best = -1
	var top uint64
	for i := 0; i < len(s.window); {
		n := s.window[i]
		if !s.key.task.Fits(p.nodes[n].free) {
			s.drop(i)
			pruned = true
			continue
		}
		i++
		if p.denies(j, &p.nodes[n]) || p.refuses(j, n, false) != CodeFits {
			refused = true
			continue
		}
		if score := p.score(j, n); best < 0 || score > top || (score == top && n < best) {
			best, top = n, score
		}
	}
	return best, pruned, refused
}

// search looks beyond the window, for a job that accepts none of its nodes. As a
// last resort it goes back to one that range i avoids.
func (p *Planner) search(j *job, i int, s *shape) int32 {
	best, avoided := p.searchAll(j, s, false)
	if best >= 0 || !avoided || !p.mayReturn(j, i) {
		return best
	}
	best, _ = p.searchAll(j, s, true)
	return best
}

// mayReturn reports whether tasks of range i may go to a node that it avoids when no other
// can take them now: at once when no other could even if it were empty, unless they were
// lost, or else when they have waited for Params.AvoidNanosMax. What it avoids is in p.avoid.
func (p *Planner) mayReturn(j *job, i int) bool {
	cause := j.Pending[i].Cause
	lost := cause == ledger.CauseLost || cause == ledger.CauseGone
	return p.in.Now > j.ReturnAt(i, &p.params) || !lost && !p.elsewhere(j, &p.shapes[j.shape])
}

// ReturnAt is until when tasks of range i wait for other nodes rather than go back to one
// that the range avoids.
func (j *Job) ReturnAt(i int, params *Params) ledger.Time {
	return j.readyAt(i) + ledger.Time(params.AvoidNanosMax)
}

// searchAll scores up to SampleSize acceptable nodes of the first LookMax of the
// pool, in the order of a walk, and tells whether one was avoided.
func (p *Planner) searchAll(j *job, s *shape, lift bool) (best int32, avoided bool) {
	l := &p.pools[s.key.pool]
	w := newWalk(l.size(), p.in.Seed+uint64(p.out.Stats.Visits))
	best = -1
	var top uint64
	looks, found := l.size(), 0
	if p.params.SampleSize > 0 {
		looks = min(looks, max(min(p.params.LookMax, p.params.PassLooksMax-p.out.Stats.Visits), p.params.SampleSize))
	}
	for range looks {
		p.out.Stats.Visits++
		n := l.node(w.next())
		if !s.key.task.Fits(p.nodes[n].free) || p.denies(j, &p.nodes[n]) {
			continue
		}
		code := p.refuses(j, n, lift)
		avoided = avoided || code == CodeAvoided
		if code != CodeFits {
			continue
		}
		if score := p.score(j, n); best < 0 || score > top || (score == top && n < best) {
			best, top = n, score
		}
		if found++; found == p.params.SampleSize {
			break
		}
	}
	return best, avoided
}

// elsewhere reports whether a node that is not to be avoided could take j, if not now.
func (p *Planner) elsewhere(j *job, s *shape) bool {
	l := &p.pools[s.key.pool]
	for i := range l.size() {
		n := l.node(i)
		nd := &p.nodes[n]
		if !p.denies(j, nd) && !slices.Contains(p.avoid, n) && s.key.task.Fits(nd.gives()) && !p.leaves(j, nd) && (j.ModuleBytes <= nd.disk || p.holds(j, nd)) {
			return true
		}
	}
	return false
}

// gives is what a node would have free if it were empty.
func (nd *node) gives() ledger.Resources {
	o := &nd.in.Offer
	return least(nd.capacity, o.Free.Plus(nd.in.Reserved).Minus(o.Over))
}

// refuses applies the filters that depend on the job alone, after the lists;
// CodeFits is that the node passes them.
func (p *Planner) refuses(j *job, n int32, lift bool) Code {
	nd := &p.nodes[n]
	switch {
	case j.ModuleBytes > nd.disk && !p.holds(j, nd):
		return CodeDisk
	case p.leaves(j, nd):
		return CodeLeaves
	case !lift && slices.Contains(p.avoid, n):
		return CodeAvoided
	case j.spread >= 0 && j.SpreadMax > 0 && p.here.slots[p.spreads[j.spread].of[n]] >= j.SpreadMax:
		return CodeSpread
	}
	return CodeFits
}

// leaves reports whether a node's machine is switched off before a task of j would
// certainly have ended.
func (p *Planner) leaves(j *job, nd *node) bool {
	return j.longest > p.untilMin && j.longest > p.stays(nd.in)
}

// score returns how good a node is for j.
func (p *Planner) score(j *job, n int32) uint64 {
	nd := &p.nodes[n]
	w := &p.params.Weights
	part, local := uint64(scoreMax), uint64(scoreMax)
	if j.spread >= 0 && j.slots > 0 {
		part -= ratio(uint64(p.here.slots[p.spreads[j.spread].of[n]]), j.slots)
	}
	if !p.holds(j, nd) {
		local = j.remote
	}
	return nd.standing + uint64(w.Spread)*part + uint64(w.Local)*local + uint64(w.Pack)*p.pack(&j.Spec.Task, nd)
}

// denies reports whether a node of j's pool denies j's tenant.
func (p *Planner) denies(j *job, nd *node) bool {
	if j.tenant < 0 || len(p.tenants[j.tenant].denied) == 0 {
		return false
	}
	denied := p.tenants[j.tenant].denied
	if len(denied) <= 8 {
		return slices.Contains(denied, nd.class)
	}
	_, found := slices.BinarySearch(denied, nd.class)
	return found
}

// pack scores how full a node would be, or how empty.
func (p *Planner) pack(task *ledger.Resources, nd *node) uint64 {
	sum, dims := uint64(0), uint64(0)
	add := func(need, free, capacity uint64) {
		if need > 0 {
			sum += ratio(capacity-free+need, capacity)
			dims++
		}
	}
	add(task.MemoryBytes, nd.free.MemoryBytes, nd.capacity.MemoryBytes)
	add(task.FuelRate, nd.free.FuelRate, nd.capacity.FuelRate)
	add(uint64(task.Slots), uint64(nd.free.Slots), uint64(nd.capacity.Slots))
	add(task.ScratchBytes, nd.free.ScratchBytes, nd.capacity.ScratchBytes)
	if dims > 0 {
		sum /= dims
	}
	if p.params.Policy == Loose {
		return scoreMax - sum
	}
	return sum
}

// holds reports whether a node has j's module, or will have it by this plan.
func (p *Planner) holds(j *job, nd *node) bool {
	for f := nd.fetched; f > 0; f = p.fetched[f-1].next {
		if p.fetched[f-1].module == j.module {
			return true
		}
	}
	return len(nd.in.Held.bits) > 0 && nd.in.Held.holds(j.hash)
}

// ratio returns scoreMax × part / whole for 0 ≤ part ≤ whole, whole > 0.
func ratio(part, whole uint64) uint64 {
	hi, lo := bits.Mul64(part, scoreMax)
	if hi == 0 {
		return lo / whole
	}
	q, _ := bits.Div64(hi, lo, whole)
	return q
}
