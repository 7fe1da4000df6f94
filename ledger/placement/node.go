package placement

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// node is a node during a pass; indices into Planner.nodes are in order of id.
type node struct {
	free, capacity ledger.Resources
	// kept is what was free before it was withheld from lower bands.
	kept ledger.Resources
	disk uint64
	// standing is the part of the score that is the same for every job.
	standing uint64
	busy     ledger.Time
	in       *Node
	// class is -1 for a node that takes nothing.
	class int32
	// fetched is the head of a list in Planner.fetched: index + 1, or zero.
	fetched int32
}

// fetched is a module that a placement of this pass brings to a node.
type fetched struct {
	module, next int32
}

// class is the usable nodes with equal labels, features, lists and rules, which are given
// the same secrets.
type class struct {
	node  *Node
	nodes []int32
}

// tenant is a tenant that lists name: the classes that do, in ascending order.
type tenant struct {
	allowed, denied []int32
}

// boundKey is a secret that is not for all nodes.
type boundKey struct {
	tenant ledger.TenantID
	secret ledger.SecretName
}

// readBounds notes which nodes the jobs' secrets are for.
func (p *Planner) readBounds() {
	for i := range p.in.Jobs {
		j := &p.in.Jobs[i]
		for _, b := range j.Bound {
			k := boundKey{j.Spec.Tenant, b.Secret}
			if _, known := p.boundOf[k]; known {
				continue
			}
			id := intern(p.boundOf, k)
			for _, n := range b.Nodes {
				if list := p.boundTo[n]; !endsWith(list, id) {
					p.boundTo[n] = append(list, id)
				}
			}
		}
	}
}

// readNodes sorts the nodes, sets aside those that take nothing and puts the
// others into classes.
func (p *Planner) readNodes() {
	in := p.in.Nodes
	p.order = p.order[:0]
	for i := range in {
		p.order = append(p.order, int32(i))
	}
	byID := func(a, b int32) int { return cmp.Compare(in[a].ID, in[b].ID) }
	if !slices.IsSortedFunc(p.order, byID) {
		slices.SortFunc(p.order, byID)
	}
	p.away, p.stale, p.usable, p.diskMin = [nodeStates]uint32{}, 0, 0, ^uint64(0)
	p.all = total{}
	p.nodes, p.withheld, p.untilMin = slices.Grow(p.nodes, len(in)), p.withheld[:0], math.MaxInt64
	for _, i := range p.order {
		p.readNode(&in[i])
	}
}

func (p *Planner) readNode(in *Node) {
	n := node{in: in, class: -1, capacity: in.Capacity}
	if in.State == ledger.NodeUp {
		p.all.add(&in.Capacity)
	}
	switch {
	case in.State != ledger.NodeUp:
		p.away[min(int(in.State), len(p.away)-1)]++
	case p.tooOld(in.Offer.At):
		p.stale++
	default:
		n.free = least(in.Capacity.Minus(in.Reserved), in.Offer.Free)
		n.busy = in.BusyUntil
		n.disk = in.Offer.DiskBytes
		n.standing = p.standing(in)
		n.class = p.classFor(in)
		p.diskMin = min(p.diskMin, n.disk)
		p.untilMin = min(p.untilMin, p.stays(in))
		p.usable++
		if in.Hold > 0 {
			p.withheld = append(p.withheld, int32(len(p.nodes)))
		}
		p.classes[n.class].nodes = append(p.classes[n.class].nodes, int32(len(p.nodes)))
	}
	p.nodes = append(p.nodes, n)
}

// tooOld reports whether an offer from that time is no longer believed.
func (p *Planner) tooOld(at ledger.Time) bool {
	return at == 0 || int64(p.in.Now)-int64(at) > p.params.OfferAgeNanosMax
}

// stays returns how long a node is there, as far as its operator has said.
func (p *Planner) stays(in *Node) int64 {
	if in.Offer.Until == 0 {
		return math.MaxInt64
	}
	return int64(in.Offer.Until - p.in.Now)
}

