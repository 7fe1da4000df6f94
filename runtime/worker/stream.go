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

// tapeBytesMax bounds what is kept of one output stream of a task that may outlive
// its parent. A task that has put out more ends with it; one that is without a
// parent waits with what is more for the next one.
const tapeBytesMax = 512 << 10

// childOut is a guest's stdout or stderr in the child: what is written goes to
// the parent as fast as its credit allows.
type childOut struct {
	out  *sender
	kind frameType
	id   uint32

	// mu is held while a frame is sent, so that each byte goes either to a parent
	// or, with the tape, to the one after it.
	mu     sync.Mutex
	credit int
	gone   bool
	// changed has one element after credit, gone or away changed.
	changed chan struct{}

	// keeps says that what was written is kept on the tape, full that it was too
	// much and is not there.
	keeps, full bool
	tape        []byte
	// away says that what is written goes to the tape only: there is no parent, or
	// it has been sent only so much of the tape.
	away bool
	sent int
	// round counts the parents that are gone; more has one element after it, the
	// tape or credit has changed.
	round int
	more  chan struct{}
}

func newChildOut(out *sender, kind frameType, id uint32, keeps bool) *childOut {
	return &childOut{
		out: out, kind: kind, id: id, credit: windowBytes, keeps: keeps,
		changed: make(chan struct{}, 1), more: make(chan struct{}, 1),
	}
}

// WriteContext sends p and returns early when ctx ends. It is called by one
// goroutine at a time.
func (o *childOut) WriteContext(ctx context.Context, p []byte) (n int, err error) {
	for n < len(p) {
		k, err := o.put(p[n:min(len(p), n+dataBytesMax)])
		n += k
		switch {
		case err != nil:
			return n, err
		case k > 0:
			continue
		}
		select {
		case <-o.changed:
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
	}
	return n, nil
}

// Write implements io.Writer.
func (o *childOut) Write(p []byte) (int, error) { return o.WriteContext(context.Background(), p) }

// put sends as much of p as there is credit for, or keeps as much as there is room
// for while there is no parent.
func (o *childOut) put(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.gone:
		return 0, errGone
	case o.away:
		k := min(len(p), tapeBytesMax-len(o.tape))
		o.tape = append(o.tape, p[:k]...)
		notify(o.more)
		return k, nil
	case o.credit == 0:
		return 0, nil
	}
	p = p[:min(len(p), o.credit)]
	o.credit -= len(p)
	o.record(p)
	if err := o.out.send(o.kind, o.id, p); err != nil && (!o.keeps || o.full) {
		return 0, err
	}
	return len(p), nil
}

// record keeps what is about to be sent.
func (o *childOut) record(p []byte) {
	switch {
	case !o.keeps || o.full:
	case len(o.tape)+len(p) > tapeBytesMax:
		o.full, o.tape = true, nil
	default:
		o.tape = append(o.tape, p...)
	}
}

// grant adds credit; it reports false when that makes more than a window.
func (o *childOut) grant(n int) bool {
	o.mu.Lock()
	o.credit += n
	ok := o.credit <= windowBytes
	o.mu.Unlock()
	notify(o.changed)
	notify(o.more)
	return ok
}

// close makes every further write fail.
func (o *childOut) close() {
	o.mu.Lock()
	o.gone = true
	o.mu.Unlock()
	notify(o.changed)
}

// kept reports whether all that was written is on the tape, and its size.
func (o *childOut) kept() (bytes int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.tape), o.keeps && !o.full
}

// part is called when the parent is gone.
func (o *childOut) part() {
	o.mu.Lock()
	o.away = true
	o.round++
	o.mu.Unlock()
	notify(o.changed)
	notify(o.more)
}

// rewind is called when there is another parent, which is to be sent the tape from
// its beginning. It returns what replay needs to know.
func (o *childOut) rewind() (round int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent, o.credit = 0, windowBytes
	return o.round
}

// replay sends the tape, and has what is written from then on sent at once. It
// returns false when the parent is gone before that, or ctx ends.
func (o *childOut) replay(ctx context.Context, round int) bool {
	for {
		left, here := o.replaySome(round)
		if left == 0 || !here {
			return here
		}
		select {
		case <-o.more:
		case <-ctx.Done():
			return false
		}
	}
}

// replaySome sends as much of the tape as there is credit for, and returns how much
// is left. here says that the parent of the round is.
func (o *childOut) replaySome(round int) (left int, here bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.round != round {
		return 0, false
	}
	for o.sent < len(o.tape) && o.credit > 0 {
		k := min(len(o.tape)-o.sent, o.credit, dataBytesMax)
		// An error is the end of the connection, which its reader sees.
		_ = o.out.send(o.kind, o.id, o.tape[o.sent:o.sent+k])
		o.sent += k
		o.credit -= k
	}
	if left = len(o.tape) - o.sent; left == 0 {
		o.away = false
		notify(o.changed)
	}
	return left, true
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
	// keeps says that the task outlives its parent.
	keeps bool

	// mu is held while credit is sent: see childOut.
	mu      sync.Mutex
	buffer  []byte
	ended   bool
	asked   bool
	granted int   // what the parent may still send
	passed  int   // what was read since the last credit
	total   int64 // what has arrived
	away    bool  // there is no parent to ask
	closed  bool  // nobody reads any more
	changed chan struct{}
}

func newChildIn(out *sender, id uint32, keeps bool) *childIn {
	return &childIn{out: out, id: id, keeps: keeps, changed: make(chan struct{}, 1)}
}

// ReadContext reads what has arrived, waits when that is nothing, and gives up
// when ctx ends. It is called by one goroutine at a time.
func (in *childIn) ReadContext(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, ended, err := in.read(p)
		switch {
		case n > 0 || err != nil:
			return n, err
		case ended:
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

// read takes what is there and sends the credit for it.
func (in *childIn) read(p []byte) (n int, ended bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n = copy(p, in.buffer)
	in.buffer = in.buffer[n:]
	in.passed += n
	credit := 0
	switch {
	case in.ended || in.away:
	case !in.asked:
		in.asked, credit = true, windowBytes
	case in.passed >= windowBytes/2:
		credit, in.passed = in.passed, 0
	}
	if credit > 0 {
		in.granted += credit
		if err = in.out.sendCredit(frameStdinCredit, in.id, credit); in.keeps {
			err = nil // the next parent is told
		}
	}
	return n, in.ended && len(in.buffer) == 0, err
}

// arrive adds data from the parent.
func (in *childIn) arrive(data []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil
	}
	if in.granted -= len(data); in.granted < 0 || in.ended {
		return fmt.Errorf("%w: stdin of task %d: %d bytes more than asked for", ErrProtocol, in.id, -in.granted)
	}
	in.total += int64(len(data))
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

// close drops what arrives from now on.
func (in *childIn) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.buffer = true, nil
}

// part is called when the parent is gone.
func (in *childIn) part() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.away = true
}

// attach tells another parent how much of stdin is here, and asks it for more when
// that is needed.
func (in *childIn) attach() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := attached{StdinBytes: in.total, Credit: in.granted}
	if in.ended || in.closed {
		a.Credit = 0
	}
	in.away = false
	notify(in.changed)
	return in.out.sendJSON(frameAttached, in.id, a)
}
