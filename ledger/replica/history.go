package replica

import (
	"fmt"
	"sort"
	"sync"
)

// history keeps the recent records in memory and tells when there are more.
// Its last index is what is applied and visible.
type history struct {
	mu sync.Mutex
	// records are those of the indices above floor, in order; not every index
	// has one.
	records     []record
	floor, last uint64
	bytes       int
	bytesMax    int
	// generation grows when the state was replaced: who has followed until then
	// has to start again.
	generation uint64
	// more is closed when last or generation changes.
	more chan struct{}
}

func newHistory(applied uint64, bytesMax int) *history {
	return &history{floor: applied, last: applied, bytesMax: bytesMax, more: make(chan struct{})}
}

// append adds records, whose indices ascend from above last.
func (h *history) append(records []record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// A record that no frame holds, and all before it, nobody can resume from.
	unsendable := uint64(0)
	for _, r := range records {
		if len(r.data) > recordBytesMax {
			unsendable = r.index
		}
		h.records = append(h.records, r)
		h.bytes += len(r.data) + recordOverhead
		h.last = r.index
	}
	drop := 0
	for drop < len(h.records) && (h.bytes > h.bytesMax || h.records[drop].index <= unsendable) {
		h.bytes -= len(h.records[drop].data) + recordOverhead
		h.floor = h.records[drop].index
		drop++
	}
	if drop > 0 {
		clear(h.records[:drop])
		h.records = h.records[drop:]
	}
	h.signal()
}

const (
	// recordOverhead is what a record costs beside its data.
	recordOverhead = 48
	// recordBytesMax is what a frame holds of a single record.
	recordBytesMax = frameBytesMax - 16
)

// reset forgets everything: the state is now that of index.
func (h *history) reset(index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records, h.bytes, h.floor, h.last = nil, 0, index, index
	h.generation++
	h.signal()
}

func (h *history) signal() {
	close(h.more)
	h.more = make(chan struct{})
}

// cursor is a place in a history.
type cursor struct{ index, generation uint64 }

// cursor returns the place behind index.
func (h *history) cursor(index uint64) cursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return cursor{index, h.generation}
}

// next returns records behind c, about bytesMax of them, and a channel that is
// closed when there is more. It fails with ErrTooOld when
// records behind c are gone.
func (h *history) next(c *cursor, bytesMax int) ([]record, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.generation != h.generation {
		return nil, h.more, fmt.Errorf("resume behind %d, the state was replaced: %w", c.index, ErrTooOld)
	}
	if c.index < h.floor {
		return nil, h.more, fmt.Errorf("resume behind %d, kept from %d: %w", c.index, h.floor, ErrTooOld)
	}
	first := sort.Search(len(h.records), func(i int) bool { return h.records[i].index > c.index })
	end, size := first, 0
	for end < len(h.records) && (end == first || size+len(h.records[end].data) <= bytesMax) {
		size += len(h.records[end].data)
		end++
	}
	if end > first {
		c.index = h.records[end-1].index
	}
	return append([]record(nil), h.records[first:end]...), h.more, nil
}

// state returns the last index and a channel that is closed when it changes.
func (h *history) state() (uint64, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, h.more
}
