package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// answerHeadBytes is the length before an answer or a message.
const answerHeadBytes = 4

// run calls the handler and answers.
func (c *served) run() {
	var body []byte
	var failure error = &Error{Code: CodePanic}
	returned := false
	defer func() {
		if !returned {
			c.in.server.endpoint.log.Error("handler panicked",
				"method", c.method.Name, "peer", c.in.guest.id, "panic", fmt.Sprint(recover()), "stack", string(debug.Stack()))
		}
		c.settle(body, failure)
	}()
	if c.ctx.Err() != nil {
		failure = ended(c.ctx)
	} else {
		body, failure = c.handle()
	}
	returned = true
}

// handle calls the handler and returns its answer, or the *Error or *Fault that
// the caller gets.
func (c *served) handle() ([]byte, error) {
	role, _ := c.in.server.endpoint.config.Network.RoleOf(c.in.guest.id)
	r := Request{From: c.in.guest.id, Role: role, Method: c.method.Name, Body: c.body}
	var body []byte
	var err error
	if c.watch {
		err = c.method.Watch(c.ctx, r, c.send)
	} else {
		body, err = c.method.Handler(c.ctx, r)
	}
	switch over := c.ctx.Err(); {
	case over != nil && (c.watch || errors.Is(err, over)):
		return nil, ended(c.ctx)
	case c.overflow != nil && errors.Is(err, c.overflow):
		return nil, c.overflow
	case err != nil:
		return nil, faultOf(err)
	case len(body) > c.method.ResponseBytesMax:
		c.method.served.limits.WithLabelValues("response_bytes").Inc()
		return nil, fail(CodeResponseTooLarge, "%d bytes, at most %d", len(body), c.method.ResponseBytesMax)
	}
	return body, nil
}

// settle books how the handler ended, and answers.
func (c *served) settle(body []byte, failure error) {
	c.cancel()
	c.body = nil
	c.method.served.count(failure, time.Since(c.began))
	c.in.server.finish(c, len(body))
	c.reply(body, failure)
}

// reply queues the call's last message, unless the caller has given up, or the
// line is ending: then a handler that was stopped for that reason must not look
// as if its caller had cancelled.
func (c *served) reply(body []byte, failure error) {
	in := c.in
	in.mu.Lock()
	if in.calls[c.id] != c || in.closed || in.ctx.Err() != nil {
		in.mu.Unlock()
		in.server.free(c)
		return
	}
	in.drop(&c.out)
	if failure != nil || c.watch {
		c.out = outgoing{kind: kindEnd, id: c.id, head: encodeFailure(failure), owner: c}
	} else {
		head := binary.LittleEndian.AppendUint32(make([]byte, 0, answerHeadBytes), uint32(len(body)))
		c.out = outgoing{kind: kindAnswer, more: kindMore, id: c.id, head: head, body: body, owner: c}
	}
	in.enqueue(&c.out)
	in.mu.Unlock()
}

// wrote takes in that the last of a message is about to be written. It is
// called with the line's lock held.
func (in *inbound) wrote(o *outgoing) {
	c, ok := o.owner.(*served)
	if !ok {
		return
	}
	if o.kind == kindMessage {
		c.wake()
		return
	}
	in.remove(c)
	if c.reserved > 0 {
		in.server.free(c)
	}
}

// send is what a watch's handler calls.
func (c *served) send(message []byte) error {
	if len(message) > c.method.ResponseBytesMax {
		c.method.served.limits.WithLabelValues("response_bytes").Inc()
		c.overflow = fail(CodeResponseTooLarge, "%d bytes, at most %d", len(message), c.method.ResponseBytesMax)
		return c.overflow
	}
	for !c.begin(message) {
		select {
		case <-c.moved:
		case <-c.ctx.Done():
			return ended(c.ctx)
		}
	}
	for {
		select {
		case <-c.moved:
		case <-c.ctx.Done():
		}
		c.in.mu.Lock()
		queued := c.out.queued
		if c.ctx.Err() != nil {
			c.in.drop(&c.out)
		}
		c.in.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return ended(c.ctx)
		case !queued:
			return nil
		}
	}
}

// begin queues a message when the watch's reader has room for one.
func (c *served) begin(message []byte) bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.credit <= 0 || c.in.calls[c.id] != c || c.in.closed {
		return false
	}
	c.credit -= len(message) + messageBytes
	head := binary.LittleEndian.AppendUint32(make([]byte, 0, answerHeadBytes), uint32(len(message)))
	c.out = outgoing{kind: kindMessage, more: kindMore, id: c.id, head: head, body: message, owner: c}
	c.in.enqueue(&c.out)
	return true
}

// wake has send look again.
func (c *served) wake() {
	select {
	case c.moved <- struct{}{}:
	default:
	}
}
