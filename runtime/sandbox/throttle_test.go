package sandbox

import (
	"context"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// TestThrottle: what a process has used too much it rests for, at the rate of its
// share; without a bound nobody rests, and frozen nobody goes on.
func TestThrottle(t *testing.T) {
	none := (*Throttle)(nil)
	none.wait(t.Context())
	if none.Frozen() != 0 {
		t.Error("no throttle was frozen")
	}
	th := NewThrottle()
	if rest, _ := th.look(); rest != 0 {
		t.Errorf("without a bound a guest rests %s", rest)
	}
	th.Set(ShareWhole / 4)
	th.left = -time.Millisecond - portionOf(time.Hour, ShareWhole/4)
	if rest, _ := th.look(); rest != shareRest {
		t.Errorf("after an hour too much a guest rests %s, want %s", rest, shareRest)
	}
	th.left, th.at = 0, time.Now().Add(-time.Hour)
	if rest, _ := th.look(); rest != 0 || th.left > portionOf(shareBurst, ShareWhole/4) {
		t.Errorf("after an hour of rest a guest rests %s, and has saved %s", rest, th.left)
	}
	th.Set(0)
	rest, changed := th.look()
	if rest != frozenRest {
		t.Errorf("frozen a guest rests %s", rest)
	}
	before := th.Frozen()
	th.Set(0)
	th.Set(ShareFree)
	<-changed
	after := th.Frozen()
	if th.wait(t.Context()); after < before || th.Frozen() != after {
		t.Errorf("it was frozen for %s, then %s, then %s", before, after, th.Frozen())
	}
}

// TestThrottledOutcome: shares change nothing of what a guest does or pays; one that is
// frozen from the first begins when that ends, and ends when it is told to.
func TestThrottledOutcome(t *testing.T) {
	th := NewThrottle()
	m := load(t, open(t, func(c *Config) { c.Throttle = th }), metered(t, program(loopForever).bytes()))
	spec := task.Spec{Limits: task.Limits{Fuel: 40_000_000}}
	free := m.Run(t.Context(), spec, Streams{})
	th.Set(ShareWhole / 2)
	half := m.Run(t.Context(), spec, Streams{})
	if free.Kind != task.OutOfFuel || half.Kind != free.Kind || half.Usage.Fuel != free.Usage.Fuel {
		t.Errorf("free: %+v\nwith a half: %+v", free, half)
	}
	th.Set(0)
	ended := make(chan task.Outcome, 2)
	go func() { ended <- m.Run(t.Context(), spec, Streams{}) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := m.Run(ctx, spec, Streams{}); o.Kind != task.Cancelled {
		t.Errorf("frozen and told to end: %+v", o)
	}
	th.Set(ShareFree)
	if o := <-ended; o.Kind != task.OutOfFuel || o.Usage.Fuel != free.Usage.Fuel {
		t.Errorf("frozen for a while: %+v", o)
	}
	// A deadline passes also for a guest that rests.
	th.Set(1)
	spec.Limits = task.Limits{Timeout: 50 * time.Millisecond}
	if o := m.Run(t.Context(), spec, Streams{}); o.Kind != task.DeadlineExceeded {
		t.Errorf("with next to nothing: %+v", o)
	}
}
