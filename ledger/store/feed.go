package store

import (
	"slices"
	"sort"
)

// Batch is what one update changed. Nobody may change it.
type Batch struct {
	// Index is the update's.
	Index uint64
	// Changes are its writes, in the order of their keys, one for each key.
	Changes []Change
	bytes   int
}

// Change is one write.
type Change struct {
	Key []byte
	// Value is nil when the key was deleted.
	Value []byte
}

// batchOverhead is about what a Batch, and each Change, take beside their bytes.
const batchOverhead = 64

func newBatch(index uint64, o *overlay) Batch {
	b := Batch{Index: index, Changes: make([]Change, 0, o.count), bytes: batchOverhead*(1+o.count) + o.bytes}
	for _, chunk := range o.chunks {
		for _, w := range chunk {
			b.Changes = append(b.Changes, Change{Key: w.key[1:], Value: w.value})
		}
	}
	return b
}

// feed is the ring of the last batches. It belongs to the store's mu.
type feed struct {
	// batches hold everything after floor. What a reader was given stays as it
	// is: batches only grow at the end and are cut at the front.
	batches []Batch
	floor   uint64
	bytes   int
	// cut and cutBytes are what the array still holds in front of batches.
	cut, cutBytes int
}

func (f *feed) reset(floor uint64) { *f = feed{floor: floor} }

func (f *feed) add(b Batch, bytesMax, entriesMax int) {
	f.batches = append(f.batches, b)
	f.bytes += b.bytes
	cut := 0
	for cut < len(f.batches) && (f.bytes > bytesMax || len(f.batches)-cut > entriesMax) {
		f.bytes -= f.batches[cut].bytes
		f.cutBytes += f.batches[cut].bytes
		f.floor = f.batches[cut].Index
		cut++
	}
	f.batches = f.batches[cut:]
	// The array in front of the slice keeps what was cut alive: leave it when
	// that is a quarter of the ring.
	if f.cut += cut; f.cut > entriesMax/4 || f.cutBytes > bytesMax/4 {
		f.batches = slices.Clone(f.batches)
		f.cut, f.cutBytes = 0, 0
	}
}

func (f *feed) after(index uint64) ([]Batch, error) {
	if index < f.floor {
		return nil, ErrTooOld
	}
	i := sort.Search(len(f.batches), func(i int) bool { return f.batches[i].Index > index })
	return f.batches[i:len(f.batches):len(f.batches)], nil
}

// Changes returns what the updates after an index changed, oldest first; empty
// when there was none yet: Wait for after + 1. It returns ErrTooOld when the
// ring does not reach back to after. The ring is empty after Open and Restore.
func (s *Store) Changes(after uint64) ([]Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	return s.feed.after(after)
}
