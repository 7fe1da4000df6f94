package placement

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// naive is a second implementation of the filters, slow and plain, that follows
// a plan step by step.
type naive struct {
	in      Input
	free    map[ledger.NodeID]ledger.Resources
	disk    map[ledger.NodeID]uint64
	fetched map[ledger.NodeID][]ledger.ModuleID
	rest    [][]ledger.Range
	running []map[string]uint32
	quota   map[ledger.TenantID]Quota
	placed  []int
}

func newNaive(in Input) *naive {
	m := &naive{
		in: in, free: map[ledger.NodeID]ledger.Resources{}, disk: map[ledger.NodeID]uint64{},
		fetched: map[ledger.NodeID][]ledger.ModuleID{}, quota: map[ledger.TenantID]Quota{}, placed: make([]int, len(in.Jobs)),
	}
	for _, n := range in.Nodes {
		f, o := n.Capacity.Minus(n.Reserved), n.Offer.Free
		f.MemoryBytes, f.FuelRate = min(f.MemoryBytes, o.MemoryBytes), min(f.FuelRate, o.FuelRate)
		f.Slots, f.ScratchBytes = min(f.Slots, o.Slots), min(f.ScratchBytes, o.ScratchBytes)
		m.free[n.ID], m.disk[n.ID] = f, n.Offer.DiskBytes
	}
	for _, j := range in.Jobs {
		var rest []ledger.Range
		for _, p := range j.Pending {
			rest = append(rest, p.Tasks)
		}
		running := map[string]uint32{}
		for _, r := range j.Running {
			running[r.Value] += r.Slots
		}
		m.rest, m.running = append(m.rest, rest), append(m.running, running)
	}
	for _, q := range in.Quotas {
		m.quota[q.Tenant] = q
	}
	return m
}

func (m *naive) holds(j *Job, n *Node) bool {
	return n.Held.Holds(j.Spec.Module) || slices.Contains(m.fetched[n.ID], j.Spec.Module)
}

// static checks what no placement changes.
func (m *naive) static(j *Job, n *Node) Code {
	switch {
	case n.State != ledger.NodeUp:
		return CodeState
	case n.Offer.At == 0 || m.in.Now-n.Offer.At > ledger.Time(m.in.Params.OfferAgeNanosMax):
		return CodeStale
	}
	for _, f := range j.Spec.Features {
		if !slices.Contains(n.Features, f) {
			return CodeFeature
		}
	}
	for _, c := range j.Spec.Constraints {
		value, found := "", false
		for _, l := range n.Labels {
			if l.Name == c.Label {
				value, found = l.Value, true
			}
		}
		switch {
		case !c.Not && (!found || value != c.Value),
			c.Not && c.Value == "" && found,
			c.Not && c.Value != "" && found && value == c.Value:
			return CodeLabel
		}
	}
	for _, b := range j.Bound {
		if !slices.Contains(b.Nodes, n.ID) {
			return CodeSecret
		}
	}
	covers := func(r ledger.LabelRule) bool {
		return slices.ContainsFunc(j.Spec.Labels, func(l ledger.Label) bool { return l.Name == r.Name && (r.Value == "" || r.Value == l.Value) })
	}
	if slices.ContainsFunc(n.DenyLabels, covers) {
		return CodeLabelDenied
	}
	if len(n.AllowLabels) > 0 && !slices.ContainsFunc(n.AllowLabels, covers) {
		return CodeLabelNotAllowed
	}
	if slices.Contains(n.Deny, j.Spec.Tenant) {
		return CodeDenied
	}
	if len(n.Allow) > 0 && !slices.Contains(n.Allow, j.Spec.Tenant) {
		return CodeNotAllowed
	}
	task := j.Spec.Task
	switch c := n.Capacity; {
	case task.MemoryBytes > c.MemoryBytes:
		return CodeSmallMemory
	case task.FuelRate > c.FuelRate:
		return CodeSmallFuelRate
	case task.Slots > c.Slots:
		return CodeSmallSlots
	case task.ScratchBytes > c.ScratchBytes:
		return CodeSmallScratch
	}
	return CodeFits
}

// check says what speaks against a task of pending range r of job i on n now.
func (m *naive) check(i, r int, n *Node) Code {
	j := &m.in.Jobs[i]
	if code := m.static(j, n); code != CodeFits {
		return code
	}
	task := j.Spec.Task
	switch f := m.free[n.ID]; {
	case task.MemoryBytes > f.MemoryBytes:
		return CodeFullMemory
	case task.FuelRate > f.FuelRate:
		return CodeFullFuelRate
	case task.Slots > f.Slots:
		return CodeFullSlots
	case task.ScratchBytes > f.ScratchBytes:
		return CodeFullScratch
	}
	switch {
	case !m.holds(j, n) && j.ModuleBytes > m.disk[n.ID]:
		return CodeDisk
	case m.leaves(j, n):
		return CodeLeaves
	case !m.lifted(i, r) && m.avoids(i, r, n):
		return CodeAvoided
	case m.spreadFull(i, n):
		return CodeSpread
	}
	if left, ok := m.quota[j.Spec.Tenant]; ok && (left.MemoryBytes < task.MemoryBytes || left.FuelRate == 0) {
		return CodeQuota
	}
	return CodeFits
}

