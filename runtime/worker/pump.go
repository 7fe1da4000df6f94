package worker

import (
	"errors"
	"io"
	"sync"
)

// outlet passes a guest's output on to a writer. What has arrived waits here,
// at most one window of it, so that the goroutine that reads the child's
// frames never waits for a writer.
type outlet struct {
	run        *run
	creditKind frameType
	goneKind   frameType
	target     io.Writer

	mu     sync.Mutex
	credit int
	buffer []byte
	spare  []byte
	// owed is what was passed on and not yet given back as credit.
	owed int
	// written is closed by the goroutine that writes, when there is one.
	written chan struct{}
}

func (o *outlet) init(r *run, creditKind, goneKind frameType, target io.Writer) {
	o.run, o.creditKind, o.goneKind, o.target, o.credit = r, creditKind, goneKind, target, windowBytes
}

// arrive takes data; an error means that the child sent more than it may.
func (o *outlet) arrive(data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.credit -= len(data); o.credit < 0 {
		return errWindow
	}
	if len(data) == 0 {
		return nil
	}
	o.buffer = append(o.buffer, data...)
	if o.written == nil {
		o.written = make(chan struct{})
		go o.write(o.written)
	}
	return nil
}

var errWindow = errors.Join(ErrProtocol, errors.New("more output than the window allows"))

// write passes on what has arrived until nothing is left.
func (o *outlet) write(written chan struct{}) {
	defer close(written)
	for {
		o.mu.Lock()
		data, target := o.buffer, o.target
		if len(data) == 0 {
			o.written = nil
			o.mu.Unlock()
			return
		}
		o.buffer, o.spare = o.spare[:0], nil
		o.mu.Unlock()
		failed := false
		if target != nil {
			_, err := target.Write(data)
			failed = err != nil
		}
		o.mu.Lock()
		if failed {
			o.target = nil
		}
		o.spare = data
		o.owed += len(data)
		due := 0
		if o.owed >= windowBytes/2 {
			due, o.owed = o.owed, 0
			o.credit += due
		}
		o.mu.Unlock()
		o.tell(failed, due)
	}
}

// tell sends the child what it needs to know. An error means that the child
// is gone, which the reader of its frames sees.
func (o *outlet) tell(failed bool, credit int) {
	out := o.run.worker.process.out
	if failed {
		_ = out.send(o.goneKind, o.run.id, nil)
	}
	if credit > 0 {
		_ = out.sendCredit(o.creditKind, o.run.id, credit)
	}
}

// idle returns a channel that is closed when everything that has arrived is
// written, nil when it is.
func (o *outlet) idle() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written
}

// inlet reads a task's stdin, no further ahead than the child has asked for.
type inlet struct {
	run    *run
	source io.Reader
	// skip is how much of source the child has already; read's own.
	skip int64

	mu      sync.Mutex
	credit  int
	started bool
	// granted has one element after credit changed.
	granted chan struct{}
	stopped chan struct{}
}

func newInlet(r *run, source io.Reader) *inlet {
	return &inlet{run: r, source: source, granted: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// grant adds credit; it reports false when that makes more than a window.
func (in *inlet) grant(n int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.credit += n; in.credit > windowBytes {
		return false
	}
	if !in.started {
		in.started = true
		go in.read()
	}
	notify(in.granted)
	return true
}

// resume has read begin behind what the child has, with the credit that the child
// has given; it reports false when it has begun.
func (in *inlet) resume(skip int64, credit int) bool {
	in.mu.Lock()
	began := in.started
	in.skip = skip
	in.mu.Unlock()
	return !began && (credit == 0 || in.grant(credit))
}

// stop makes read return after the Read that is under way.
func (in *inlet) stop() { close(in.stopped) }

// read reads and sends until stdin or the task ends.
func (in *inlet) read() {
	out, buffer := in.run.worker.process.out, make([]byte, 32<<10)
	if in.skip > 0 {
		// What is shorter than it was is at its end.
		_, _ = io.CopyN(io.Discard, in.source, in.skip)
	}
	for {
		in.mu.Lock()
		n := min(in.credit, len(buffer))
		in.mu.Unlock()
		if n == 0 {
			select {
			case <-in.granted:
				continue
			case <-in.stopped:
				return
			}
		}
		n, err := in.source.Read(buffer[:n])
		select {
		case <-in.stopped:
			return
		default:
		}
		in.mu.Lock()
		in.credit -= n
		in.mu.Unlock()
		if n > 0 && out.send(frameStdin, in.run.id, buffer[:n]) != nil {
			return
		}
		if err != nil {
			// A guest cannot tell a broken stdin from one that has ended.
			_ = out.send(frameStdinEnd, in.run.id, nil)
			return
		}
	}
}
