package placement

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// Explain says which nodes of the snapshot could take a task of job now, and
// what speaks against the others. It looks at every node, and not at in.Jobs.
func Explain(in Input, job Job) Reasons {
	var p Planner
	var pending []ledger.Pending
	var ready []ledger.Time
	for i := range job.Pending {
		if !job.Pending[i].Tasks.Empty() {
			pending, ready = append(pending, job.Pending[i]), append(ready, job.readyAt(i))
		}
	}
	if len(pending) == 0 {
		pending = []ledger.Pending{{Tasks: ledger.Tasks(0, 1)}}
	}
	job.Pending, job.Ready = pending, ready
	in.Jobs = []Job{job}
	in.Params.SampleSize, in.Params.ReasonLooksMax = 0, 0
	p.prepare(in)
	j := &p.jobs[0]
	p.readAvoid(j, j.firstLeft())
	r, _ := p.tally(j, len(p.nodes), true, CodeFits)
	return *r
}

// reasonKey is what jobs have in common whose reasons are the same, unless some
// nodes have room. Without room it does not matter whether the quota is used up.
type reasonKey struct {
	shape, tenant int32
	quota         bool
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
	r := p.shared(reasonKey{shape: j.shape, tenant: p.denied(j)}, j)
	if r.fits == 0 {
		return r.Reasons
	}
	p.readAvoid(j, j.firstLeft())
	if len(p.avoid) > 0 || j.SpreadMax > 0 || j.ModuleBytes > p.diskMin || j.longest > p.untilMin {
		own, _ := p.tally(j, p.reasonLooks(), true, CodeLimit)
		return own
	}
	if p.overQuota(j) {
		r = p.shared(reasonKey{j.shape, p.denied(j), true}, j)
	}
	return r.Reasons
}

// denied returns j's tenant when a list denies it, or -1.
func (p *Planner) denied(j *job) int32 {
	if j.tenant >= 0 && len(p.tenants[j.tenant].denied) > 0 {
		return j.tenant
	}
	return -1
}

// shared returns the reasons of the jobs with a key, of which j is one.
func (p *Planner) shared(k reasonKey, j *job) found {
	r, ok := p.reasonOf[k]
	if !ok {
		fits := CodeLimit
		if k.quota {
			fits = CodeQuota
		}
		r.Reasons, r.fits = p.tally(j, p.reasonLooks(), false, fits)
		p.reasonOf[k] = r
	}
	return r
}

// Reasons look at reasonLooksEach nodes, and at reasonLooksMin when
// ReasonLooksMax is used up.
const (
	reasonLooksEach = 2048
	reasonLooksMin  = 128
)

