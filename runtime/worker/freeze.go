package worker

import (
	"context"
	"sync"
	"syscall"
	"time"
)

// Freeze stops the processes that compile, and those that begin to, until it is called
// with false: they keep what they have done, and the time is no part of
// CacheConfig.CompileTimeout. A context that ends ends one that is frozen, too.
func (c *Cache) Freeze(frozen bool) {
	k := &c.compiling
	k.mu.Lock()
	defer k.mu.Unlock()
	if frozen == k.frozen {
		return
	}
	k.frozen = frozen
	for p, left := range k.running {
		if left != nil {
			k.hold(p, left)
		}
	}
}

// hold stops a process and its time, or has both go on; under the locc.
func (c *compilers) hold(p *process, left *countdown) {
	left.hold(c.frozen)
	signal := syscall.SIGCONT
	if c.frozen {
		signal = syscall.SIGSTOP
	}
	// An error means that it has ended.
	_ = p.cmd.Process.Signal(signal)
}

// ready says that a process has begun and has so much time: from now on it is frozen
// with the others.
func (c *compilers) ready(p *process, left *countdown) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[p] = left
	if c.frozen {
		c.hold(p, left)
	}
}

// countdown ends a context after a time, of which that is no part in which it is held.
type countdown struct {
	cancel context.CancelFunc

	mu    sync.Mutex
	timer *time.Timer
	// left is what there is of the time, since since, which is zero while it is held.
	left  time.Duration
	since time.Time
}

// newCountdown returns a context that ends for a cause when a time is over, with a stop
// that ends it in any case.
func newCountdown(parent context.Context, left time.Duration, cause error) (ctx context.Context, c *countdown) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, &countdown{
		cancel: func() { cancel(context.Canceled) }, left: left, since: time.Now(),
		timer: time.AfterFunc(left, func() { cancel(cause) }),
	}
}

// stop ends the context and the time.
func (c *countdown) stop() {
	c.timer.Stop()
	c.cancel()
}

// hold has the time stand still, or go on.
func (c *countdown) hold(held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case held == c.since.IsZero():
	case held:
		c.timer.Stop()
		c.left, c.since = max(c.left-time.Since(c.since), 0), time.Time{}
	default:
		c.since = time.Now()
		c.timer.Reset(c.left)
	}
}
