package ledger

// cache holds records of one table that a command has touched; they are
// written once, at its end, in the order in which they were first touched.
type cache[K comparable, V any] struct {
	records map[K]*V
	order   []K
}

// find returns the record, loading it when it is met for the first time; nil
// when there is none.
func (c *cache[K, V]) find(key K, load func(*V) bool) *V {
	if v, ok := c.records[key]; ok {
		return v
	}
	v := new(V)
	if !load(v) {
		v = nil
	}
	c.put(key, v)
	return v
}

func (c *cache[K, V]) put(key K, v *V) {
	if c.records == nil {
		c.records = make(map[K]*V)
	}
	if _, ok := c.records[key]; !ok {
		c.order = append(c.order, key)
	}
	c.records[key] = v
}
