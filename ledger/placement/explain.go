package placement

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// Explain says which nodes of the snapshot could take a task of job now, and
// what speaks against the others. It looks at every node, and not at in.Jobs.
func Explain(in Input, job Job) Reasons {
	var p Planner
	job.Pending = slices.DeleteFunc(slices.Clone(job.Pending), func(r ledger.Pending) bool { return r.Tasks.Empty() })
	if len(job.Pending) == 0 {
		job.Pending = []ledger.Pending{{Tasks: ledger.Tasks(0, 1)}}
	}
	in.Jobs = []Job{job}
	in.Params.SampleSize = 0
	p.prepare(in)
	j := &p.jobs[0]
	p.readAvoid(j.firstLeft())
	r, _ := p.tally(j, len(p.nodes), true, CodeFits)
	return *r
}

// reasonKey is what jobs have in common whose reasons are the same, unless some
// nodes have room.
type reasonKey struct {
	shape, tenant int32
}

// found is reasons, and how many nodes they count as fitting.
type found struct {
	*Reasons
	fits uint32
}

// left returns what was not placed, with reasons.
func (p *Planner) left() []Left {
	p.looks = p.params.ReasonLooksMax
	var out []Left
	for i := range p.jobs {
		if j := &p.jobs[i]; j.left > 0 {
			out = append(out, Left{j.ID, j.left, p.reasonsOf(j)})
		}
	}
	return out
}

// reasonsOf returns the reasons of all jobs of j's shape and tenant, or j's own
// where they differ.
func (p *Planner) reasonsOf(j *job) *Reasons {
	k := reasonKey{j.shape, j.tenant}
	if k.tenant >= 0 && len(p.tenants[k.tenant].denied) == 0 {
		k.tenant = -1
	}
	r, ok := p.reasonOf[k]
	if !ok {
		r.Reasons, r.fits = p.tally(j, p.reasonLooks(), false, CodeLimit)
		p.reasonOf[k] = r
	}
	if r.fits == 0 {
		return r.Reasons
	}
	p.readAvoid(j.firstLeft())
	if len(p.avoid) == 0 && j.SpreadMax == 0 && j.ModuleBytes <= p.diskMin && !p.overQuota(j) {
		return r.Reasons
	}
	own, _ := p.tally(j, p.reasonLooks(), true, CodeLimit)
	return own
}

// Reasons look at reasonLooksEach nodes, and at reasonLooksMin when
// ReasonLooksMax is used up.
const (
	reasonLooksEach = 2048
	reasonLooksMin  = 256
)

// reasonLooks returns how many nodes the next reasons look at.
func (p *Planner) reasonLooks() int {
	if p.params.SampleSize == 0 {
		return len(p.nodes)
	}
	looks := max(min(reasonLooksEach, p.looks), reasonLooksMin)
	p.looks -= min(looks, len(p.nodes), p.looks)
	return looks
}

// tally counts nodes by what speaks against them, and looks at no more than
// looks of j's pool. With own it applies the filters that depend on more than
// shape and tenant. Nodes that nothing speaks against are counted under the code
// given; their number is returned.
func (p *Planner) tally(j *job, looks int, own bool, fits Code) (*Reasons, uint32) {
	s := &p.shapes[j.shape]
	l := &p.pools[s.key.pool]
	r := &Reasons{Nodes: uint32(len(p.nodes))}
	size := p.tallyClasses(r, j, l)
	w := newWalk(l.size(), p.in.Seed^uint64(j.shape))
	if looks < l.size() {
		r.Sampled = uint32(looks)
	}
	var counts [codes]Count
	seen := uint64(0)
	for range min(looks, l.size()) {
		n := l.node(w.next())
		nd := &p.nodes[n]
		if p.denies(j, nd) {
			continue
		}
		seen++
		code, need, have := capacityOf(s, nd)
		if code == CodeFits {
			code, need, have = p.fitsHow(j, n, own, fits)
		}
		c := &counts[code]
		c.Nodes++
		c.Need, c.Nearest = need, max(c.Nearest, have)
		if busy := nd.busy; code.Full() && busy > p.in.Now && (r.FreeAt == 0 || busy < r.FreeAt) {
			r.FreeAt = busy
		}
	}
	if r.Sampled > 0 {
		scale(&counts, seen, size)
	}
	for code := range counts {
		counts[code].Code = Code(code)
		r.add(counts[code])
	}
	r.finish()
	return r, counts[fits].Nodes
}

// fitsHow returns the code of a node that has room.
func (p *Planner) fitsHow(j *job, n int32, own bool, fits Code) (code Code, need, have uint64) {
	if !own {
		return fits, 0, 0
	}
	_, code = p.rate(j, n, false)
	switch {
	case code == CodeDisk:
		return code, j.ModuleBytes, p.nodes[n].disk
	case code == CodeFits && p.overQuota(j):
		return CodeQuota, 0, 0
	case code == CodeFits:
		return fits, 0, 0
	}
	return code, 0, 0
}

// tallyClasses counts the nodes that are out before capacity is looked at, and
// returns how many are left.
func (p *Planner) tallyClasses(r *Reasons, j *job, l *pool) uint64 {
	for state, n := range p.away {
		r.add(Count{Code: CodeState, Detail: ledger.NodeState(state).String(), Nodes: n})
	}
	r.add(Count{Code: CodeStale, Nodes: p.stale})
	d := &p.demands[l.demand]
	for i, n := range d.fails {
		c := Count{Code: CodeFeature, Nodes: n}
		if i < len(d.spec.Features) {
			c.Detail = d.spec.Features[i]
		} else {
			c.Code, c.Detail = CodeLabel, demandText(d.spec.Constraints[i-len(d.spec.Features)])
		}
		r.add(c)
	}
	size, denied, allowed := uint64(l.size()), uint32(0), uint32(len(l.own))
	if j.tenant >= 0 {
		t := &p.tenants[j.tenant]
		for _, c := range t.denied {
			if !d.accepts[c] {
				continue
			}
			n := uint32(len(p.classes[c].nodes))
			denied += n
			_, listed := slices.BinarySearch(t.allowed, c)
			switch {
			case len(p.classes[c].node.Allow) == 0 || listed:
				size -= uint64(n)
			default:
				allowed += n // not, but it counts as denied
			}
		}
	}
	r.add(Count{Code: CodeDenied, Nodes: denied})
	r.add(Count{Code: CodeNotAllowed, Nodes: d.closed - allowed})
	return size
}

// capacityOf checks capacity, and returns what is needed and there where it does
// not suffice.
func capacityOf(s *shape, nd *node) (code Code, need, have uint64) {
	base, from := CodeFullMemory, nd.free
	switch {
	case s.key.task.Fits(nd.free):
		return CodeFits, 0, 0
	case !s.key.task.Fits(nd.capacity):
		base, from = CodeSmallMemory, nd.capacity
	}
	d := short(s.key.task, from)
	return base + Code(d), dimension(s.key.task, d), dimension(from, d)
}

// scale enlarges counts that sum up to part so that they sum up to whole; the
// largest takes what is left by rounding.
func scale(counts *[codes]Count, part, whole uint64) {
	if part == 0 {
		counts[CodeOther].Nodes = uint32(whole)
		return
	}
	rest, largest := uint32(whole), 0
	for i := range counts {
		if counts[i].Nodes > counts[largest].Nodes {
			largest = i
		}
	}
	for i := range counts {
		counts[i].Nodes = uint32(uint64(counts[i].Nodes) * whole / part)
		rest -= counts[i].Nodes
	}
	counts[largest].Nodes += rest
}
