package cli

import (
	"runtime/metrics"
	"testing"
)

// TestWorkOver: memory is given back once after work, and not during it.
func TestWorkOver(t *testing.T) {
	var w work
	for i, step := range []struct {
		allocated uint64
		over      bool
	}{
		{20 << 20, false},  // It has started.
		{21 << 20, false},  // It rests, but there is little to give.
		{200 << 20, false}, // It works.
		{201 << 20, true},
		{202 << 20, false}, // It was given.
		{220 << 20, false},
		{221 << 20, false}, // Too little since.
		{240 << 20, false},
		{241 << 20, true},
	} {
		if got := w.over(step.allocated); got != step.over {
			t.Errorf("beat %d, %d MiB: %v", i, step.allocated>>20, got)
		}
	}
	sample := []metrics.Sample{{Name: allocatedMetric}}
	if metrics.Read(sample); sample[0].Value.Kind() != metrics.KindUint64 {
		t.Errorf("%s is of kind %v", allocatedMetric, sample[0].Value.Kind())
	}
}
