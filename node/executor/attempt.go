package executor

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/runtime/task"
)

// prepare waits until the job's objects are here and its module is ready to run.
// It returns false when there is nothing to run: the lease is refused then, its
// tasks are, or it has ended.
func (l *lease) prepare() bool {
	select {
	case <-l.job.ready:
	case <-l.ctx.Done():
		return false
	}
	err := l.job.err
	if err == nil {
		began := time.Now()
		l.setPreparing(true)
		defer l.setPreparing(false)
		l.image, err = l.e.config.Sandbox.Prepare(l.ctx, string(l.job.spec.Tenant), l.job.spec.Module, l.job.openModule)
		l.traceCompile(began, err)
	}
	var refusal interface{ Refusal() string }
	switch {
	case err == nil:
		return true
	case l.ctx.Err() != nil:
	case errors.As(err, &refusal):
		l.endTasks(ClassRefused, refusal.Refusal())
	case errors.Is(err, ErrInput):
		l.endTasks(ClassRefused, err.Error())
	case errors.Is(err, ErrUnread):
		l.endTasks(ClassUnread, err.Error())
	default:
		cause := ledger.CauseModule
		if errors.Is(err, ErrInputBytes) {
			cause = ledger.CauseFull
			l.e.metrics.limit("input_bytes")
		}
		l.e.refuse(l, cause, err)
	}
	return false
}

func (l *lease) setPreparing(is bool) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.preparing = is
}

// endTasks ends the attempts at all tasks of the lease without running them: no
// node would, or none that is tried now can.
func (l *lease) endTasks(class Class, message string) {
	l.e.log.Warn("job cannot be run", "job", l.job.id, "reason", message)
	for l.e.gather.admit(l.ctx) == nil {
		indexes := l.pop()
		if len(indexes) == 0 {
			return
		}
		for _, index := range indexes {
			l.ended(ended{l: l, index: index, class: class, outcome: task.Outcome{Kind: task.Refused, Message: message}})
		}
	}
}

// cutOff leaves a task that was taken out of the lease, and that this node was asked to
// give back, to another node.
func (l *lease) cutOff(index uint32, reason string) {
	l.e.log.Info("task was cut short, to be run again", "job", l.job.id, "epoch", l.epoch, "task", index, "reason", reason)
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.cut++
	l.handBack(false, ledger.CauseReleased)
}

// ended is a task that has ended and is not in the journal yet.
type ended struct {
	l         *lease
	index     uint32
	outcome   task.Outcome
	class     Class
	terminal  bool
	out, errs output
}

// ended takes the outcome of a task. One that was only cut short because the
// lease goes back, or this process ends, is not counted: the task begins anew.
func (l *lease) ended(end ended) {
	e := l.e
	cause := context.Cause(l.ctx)
	if end.class == ClassNone {
		end.class = ClassOf(&end.outcome)
	}
	l.traceAttempt(&end)
	short := end.class == ClassCancelled || end.class == ClassWorkerLost
	switch {
	case errors.Is(cause, errStale):
		end.close()
		return
	case cause != nil && !errors.Is(cause, errStopped) && short, cause == nil && end.class == ClassCancelled:
		end.close()
		l.cutOff(end.index, end.outcome.Message)
		return
	}
	if end.class == ClassNone || end.class.State() == ledger.TaskFailed {
		if err := errors.Join(end.out.err, end.errs.err); err != nil && !errors.Is(err, ErrOutput) {
			end.unkept(err)
		}
	}
	end.terminal = end.class.State() == ledger.TaskFailed && end.class != ClassWorkerLost && end.class != ClassUnkept && end.class != ClassUnread &&
		l.job.program.Terminal(end.outcome)
	e.metrics.tasks.WithLabelValues(end.class.String()).Inc()
	e.metrics.fuel.Add(float64(end.outcome.Usage.Fuel))
	e.mu.Lock()
	l.open++
	l.job.ended++
	l.job.fuel += end.outcome.Usage.Fuel
	e.mu.Unlock()
	e.gather.add(end)
}

// unkept says that the task's output is lost on this node.
func (end *ended) unkept(err error) {
	end.class, end.terminal = ClassUnkept, false
	end.outcome.Message = "the output could not be kept: " + err.Error()
}

func (end *ended) close() {
	end.out.close()
	end.errs.close()
}

// needsResult reports whether somebody may want to know more of the task than
// that it succeeded.
func (end *ended) needsResult() bool {
	return end.class != ClassNone || end.out.spool != nil || end.errs.spool != nil || len(end.outcome.LimitsHit) > 0
}

// usage is what the attempt costs. Memory counts at its peak for as long as the
// attempt took.
func (end *ended) usage() ledger.Usage {
	u := end.outcome.Usage
	wall := uint64(max(u.WallTime, 0))
	hi, lo := bits.Mul64(u.MemoryPeakBytes, wall)
	seconds := ^uint64(0)
	if hi < uint64(time.Second) {
		seconds, _ = bits.Div64(hi, lo, uint64(time.Second))
	}
	return ledger.Usage{Fuel: u.Fuel, MemoryByteSeconds: seconds, WallNanos: wall, EgressBytes: u.EgressBytes}
}

// output is a stream of a task's output. It takes nothing until something is
// written.
type output struct {
	e   *Executor
	max uint64
	// feed is woken by each write. It guards spool, which is set by the first one.
	feed  *feed
	spool *result.Spool
	// err is why something that was written is not there.
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	if o.spool == nil {
		if len(p) == 0 {
			return 0, nil
		}
		s, err := result.NewSpool(result.SpoolConfig{
			Dir: o.e.config.Dir, MemoryBytes: o.e.config.SpoolMemoryBytes, BytesMax: int64(o.max),
		})
		if err != nil {
			o.err = err
			return 0, err
		}
		o.feed.change(func() { o.spool = s })
	}
	n, err := o.spool.Write(p)
	o.feed.wake()
	switch {
	case errors.Is(err, result.ErrSpoolFull):
		o.e.metrics.limit("output_bytes")
		err = fmt.Errorf("%w: %d bytes", ErrOutput, o.max)
		o.err = err
	case err != nil:
		o.err = err
	}
	return n, err
}

// stream returns what was written; nil is nothing.
func (o *output) stream() result.Stream {
	if o.spool == nil {
		return nil
	}
	return o.spool
}

func (o *output) close() {
	if o.spool != nil {
		_ = o.spool.Close() // it has no name on disk, nothing is left
	}
}
