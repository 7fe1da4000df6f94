package p2ptest

import (
	"io"
	"os"
	"sync"
	"time"
)

// pipe is one direction of a stream: a bounded buffer, of which the reader sees
// what has arrived.
type pipe struct {
	latency time.Duration

	mu       sync.Mutex
	changed  *sync.Cond
	buffer   []byte
	start    int // of the oldest byte
	held     int // bytes written and not yet read
	arrived  int // of them, what the reader may have
	ended    bool
	readErr  error
	writeErr error
	read     deadline
	write    deadline
	// blocked collects what would arrive in stalled.
	blocked bool
	stalled parcel
}

// parcel is what arrives together. Its parts can be merged in any order,
// because bytes are told by their number.
type parcel struct {
	bytes int
	ended bool
	// then are called, without locks, after the arrival.
	then []func()
}

func newPipe(size int, latency time.Duration, blocked bool) *pipe {
	p := &pipe{latency: latency, buffer: make([]byte, size), blocked: blocked}
	p.changed = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.readErr != nil:
			return 0, p.readErr
		case p.read.expired:
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case p.arrived > 0:
			return p.take(b), nil
		case p.ended && p.held == 0:
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

func (p *pipe) take(b []byte) int {
	b = b[:min(len(b), p.arrived)]
	n := copy(b, p.buffer[p.start:])
	n += copy(b[n:], p.buffer)
	p.start = (p.start + n) % len(p.buffer)
	p.held -= n
	p.arrived -= n
	p.changed.Broadcast()
	return n
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0
	for {
		switch {
		case p.writeErr != nil:
			return sum, p.writeErr
		case p.write.expired:
			return sum, os.ErrDeadlineExceeded
		case len(b) == 0:
			return sum, nil
		case p.held < len(p.buffer):
			n := p.put(b)
			b = b[n:]
			sum += n
			p.send(parcel{bytes: n})
			continue
		}
		p.changed.Wait()
	}
}

func (p *pipe) put(b []byte) int {
	b = b[:min(len(b), len(p.buffer)-p.held)]
	end := (p.start + p.held) % len(p.buffer)
	n := copy(p.buffer[end:], b)
	n += copy(p.buffer, b[n:])
	p.held += n
	return n
}

// send has the parcel arrive after the latency. What it calls must not be
// called with the lock held, so a parcel with calls goes through sendThen.
func (p *pipe) send(of parcel) {
	if p.latency > 0 {
		time.AfterFunc(p.latency, func() {
			p.mu.Lock()
			then := p.land(of)
			p.mu.Unlock()
			run(then)
		})
		return
	}
	p.land(of)
}

// sendThen sends a parcel that may hold calls.
func (p *pipe) sendThen(of parcel) {
	p.mu.Lock()
	if p.latency > 0 {
		p.send(of)
		p.mu.Unlock()
		return
	}
	then := p.land(of)
	p.mu.Unlock()
	run(then)
}

// land has the parcel arrive now, unless the link is blocked, and returns what
// is to be called without the lock.
func (p *pipe) land(of parcel) []func() {
	if p.blocked {
		p.stalled.bytes += of.bytes
		p.stalled.ended = p.stalled.ended || of.ended
		p.stalled.then = append(p.stalled.then, of.then...)
		return nil
	}
	p.arrived += of.bytes
	p.ended = p.ended || of.ended
	p.changed.Broadcast()
	return of.then
}

// block says whether the link is blocked; when it no longer is, what was held
// up arrives. It returns what is to be called without locks.
func (p *pipe) block(blocked bool) []func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = blocked
	if blocked {
		return nil
	}
	then := p.land(p.stalled)
	p.stalled = parcel{}
	return then
}

// failRead has reads fail with err from now on, unless they did before.
func (p *pipe) failRead(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr == nil {
		p.readErr = err
		p.changed.Broadcast()
	}
}

// failWrite has writes fail with err from now on, unless they did before.
func (p *pipe) failWrite(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writeErr == nil {
		p.writeErr = err
		p.changed.Broadcast()
	}
}

func run(then []func()) {
	for _, f := range then {
		f()
	}
}

// deadline is one of a pipe's two.
type deadline struct {
	timer   *time.Timer
	expired bool
}

// setDeadline moves d, one of p's, to t; the zero time takes it away.
func (p *pipe) setDeadline(d *deadline, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	left := time.Until(t)
	d.expired = !t.IsZero() && left <= 0
	p.changed.Broadcast()
	if t.IsZero() || d.expired {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if d.timer == timer {
			d.expired = true
			p.changed.Broadcast()
		}
	})
	d.timer = timer
}
