package worker

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/sandbox"
	"golang.org/x/sys/unix"
)

// ShareWhole is one processor core, ShareFree no bound: see SetShare.
const (
	ShareWhole = sandbox.ShareWhole
	ShareFree  = sandbox.ShareFree
)

// pace is what a worker's parent knows of its share.
type pace struct {
	mu sync.Mutex
	// bound says that a share was set, which is share.
	bound bool
	share uint32
	// frozenAt is since when it is 0, frozen for how long it was before.
	frozenAt time.Time
	frozen   time.Duration
}

// SetShare lets the tasks of the worker together use so much of the processors, in
// millionths of a core, from now on; at first there is no bound. 0 freezes them, and
// the time until that ends is no part of their timeouts. A child that is lost does
// not care.
func (w *Worker) SetShare(share uint32) {
	p := &w.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.bound && share == ShareFree || p.bound && share == p.share {
		return
	}
	now := time.Now()
	switch {
	case share == 0:
		p.frozenAt = now
	case p.bound && p.share == 0:
		p.frozen += now.Sub(p.frozenAt)
	}
	p.bound, p.share = true, share
	// An error is the end of the child, which its reader sees.
	_ = w.process.out.send(frameShare, 0, binary.LittleEndian.AppendUint32(nil, share))
}

// frozenFor is how long the share was 0 until now.
func (w *Worker) frozenFor() time.Duration {
	p := &w.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bound && p.share == 0 {
		return p.frozen + time.Since(p.frozenAt)
	}
	return p.frozen
}

// CPUTime is the processor time that the child has used, and an error when it is
// gone.
func (w *Worker) CPUTime() (time.Duration, error) {
	select {
	case <-w.gone:
		return 0, ErrClosed
	default:
		return processTime(w.process.pid)
	}
}

// SetShare is Worker.SetShare for the tasks of an adopted worker.
func (a *Adopted) SetShare(share uint32) { a.w.SetShare(share) }

// CPUTime is Worker.CPUTime of an adopted worker.
func (a *Adopted) CPUTime() (time.Duration, error) { return a.w.CPUTime() }

// processTime is the processor time that another process has used, by the number
// that Linux makes of its id for a clock of it.
func processTime(pid int) (time.Duration, error) {
	const (
		clockBits  = 3
		clockSched = 2
	)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<clockBits|clockSched, &ts); err != nil {
		return 0, fmt.Errorf("read processor time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// overdueAgain is the least wait before a task that was frozen is looked at again.
const overdueAgain = 10 * time.Millisecond

// overdue is a timer that kills the child when the task, which began at that time,
// has not ended a while after its timeout.
type overdue struct {
	r     *run
	begun time.Time
	// frozen is for how long its worker had been frozen before.
	frozen time.Duration

	mu    sync.Mutex
	timer *time.Timer
}

func (r *run) overdue(begun time.Time) *overdue {
	o := &overdue{r: r, begun: begun, frozen: r.worker.frozenFor()}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timer = time.AfterFunc(o.left(), o.expire)
	return o
}

func (o *overdue) left() time.Duration {
	return o.r.limits.Timeout + grace - time.Since(o.begun) + o.r.worker.frozenFor() - o.frozen
}

func (o *overdue) expire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if left := o.left(); left > 0 {
		o.timer.Reset(max(left, overdueAgain))
		return
	}
	o.r.overstay(stayedPastDeadline)
}

// Stop lets the task go on.
func (o *overdue) Stop() { o.timer.Stop() }

// compilers are the processes that compile; it adds up their processor time.
type compilers struct {
	mu sync.Mutex
	// running has the time of each process, nil of one that has not begun.
	running map[*process]*countdown
	// frozen says that they are stopped.
	frozen bool
	ended  time.Duration
}

func (c *compilers) begin(p *process) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = map[*process]*countdown{}
	}
	c.running[p] = nil
	return p
}

// end ends a process and keeps what it has used.
func (c *compilers) end(p *process) {
	p.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, p)
	c.ended += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// CompileTime is the processor time that compiling has taken until now, in this
// process's life.
func (c *Cache) CompileTime() time.Duration {
	now := c.CompilingTime()
	c.compiling.mu.Lock()
	defer c.compiling.mu.Unlock()
	return now + c.compiling.ended
}

// CompilingTime is the processor time of the processes that compile now.
func (c *Cache) CompilingTime() (sum time.Duration) {
	c.compiling.mu.Lock()
	defer c.compiling.mu.Unlock()
	for p := range c.compiling.running {
		// One that has ended meanwhile is none that compiles.
		if used, err := processTime(p.pid); err == nil {
			sum += used
		}
	}
	return sum
}
