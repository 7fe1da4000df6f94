package warrant

import "container/list"

// recent remembers what was used last, by a hash, and not more than limit of it.
type recent[V any] struct {
	limit int
	items map[[32]byte]*list.Element
	order list.List // of remembered, the one that was used last in front
}

type remembered[V any] struct {
	sum   [32]byte
	value V
}

func (r *recent[V]) get(sum [32]byte) (v V, ok bool) {
	at, ok := r.items[sum]
	if !ok {
		return v, false
	}
	r.order.MoveToFront(at)
	return at.Value.(remembered[V]).value, true
}

func (r *recent[V]) put(sum [32]byte, v V) {
	if r.items == nil {
		r.items = map[[32]byte]*list.Element{}
	}
	if at, ok := r.items[sum]; ok {
		at.Value = remembered[V]{sum, v}
		return
	}
	r.items[sum] = r.order.PushFront(remembered[V]{sum, v})
	if len(r.items) > r.limit {
		delete(r.items, r.order.Remove(r.order.Back()).(remembered[V]).sum)
	}
}

func (r *recent[V]) count() int { return len(r.items) }
