package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// inbound is the handler's side of a line. The fields below cancel are guarded
// by the line's lock.
type inbound struct {
	*line
	server *server
	guest  *guest
	// ctx ends with the line.
	ctx    context.Context
	cancel context.CancelFunc

	calls map[uint64]*served
	last  uint64
	// inFlight, bytes and watches are what the caller has under way, by both
	// sides' count.
	inFlight, bytes, watches int
}

// served is one call, or one watch, at its handler.
type served struct {
	in     *inbound
	id     uint64
	method *method
	watch  bool
	began  time.Time
	total  int
	body   []byte
	// arrived is how much of the request counts as in flight.
	arrived int
	// refused is known to the reader only: what still comes is skipped.
	refused bool
	ctx     context.Context
	cancel  context.CancelFunc
	out     outgoing

	// reserved and state are guarded by the server's lock.
	state    state
	reserved int

	// credit is how far a watch may go on. Guarded by the line's lock.
	credit int
	// moved is signalled when credit came or a message was written.
	moved chan struct{}
	// overflow is the error of a message that was too large.
	overflow *Error
}

// accept serves a stream until it ends.
func (s *server) accept(stream p2p.Stream) {
	e := s.endpoint
	in := &inbound{line: newLine(stream, e.config.StallTimeMax), server: s, calls: make(map[uint64]*served)}
	in.taken = in.wrote
	in.ctx, in.cancel = context.WithCancel(e.ctx)
	defer in.cancel()
	if !e.keep(in.line) {
		return
	}
	defer e.drop(in.line)
	e.metrics.streams.WithLabelValues("accepted").Inc()
	in.guest = s.enter(stream.Remote(), in)
	defer s.leave(in.guest, in)
	reason := in.run()
	if e.ctx.Err() == nil {
		e.log.Info("stream of member ended", "peer", stream.Remote(), "error", reason)
	}
}

// run moves frames both ways until the line ends, and returns why.
func (in *inbound) run() error {
	written := in.writes(in.server.endpoint)
	reason := in.read()
	in.cancel()
	if errors.Is(reason, ErrProtocol) {
		in.server.endpoint.metrics.streams.WithLabelValues("protocol_error").Inc()
	}
	reason = in.wind(reason, written)
	in.mu.Lock()
	left := in.calls
	in.calls = make(map[uint64]*served)
	in.mu.Unlock()
	for _, c := range left {
		in.server.withdraw(c)
	}
	return reason
}

// read takes the requests in.
func (in *inbound) read() error {
	for {
		h, err := in.next()
		if err != nil {
			return err
		}
		switch h.kind {
		case kindCall, kindWatch:
			err = in.request(h)
		case kindBody:
			err = in.more(h)
		case kindCancel:
			err = in.forget(h)
		case kindCredit:
			err = in.credit(h)
		case kindGoodbye:
			return in.goodbye(h)
		default:
			err = fail(CodeProtocol, "frame kind %d from who calls", h.kind)
		}
		if err != nil {
			return err
		}
	}
}

// request takes in the first frame of a call, or a watch.
func (in *inbound) request(h header) error {
	b, err := in.prefix(h, requestHeadBytesMax)
	if err != nil {
		return err
	}
	head, n, err := decodeRequestHead(b)
	if err != nil {
		return err
	}
	if err := in.skip(n); err != nil {
		return err
	}
	n = h.length - n
	c := &served{in: in, id: h.id, watch: h.kind == kindWatch, began: time.Now(), total: head.length}
	c.method = in.server.endpoint.caller(head.method)
	if err := in.add(c); err != nil {
		return err
	}
	if refusal := in.server.check(c); refusal != nil {
		in.server.refuse(c, refusal)
		return in.skip(n)
	}
	if head.left > 0 {
		c.ctx, c.cancel = context.WithTimeout(in.ctx, head.left)
	} else {
		c.ctx, c.cancel = context.WithCancel(in.ctx)
	}
	return in.fill(c, n)
}