// reasonLooks returns how many nodes the next reasons look at.
func (p *Planner) reasonLooks() int {
	if p.params.ReasonLooksMax == 0 {
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
	l := &p.pools[p.shapes[j.shape].key.pool]
	r := &Reasons{Nodes: uint32(len(p.nodes))}
	size := p.tallyClasses(r, j, l)
	if looks < l.size() {
		r.Sampled = uint32(looks)
	}
	counts, seen := p.tallyNodes(r, j, l, min(looks, l.size()), own, fits)
	if r.Sampled > 0 {
		scale(&counts, seen, size)
	}
	for code := range counts {
		c := &counts[code]
		c.Code = Code(code)
		switch {
		case c.Code.Small():
			c.Need = dimension(&j.Spec.Task, code-int(CodeSmallMemory))
		case c.Code.Full():
			c.Need = dimension(&j.Spec.Task, code-int(CodeFullMemory))
		case c.Code == CodeDisk:
			c.Need = j.ModuleBytes
		case c.Code == CodeLeaves:
			c.Need = uint64(j.longest+999_999_999) / 1_000_000_000
		}
		r.add(*c)
	}
	r.finish()
	return r, counts[fits].Nodes
}

// tallyNodes is the part of tally that looks at single nodes; seen is how many
// of them do not deny the tenant.
func (p *Planner) tallyNodes(r *Reasons, j *job, l *pool, looks int, own bool, fits Code) (counts [codes]Count, seen uint64) {
	denied := p.denied(j) >= 0
	if denied {
		p.markDenied(j, true)
		defer p.markDenied(j, false)
	}
	lift := false
	if own {
		p.readHeld(j)
		lift = len(p.avoid) > 0 && p.mayReturn(j, j.firstLeft())
	}
	task, leaving := &j.Spec.Task, ruled{}
	// All jobs of a pool ask the same nodes: these stay in the processor's cache.
	w := newWalk(l.size(), p.in.Seed^uint64(p.shapes[j.shape].key.pool))
	for range looks {
		n := l.node(w.next())
		nd := &p.nodes[n]
		if denied && p.marks[nd.class] {
			continue
		}
		seen++
		code, have := fits, uint64(0)
		if d := short(task, &nd.free); d < dimensions {
			code, have = capacityOf(task, nd, d)
			if code.Full() && nd.busy > p.in.Now && (r.FreeAt == 0 || nd.busy < r.FreeAt) {
				r.FreeAt = nd.busy
			}
		} else if own {
			code, have = p.fitsHow(j, n, fits, lift)
		}
		c := &counts[code]
		c.Nodes++
		c.Nearest = max(c.Nearest, have)
		if code == CodeLeaves {
			leaving.name(nd.in.ID)
		}
	}
	if r.Sampled == 0 {
		counts[CodeLeaves].Detail = leaving.count(CodeLeaves).Detail
	}
	return counts, seen
}

// markDenied sets p.marks for the classes that deny j's tenant.
func (p *Planner) markDenied(j *job, to bool) {
	for len(p.marks) < len(p.classes) {
		p.marks = append(p.marks, false)
	}
	for _, c := range p.tenants[j.tenant].denied {
		p.marks[c] = to
	}
}

// fitsHow returns the code of a node that has room, and for CodeDisk the room
// that it has for modules, for CodeLeaves the seconds that it stays.
func (p *Planner) fitsHow(j *job, n int32, fits Code, lift bool) (code Code, have uint64) {
	code = p.refuses(j, n, lift)
	switch {
	case code == CodeDisk:
		return code, p.nodes[n].disk
	case code == CodeLeaves:
		return code, uint64(max(p.stays(p.nodes[n].in), 0)) / 1_000_000_000
	case code == CodeFits && p.overQuota(j):
		return CodeQuota, 0
	case code == CodeFits:
		return fits, 0
	}
	return code, 0
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
		features, constraints := d.spec.Features, d.spec.Constraints
		switch i -= len(features); {
		case i < 0:
			c.Detail = features[i+len(features)]
		case i < len(constraints):
			c.Code, c.Detail = CodeLabel, constraints[i].String()
		default:
			c.Code, c.Detail = CodeSecret, string(d.bound[i-len(constraints)].Secret)
		}
		r.add(c)
	}
	for i := range d.denied {
		r.add(d.denied[i].count(CodeLabelDenied))
	}
	r.add(d.unallowed.count(CodeLabelNotAllowed))
	size, denied, allowed := uint64(l.size()), uint32(0), uint32(len(l.own))
	if j.tenant >= 0 {
		t := &p.tenants[j.tenant]
		p.sifted = sift(append(p.sifted[:0], t.denied...), d.classes, false)
		for _, c := range p.sifted {
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

// count is the reason that nodes have which are out by a rule.
func (r *ruled) count(code Code) Count {
	detail := ""
	if r.rule.Name != "" {
		detail = r.rule.String() + " "
	}
	for i, id := range r.first {
		more := string(id)
		if i > 0 {
			more = ", " + more
		}
		if len(detail)+len(more) <= ledger.DetailBytesMax {
			detail += more
		}
	}
	return Count{Code: code, Detail: detail, Nodes: r.nodes}
}

// capacityOf says why a node has no room, whose free capacity is short in
// dimension d, and how much of what is needed it has.
func capacityOf(task *ledger.Resources, nd *node, d int) (Code, uint64) {
	if small := short(task, &nd.capacity); small < dimensions {
		return CodeSmallMemory + Code(small), dimension(&nd.capacity, small)
	}
	return CodeFullMemory + Code(d), dimension(&nd.free, d)
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
