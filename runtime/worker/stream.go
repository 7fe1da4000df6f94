package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// errGone is what a guest's write gets when nobody reads the stream any more.
var errGone = errors.New("nobody reads this stream any more")

// childOut is a guest's stdout or stderr in the child: what is written goes to
// the parent as fast as its credit allows.
type childOut struct {
	out  *sender
	kind frameType
	id   uint32

	mu     sync.Mutex
	credit int
	gone   bool
	// changed has one element after credit or gone changed.
	changed chan struct{}
}

func newChildOut(out *sender, kind frameType, id uint32) *childOut {
	return &childOut{out: out, kind: kind, id: id, credit: windowBytes, changed: make(chan struct{}, 1)}
}

// WriteContext sends p and returns early when ctx ends. It is called by one
// goroutine at a time.
func (o *childOut) WriteContext(ctx context.Context, p []byte) (n int, err error) {
	for n < len(p) {
		k, err := o.take(ctx, min(len(p)-n, dataBytesMax))
		if err != nil {
			return n, err
		}
		if err := o.out.send(o.kind, o.id, p[n:n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// Write implements io.Writer.
func (o *childOut) Write(p []byte) (int, error) { return o.WriteContext(context.Background(), p) }

// take waits for credit and takes at most want of it.
func (o *childOut) take(ctx context.Context, want int) (int, error) {
	for {
		o.mu.Lock()
		k, gone := min(want, o.credit), o.gone
		o.credit -= k
		o.mu.Unlock()
		switch {
		case gone:
			return 0, errGone
		case k > 0:
			return k, nil
		}
		select {
		case <-o.changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// grant adds credit; it reports false when that makes more than a window.
func (o *childOut) grant(n int) bool {
	o.mu.Lock()
	o.credit += n
	ok := o.credit <= windowBytes
	o.mu.Unlock()
	notify(o.changed)
	return ok
}

// close makes every further write fail.
func (o *childOut) close() {
	o.mu.Lock()
	o.gone = true
	o.mu.Unlock()
	notify(o.changed)
}

// notify leaves one element in the channel.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// childIn is a guest's stdin in the child. It asks the parent for data when
// the guest first reads, so that a guest that does not read leaves the
// parent's stdin alone.
type childIn struct {
	out *sender
	id  uint32

	mu      sync.Mutex
	buffer  []byte
	ended   bool
	asked   bool
	granted int // what the parent may still send
	passed  int // what was read since the last credit
	changed chan struct{}
}

func newChildIn(out *sender, id uint32) *childIn {
	return &childIn{out: out, id: id, changed: make(chan struct{}, 1)}
}

// ReadContext reads what has arrived, waits when that is nothing, and gives up
// when ctx ends. It is called by one goroutine at a time.
func (in *childIn) ReadContext(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, credit, ended := in.read(p)
		if credit > 0 {
			if err := in.out.sendCredit(frameStdinCredit, in.id, credit); err != nil {
				return n, err
			}
		}
		if n > 0 {
			return n, nil
		}
		if ended {
			return 0, io.EOF
		}
		select {
		case <-in.changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// Read implements io.Reader.
func (in *childIn) Read(p []byte) (int, error) { return in.ReadContext(context.Background(), p) }

// read takes what is there and returns the credit to send for it.
func (in *childIn) read(p []byte) (n, credit int, ended bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n = copy(p, in.buffer)
	in.buffer = in.buffer[n:]
	in.passed += n
	switch {
	case in.ended:
	case !in.asked:
		in.asked, credit = true, windowBytes
	case in.passed >= windowBytes/2:
		credit, in.passed = in.passed, 0
	}
	in.granted += credit
	return n, credit, in.ended && len(in.buffer) == 0
}

// arrive adds data from the parent.
func (in *childIn) arrive(data []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.granted -= len(data); in.granted < 0 || in.ended {
		return fmt.Errorf("%w: stdin of task %d: %d bytes more than asked for", ErrProtocol, in.id, -in.granted)
	}
	if len(in.buffer) == 0 {
		in.buffer = nil // what was read before shall not stay in memory
	}
	in.buffer = append(in.buffer, data...)
	notify(in.changed)
	return nil
}

// end marks the end of stdin.
func (in *childIn) end() {
	in.mu.Lock()
	in.ended = true
	in.mu.Unlock()
	notify(in.changed)
}
