package sandbox

import (
	"context"
	"errors"
	"io"

	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
)

// Outbound makes the HTTP requests of one attempt. The goroutine that runs the guest
// calls it.
type Outbound interface {
	// Open begins a request of which this is the head, as abi/ABI.md has it. It keeps
	// nothing of head. Errors are an abi.Code, or that of ctx.
	Open(ctx context.Context, head []byte) (Exchange, error)
}

// Exchange is a request and its answer. Errors are an abi.Code, or that of ctx.
type Exchange interface {
	// Write sends all of p, of which it keeps nothing.
	Write(ctx context.Context, p []byte) error
	// End says that the body of the request is complete.
	End() error
	// Head waits for the head of the answer.
	Head(ctx context.Context) ([]byte, error)
	// Read waits until something of the answer's body has arrived; io.EOF is its end.
	Read(ctx context.Context, p []byte) (int, error)
	// Close gives the exchange up. It waits for nothing.
	Close()
}

// errCapability is the refusal of a module that imports what its task does not ask
// for.
const errCapability = "the module imports %s.%s and the job does not ask for the capability %s: " +
	"write capabilities: [http] in the job file, or start it with --allow-http"

// requests are those of a guest that it has not closed.
type requests struct {
	outbound Outbound
	last     uint32
	open     map[uint32]Exchange
}

// close ends what the guest has left open.
func (q *requests) close() {
	for _, x := range q.open {
		x.Close()
	}
	q.open = nil
}

// httpFunc is a host function for outbound HTTP: an error is the guest's result.
type httpFunc func(r *run, mem api.Memory, stack []uint64) (uint32, error)

var httpFuncs = map[string]httpFunc{
	abi.HTTPOpen:  httpOpen,
	abi.HTTPWrite: httpWrite,
	abi.HTTPEnd:   httpEnd,
	abi.HTTPHead:  httpHead,
	abi.HTTPRead:  httpRead,
	abi.HTTPClose: httpClose,
}

// outboundEntries are the functions of package abi.
func outboundEntries() map[string]entry {
	all := map[string]entry{}
	for _, f := range abi.Functions() {
		params := make([]api.ValueType, len(f.Params))
		for i := range params {
			params[i] = api.ValueTypeI32
		}
		all[f.Name] = entry{params, []api.ValueType{api.ValueTypeI32}, answered(f.Name, httpFuncs[f.Name])}
	}
	return all
}

// answered gives the guest what a function returns. Time that is up ends the attempt.
func answered(name string, f httpFunc) hostFunc {
	return func(r *run, m api.Module, stack []uint64) {
		r.charge(priceStream)
		if !r.module.plan.hasMemory {
			panic(&stop{kind: task.Trapped, trap: task.TrapOther, message: "the module calls " + name + " but has no memory"})
		}
		n, err := f(r, m.Memory(), stack)
		if err == nil {
			stack[0] = uint64(n)
			return
		}
		r.check()
		var code abi.Code
		if !errors.As(err, &code) {
			code = abi.ErrBroken
		}
		stack[0] = uint64(uint32(code))
	}
}

// lent returns the memory that two arguments name, and charges for moving it.
func (r *run) lent(mem api.Memory, at, size uint64) ([]byte, error) {
	n := min(uint32(size), transferMax)
	b, ok := mem.Read(uint32(at), n)
	if _, whole := mem.Read(uint32(at), uint32(size)); !ok || !whole {
		return nil, abi.ErrFault
	}
	r.charge(priceStreamed(uint64(n)))
	return b, nil
}

// exchange returns the open request of a number.
func (r *run) exchange(handle uint64) (Exchange, error) {
	if x := r.outbound.open[uint32(handle)]; x != nil {
		return x, nil
	}
	return nil, abi.ErrHandle
}

func httpOpen(r *run, mem api.Memory, stack []uint64) (uint32, error) {
	r.charge(priceRequest)
	if uint32(stack[1]) > abi.HTTPHeadBytesMax {
		return 0, abi.ErrRequest
	}
	head, err := r.lent(mem, stack[0], stack[1])
	q := &r.outbound
	switch {
	case err != nil:
		return 0, err
	case q.outbound == nil || r.spec.HTTP == nil:
		return 0, abi.ErrDenied
	case len(q.open) >= abi.HTTPOpenMax:
		r.hit("http-requests", abi.HTTPOpenMax)
		return 0, abi.ErrOpen
	case q.last == 1<<31-1:
		return 0, abi.ErrOpen
	}
	var x Exchange
	r.wait(func() { x, err = q.outbound.Open(r.ctx, head) })
	if err != nil {
		return 0, err
	}
	if q.open == nil {
		q.open = map[uint32]Exchange{}
	}
	q.last++
	q.open[q.last] = x
	return q.last, nil
}

func httpWrite(r *run, mem api.Memory, stack []uint64) (uint32, error) {
	x, err := r.exchange(stack[0])
	if err != nil {
		return 0, err
	}
	data, err := r.lent(mem, stack[1], stack[2])
	if err != nil {
		return 0, err
	}
	r.wait(func() { err = x.Write(r.ctx, data) })
	return uint32(len(data)), err
}

func httpEnd(r *run, _ api.Memory, stack []uint64) (uint32, error) {
	x, err := r.exchange(stack[0])
	if err != nil {
		return 0, err
	}
	return 0, x.End()
}

func httpHead(r *run, mem api.Memory, stack []uint64) (uint32, error) {
	x, err := r.exchange(stack[0])
	if err != nil {
		return 0, err
	}
	buf, ok := mem.Read(uint32(stack[1]), uint32(stack[2]))
	if !ok {
		return 0, abi.ErrFault
	}
	// How long the head is must not matter for the fuel before it is there.
	r.charge(priceStreamed(abi.HTTPHeadBytesMax))
	var head []byte
	r.wait(func() { head, err = x.Head(r.ctx) })
	if err != nil {
		return 0, err
	}
	if len(head) <= len(buf) {
		copy(buf, head)
	}
	return uint32(len(head)), nil
}

func httpRead(r *run, mem api.Memory, stack []uint64) (n uint32, err error) {
	x, err := r.exchange(stack[0])
	if err != nil {
		return 0, err
	}
	buf, err := r.lent(mem, stack[1], stack[2])
	if err != nil || len(buf) == 0 {
		return 0, err
	}
	got := 0
	r.wait(func() { got, err = x.Read(r.ctx, buf) })
	if errors.Is(err, io.EOF) || got > 0 {
		err = nil
	}
	return uint32(got), err
}

func httpClose(r *run, _ api.Memory, stack []uint64) (uint32, error) {
	x, err := r.exchange(stack[0])
	if err != nil {
		return 0, err
	}
	x.Close()
	delete(r.outbound.open, uint32(stack[0]))
	return 0, nil
}