// add books a call as in flight.
func (in *inbound) add(c *served) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if c.id <= in.last {
		return fail(CodeProtocol, "call %d after call %d", c.id, in.last)
	}
	in.last = c.id
	switch {
	case c.watch && in.watches >= WatchesMax:
		return fail(CodeProtocol, "more than %d watches", WatchesMax)
	case c.watch:
		in.watches++
		c.credit, c.moved = WindowBytes, make(chan struct{}, 1)
	case in.inFlight >= InFlightMax:
		return fail(CodeProtocol, "more than %d calls in flight", InFlightMax)
	default:
		in.inFlight++
	}
	in.calls[c.id] = c
	return nil
}

// remove takes a call out. It is called with the lock held; who removed a call
// ends it.
func (in *inbound) remove(c *served) bool {
	if in.calls[c.id] != c {
		return false
	}
	delete(in.calls, c.id)
	in.drop(&c.out)
	if c.watch {
		in.watches--
	} else {
		in.inFlight--
	}
	in.bytes -= c.arrived
	return true
}

// find returns the call of a frame that is not its first; nil when the call has
// ended meanwhile.
func (in *inbound) find(id uint64) (*served, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if id == 0 || id > in.last {
		return nil, fail(CodeProtocol, "frame of call %d, which was not made", id)
	}
	return in.calls[id], nil
}

// more takes in a further frame of a request.
func (in *inbound) more(h header) error {
	c, err := in.find(h.id)
	switch {
	case err != nil:
		return err
	case c == nil || c.refused:
		return in.skip(h.length)
	case h.length == 0 || len(c.body) == c.total:
		return fail(CodeProtocol, "more of a request that is complete")
	}
	return in.fill(c, h.length)
}

// fill takes in n bytes of a request; with the last of them it can be handled.
func (in *inbound) fill(c *served, n int) error {
	s := in.server
	if n > c.total-len(c.body) || c.watch && n < c.total {
		return fail(CodeProtocol, "%d bytes of a request that lacks %d", n, c.total-len(c.body))
	}
	if !s.hold(in.guest, n) {
		s.refuse(c, fail(CodeBusy, "requests of %d bytes are held", s.endpoint.config.HeldBytesMax))
		return in.skip(n)
	}
	body, err := in.grow(c.body, n, c.total)
	if err != nil {
		s.let(in.guest, n)
		return err
	}
	in.mu.Lock()
	if in.calls[c.id] != c {
		in.mu.Unlock()
		s.let(in.guest, n)
		return nil
	}
	c.body = body
	c.arrived += n
	in.bytes += n
	bytes := in.bytes
	in.mu.Unlock()
	if bytes > FlightBytesMax+WatchesMax*WatchRequestBytesMax {
		return fail(CodeProtocol, "requests of more than %d bytes in flight", FlightBytesMax)
	}
	if len(body) == c.total {
		s.admit(c)
	}
	return nil
}

// forget takes in that the caller has given up.
func (in *inbound) forget(h header) error {
	c, err := in.find(h.id)
	if err != nil {
		return err
	}
	if h.length != 0 {
		return fail(CodeProtocol, "cancel with %d bytes", h.length)
	}
	if c == nil {
		return nil
	}
	in.mu.Lock()
	removed := in.remove(c)
	in.mu.Unlock()
	if removed {
		in.server.withdraw(c)
	}
	return nil
}

// credit takes in that a watch's reader has read.
func (in *inbound) credit(h header) error {
	b, err := in.small(h, 4)
	if err != nil {
		return err
	}
	n, err := decodeLength(b)
	if err != nil {
		return err
	}
	c, err := in.find(h.id)
	if c == nil || err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if !c.watch || n == 0 || n > WindowBytes+BytesMax || c.credit+n > WindowBytes {
		return fail(CodeProtocol, "credit of %d bytes out of turn", n)
	}
	c.credit += n
	c.wake()
	return nil
}
