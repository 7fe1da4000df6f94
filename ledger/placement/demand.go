package placement

import (
	"encoding/binary"

	"github.com/dugnad/dugnad/ledger"
)

// demand is what jobs ask for in labels and features, checked once per class.
type demand struct {
	spec *ledger.JobSpec
	// fails counts usable nodes by the first of features, then constraints, that
	// they lack.
	fails []uint32
	// accepts tells which classes lack nothing.
	accepts []bool
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

// spread is the nodes' values of a label.
type spread struct {
	// of gives each node's value.
	of []int32
	// values numbers the values that usable nodes have.
	values map[string]int32
}

// shapeFor returns the shape of a job.
func (p *Planner) shapeFor(in *Job, tenant int32) int32 {
	if tenant >= 0 && len(p.tenants[tenant].allowed) == 0 {
		tenant = -1
	}
	k := shapeKey{p.poolFor(poolKey{p.demandFor(in.Spec), tenant}), in.Spec.Task}
	if s, ok := p.shapeOf[k]; ok {
		return s
	}
	i := int32(len(p.shapes))
	p.shapeOf[k] = i
	p.shapes = next(p.shapes)
	p.shapes[i].begin(k, p.pools[k.pool].size(), p.in.Seed+uint64(i))
	return i
}

// demandFor returns the demand of a specification.
func (p *Planner) demandFor(spec *ledger.JobSpec) int32 {
	k := binary.AppendUvarint(p.key[:0], uint64(len(spec.Features)))
	for _, f := range spec.Features {
		k = appendString(k, f)
	}
	for i := range spec.Constraints {
		c := &spec.Constraints[i]
		not := byte(0)
		if c.Not {
			not = 1
		}
		k = append(appendString(appendString(k, c.Label), c.Value), not)
	}
	p.key = k
	if d, ok := p.demandOf[string(k)]; ok {
		return d
	}
	i := int32(len(p.demands))
	p.demandOf[string(k)] = i
	p.demands = next(p.demands)
	d := &p.demands[i]
	d.spec, d.fails, d.accepts, d.open, d.closed = spec, d.fails[:0], d.accepts[:0], d.open[:0], 0
	for range len(spec.Features) + len(spec.Constraints) {
		d.fails = append(d.fails, 0)
	}
	for c := range p.classes {
		class := &p.classes[c]
		lack := lacks(spec, class.node)
		d.accepts = append(d.accepts, lack < 0)
		switch {
		case lack >= 0:
			d.fails[lack] += uint32(len(class.nodes))
		case len(class.node.Allow) > 0:
			d.closed += uint32(len(class.nodes))
		default:
			d.open = append(d.open, class.nodes...)
		}
	}
	return i
}

// lacks returns the index of the first feature or, counted on, constraint that a
// node does not meet, or -1.
func lacks(spec *ledger.JobSpec, n *Node) int {
	for i, f := range spec.Features {
		if !n.Offers(f) {
			return i
		}
	}
	for i, c := range spec.Constraints {
		if !n.Meets(c) {
			return len(spec.Features) + i
		}
	}
	return -1
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
			if d.accepts[c] {
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

// spreadFor returns the values of a label.
func (p *Planner) spreadFor(label string) int32 {
	if i, ok := p.spreadOf[label]; ok {
		return i
	}
	i := int32(len(p.spreads))
	p.spreadOf[label] = i
	s := spread{of: make([]int32, len(p.nodes)), values: make(map[string]int32)}
	for n := range p.nodes {
		if p.nodes[n].class >= 0 {
			s.of[n] = intern(s.values, spreadValue(p.nodes[n].in, label))
		}
	}
	p.spreads = append(p.spreads, s)
	return i
}

// spreadValue returns a node's value of a spread label.
func spreadValue(n *Node, label string) string {
	if label == SpreadOperator {
		return n.Operator
	}
	for _, l := range n.Labels {
		if l.Name == label {
			return l.Value
		}
	}
	return ""
}

// heldOf returns the slots that j holds by value of its spread label. Slots on
// values that no usable node has do not matter here.
func (p *Planner) heldOf(j *job) map[int32]uint32 {
	if j.held == nil {
		s := &p.spreads[j.spread]
		j.held = make(map[int32]uint32, len(j.Running))
		for _, r := range j.Running {
			if v, ok := s.values[r.Value]; ok {
				j.held[v] = r.Slots
			}
		}
	}
	return j.held
}
