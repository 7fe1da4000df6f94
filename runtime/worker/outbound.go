package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/dugnad/dugnad/runtime/abi"
)

// Outbound answers the HTTP requests of one task. Its methods are called by several
// goroutines, at most abi.HTTPOpenMax at a time.
type Outbound interface {
	// Do makes a request, head as abi/ABI.md has it, and returns soon after ctx has
	// ended, as do reads of the answer's body. It may read body until that is closed,
	// also when it has returned. An error that is an abi.Code is the guest's; any
	// other is abi.ErrBroken to it.
	Do(ctx context.Context, head []byte, body io.ReadCloser) (Response, error)
}

// Response is the answer to a request.
type Response struct {
	// Head is as abi/ABI.md has it, at most abi.HTTPHeadBytesMax.
	Head []byte
	// Body is closed by who has called Do. Its errors are as those of Do.
	Body io.ReadCloser
}

// httpChunkBytes bounds the payload of one frame of a body.
const httpChunkBytes = 32 << 10

// outbound is the requests of one task in the parent.
type outbound struct {
	run  *run
	does Outbound
	// work are the goroutines that answer.
	work sync.WaitGroup

	mu    sync.Mutex
	open  map[uint32]*request
	moved uint64
	ended bool
}

func (o *outbound) init(r *run, does Outbound) { o.run, o.does = r, does }

// handle takes one frame; an error means that the child lies.
func (o *outbound) handle(f frame) error {
	n, rest, err := f.exchange()
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.open[n]
	if f.kind == frameHTTPOpen {
		if x != nil || len(o.open) >= abi.HTTPOpenMax || len(rest) > abi.HTTPHeadBytesMax || o.ended {
			return fmt.Errorf("%w: task %d opens request %d, and has %d open", ErrProtocol, f.id, n, len(o.open))
		}
		o.openLocked(n, rest)
		return nil
	}
	if x == nil || x.closed {
		return fmt.Errorf("%w: frame of type %d for request %d of task %d, which is not open", ErrProtocol, f.kind, n, f.id)
	}
	switch f.kind {
	case frameHTTPBody:
		return x.arrive(rest)
	case frameHTTPBodyEnd:
		x.bodyEnded = true
		notify(x.arrived)
	case frameHTTPCredit:
		credit, err := frame{payload: rest}.credit()
		if err != nil {
			return err
		}
		if x.credit += credit; x.credit > httpWindowBytes {
			return fmt.Errorf("%w: request %d of task %d has more credit than a window", ErrProtocol, n, f.id)
		}
		notify(x.granted)
	case frameHTTPClose:
		x.closed = true
		x.cancel()
	}
	return nil
}

// openLocked begins to answer a request.
func (o *outbound) openLocked(n uint32, head []byte) {
	ctx, cancel := context.WithDeadline(context.Background(), o.run.begin.Add(o.run.limits.Timeout))
	x := &request{
		o: o, n: n, head: append([]byte(nil), head...), ctx: ctx, cancel: cancel, credit: httpWindowBytes, bodyCredit: httpWindowBytes,
		arrived: make(chan struct{}, 1), granted: make(chan struct{}, 1),
	}
	if o.open == nil {
		o.open = map[uint32]*request{}
	}
	o.open[n] = x
	o.moved += uint64(len(head))
	o.work.Go(x.serve)
}

// end gives up what is open: the task has ended, or is lost.
func (o *outbound) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	for _, x := range o.open {
		x.cancel()
	}
}

// wait waits until nothing of the task's requests is left, and returns how many bytes
// they have moved.
func (o *outbound) wait() uint64 {
	o.work.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.moved
}

func (o *outbound) count(n int) {
	o.mu.Lock()
	o.moved += uint64(n)
	o.mu.Unlock()
}

// request is one request in the parent. Its reader gives the body to who makes it.
type request struct {
	o      *outbound
	n      uint32
	head   []byte
	ctx    context.Context
	cancel context.CancelFunc

	// The rest is guarded by o.mu. credit is how much of the answer's body may be
	// sent, granted has one element after it has grown.
	credit  int
	granted chan struct{}
	// body is what has arrived of the request's body, bodyCredit how much more may,
	// owed what was read and not given back as credit. bodyGone says that nobody reads
	// any more; arrived has one element after body or bodyEnded changed.
	body                []byte
	bodyCredit, owed    int
	bodyEnded, bodyGone bool
	arrived             chan struct{}
	// closed says that the child has closed the request.
	closed bool
}