// standing is what a node scores whatever the job.
func (p *Planner) standing(in *Node) uint64 {
	w := p.params.Weights
	wait := min(max(in.Offer.WaitNanos, 0), p.params.WaitNanosMax)
	return uint64(w.Wait)*(scoreMax-ratio(uint64(wait), uint64(p.params.WaitNanosMax))) +
		uint64(w.Trust)*uint64(min(in.Reliability, ReliabilityMax))
}

// classFor returns the class of a usable node.
func (p *Planner) classFor(in *Node) int32 {
	k := p.key[:0]
	k = binary.AppendUvarint(k, uint64(len(in.Labels)))
	for i := range in.Labels {
		k = appendString(appendString(k, in.Labels[i].Name), in.Labels[i].Value)
	}
	k = binary.AppendUvarint(k, uint64(len(in.Features)))
	for _, f := range in.Features {
		k = appendString(k, f)
	}
	k = binary.AppendUvarint(k, uint64(len(in.Allow)))
	for _, t := range in.Allow {
		k = appendString(k, string(t))
	}
	k = binary.AppendUvarint(k, uint64(len(in.Deny)))
	for _, t := range in.Deny {
		k = appendString(k, string(t))
	}
	k = appendRules(appendRules(k, in.AllowLabels), in.DenyLabels)
	for _, b := range p.boundTo[in.ID] {
		k = binary.AppendUvarint(k, uint64(b))
	}
	p.key = k
	if c, ok := p.classOf[string(k)]; ok {
		return c
	}
	c := int32(len(p.classes))
	p.classOf[string(k)] = c
	p.classes = next(p.classes)
	p.classes[c].node, p.classes[c].nodes = in, p.classes[c].nodes[:0]
	p.readLists(c, in)
	return c
}

// readLists notes whom a class's lists name, and which labels.
func (p *Planner) readLists(c int32, in *Node) {
	for _, rules := range [][]ledger.LabelRule{in.AllowLabels, in.DenyLabels} {
		for _, r := range rules {
			p.rules[r] = struct{}{}
		}
	}
	for _, id := range in.Allow {
		if t := p.tenantFor(id); !endsWith(t.allowed, c) {
			t.allowed = append(t.allowed, c)
		}
	}
	for _, id := range in.Deny {
		if t := p.tenantFor(id); !endsWith(t.denied, c) {
			t.denied = append(t.denied, c)
		}
	}
}

func (p *Planner) tenantFor(id ledger.TenantID) *tenant {
	i, ok := p.tenantOf[id]
	if !ok {
		i = int32(len(p.tenants))
		p.tenantOf[id] = i
		p.tenants = next(p.tenants)
		p.tenants[i].allowed, p.tenants[i].denied = p.tenants[i].allowed[:0], p.tenants[i].denied[:0]
	}
	return &p.tenants[i]
}

func endsWith(s []int32, n int32) bool { return len(s) > 0 && s[len(s)-1] == n }

// least returns the smaller of a and b in each dimension.
func least(a, b ledger.Resources) ledger.Resources {
	return ledger.Resources{
		MemoryBytes:  min(a.MemoryBytes, b.MemoryBytes),
		FuelRate:     min(a.FuelRate, b.FuelRate),
		Slots:        min(a.Slots, b.Slots),
		ScratchBytes: min(a.ScratchBytes, b.ScratchBytes),
	}
}

// next lengthens s by one element, which has whatever was there before: memory
// to be used again.
func next[T any](s []T) []T {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var zero T
	return append(s, zero)
}

// intern numbers the keys of a map from 0.
func intern[K comparable](m map[K]int32, k K) int32 {
	i, ok := m[k]
	if !ok {
		i = int32(len(m))
		m[k] = i
	}
	return i
}

func appendRules(k []byte, rules []ledger.LabelRule) []byte {
	k = binary.AppendUvarint(k, uint64(len(rules)))
	for _, r := range rules {
		k = appendString(appendString(k, r.Name), r.Value)
	}
	return k
}

func appendString(k []byte, s string) []byte {
	return append(binary.AppendUvarint(k, uint64(len(s))), s...)
}
