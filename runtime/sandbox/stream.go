package sandbox

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/dugnad/dugnad/runtime/task"
)

// stdinChunk bounds what is read from stdin at once.
const stdinChunk = 64 << 10

// aheadChunk is what is read ahead when a guest asks whether stdin is ready, or
// reads less: every read of the source costs a goroutine.
const aheadChunk = 4 << 10

// emptyReadsMax is how often a reader may return nothing and no error.
const emptyReadsMax = 100

// input is a guest's stdin. It is read by a goroutine of its own into a buffer
// of its own, so that a read can be abandoned.
type input struct {
	run    *run
	source io.Reader
	// short lets a read return less than was asked for.
	short bool
	// arrived and err are what the last finished read brought.
	arrived []byte
	err     error
	// busy is closed when the read that is under way ends.
	busy   chan struct{}
	result chan arrival
}

type arrival struct {
	bytes []byte
	err   error
}

// start begins a read of at most n bytes unless one is under way or its result
// is still there. It returns whether there is something to collect at once.
func (in *input) start(n int) (ready bool) {
	if in.source == nil {
		in.err = io.EOF
	}
	if in.err != nil || len(in.arrived) > 0 {
		return true
	}
	if in.busy == nil {
		in.busy, in.result = make(chan struct{}), make(chan arrival, 1)
		go readOnce(in.run, in.source, make([]byte, n), in.busy, in.result)
	}
	return false
}

// readOnce makes one read. It touches nothing of the run but its context.
func readOnce(r *run, source io.Reader, buf []byte, done chan<- struct{}, result chan<- arrival) {
	defer close(done)
	read := source.Read
	if c, ok := source.(ContextReader); ok {
		ctx := r.ctx
		read = func(p []byte) (int, error) { return c.ReadContext(ctx, p) }
	}
	for range emptyReadsMax {
		if n, err := read(buf); n > 0 || err != nil {
			result <- arrival{buf[:n], err}
			return
		}
	}
	result <- arrival{nil, io.ErrNoProgress}
}

// collect takes the result of a read that has ended.
func (in *input) collect() {
	a := <-in.result
	in.arrived, in.err, in.busy = a.bytes, a.err, nil
}

// Read implements io.Reader for the engine.
func (in *input) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if !in.start(min(max(len(p)-n, aheadChunk), stdinChunk)) {
			in.run.await(in.busy)
			in.collect()
		}
		k := copy(p[n:], in.arrived)
		in.arrived = in.arrived[k:]
		n += k
		if len(in.arrived) == 0 && in.err != nil {
			break
		}
		if in.short {
			break
		}
	}
	if n > 0 || in.err == nil || errors.Is(in.err, io.EOF) {
		return n, nil
	}
	// A read that was abandoned shall not look like a broken one.
	in.run.check()
	return 0, syscall.EIO
}

// output is a guest's stdout or stderr.
type output struct {
	run    *run
	target io.Writer
	// hold keeps what is written in held until release: the engine writes each
	// buffer of a vector by itself, and there may be a thousand of a byte.
	hold bool
	held []byte
}

// heldMax bounds what is held; what is longer gains nothing.
const heldMax = 64 << 10

// Write implements io.Writer for the engine.
func (o *output) Write(p []byte) (int, error) {
	if !o.hold || len(p) >= heldMax && len(o.held) == 0 {
		return o.pass(p)
	}
	if len(o.held)+len(p) > heldMax {
		if err := o.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) >= heldMax {
		return o.pass(p)
	}
	o.held = append(o.held, p...)
	return len(p), nil
}

// release ends hold.
func (o *output) release() error {
	o.hold = false
	return o.flush()
}

func (o *output) flush() error {
	if len(o.held) == 0 {
		return nil
	}
	held := o.held
	o.held = o.held[:0]
	_, err := o.pass(held)
	return err
}

// pass writes p. The write that crosses the output limit writes what fits and
// ends the attempt.
func (o *output) pass(p []byte) (int, error) {
	room := o.run.limits.OutputBytes - o.run.outputBytes
	fits := p[:min(uint64(len(p)), room)]
	n, err := o.write(fits)
	o.run.outputBytes += uint64(n)
	if err != nil {
		o.run.check()
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
			o.run.errno = errnoPipe
		}
		return n, syscall.EIO
	}
	if len(fits) < len(p) {
		panic(&stop{
			kind: task.OutputLimit, limit: "output", max: o.run.limits.OutputBytes,
			message: fmt.Sprintf("the output limit of %d bytes is reached", o.run.limits.OutputBytes),
		})
	}
	return n, nil
}

func (o *output) write(p []byte) (n int, err error) {
	if o.target == nil || len(p) == 0 {
		return len(p), nil
	}
	if c, ok := o.target.(ContextWriter); ok {
		o.run.wait(func() { n, err = c.WriteContext(o.run.ctx, p) })
		return n, err
	}
	copied := append([]byte(nil), p...)
	done, result := make(chan struct{}), make(chan error, 1)
	var written int
	go func() {
		defer close(done)
		var err error
		written, err = o.target.Write(copied)
		if err == nil && written < len(copied) {
			err = io.ErrShortWrite
		}
		result <- err
	}()
	o.run.await(done)
	err = <-result
	return min(max(written, 0), len(p)), err
}
