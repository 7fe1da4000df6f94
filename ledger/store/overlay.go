package store

import (
	"bytes"
	"slices"
)

// overlayChunk bounds one chunk of an overlay.
const overlayChunk = 256

// write is one pending write: a nil value deletes the key.
type write struct{ key, value []byte }

// overlay holds the writes of one update, in order. It is a list of sorted
// chunks, so that neither a write in the middle nor a scan touches all of it.
type overlay struct {
	chunks [][]write
	count  int
	// bytes is the sum of the writes' sizes.
	bytes int64
	arena arena
}

// get returns the pending write of key, or nil.
func (o *overlay) get(key []byte) *write {
	if c, i, ok := o.find(key); ok {
		return &o.chunks[c][i]
	}
	return nil
}

// put stores value under key. It copies both.
func (o *overlay) put(key, value []byte) {
	value = o.arena.copy(value)
	c, i, ok := o.find(key)
	if ok {
		w := &o.chunks[c][i]
		o.bytes += int64(len(value)) - int64(len(w.value))
		w.value = value
		return
	}
	w := write{o.arena.copy(key), value}
	o.count++
	o.bytes += w.size()
	if c == len(o.chunks) {
		if c == 0 {
			o.chunks = append(o.chunks, []write{w})
			return
		}
		c--
		i = len(o.chunks[c])
	}
	chunk := slices.Insert(o.chunks[c], i, w)
	o.chunks[c] = chunk
	if len(chunk) > overlayChunk {
		half := len(chunk) / 2
		// The end of the list grows mostly: leave that chunk nearly empty.
		if c == len(o.chunks)-1 && i == len(chunk)-1 {
			half = len(chunk) - 1
		}
		right := slices.Clone(chunk[half:])
		o.chunks[c] = slices.Clip(chunk[:half])
		o.chunks = slices.Insert(o.chunks, c+1, right)
	}
}

// each calls f with every write, in order, until f fails.
func (o *overlay) each(f func(w write) error) error {
	for _, chunk := range o.chunks {
		for _, w := range chunk {
			if err := f(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// find returns where key is, or the place of the first key after it.
func (o *overlay) find(key []byte) (chunk, at int, ok bool) {
	chunk, _ = slices.BinarySearchFunc(o.chunks, key, func(c []write, key []byte) int {
		return bytes.Compare(c[len(c)-1].key, key)
	})
	if chunk == len(o.chunks) {
		return chunk, 0, false
	}
	at, ok = slices.BinarySearchFunc(o.chunks[chunk], key, func(w write, key []byte) int {
		return bytes.Compare(w.key, key)
	})
	return chunk, at, ok
}

// from returns a cursor at the first write that is not below key.
func (o *overlay) from(key []byte) cursor {
	c, i, _ := o.find(key)
	return cursor{o, c, i}
}

// cursor walks an overlay that does not change meanwhile.
type cursor struct {
	overlay   *overlay
	chunk, at int
}

// peek returns the write at the cursor, or nil at the end.
func (c *cursor) peek() *write {
	if c.chunk == len(c.overlay.chunks) {
		return nil
	}
	return &c.overlay.chunks[c.chunk][c.at]
}

// next moves on.
func (c *cursor) next() {
	if c.at++; c.at == len(c.overlay.chunks[c.chunk]) {
		c.chunk, c.at = c.chunk+1, 0
	}
}

// arena keeps copies of short slices in blocks, instead of each by itself.
type arena struct {
	block []byte
	// made is the size of the last block.
	made int
}

// The blocks of an arena double from one size to the other; what is longer than
// a quarter of the larger is by itself.
const (
	arenaBlockMin = 1 << 10
	arenaBlockMax = 32 << 10
)

// copy returns a copy of b, nil for nil.
func (a *arena) copy(b []byte) []byte {
	switch {
	case b == nil:
		return nil
	case len(b) > arenaBlockMax/4:
		return append(make([]byte, 0, len(b)), b...)
	}
	for a.block == nil || len(a.block)+len(b) > cap(a.block) {
		a.made = min(max(2*a.made, arenaBlockMin), arenaBlockMax)
		a.block = make([]byte, 0, a.made)
	}
	from := len(a.block)
	a.block = append(a.block, b...)
	return a.block[from:len(a.block):len(a.block)]
}
