package placement

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// scoreMax is the best that each part of a score can be.
const scoreMax = 1000

// choose returns the node with the best score for tasks of r, or -1.
func (p *Planner) choose(j *job, r *ledger.Pending) int32 {
	s := &p.shapes[j.shape]
	p.readAvoid(r)
	p.readHeld(j)
	p.lifted = false
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
		return p.search(j, s)
	}
}

// readAvoid looks up the nodes that r avoids.
func (p *Planner) readAvoid(r *ledger.Pending) {
	p.avoid = p.avoid[:0]
	for _, id := range r.Avoid {
		if i, ok := slices.BinarySearchFunc(p.nodes, id, func(n node, id ledger.NodeID) int {
			return cmp.Compare(n.in.ID, id)
		}); ok {
			p.avoid = append(p.avoid, int32(i))
		}
	}
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
// last resort it lifts the avoidance.
func (p *Planner) search(j *job, s *shape) int32 {
	best, avoided := p.searchAll(j, s, false)
	if best >= 0 || !avoided || int64(p.in.Now)-int64(j.Since) <= p.params.AvoidNanosMax || p.elsewhere(j, s) {
		return best
	}
	best, _ = p.searchAll(j, s, true)
	p.lifted = best >= 0
	return best
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

// elsewhere reports whether a node that j does not avoid could take it, if not
// now.
func (p *Planner) elsewhere(j *job, s *shape) bool {
	l := &p.pools[s.key.pool]
	for i := range l.size() {
		n := l.node(i)
		nd := &p.nodes[n]
		if !p.denies(j, nd) && !slices.Contains(p.avoid, n) && s.key.task.Fits(nd.capacity) && (j.ModuleBytes <= nd.disk || p.holds(j, nd)) {
			return true
		}
	}
	return false
}

// refuses applies the filters that depend on the job alone, after the lists;
// CodeFits is that the node passes them.
func (p *Planner) refuses(j *job, n int32, lift bool) Code {
	nd := &p.nodes[n]
	switch {
	case j.ModuleBytes > nd.disk && !p.holds(j, nd):
		return CodeDisk
	case !lift && slices.Contains(p.avoid, n):
		return CodeAvoided
	case j.spread >= 0 && j.SpreadMax > 0 && p.here.slots[p.spreads[j.spread].of[n]] >= j.SpreadMax:
		return CodeSpread
	}
	return CodeFits
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