// leaves reports whether a node is switched off before a task may have ended.
func (m *naive) leaves(j *Job, n *Node) bool {
	longest := j.Spec.TimeoutNanos
	if longest == 0 {
		longest = m.in.Params.TimeoutNanos
	}
	return n.Offer.Until != 0 && m.in.Now+ledger.Time(longest) > n.Offer.Until
}

// ready is since when a range is ready.
func (m *naive) ready(i, r int) ledger.Time {
	j := &m.in.Jobs[i]
	if r < len(j.Ready) && j.Ready[r] != 0 {
		return j.Ready[r]
	}
	return j.Since
}

// avoids reports whether a range keeps away from a node, if there is another.
func (m *naive) avoids(i, r int, n *Node) bool {
	p := &m.in.Jobs[i].Pending[r]
	last := len(p.Avoid) > 0 && p.Avoid[len(p.Avoid)-1] == n.ID
	over := last && p.Cause == ledger.CausePreference && n.Offer.Changed > m.ready(i, r)-ledger.RefusalNanos<<p.Refusals
	return slices.Contains(p.Avoid, n.ID) && !over
}

// lifted reports whether a range may go back to a node that it avoids: no other would do
// even if it were empty and it was not lost, or it has waited for long and no other has
// room.
func (m *naive) lifted(i, r int) bool {
	j, p := &m.in.Jobs[i], &m.in.Jobs[i].Pending[r]
	waited := m.in.Now-m.ready(i, r) > ledger.Time(m.in.Params.AvoidNanosMax)
	if p.Cause == ledger.CauseLost && !waited {
		return false
	}
	return !slices.ContainsFunc(m.in.Nodes, func(n Node) bool {
		if waited && !j.Spec.Task.Fits(m.free[n.ID]) || m.spreadFull(i, &n) && waited {
			return false
		}
		room := m.holds(j, &n) || j.ModuleBytes <= m.disk[n.ID]
		if !j.Spec.Task.Fits(n.Offer.Free.Plus(n.Reserved).Minus(n.Offer.Over)) {
			return false
		}
		return m.static(j, &n) == CodeFits && room && !m.leaves(j, &n) && !m.avoids(i, r, &n)
	})
}

// spreadFull reports whether a node's value of the job's spread label has its share.
func (m *naive) spreadFull(i int, n *Node) bool {
	j := &m.in.Jobs[i]
	return j.SpreadMax > 0 && j.Spec.SpreadLabel != "" && m.running[i][m.value(j, n)] >= j.SpreadMax
}

func (m *naive) value(j *Job, n *Node) string {
	if j.Spec.SpreadLabel == SpreadOperator {
		return n.Operator
	}
	for _, l := range n.Labels {
		if l.Name == j.Spec.SpreadLabel {
			return l.Value
		}
	}
	return ""
}

// find returns the job, the pending range and the node of a placement; -1, nil
// when there are none such.
func (m *naive) find(p ledger.Placement) (job, pending int, n *Node) {
	job = slices.IndexFunc(m.in.Jobs, func(j Job) bool { return j.ID == p.Job })
	at := slices.IndexFunc(m.in.Nodes, func(n Node) bool { return n.ID == p.Node })
	if job < 0 || at < 0 {
		return -1, -1, nil
	}
	pending = slices.IndexFunc(m.rest[job], func(r ledger.Range) bool { return !r.Empty() && r.First == p.Start })
	return job, pending, &m.in.Nodes[at]
}

// applySlot books one slot of a placement.
func (m *naive) applySlot(i int, n *Node) {
	j := &m.in.Jobs[i]
	m.free[n.ID] = m.free[n.ID].Minus(j.Spec.Task)
	m.running[i][m.value(j, n)]++
	if left, ok := m.quota[j.Spec.Tenant]; ok {
		left.MemoryBytes -= j.Spec.Task.MemoryBytes
		if left.FuelRate != Unbounded {
			left.FuelRate -= min(left.FuelRate, ledger.TaskRate(&j.Spec.Task, n.Node))
		}
		m.quota[j.Spec.Tenant] = left
	}
	if !m.holds(j, n) {
		m.disk[n.ID] -= j.ModuleBytes
		m.fetched[n.ID] = append(m.fetched[n.ID], j.Spec.Module)
	}
}
