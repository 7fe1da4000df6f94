package placement

// spread is the nodes' values of a label.
type spread struct {
	// of gives each node's value.
	of []int32
	// values numbers the values that usable nodes have.
	values map[string]int32
}

// holding is how many slots a job holds on nodes with one value of a label.
type holding struct {
	value int32
	slots uint32
}

// here is the holdings of one job, to be looked up by value.
type here struct {
	job   *job
	slots []uint32
	// full counts the values that have as much as the job may hold.
	full int
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

// readHeld makes j the job of p.here, if it has a spread label.
func (p *Planner) readHeld(j *job) {
	h := &p.here
	if j.spread < 0 || h.job == j {
		return
	}
	p.forgetHeld()
	s := &p.spreads[j.spread]
	if !j.counted {
		// Slots on values that no usable node has do not matter here.
		for _, r := range j.Running {
			if v, ok := s.values[r.Value]; ok && r.Slots > 0 {
				j.held = append(j.held, holding{v, r.Slots})
			}
		}
		j.counted = true
	}
	h.job = j
	for len(h.slots) < len(s.values) {
		h.slots = append(h.slots, 0)
	}
	for _, v := range j.held {
		h.slots[v.value] = v.slots
		if j.SpreadMax > 0 && v.slots >= j.SpreadMax {
			h.full++
		}
	}
}

func (p *Planner) forgetHeld() {
	if p.here.job != nil {
		for _, v := range p.here.job.held {
			p.here.slots[v.value] = 0
		}
	}
	p.here.job, p.here.full = nil, 0
}

// hold adds slots to what j holds. It is the job of p.here.
func (p *Planner) hold(j *job, value int32, slots uint32) {
	h := &p.here
	before := h.slots[value]
	h.slots[value] += slots
	if j.SpreadMax > 0 && before < j.SpreadMax && before+slots >= j.SpreadMax {
		h.full++
	}
	for i := range j.held {
		if j.held[i].value == value {
			j.held[i].slots += slots
			return
		}
	}
	j.held = append(j.held, holding{value, slots})
}

// saturated reports whether every value of j's spread label has its share. It is
// the job of p.here.
func (p *Planner) saturated(j *job) bool {
	return j.spread >= 0 && j.SpreadMax > 0 && p.here.full == len(p.spreads[j.spread].values)
}
