package replica

import (
	"math"
	"sync"
)

// tree is this member's place among the followers. Raft's members are at depth
// 0; a follower is deeper than the one that it streams from. A member that has
// children never becomes deeper: it lets them go first. So depth falls along
// every chain of parents, and no chain closes to a loop.
type tree struct {
	mu sync.Mutex
	// attached tells that there is a fresh source: a leader or a parent.
	attached bool
	depth    int
	parent   string
	children map[string]*child
}

// child is a follower that streams from here.
type child struct {
	id, address string
	c           *conn
}

// depthMax bounds depth; no tree of this fan-out comes near it.
const depthMax = 1 << 16

// attach sets this member's place. Children that a greater depth forbids are
// sent away.
func (t *tree) attach(depth int, parent string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if depth > t.depth {
		t.dismiss()
	}
	t.depth, t.parent, t.attached = depth, parent, true
}

// detach says that there is no source any more.
func (t *tree) detach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attached, t.parent = false, ""
}

// disown sends all children away; this member may then go anywhere.
func (t *tree) disown() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dismiss()
}

func (t *tree) dismiss() {
	for id, k := range t.children {
		_ = k.c.Close()
		delete(t.children, id)
	}
}

// depthLimit returns the least depth that a new parent must not have: while
// there are children the parent must be above this member's own depth.
func (t *tree) depthLimit() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.children) == 0 {
		return math.MaxInt32
	}
	return t.depth
}

// adopt takes a child, unless this member has no source, is too deep, or has
// fanOut children; then it names them.
func (t *tree) adopt(k *child, below, fanOut int) (depth int, addresses []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.children[k.id]
	if t.attached && t.depth < below && t.depth < depthMax && (was != nil || len(t.children) < fanOut) {
		if was != nil {
			_ = was.c.Close()
		}
		t.children[k.id] = k
		return t.depth, nil, nil
	}
	for _, other := range t.children {
		addresses = append(addresses, other.address)
	}
	if !t.attached || t.depth >= below || t.depth >= depthMax {
		return t.depth, addresses, errUnattached
	}
	return t.depth, addresses, errFull
}

// release forgets k, if it is still the child of its name.
func (t *tree) release(k *child) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.children[k.id] == k {
		delete(t.children, k.id)
	}
}

// place returns what others may know.
func (t *tree) place() (depth, children int, parent string, attached bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.depth, len(t.children), t.parent, t.attached
}
