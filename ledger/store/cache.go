package store

import "bytes"

// cacheValueBytesMax bounds a value that a cache takes.
const cacheValueBytesMax = 4 << 10

// cachedOverhead is about what a cached record takes beside its bytes.
const cachedOverhead = 96

// cache holds records that updates have read, as they are at the applied index
// of its generation. For a key whose newest version it has found in memory
// Badger still looks into every level, as an older index could have a newer
// version there. Only updates use a cache, under the store's writing: what a
// view reads is of an index of its own.
//
// The records are in two halves. What is used moves to the recent one; when that
// is full the other is forgotten and takes its place.
type cache struct {
	bytesMax      int64
	recent, older half
	// hits and misses are those since the meter has taken them.
	hits, misses int
}

type half struct {
	records map[string]*cached
	bytes   int64
}

// cached is a record.
type cached struct {
	key   string
	value []byte
}

func newCache(bytesMax int64) *cache {
	return &cache{bytesMax: bytesMax, recent: newHalf(), older: newHalf()}
}

func newHalf() half { return half{records: map[string]*cached{}} }

// get returns the value of key, nil when it is not held. It is valid until the
// next follow.
func (c *cache) get(key []byte) []byte {
	r := c.recent.records[string(key)]
	if r == nil {
		if r = c.older.take(key); r == nil {
			c.misses++
			return nil
		}
		c.insert(r)
	}
	c.hits++
	return r.value
}

// add takes in a record as it is at the applied index, unless it is too large or,
// nil, none. It keeps value.
func (c *cache) add(key, value []byte) {
	if value == nil || len(value) > cacheValueBytesMax {
		return
	}
	if r := (&cached{string(key), value}); r.bytes() <= c.bytesMax/2 {
		c.insert(r)
	}
}

// follow applies a write that is committed, if its record is held. It copies the
// value over the old one, which no transaction has any more.
func (c *cache) follow(w write) error {
	h := &c.recent
	r := h.records[string(w.key)]
	if r == nil {
		h = &c.older
		r = h.records[string(w.key)]
	}
	switch {
	case r == nil:
	case w.value != nil && len(w.value) <= cap(r.value):
		r.value = append(r.value[:0], w.value...)
	default:
		h.take(w.key)
		c.add(w.key, bytes.Clone(w.value))
	}
	return nil
}

func (c *cache) insert(r *cached) {
	if c.recent.bytes+r.bytes() > c.bytesMax/2 {
		c.older, c.recent = c.recent, newHalf()
	}
	c.recent.put(r)
}

func (r *cached) bytes() int64 { return int64(len(r.key)+cap(r.value)) + cachedOverhead }

func (h *half) put(r *cached) {
	h.records[r.key] = r
	h.bytes += r.bytes()
}

// take removes and returns a record, nil when it is not there.
func (h *half) take(key []byte) *cached {
	r := h.records[string(key)]
	if r != nil {
		delete(h.records, r.key)
		h.bytes -= r.bytes()
	}
	return r
}
