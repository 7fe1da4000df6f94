package rpc

import (
	"errors"

	"github.com/dugnad/dugnad/p2p"
)

// outbound is the caller's side of a line. The fields below line are guarded by
// its lock.
type outbound struct {
	*line
	endpoint *Endpoint
	calls    map[uint64]*call
	last     uint64
	// partial counts the bytes of answers that have come in part.
	partial int
}

// call is one call, or one watch, at its caller.
type call struct {
	out outgoing
	// most bounds the answer, or each message.
	most int
	// body is the answer, or the message, as far as it came, of total bytes.
	// Only the reader touches it until finished is closed.
	body    []byte
	started bool
	total   int
	// err is set before finished is closed.
	err      error
	finished chan struct{}
	// watch is nil for a call.
	watch *Watch
}

func newOutbound(e *Endpoint, s p2p.Stream) *outbound {
	return &outbound{line: newLine(s, e.config.StallTimeMax), endpoint: e, calls: make(map[uint64]*call)}
}

// start queues the call. It returns false when the line has ended.
func (o *outbound) start(c *call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.last++
	c.out.id = o.last
	o.calls[o.last] = c
	o.enqueue(&c.out)
	return true
}

// forget takes a call out that nobody waits for any more, and tells the other
// side. It returns false when the call has finished meanwhile.
func (o *outbound) forget(c *call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.remove(c) {
		return false
	}
	if c.out.begun {
		o.notice(kindCancel, c.out.id, nil)
	}
	return true
}

// remove takes a call out. It is called with the lock held; who removed a call
// ends it.
func (o *outbound) remove(c *call) bool {
	if o.calls[c.out.id] != c {
		return false
	}
	delete(o.calls, c.out.id)
	if c.watch == nil && c.started {
		o.partial -= len(c.body)
	}
	o.drop(&c.out)
	return true
}

// finish ends a call, unless somebody else has.
func (o *outbound) finish(c *call, err error, cancel bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.remove(c) {
		return
	}
	if cancel {
		o.notice(kindCancel, c.out.id, nil)
	}
	c.err = err
	close(c.finished)
}

// run moves frames both ways until the line ends, and returns why. gone is
// called before the calls that are left fail.
func (o *outbound) run(gone func()) error {
	written := o.writes(o.endpoint)
	reason := o.read()
	gone()
	reason = o.wind(reason, written)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.calls {
		o.remove(c)
		c.err = o.lost(c, reason)
		close(c.finished)
	}
	return reason
}

// lost returns the error of a call whose line ended.
func (o *outbound) lost(c *call, reason error) error {
	switch {
	case o.endpoint.ctx.Err() != nil:
		return &Error{Code: CodeClosed}
	case !c.out.begun:
		return failBy(CodeUnavailable, reason)
	case errors.Is(reason, ErrProtocol):
		return reason
	default:
		return failBy(CodeUncertain, reason)
	}
}

// read takes the answers in.
func (o *outbound) read() error {
	for {
		h, err := o.next()
		if err != nil {
			return err
		}
		switch h.kind {
		case kindAnswer, kindMessage, kindMore, kindEnd:
			err = o.answer(h)
		case kindGoodbye:
			return o.goodbye(h)
		default:
			err = fail(CodeProtocol, "frame kind %d from who is called", h.kind)
		}
		if err != nil {
			return err
		}
	}
}

// goodbye returns the other side's reason for ending the line.
func (l *line) goodbye(h header) error {
	b, err := l.small(h, failureBytesMax)
	if err != nil {
		return err
	}
	failure, err := decodeFailure(b)
	if err != nil {
		return err
	}
	if failure == nil {
		return errGone
	}
	return fail(CodeProtocol, "the other side says: %s", failure)
}

func (o *outbound) answer(h header) error {
	o.mu.Lock()
	c := o.calls[h.id]
	known := h.id <= o.last && h.id > 0
	sent := c != nil && c.out.begun
	o.mu.Unlock()
	switch {
	case !known, c != nil && !sent:
		return fail(CodeProtocol, "answer to call %d, which was not made", h.id)
	case c == nil: // it was given up
		return o.skip(h.length)
	case h.kind == kindEnd:
		return o.end(c, h)
	case h.kind == kindMore:
		if !c.started {
			return fail(CodeProtocol, "more of an answer that has not begun")
		}
		return o.more(c, h.length)
	case c.started, (h.kind == kindMessage) != (c.watch != nil):
		return fail(CodeProtocol, "frame kind %d out of turn", h.kind)
	}
	return o.begin(c, h)
}

// end takes in that a call failed, or a watch ended.
func (o *outbound) end(c *call, h header) error {
	b, err := o.small(h, failureBytesMax)
	if err != nil {
		return err
	}
	failure, err := decodeFailure(b)
	if err != nil {
		return err
	}
	if failure == nil && (c.watch == nil || c.started) {
		return fail(CodeProtocol, "end without an answer")
	}
	o.finish(c, failure, false)
	return nil
}

// begin takes in the first frame of an answer or of a message.
func (o *outbound) begin(c *call, h header) error {
	b, err := o.prefix(h, 4)
	if err != nil {
		return err
	}
	total, err := decodeLength(b)
	if err != nil {
		return err
	}
	if err := o.skip(4); err != nil {
		return err
	}
	if total > c.most {
		o.endpoint.metrics.limits.WithLabelValues("response_bytes").Inc()
		o.finish(c, fail(CodeResponseTooLarge, "answer of %d bytes, at most %d", total, c.most), true)
		return o.skip(h.length - 4)
	}
	if c.watch != nil && !o.charge(c.watch, total) {
		return fail(CodeProtocol, "message beyond what the watch may be ahead")
	}
	o.mu.Lock()
	c.started, c.total, c.body = true, total, nil
	o.mu.Unlock()
	return o.more(c, h.length-4)
}

// more takes in n bytes of an answer or of a message.
func (o *outbound) more(c *call, n int) error {
	if n > c.total-len(c.body) || n == 0 && c.total > len(c.body) {
		return fail(CodeProtocol, "%d bytes of an answer that lacks %d", n, c.total-len(c.body))
	}
	body, err := o.grow(c.body, n, c.total)
	if err != nil {
		return err
	}
	o.mu.Lock()
	if o.calls[c.out.id] != c {
		o.mu.Unlock()
		return nil // given up meanwhile
	}
	c.body = body
	if c.watch == nil {
		o.partial += n
	}
	partial := o.partial
	o.mu.Unlock()
	switch {
	case len(body) < c.total:
		if partial > AnswerBytesMax {
			return fail(CodeProtocol, "answers of more than %d bytes under way", AnswerBytesMax)
		}
	case c.watch == nil:
		o.finish(c, nil, false)
	default:
		c.started = false
		o.deliver(c)
	}
	return nil
}
