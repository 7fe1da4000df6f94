package cli

import (
	"runtime/metrics"
	"testing"
)

// TestWorkOver: memory is given back after work, once more when the rest is long, and
// not during it.
func TestWorkOver(t *testing.T) {
	var w work
	now := uint64(0)
	for i, step := range []struct {
		allocated uint64 // in this beat
		rests     int    // beats of rest that follow, before the last one
		over      bool   // at the last one
	}{
		{20 << 20, restBeats - 1, false}, // It rests, but there is little to give.
		{200 << 20, restBeats - 2, false},
		{200 << 20, restBeats - 1, true},
		{2 << 20, longBeats - restBeats - 2, true}, // It has rested for long.
		{2 << 20, 2 * longBeats, false},
		{25 << 20, restBeats - 1, false},
		{10 << 20, restBeats - 1, true},
		{10 << 20, 2 * longBeats, false}, // It works before it has rested for long.
	} {
		now += step.allocated
		if w.over(now) {
			t.Errorf("step %d: work is over in the middle of it", i)
		}
		for range step.rests {
			if w.over(now) {
				t.Errorf("step %d: work is over too early", i)
			}
		}
		if got := w.over(now); got != step.over {
			t.Errorf("step %d: work is over: %v", i, got)
		}
	}
	sample := []metrics.Sample{{Name: allocatedMetric}}
	if metrics.Read(sample); sample[0].Value.Kind() != metrics.KindUint64 {
		t.Errorf("%s is of kind %v", allocatedMetric, sample[0].Value.Kind())
	}
}
