package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restBeat is how often a node looks whether it rests.
	restBeat = 10 * time.Second
	// restBytes is what a node that rests allocates in that time at most, and
	// workBytes what has been allocated since memory was given back last before it
	// is worth while again: it costs some 50 ms of processor time. Half of it is
	// what the ledger's store takes to compact once the work is over.
	restBytes = 4 << 20
	workBytes = 32 << 20
)

// allocatedMetric counts the bytes that were ever allocated on the heap.
const allocatedMetric = "/gc/heap/allocs:bytes"

// rest gives the memory back to the system that was needed for work, once the
// work is over: by itself the Go runtime keeps it for many minutes. It ends with
// ctx.
func rest(ctx context.Context) {
	tick := time.NewTicker(restBeat)
	defer tick.Stop()
	var w work
	sample := []metrics.Sample{{Name: allocatedMetric}}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if metrics.Read(sample); w.over(sample[0].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}

// work tells work from rest by what is allocated.
type work struct {
	// last was allocated at the beat before, given when memory was given back.
	last, given uint64
}

// over takes in how much was ever allocated, and reports whether work is over.
func (w *work) over(allocated uint64) bool {
	resting := allocated-w.last <= restBytes
	w.last = allocated
	if !resting || allocated-w.given < workBytes {
		return false
	}
	w.given = allocated
	return true
}
