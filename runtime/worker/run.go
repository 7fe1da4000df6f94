package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// reasons why a child was killed on behalf of a task.
const (
	stayed int32 = iota
	stayedPastDeadline
	stayedPastCancel
)

// errOverstayed is why the child is killed when a task does not end.
var errOverstayed = errors.New("a task did not end when it should")

// run is one task in the parent.
type run struct {
	worker  *Worker
	id      uint32
	begin   time.Time
	limits  task.Limits
	outputs [2]outlet // stdout, stderr
	input   *inlet    // nil without stdin
	// outbound is the task's HTTP requests.
	outbound outbound
	// keyed says that the child keeps the task for a later parent.
	keyed bool
	// streamed is how much has come of stdout and stderr; the reading goroutine's own.
	streamed [2]int
	output   uint64 // bytes of output so far; the reading goroutine's own
	// stayed tells that the child was killed because this task did not end.
	stayed             atomic.Int32
	mu                 sync.Mutex
	started, cancelled bool
	// noticed says that its guest is to know that it has to give way.
	noticed bool
	// place is that in its series.
	series *series
	place  int
	// before is the task that this one runs after, nil for the first of a series.
	before *run
	// done is closed when outcome is set, or returned: the task never began.
	done     chan struct{}
	outcome  task.Outcome
	returned bool
}

// Run runs the image as one task and returns when its outcome is known and
// its output has been passed on. It never fails in another way than by its
// outcome; a child that is lost is an outcome of kind WorkerLost.
func (w *Worker) Run(ctx context.Context, image Image, spec task.Spec, streams Streams) (o task.Outcome) {
	w.RunSeries(ctx, image, []Task{{Spec: spec, Streams: streams}}, func(_ int, one task.Outcome) { o = one }, nil)
	return o
}

// takeSlot waits for room for one more task.
func (w *Worker) takeSlot(ctx context.Context) error {
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return ErrClosed
	}
	select {
	case w.slots <- struct{}{}:
		return nil
	default:
	}
	w.metrics.limitReached("tasks")
	select {
	case w.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.gone:
		return w.lostErr
	}
}

// waitOutcome is the outcome of a task that did not start.
func (w *Worker) waitOutcome(err error, format string, args ...any) task.Outcome {
	var lost *LostError
	doing := fmt.Sprintf(format, args...)
	switch {
	case errors.Is(err, errImage):
		return task.Outcome{Kind: task.Refused, Message: err.Error()}
	case errors.As(err, &lost), errors.Is(err, ErrClosed):
		return task.Outcome{Kind: task.WorkerLost, Message: err.Error()}
	default:
		return task.Outcome{Kind: task.Cancelled, Message: "cancelled while " + doing}
	}
}

// handle takes one frame of this task; an error means that the child lies.
func (r *run) handle(f frame) error {
	switch f.kind {
	case frameStdout, frameStderr:
		if r.output += uint64(len(f.payload)); r.output > r.limits.OutputBytes {
			return fmt.Errorf("%w: task %d wrote %d bytes, its limit is %d", ErrProtocol, f.id, r.output, r.limits.OutputBytes)
		}
		r.note(int(f.kind-frameStdout), len(f.payload))
		return r.outputs[f.kind-frameStdout].arrive(f.payload)
	case frameStdinCredit:
		n, err := f.credit()
		if err != nil {
			return err
		}
		if r.input == nil || !r.input.grant(n) {
			return fmt.Errorf("%w: task %d asks for more stdin than a window", ErrProtocol, f.id)
		}
	case frameHTTPOpen, frameHTTPBody, frameHTTPBodyEnd, frameHTTPCredit, frameHTTPClose:
		return r.outbound.handle(f)
	case frameAttached:
		return r.resume(f)
	case frameReturned:
		if r.before == nil || r.output > 0 {
			return fmt.Errorf("%w: task %d is given back, but it was to begin", ErrProtocol, f.id)
		}
		if !r.before.returned {
			if r.series.gave {
				return fmt.Errorf("%w: task %d is given back out of turn", ErrProtocol, f.id)
			}
			r.series.gave = true
			r.series.returned <- r.place
		}
		r.returned = true
		r.end()
	case frameOutcome:
		if r.before != nil && !r.before.ended() {
			return fmt.Errorf("%w: task %d has an outcome before the one that it runs after", ErrProtocol, f.id)
		}
		var o task.Outcome
		if err := f.decode(&o); err != nil {
			return err
		}
		if !slices.Contains(task.Kinds(), o.Kind) || o.Usage.WallTime < 0 || o.Usage.CPUTime < 0 {
			return fmt.Errorf("%w: task %d has an outcome that makes no sense", ErrProtocol, f.id)
		}
		r.finish(o)
	}
	return nil
}