// serve answers the request and stays until the child has closed it.
func (x *request) serve() {
	defer x.cancel()
	x.send(frameHTTPEnd, encodeCode(x.answer()))
	<-x.ctx.Done()
	_ = x.Close()
	x.o.mu.Lock()
	delete(x.o.open, x.n)
	x.o.mu.Unlock()
	x.send(frameHTTPDone, nil)
}

// answer passes the answer on, and returns how that ended; 0 is well.
func (x *request) answer() abi.Code {
	if x.o.does == nil {
		return abi.ErrDenied
	}
	r, err := x.o.does.Do(x.ctx, x.head, x)
	if err != nil {
		return x.codeOf(err)
	}
	defer r.Body.Close()
	if len(r.Head) > abi.HTTPHeadBytesMax {
		return abi.ErrHead
	}
	x.o.count(len(r.Head))
	x.send(frameHTTPHead, r.Head)
	buf := make([]byte, httpChunkBytes)
	for {
		n, ok := x.allowed(len(buf))
		if !ok {
			return x.codeOf(x.ctx.Err())
		}
		n, err := r.Body.Read(buf[:n])
		if n > 0 {
			x.o.count(n)
			x.spend(n)
			x.send(frameHTTPData, buf[:n])
		}
		switch {
		case errors.Is(err, io.EOF):
			return 0
		case err != nil:
			return x.codeOf(err)
		}
	}
}

// codeOf says what an error is to the guest.
func (x *request) codeOf(err error) abi.Code {
	var code abi.Code
	switch {
	case errors.As(err, &code) && code.Known():
		return code
	case errors.Is(x.ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return abi.ErrTimeout
	}
	return abi.ErrBroken
}

// allowed waits for credit and returns how much of most there is; false is that the
// request is given up.
func (x *request) allowed(most int) (int, bool) {
	for {
		x.o.mu.Lock()
		n := min(x.credit, most)
		x.o.mu.Unlock()
		if n > 0 {
			return n, x.ctx.Err() == nil
		}
		select {
		case <-x.granted:
		case <-x.ctx.Done():
			return 0, false
		}
	}
}

func (x *request) spend(n int) {
	x.o.mu.Lock()
	x.credit -= n
	x.o.mu.Unlock()
}

// send sends a frame of this request. An error is the end of the child, which ends the
// request as well.
func (x *request) send(kind frameType, payload []byte) {
	_ = x.o.run.worker.process.out.send(kind, x.o.run.id, prefixed(x.n, payload))
}

// arrive takes a part of the body. o.mu is held.
func (x *request) arrive(data []byte) error {
	if x.bodyCredit -= len(data); x.bodyCredit < 0 || x.bodyEnded {
		return fmt.Errorf("%w: request %d has more body than the window allows, or behind its end", ErrProtocol, x.n)
	}
	if x.bodyGone {
		x.bodyCredit += len(data)
		return nil
	}
	x.body = append(x.body, data...)
	notify(x.arrived)
	return nil
}

// Read implements io.Reader: it gives the request's body.
func (x *request) Read(p []byte) (int, error) {
	for {
		n, ended, credit := x.take(p)
		if credit > 0 {
			x.send(frameHTTPBodyCredit, encodeCredit(credit))
		}
		switch {
		case n > 0 || len(p) == 0:
			return n, nil
		case ended:
			return 0, io.EOF
		}
		select {
		case <-x.arrived:
		case <-x.ctx.Done():
			return 0, x.ctx.Err()
		}
	}
}

func (x *request) take(p []byte) (n int, ended bool, credit int) {
	x.o.mu.Lock()
	defer x.o.mu.Unlock()
	if x.bodyGone {
		return 0, true, 0
	}
	n = copy(p, x.body)
	if x.body = x.body[n:]; len(x.body) == 0 {
		x.body = nil
	}
	x.o.moved += uint64(n)
	if x.owed += n; x.owed >= httpWindowBytes/2 {
		credit, x.owed = x.owed, 0
		x.bodyCredit += credit
	}
	return n, x.bodyEnded && len(x.body) == 0, credit
}

// Close implements io.Closer: what comes of the body is dropped.
func (x *request) Close() error {
	x.o.mu.Lock()
	was := x.bodyGone
	x.bodyGone, x.body = true, nil
	x.o.mu.Unlock()
	if !was {
		x.send(frameHTTPBodyGone, nil)
	}
	return nil
}
