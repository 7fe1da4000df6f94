package placement

import "github.com/dugnad/dugnad/ledger"

// index finds classes by what their nodes declare: lists in ascending order.
type index struct {
	built    bool
	features map[string][]int32
	// names has the classes with a label, whatever its value.
	names  map[string][]int32
	labels map[ledger.Label][]int32
	// bounds has the classes that are given a secret which is not for all.
	bounds map[int32][]int32
}

// classesBy returns the index, which is made when a demand first needs it.
func (p *Planner) classesBy() *index {
	x := &p.index
	if x.built {
		return x
	}
	if x.features == nil {
		x.features = make(map[string][]int32)
		x.names = make(map[string][]int32)
		x.labels = make(map[ledger.Label][]int32)
		x.bounds = make(map[int32][]int32)
	}
	x.built = true
	for c := range p.classes {
		n := p.classes[c].node
		for _, f := range n.Features {
			enter(x.features, f, int32(c))
		}
		for _, l := range n.Labels {
			enter(x.names, l.Name, int32(c))
			enter(x.labels, l, int32(c))
		}
		for _, b := range p.boundTo[n.ID] {
			enter(x.bounds, b, int32(c))
		}
	}
	return x
}

func (x *index) clear() {
	x.built = false
	clear(x.features)
	clear(x.names)
	clear(x.labels)
	clear(x.bounds)
}

// enter adds a class to one of the lists. Nothing says that a node names a
// feature only once.
func enter[K comparable](lists map[K][]int32, k K, c int32) {
	if list := lists[k]; !endsWith(list, c) {
		lists[k] = append(list, c)
	}
}
