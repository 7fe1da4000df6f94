package sandbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ShareWhole is a share of one processor core, ShareFree no bound at all. Shares
// are millionths of a core; 0 freezes the guests.
const (
	ShareWhole uint32 = 1_000_000
	ShareFree  uint32 = 1<<32 - 1
)

const (
	// shareBurst is how much of its share a process may save up while its guests
	// wait for something else.
	shareBurst = 100 * time.Millisecond
	// shareRest bounds how long a guest rests before the account is looked at again,
	// frozenRest how long one that is frozen is not told that it may go on.
	shareRest  = 50 * time.Millisecond
	frozenRest = time.Hour
)

// Throttle keeps the guests of this process to a share of the processors: each
// rests between two portions for as long as the process has used more processor
// time than it was given. What the process uses for them, to collect garbage and
// to move their streams, counts as theirs. The nil Throttle holds nobody up. Its
// methods are safe for concurrent use.
type Throttle struct {
	// bound says that there is something to wait for.
	bound atomic.Bool

	mu    sync.Mutex
	share uint32
	// left is the processor time that may be used now, below zero what was used
	// too much; at and used are the clocks when it was reckoned up.
	left     time.Duration
	at       time.Time
	used     time.Duration
	frozenAt time.Time
	frozen   time.Duration
	// changed is closed, and replaced, when the share is another one.
	changed chan struct{}
}

// NewThrottle returns a Throttle without a bound.
func NewThrottle() *Throttle {
	return &Throttle{share: ShareFree, changed: make(chan struct{})}
}

// ownTime is the processor time that this process has used.
func ownTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Set gives another share, which counts at once.
func (t *Throttle) Set(share uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if share == t.share {
		return
	}
	now := time.Now()
	if t.share == ShareFree {
		t.left, t.at, t.used = 0, now, ownTime()
	} else {
		t.reckon(now)
	}
	switch {
	case share == 0:
		t.frozenAt = now
	case t.share == 0:
		t.frozen += now.Sub(t.frozenAt)
	}
	t.share = share
	t.bound.Store(share != ShareFree)
	close(t.changed)
	t.changed = make(chan struct{})
}

// reckon brings the account up to date.
func (t *Throttle) reckon(now time.Time) {
	used := ownTime()
	t.left += portionOf(now.Sub(t.at), t.share) - (used - t.used)
	t.left = min(t.left, portionOf(shareBurst, t.share))
	t.at, t.used = now, used
}

// portionOf returns a share of a time.
func portionOf(d time.Duration, share uint32) time.Duration {
	return time.Duration(float64(d) * float64(share) / float64(ShareWhole))
}

// Frozen returns for how long the share was 0, altogether.
func (t *Throttle) Frozen() time.Duration {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.share == 0 {
		return t.frozen + time.Since(t.frozenAt)
	}
	return t.frozen
}

// wait returns when a guest may go on, or ctx ends.
func (t *Throttle) wait(ctx context.Context) {
	if t == nil || !t.bound.Load() {
		return
	}
	for {
		rest, changed := t.look()
		if rest == 0 {
			return
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// look returns how long a guest has to rest, zero when it may go on, and what is
// closed when that may be another time.
func (t *Throttle) look() (rest time.Duration, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.share == ShareFree {
		return 0, nil
	}
	if t.reckon(time.Now()); t.left >= 0 && t.share > 0 {
		return 0, nil
	}
	if t.share == 0 {
		return frozenRest, t.changed
	}
	owed := time.Duration(float64(-t.left) * float64(ShareWhole) / float64(t.share))
	return min(max(owed, time.Microsecond), shareRest), t.changed
}

// deadline ends a context when an attempt's time is up, of which the time that its
// process was frozen is no part.
type deadline struct {
	run    *run
	cancel context.CancelFunc

	mu    sync.Mutex
	timer *time.Timer
}

// deadlineAgain is the least wait before a deadline that was put off is looked at
// again.
const deadlineAgain = 10 * time.Millisecond

// limit returns a context that ends at the attempt's deadline, or with ctx.
func (r *run) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.throttle == nil {
		return context.WithDeadline(ctx, r.clock.begin.Add(r.limits.Timeout))
	}
	limited, cancel := context.WithCancel(ctx)
	d := &deadline{run: r, cancel: cancel}
	d.mu.Lock()
	d.timer = time.AfterFunc(r.limits.Timeout, d.expire)
	d.mu.Unlock()
	return limited, func() {
		d.timer.Stop()
		cancel()
	}
}

func (d *deadline) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if left := d.run.left(); left > 0 {
		d.timer.Reset(max(left, deadlineAgain))
		return
	}
	d.cancel()
}

// left is the time to the attempt's deadline.
func (r *run) left() time.Duration {
	held := time.Duration(0)
	if r.throttle != nil {
		held = r.throttle.Frozen() - r.frozen
	}
	return r.limits.Timeout - time.Since(r.clock.begin) + held
}
