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
	// restBeats how long it has rested when its work is over: until then the ledger's
	// store compacts. After longBeats memory is given back again, as it lets go of
	// its buffers one after the other.
	restBytes = 4 << 20
	restBeats = 4
	longBeats = 12
	// workBytes has been allocated since memory was given back last before it is
	// worth while again: it costs some 50 ms of processor time.
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
	// beats is for how long nothing much was allocated, in beats; again says that
	// memory is to be given back after longBeats.
	beats int
	again bool
}

// over takes in how much was ever allocated, and reports whether memory is to be
// given back.
func (w *work) over(allocated uint64) bool {
	w.beats++
	if allocated-w.last > restBytes {
		w.beats, w.again = 0, false
	}
	w.last = allocated
	switch {
	case w.beats >= restBeats && allocated-w.given >= workBytes:
		w.again = true
	case w.again && w.beats >= longBeats:
		w.again = false
	default:
		return false
	}
	w.given = allocated
	return true
}
