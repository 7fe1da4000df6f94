package placement

import (
	"encoding/binary"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// demand is what jobs ask for in labels and features, and are in labels, checked once
// per class.
type demand struct {
	spec  *ledger.JobSpec
	bound []Bound
	// fails counts usable nodes by the first of features, then constraints, that
	// they lack, then of secrets that they are not given.
	fails []uint32
	// denied has the nodes whose rules deny one of the labels, by rule, unallowed those
	// whose rules allow none of them.
	denied    []ruled
	unallowed ruled
	// classes lack nothing, in ascending order.
	classes []int32
	// open are the nodes of those that allow everybody, closed the number of
	// nodes of those that have lists of whom they allow.
	open   []int32
	closed uint32
}

// pool is the nodes that meet a demand and allow a tenant: the demand's open ones
// and own, which have it in their lists. Some of them may deny it.
type pool struct {
	demand    int32
	open, own []int32
	// failed are sizes of tasks that no node had room for.
	failed []ledger.Resources
}

// poolKey's tenant is -1 for all those whom no node's list allows by name.
type poolKey struct {
	demand, tenant int32
}

// shapeFor returns the shape of a job.
func (p *Planner) shapeFor(in *Job, tenant int32) int32 {
	if tenant >= 0 && len(p.tenants[tenant].allowed) == 0 {
		tenant = -1
	}
	k := shapeKey{p.poolFor(poolKey{p.demandFor(in), tenant}), in.Spec.Task}
	if s, ok := p.shapeOf[k]; ok {
		return s
	}
	i := int32(len(p.shapes))
	p.shapeOf[k] = i
	p.shapes = next(p.shapes)
	p.shapes[i].begin(k, p.pools[k.pool].size(), p.in.Seed+uint64(i))
	return i
}

// ruled is nodes that are out, by a rule or because they leave.
type ruled struct {
	rule  ledger.LabelRule
	nodes uint32
	// first are the first of them by id.
	first []ledger.NodeID
}

// ruledMax bounds the nodes that a reason names.
const ruledMax = 3

// add takes in the nodes of a class.
func (r *ruled) add(p *Planner, c *class) {
	r.nodes += uint32(len(c.nodes))
	for _, n := range c.nodes[:min(len(c.nodes), ruledMax)] {
		r.name(p.nodes[n].in.ID)
	}
}

// name takes in the id of a node if it is one of the first.
func (r *ruled) name(id ledger.NodeID) {
	at, _ := slices.BinarySearch(r.first, id)
	if at < ruledMax {
		r.first = slices.Insert(r.first, at, id)
		r.first = r.first[:min(len(r.first), ruledMax)]
	}
}

// appendLabels appends those of a specification's labels that a rule names: what is the
// same for all rules is one demand.
func (p *Planner) appendLabels(k []byte, spec *ledger.JobSpec) []byte {
	if len(p.rules) == 0 {
		return k
	}
	for _, l := range spec.Labels {
		if _, ok := p.rules[ledger.LabelRule{Name: l.Name}]; !ok {
			if _, ok = p.rules[ledger.LabelRule(l)]; !ok {
				continue
			}
		}
		k = append(appendString(appendString(k, l.Name), l.Value), 2)
	}
	return k
}

// demandFor returns the demand of a job.
func (p *Planner) demandFor(in *Job) int32 {
	spec := in.Spec
	k := binary.AppendUvarint(p.key[:0], uint64(len(spec.Features)))
	for _, f := range spec.Features {
		k = appendString(k, f)
	}
	k = binary.AppendUvarint(k, uint64(len(in.Bound)))
	for i := range in.Bound {
		k = binary.AppendUvarint(k, uint64(p.boundOf[boundKey{spec.Tenant, in.Bound[i].Secret}]))
	}
	for i := range spec.Constraints {
		c := &spec.Constraints[i]
		not := byte(0)
		if c.Not {
			not = 1
		}
		k = append(appendString(appendString(k, c.Label), c.Value), not)
	}
	k = p.appendLabels(k, spec)
	p.key = k
	if d, ok := p.demandOf[string(k)]; ok {
		return d
	}
	i := int32(len(p.demands))
	p.demandOf[string(k)] = i
	p.demands = next(p.demands)
	p.readDemand(&p.demands[i], in)
	return i
}

// readDemand finds the classes that lack nothing, one feature, constraint or secret
// after the other.
func (p *Planner) readDemand(d *demand, in *Job) {
	spec := in.Spec
	d.spec, d.bound, d.fails, d.classes, d.open, d.closed = spec, in.Bound, d.fails[:0], d.classes[:0], d.open[:0], 0
	for c := range p.classes {
		d.classes = append(d.classes, int32(c))
	}
	left := p.usable
	keep := func(match []int32, not bool) {
		d.classes = sift(d.classes, match, not)
		now := uint32(0)
		for _, c := range d.classes {
			now += uint32(len(p.classes[c].nodes))
		}
		d.fails = append(d.fails, left-now)
		left = now
	}
	for _, f := range spec.Features {
		keep(p.classesBy().features[f], false)
	}
	for _, c := range spec.Constraints {
		if c.Not && c.Value == "" {
			keep(p.classesBy().names[c.Label], true)
		} else {
			keep(p.classesBy().labels[ledger.Label{Name: c.Label, Value: c.Value}], c.Not)
		}
	}
	for i := range in.Bound {
		keep(p.classesBy().bounds[p.boundOf[boundKey{spec.Tenant, in.Bound[i].Secret}]], false)
	}
	p.readRules(d)
	for _, c := range d.classes {
		if class := &p.classes[c]; len(class.node.Allow) > 0 {
			d.closed += uint32(len(class.nodes))
		} else {
			d.open = append(d.open, class.nodes...)
		}
	}
}

// readRules drops the classes whose rules keep the labels away; deny wins.
func (p *Planner) readRules(d *demand) {
	d.denied, d.unallowed = d.denied[:0], ruled{first: d.unallowed.first[:0]}
	if len(p.rules) == 0 {
		return
	}
	d.classes = slices.DeleteFunc(d.classes, func(c int32) bool {
		class := &p.classes[c]
		labels := d.spec.Labels
		covers := func(r ledger.LabelRule) bool { return r.Covers(labels) }
		switch i := slices.IndexFunc(class.node.DenyLabels, covers); {
		case i >= 0:
			d.deny(class.node.DenyLabels[i]).add(p, class)
		case len(class.node.AllowLabels) > 0 && !slices.ContainsFunc(class.node.AllowLabels, covers):
			d.unallowed.add(p, class)
		default:
			return false
		}
		return true
	})
}

// deny returns the nodes that are out by a rule.
func (d *demand) deny(r ledger.LabelRule) *ruled {
	for i := range d.denied {
		if d.denied[i].rule == r {
			return &d.denied[i]
		}
	}
	d.denied = append(d.denied, ruled{rule: r})
	return &d.denied[len(d.denied)-1]
}

// accepts reports whether the nodes of a class lack nothing.
func (d *demand) accepts(class int32) bool {
	_, found := slices.BinarySearch(d.classes, class)
	return found
}

// sift keeps those of a that are in b, or with not those that are not. Both are
// in ascending order.
func sift(a, b []int32, not bool) []int32 {
	kept := a[:0]
	at := 0
	for _, c := range a {
		for at < len(b) && b[at] < c {
			at++
		}
		if (at < len(b) && b[at] == c) != not {
			kept = append(kept, c)
		}
	}
	return kept
}

// poolFor returns the nodes that meet a demand and allow a tenant.
func (p *Planner) poolFor(k poolKey) int32 {
	if i, ok := p.poolOf[k]; ok {
		return i
	}
	i := int32(len(p.pools))
	p.poolOf[k] = i
	p.pools = next(p.pools)
	l, d := &p.pools[i], &p.demands[k.demand]
	l.demand, l.open, l.own, l.failed = k.demand, d.open, l.own[:0], l.failed[:0]
	if k.tenant >= 0 {
		for _, c := range p.tenants[k.tenant].allowed {
			if d.accepts(c) {
				l.own = append(l.own, p.classes[c].nodes...)
			}
		}
	}
	return i
}

func (l *pool) size() int { return len(l.open) + len(l.own) }

func (l *pool) node(i int) int32 {
	if i < len(l.open) {
		return l.open[i]
	}
	return l.own[i-len(l.open)]
}

// failedMax bounds pool.failed.
const failedMax = 16

// hopeless reports whether a smaller task has found no room.
func (l *pool) hopeless(task ledger.Resources) bool {
	for i := range l.failed {
		if l.failed[i].Fits(task) {
			return true
		}
	}
	return false
}

// fail notes that a task has found no room. Of too many it keeps the latest.
func (l *pool) fail(task ledger.Resources) {
	if l.hopeless(task) {
		return
	}
	kept := l.failed[:0]
	for _, f := range l.failed {
		if !task.Fits(f) {
			kept = append(kept, f)
		}
	}
	if len(kept) == failedMax {
		kept = kept[:copy(kept, kept[1:])]
	}
	l.failed = append(kept, task)
}
