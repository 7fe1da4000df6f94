package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// Call has a member answer a request. The answer is the caller's to keep; the
// request must not be changed until Call returns. The call ends when ctx does,
// here and at the other side. Calls beyond Config.InFlightMax wait their turn.
//
// The error wraps one of this package's sentinels, or is a Fault that the
// handler returned.
func (e *Endpoint) Call(ctx context.Context, to p2p.NodeID, method string, request []byte) ([]byte, error) {
	m := e.caller(method)
	began := time.Now()
	body, err := e.call(ctx, to, m, method, request)
	m.called.count(err, time.Since(began))
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, to, err)
	}
	return body, nil
}

func (e *Endpoint) call(ctx context.Context, to p2p.NodeID, m *method, name string, request []byte) ([]byte, error) {
	if err := m.sendable(name, request, false); err != nil {
		return nil, err
	}
	r := e.use(to)
	defer e.release(r)
	if err := r.acquire(ctx, len(request)); err != nil {
		return nil, err
	}
	defer r.done(len(request))
	c := &call{most: m.ResponseBytesMax, finished: make(chan struct{})}
	o, err := r.start(ctx, c, kindCall, name, request)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.finished:
		return c.body, c.err
	case <-ctx.Done():
	}
	if o.forget(c) {
		return nil, ended(ctx)
	}
	<-c.finished
	return c.body, c.err
}

// start queues a call on the line to the member. A line that ends before it
// could be queued is opened again: nothing was sent.
func (r *remote) start(ctx context.Context, c *call, k kind, name string, request []byte) (*outbound, error) {
	for {
		o, err := r.get(ctx)
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		head := requestHead{method: name, length: len(request)}
		if at, ok := ctx.Deadline(); ok {
			head.left = max(time.Until(at), time.Microsecond)
		}
		b := make([]byte, 0, requestHeadBytesMax)
		c.out = outgoing{kind: k, more: kindBody, head: appendRequestHead(b, head), body: request}
		if o.start(c) {
			return o, nil
		}
	}
}

// sendable refuses what the other side would refuse.
func (m *method) sendable(name string, request []byte, watch bool) error {
	switch {
	case name == "" || len(name) > MethodBytesMax:
		return fail(CodeUnknownMethod, "name of %d bytes, at most %d", len(name), MethodBytesMax)
	case m.known && watch != (m.Watch != nil):
		return fail(CodeUnknownMethod, "watch: %t", m.Watch != nil)
	case len(request) > m.RequestBytesMax:
		m.called.limits.WithLabelValues("request_bytes").Inc()
		return fail(CodeRequestTooLarge, "%d bytes, at most %d", len(request), m.RequestBytesMax)
	case watch && len(request) > WatchRequestBytesMax:
		return fail(CodeRequestTooLarge, "%d bytes, at most %d", len(request), WatchRequestBytesMax)
	}
	return nil
}

// IsSafeToRepeat says of a call's error that the handler certainly did not run,
// so that the same request may be sent again, here or to another member.
func IsSafeToRepeat(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)
}
