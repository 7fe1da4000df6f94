package worker

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/sandbox"
)

// childOutbound is the requests of one task in the child.
type childOutbound struct {
	out *sender
	id  uint32

	mu   sync.Mutex
	last uint32
	// open are those that the parent has not done with: see frameHTTPDone.
	open map[uint32]*childRequest
	// away says that there is no parent.
	away bool
	// moved is the bytes of all requests, for a parent that has not seen them.
	moved uint64
	// room has one element after one has left open.
	room chan struct{}
}

func newChildOutbound(out *sender, id uint32) *childOutbound {
	return &childOutbound{out: out, id: id, room: make(chan struct{}, 1)}
}

// Open implements sandbox.Outbound. It waits while the parent ends requests that the
// guest has closed.
func (o *childOutbound) Open(ctx context.Context, head []byte) (sandbox.Exchange, error) {
	for {
		x, err := o.begin(head)
		if x != nil || err != nil {
			return x, err
		}
		select {
		case <-o.room:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// begin sends the head of a request if there is room for one.
func (o *childOutbound) begin(head []byte) (sandbox.Exchange, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.away:
		return nil, abi.ErrBroken
	case len(o.open) >= abi.HTTPOpenMax:
		return nil, nil
	}
	if o.open == nil {
		o.open = map[uint32]*childRequest{}
	}
	o.last++
	x := &childRequest{o: o, n: o.last, credit: httpWindowBytes, granted: httpWindowBytes, changed: make(chan struct{}, 1)}
	o.open[x.n] = x
	o.moved += uint64(len(head))
	return x, x.send(frameHTTPOpen, head)
}

// handle takes one frame for a request. One that has been given up is done with.
func (o *childOutbound) handle(f frame) error {
	n, rest, err := f.exchange()
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.open[n]
	if x == nil {
		return nil
	}
	defer notify(x.changed)
	switch f.kind {
	case frameHTTPHead:
		x.head, x.headed = append([]byte(nil), rest...), true
		o.moved += uint64(len(rest))
	case frameHTTPData:
		return x.arrive(rest)
	case frameHTTPEnd:
		x.code, err = decodeCode(rest)
		x.ended, x.bodyGone = true, true
		return err
	case frameHTTPBodyGone:
		x.bodyGone = true
	case frameHTTPBodyCredit:
		credit, err := frame{payload: rest}.credit()
		if err != nil {
			return err
		}
		if x.credit += credit; x.credit > httpWindowBytes {
			return fmt.Errorf("%w: request %d of task %d has more credit than a window", ErrProtocol, n, f.id)
		}
	case frameHTTPDone:
		delete(o.open, n)
		notify(o.room)
	}
	return nil
}

// part is called when the parent is gone, and what it was doing with it.
func (o *childOutbound) part() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = true
	for _, x := range o.open {
		x.code, x.ended, x.bodyGone, x.lost = abi.ErrBroken, true, true, true
		notify(x.changed)
	}
	o.open = nil
	notify(o.room)
}

// bytes is what the requests have moved.
func (o *childOutbound) bytes() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.moved
}

// attach is called when there is another parent.
func (o *childOutbound) attach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = false
}

// childRequest is a guest's request in the child. One goroutine calls its methods.
type childRequest struct {
	o *childOutbound
	n uint32

	// The rest is guarded by o.mu. credit is how much of the body may be sent.
	credit    int
	bodyEnded bool
	// bodyGone says that nobody reads the body any more: what is written is dropped.
	bodyGone bool
	head     []byte
	headed   bool
	// buffer is what has arrived of the answer's body, granted how much more may,
	// passed what was read since the last credit.
	buffer          []byte
	granted, passed int
	// ended says that the answer has ended, with code unless that is 0.
	ended bool
	code  abi.Code
	// closed says that the guest has closed it, lost that no parent knows it.
	closed, lost bool
	// changed has one element after something of this has.
	changed chan struct{}
}

// send sends a frame of this request. o.mu is held.
func (x *childRequest) send(kind frameType, payload []byte) error {
	if x.lost {
		return nil
	}
	if x.o.out.send(kind, x.o.id, prefixed(x.n, payload)) != nil {
		return abi.ErrBroken
	}
	return nil
}

// arrive takes a part of the answer's body. o.mu is held.
func (x *childRequest) arrive(data []byte) error {
	x.o.moved += uint64(len(data))
	if x.granted -= len(data); x.granted < 0 {
		return fmt.Errorf("%w: request %d: %d bytes more than asked for", ErrProtocol, x.n, -x.granted)
	}
	if !x.closed {
		x.buffer = append(x.buffer, data...)
	}
	return nil
}

// await calls try, with o.mu held, until it reports that it is done.
func (x *childRequest) await(ctx context.Context, try func() (bool, error)) error {
	for {
		x.o.mu.Lock()
		done, err := try()
		x.o.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-x.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Write implements sandbox.Exchange.
func (x *childRequest) Write(ctx context.Context, p []byte) error {
	return x.await(ctx, func() (bool, error) {
		if x.bodyEnded {
			return false, abi.ErrState
		}
		for len(p) > 0 {
			switch {
			case x.ended && x.code != 0:
				return false, x.code
			case x.bodyGone:
				return true, nil
			case x.credit == 0:
				return false, nil
			}
			k := min(len(p), x.credit, httpChunkBytes)
			if err := x.send(frameHTTPBody, p[:k]); err != nil {
				return false, err
			}
			x.o.moved += uint64(k)
			x.credit -= k
			p = p[k:]
		}
		return true, nil
	})
}

// End implements sandbox.Exchange.
func (x *childRequest) End() error {
	x.o.mu.Lock()
	defer x.o.mu.Unlock()
	if x.bodyEnded {
		return nil
	}
	x.bodyEnded = true
	return x.send(frameHTTPBodyEnd, nil)
}

// Head implements sandbox.Exchange.
func (x *childRequest) Head(ctx context.Context) (head []byte, err error) {
	err = x.await(ctx, func() (bool, error) {
		if !x.headed && x.ended {
			return false, x.failure()
		}
		head = x.head
		return x.headed, nil
	})
	return head, err
}

// failure is why there is no answer, or no more of it. o.mu is held.
func (x *childRequest) failure() error {
	if x.code == 0 {
		return abi.ErrBroken
	}
	return x.code
}

// Read implements sandbox.Exchange.
func (x *childRequest) Read(ctx context.Context, p []byte) (n int, err error) {
	err = x.await(ctx, func() (bool, error) {
		switch {
		case len(x.buffer) > 0:
			n = copy(p, x.buffer)
			if x.buffer = x.buffer[n:]; len(x.buffer) == 0 {
				x.buffer = nil // what was read shall not stay in memory
			}
			return true, x.pay(n)
		case x.ended && x.code != 0:
			return false, x.code
		case x.ended:
			return false, io.EOF
		}
		return false, nil
	})
	return n, err
}

// pay gives credit for what was read. o.mu is held.
func (x *childRequest) pay(n int) error {
	if x.passed += n; x.passed < httpWindowBytes/2 || x.ended {
		return nil
	}
	x.granted += x.passed
	credit := encodeCredit(x.passed)
	x.passed = 0
	return x.send(frameHTTPCredit, credit)
}

// Close implements sandbox.Exchange.
func (x *childRequest) Close() {
	x.o.mu.Lock()
	defer x.o.mu.Unlock()
	if x.closed {
		return
	}
	x.closed, x.buffer = true, nil
	// An error is the end of the parent, and of the request.
	_ = x.send(frameHTTPClose, nil)
}
