package ledger

import (
	"slices"
	"sort"
)

func (c *RegisterNode) apply(s *session) Result {
	switch {
	case !validNode(c.Node):
		return refuse(CodeInvalid, "node")
	case len(c.Labels) > LabelsMax:
		return outside("labels", uint64(len(c.Labels)), 0, LabelsMax)
	case len(c.Features) > FeaturesMax:
		return outside("features", uint64(len(c.Features)), 0, FeaturesMax)
	}
	if r := c.Capacity.check(); r.Code != CodeOK {
		return r
	}
	sort.Slice(c.Labels, func(i, j int) bool { return c.Labels[i].Name < c.Labels[j].Name })
	for i, l := range c.Labels {
		if !validText(l.Name) || len(l.Value) > TextBytesMax || i > 0 && l.Name == c.Labels[i-1].Name {
			return refuse(CodeInvalid, "label "+clip(l.Name))
		}
		if l.Name == LabelNode && l.Value != string(c.Node) {
			return refuse(CodeInvalid, "label "+LabelNode)
		}
	}
	sort.Strings(c.Features)
	for _, f := range c.Features {
		if !validText(f) {
			return refuse(CodeInvalid, "feature "+clip(f))
		}
	}
	n := s.node(c.Node)
	if n != nil && n.Key != [32]byte{} && n.Key != c.Key {
		return refuse(CodeNodeKey, string(c.Node))
	}
	if n == nil {
		n = &heldNode{Node: Node{ID: c.Node, Changed: s.now}}
		s.nodes.put(c.Node, n)
	}
	if n.State == NodeUnreachable || n.State == NodeGone {
		s.setNodeState(n, NodeUp)
	}
	n.Capacity, n.Labels, n.Features, n.Key = c.Capacity, c.Labels, c.Features, c.Key
	return Result{}
}

func (c *SetNodeState) apply(s *session) Result {
	n := s.node(c.Node)
	if n == nil {
		return refuse(CodeNodeUnknown, string(clip(c.Node)))
	}
	if c.State >= nodeStates {
		return outside("state", uint64(c.State), 0, uint64(nodeStates)-1)
	}
	for i, from := range c.From {
		if from >= nodeStates || i > 0 && from <= c.From[i-1] {
			return refuse(CodeInvalid, "from")
		}
	}
	if r := c.checkWithin(); r.Code != CodeOK {
		return r
	}
	switch {
	case n.State == c.State:
		n.Until = c.until(s.now)
	case len(c.From) > 0 && !slices.Contains(c.From, n.State):
		return refuse(CodeNodeState, n.State.String())
	default:
		s.setNodeState(n, c.State)
		n.Until = c.until(s.now)
	}
	return Result{}
}

// checkWithin refuses a deadline of a node that is not to drain, and one that is out
// of range.
func (c *SetNodeState) checkWithin() Result {
	most := uint64(0)
	if c.State == NodeDraining {
		most = uint64(DrainNanosMax)
	}
	if c.WithinNanos < 0 || uint64(c.WithinNanos) > most {
		return outside("within_nanos", uint64(max(c.WithinNanos, 0)), 0, most)
	}
	return Result{}
}

// until returns when what runs is to be handed back; zero is never.
func (c *SetNodeState) until(now Time) Time {
	if c.WithinNanos == 0 {
		return 0
	}
	return now + Time(c.WithinNanos)
}

func (c *RemoveNode) apply(s *session) Result {
	n := s.node(c.Node)
	switch {
	case n == nil:
		return refuse(CodeNodeUnknown, string(clip(c.Node)))
	case n.Leases > 0:
		return over(CodeNodeBusy, "leases", uint64(n.Leases), 0)
	}
	if n.State == NodeGone {
		s.disarm(n.Changed, timerNode, []byte(n.ID))
	}
	n.gone = true
	return Result{}
}

// setNodeState changes the state. A node that was given up and comes back keeps
// the leases that have not been taken from it yet: they run until they expire.
func (s *session) setNodeState(n *heldNode, state NodeState) {
	if n.State == NodeGone {
		s.disarm(n.Changed, timerNode, []byte(n.ID))
	}
	n.State, n.Changed, n.Until = state, s.now, 0
	if state == NodeGone && n.Leases > 0 {
		s.later(errand{timerNode, n.Changed, string(n.ID)})
	}
}

// takeLeases gives up the leases of a node that is gone, at most steps of them,
// and returns how many.
func (s *session) takeLeases(id NodeID, steps int) int {
	keys := s.keys(prefixLease(id), steps)
	for _, key := range keys {
		var l Lease
		s.load(key, &l)
		s.lose(&l, CauseGone)
	}
	return len(keys)
}

// check refuses more than what the limits allow.
func (r Resources) check() Result {
	for _, limit := range []struct {
		what    string
		n, high uint64
	}{
		{"memory_bytes", r.MemoryBytes, AmountMax},
		{"fuel_rate", r.FuelRate, AmountMax},
		{"scratch_bytes", r.ScratchBytes, AmountMax},
		{"slots", uint64(r.Slots), NodeSlotsMax},
	} {
		if limit.n > limit.high {
			return outside(limit.what, limit.n, 0, limit.high)
		}
	}
	return Result{}
}

// label returns the value of a label and whether the node has it.
func (n *Node) label(name string) (string, bool) {
	i := sort.Search(len(n.Labels), func(i int) bool { return n.Labels[i].Name >= name })
	if i < len(n.Labels) && n.Labels[i].Name == name {
		return n.Labels[i].Value, true
	}
	return "", false
}

// Meets reports whether the node satisfies the constraint.
func (n *Node) Meets(c Constraint) bool {
	value, has := n.label(c.Label)
	if c.Not {
		return !has || c.Value != "" && value != c.Value
	}
	return has && value == c.Value
}

// Offers reports whether the node's runtime has the feature.
func (n *Node) Offers(feature string) bool {
	i := sort.SearchStrings(n.Features, feature)
	return i < len(n.Features) && n.Features[i] == feature
}

// validNode asks for printable ASCII without spaces.
func validNode(n NodeID) bool {
	for i := range len(n) {
		if n[i] <= ' ' || n[i] > '~' {
			return false
		}
	}
	return len(n) >= 1 && len(n) <= 128
}

func validText(s string) bool { return s != "" && len(s) <= TextBytesMax }

// clip shortens a text from a command for an answer.
func clip[S ~string](s S) S { return s[:min(len(s), 128)] }
