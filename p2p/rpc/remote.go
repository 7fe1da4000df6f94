package rpc

import (
	"container/list"
	"context"
	"sync"

	"github.com/dugnad/dugnad/p2p"
)

// remote is a member that is called: the line to it, and the calls that wait
// their turn.
type remote struct {
	endpoint *Endpoint
	id       p2p.NodeID
	// users counts the calls and watches that hold on to it. Guarded by the
	// endpoint's lock.
	users int

	mu       sync.Mutex
	inFlight int
	bytes    int
	watches  int
	waiting  list.List // of *waiter
	line     *outbound
	opening  *opening
}

// waiter is a call that waits for its turn.
type waiter struct {
	bytes int
	// granted is closed when it has been counted as in flight.
	granted chan struct{}
}

// opening is an attempt at opening a line, which many calls may wait for.
type opening struct {
	done chan struct{}
	line *outbound
	err  error
}

// use returns the remote for a member, to be given back by release.
func (e *Endpoint) use(id p2p.NodeID) *remote {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.remotes[id]
	if r == nil {
		r = &remote{endpoint: e, id: id}
		e.remotes[id] = r
	}
	r.users++
	return r
}

func (e *Endpoint) release(r *remote) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.users--; r.users == 0 {
		delete(e.remotes, r.id)
	}
}

// acquire counts a call with a request of so many bytes as in flight, in turn.
func (r *remote) acquire(ctx context.Context, bytes int) *Error {
	r.mu.Lock()
	if r.waiting.Len() == 0 && r.fits(bytes) {
		r.take(bytes)
		r.mu.Unlock()
		return nil
	}
	m := r.endpoint.metrics
	if r.waiting.Len() >= r.endpoint.config.QueueMax {
		r.mu.Unlock()
		m.limits.WithLabelValues("queue").Inc()
		return fail(CodeBusy, "%d calls to this member wait already", r.endpoint.config.QueueMax)
	}
	w := &waiter{bytes, make(chan struct{})}
	place := r.waiting.PushBack(w)
	r.mu.Unlock()
	m.queued.Inc()
	defer m.queued.Dec()
	var err *Error
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		err = ended(ctx)
	case <-r.endpoint.ctx.Done():
		err = &Error{Code: CodeClosed}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-w.granted:
		r.put(bytes)
	default:
		r.waiting.Remove(place)
		// Smaller ones may have waited behind it.
		r.grant()
	}
	return err
}

// done says that an acquired call is no longer in flight.
func (r *remote) done(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(bytes)
}

func (r *remote) put(bytes int) {
	r.inFlight--
	r.bytes -= bytes
	r.grant()
}

func (r *remote) grant() {
	for place := r.waiting.Front(); place != nil; place = r.waiting.Front() {
		w := place.Value.(*waiter)
		if !r.fits(w.bytes) {
			return
		}
		r.waiting.Remove(place)
		r.take(w.bytes)
		close(w.granted)
	}
}

func (r *remote) fits(bytes int) bool {
	return r.inFlight < r.endpoint.config.InFlightMax && r.bytes+bytes <= FlightBytesMax
}

func (r *remote) take(bytes int) {
	r.inFlight++
	r.bytes += bytes
}

// get returns the line, which it opens when there is none.
func (r *remote) get(ctx context.Context) (*outbound, error) {
	r.mu.Lock()
	if r.line != nil {
		defer r.mu.Unlock()
		return r.line, nil
	}
	o := r.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		r.endpoint.use(r.id) // until the line ends, whoever waits for it
		if !r.endpoint.start(func() { r.open(o) }) {
			r.endpoint.release(r)
			r.mu.Unlock()
			return nil, &Error{Code: CodeClosed}
		}
		r.opening = o
	}
	r.mu.Unlock()
	select {
	case <-o.done:
		return o.line, o.err
	case <-ctx.Done():
		return nil, ended(ctx)
	}
}

// open opens the line for all that wait, and stays with it until it ends.
func (r *remote) open(o *opening) {
	e := r.endpoint
	defer e.release(r)
	ctx, cancel := context.WithTimeout(e.ctx, e.config.OpenTimeMax)
	stream, err := e.config.Network.Open(ctx, r.id, Protocol)
	cancel()
	if err != nil {
		o.err = failBy(CodeUnavailable, err)
		if e.ctx.Err() != nil {
			o.err = &Error{Code: CodeClosed}
		}
	} else if line := newOutbound(e, stream); e.keep(line.line) {
		o.line = line
	} else {
		line.reset()
		o.err = &Error{Code: CodeClosed}
	}
	r.mu.Lock()
	r.line, r.opening = o.line, nil
	r.mu.Unlock()
	close(o.done)
	if o.line == nil {
		return
	}
	e.metrics.streams.WithLabelValues("opened").Inc()
	reason := o.line.run(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.line = nil
	})
	e.drop(o.line.line)
	e.metrics.streams.WithLabelValues("lost").Inc()
	if e.ctx.Err() == nil {
		e.log.Info("stream to member ended", "peer", r.id, "error", reason)
	}
}