// note counts a stream, and that it has become too long for the child to keep.
func (r *run) note(stream, bytes int) {
	was := r.streamed[stream]
	if r.streamed[stream] += bytes; r.keyed && was <= tapeBytesMax && was+bytes > tapeBytesMax {
		r.worker.metrics.limitReached("kept_output")
	}
}

// ended reports whether the child has said how the task ended.
func (r *run) ended() bool {
	select {
	case <-r.done:
		return !r.returned
	default:
		return false
	}
}

// finish sets the outcome. It is called once.
func (r *run) finish(o task.Outcome) {
	r.outcome = o
	r.end()
}

// end ends what waits for the task.
func (r *run) end() {
	close(r.done)
	r.outbound.end()
	if r.input != nil {
		r.input.stop()
	}
}

// connect gives the task its streams, before it is known to the reader of frames.
func (r *run) connect(s *Streams) {
	r.outputs[0].init(r, frameStdoutCredit, frameStdoutGone, s.Stdout)
	r.outputs[1].init(r, frameStderrCredit, frameStderrGone, s.Stderr)
	r.outbound.init(r, s.Outbound)
	if s.Stdin != nil {
		r.input = newInlet(r, s.Stdin)
	}
}

// cancel asks the child to end the task and kills it when that takes too long.
func (r *run) cancel() {
	time.AfterFunc(grace, func() { r.overstay(stayedPastCancel) })
	r.mu.Lock()
	started := r.started
	r.cancelled = true
	r.mu.Unlock()
	if started {
		// An error means that the child is gone, which ends the task as well.
		_ = r.worker.process.out.send(frameCancel, r.id, nil)
	}
}

// over reports whether the task has ended, or was given back.
func (r *run) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// giveNotice has the child tell the guest that it has to give way.
func (r *run) giveNotice() {
	r.mu.Lock()
	started := r.started
	r.noticed = true
	r.mu.Unlock()
	if started {
		// An error means that the child is gone.
		_ = r.worker.process.out.send(frameNotice, r.id, nil)
	}
}

// overstay kills the child unless the task has ended.
func (r *run) overstay(why int32) {
	select {
	case <-r.done:
	default:
		r.stayed.CompareAndSwap(stayed, why)
		r.worker.process.killFor(errOverstayed)
	}
}

// lostOutcome is the outcome of a task whose child has died.
func (r *run) lostOutcome(cause error) task.Outcome {
	o := task.Outcome{Kind: task.WorkerLost, Message: cause.Error()}
	o.Usage.WallTime = time.Since(r.begin)
	o.Usage.OutputBytes = r.output
	switch r.stayed.Load() {
	case stayedPastDeadline:
		o.Kind = task.DeadlineExceeded
		o.Message = fmt.Sprintf("the timeout of %s passed; the worker process did not stop the task and was killed", r.limits.Timeout)
	case stayedPastCancel:
		o.Kind = task.Cancelled
		o.Message = "cancelled; the worker process did not stop the task and was killed"
	}
	return o
}

// drain waits until nothing of the guest's requests is left, and until what it wrote
// is written, as long as that makes sense: see Streams.
func (r *run) drain(ctx context.Context) {
	r.outcome.Usage.EgressBytes = r.outbound.wait()
	for i := range r.outputs {
		idle := r.outputs[i].idle()
		if idle == nil {
			continue
		}
		switch r.outcome.Kind {
		case task.DeadlineExceeded, task.Cancelled, task.WorkerLost:
		default:
			select {
			case <-idle:
				continue
			case <-ctx.Done():
			}
		}
		timer := time.NewTimer(grace)
		select {
		case <-idle:
		case <-timer.C:
			r.worker.metrics.limitReached("drain")
		}
		timer.Stop()
	}
}
