package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A call is a frame: u64 id, u8 kind, payload. Its answer is a frame: u64 id,
// u8 code, and a payload, which is a text when the code is not codeOK.
const (
	// callPropose: a command; the answer is uvarint index and the result.
	callPropose = 1
	// callMember: a memberCommand; the answer is as for callPropose.
	callMember = 2
	// callRead: empty; the answer is the index for a linearizable read.
	callRead = 3
	// callStatus: empty; the answer is a status.
	callStatus = 4
	// callRemove: a member's id; the answer, empty, comes when it has no vote.
	callRemove = 5
	// callTerm: empty; the answer is the member's id and its Raft term.
	callTerm = 6
)

const callHeader = 9

// caller is the connection to one member over which calls are made.
type caller struct {
	c       *conn
	timeout time.Duration
	writing sync.Mutex

	mu      sync.Mutex
	waiting map[uint64]chan answer
	next    uint64
	err     error
	used    time.Time
}

type answer struct {
	payload []byte
	err     error
}

// call sends a request and waits for the answer. sent tells whether the other
// side may have seen it.
func (k *caller) call(ctx context.Context, kind byte, payload []byte) (_ []byte, sent bool, err error) {
	done := make(chan answer, 1)
	k.mu.Lock()
	if k.err != nil {
		defer k.mu.Unlock()
		return nil, false, k.err
	}
	k.next++
	id := k.next
	k.waiting[id] = done
	k.used = time.Now()
	k.mu.Unlock()
	frame := beginFrame(make([]byte, 0, frameHeader+callHeader+len(payload)))
	frame = binary.LittleEndian.AppendUint64(frame, id)
	frame = append(append(frame, kind), payload...)
	k.writing.Lock()
	k.c.SetWriteDeadline(time.Now().Add(k.timeout))
	n, err := k.c.Write(endFrame(frame, 0))
	k.writing.Unlock()
	// Of an incomplete frame the other side makes nothing.
	sent = err == nil || n == len(frame)
	if err != nil {
		_ = k.c.Close()
	}
	select {
	case a := <-done:
		return a.payload, sent, a.err
	case <-ctx.Done():
		k.mu.Lock()
		delete(k.waiting, id)
		k.mu.Unlock()
		return nil, sent, context.Cause(ctx)
	}
}

// read hands out answers until the connection ends.
func (k *caller) read() {
	var err error
	for {
		var frame []byte
		if frame, err = readFrame(k.c.r, frameBytesMax); err != nil {
			break
		}
		if len(frame) < callHeader {
			err = fmt.Errorf("answer has %d bytes: %w", len(frame), ErrCorrupt)
			break
		}
		id, result, payload := binary.LittleEndian.Uint64(frame), code(frame[8]), frame[callHeader:]
		a := answer{payload: payload}
		if result != codeOK {
			a = answer{err: errorOf(result, string(payload))}
		}
		k.mu.Lock()
		done := k.waiting[id]
		delete(k.waiting, id)
		k.mu.Unlock()
		if done != nil {
			done <- a
		}
	}
	_ = k.c.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = fmt.Errorf("%w: %w", errLost, err)
	for id, done := range k.waiting {
		done <- answer{err: k.err}
		delete(k.waiting, id)
	}
}

// callers keeps a caller for each address that was called lately.
type callers struct {
	replica *Replica

	mu       sync.Mutex
	open     map[string]*caller
	dialling map[string]*dialling
}

// dialling is a connection that is being made; caller and err are there when done is
// closed.
type dialling struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	caller *caller
	err    error
}

func newCallers(r *Replica) *callers {
	return &callers{replica: r, open: map[string]*caller{}, dialling: map[string]*dialling{}}
}

// call makes one call. sent tells whether the other side may have seen it.
func (s *callers) call(ctx context.Context, address string, kind byte, payload []byte) (_ []byte, sent bool, err error) {
	k, err := s.get(ctx, address)
	if err != nil {
		return nil, false, err
	}
	return k.call(ctx, kind, payload)
}

// get returns the connection to an address. Those who want it wait for the same
// dial, which goes on without them.
func (s *callers) get(ctx context.Context, address string) (*caller, error) {
	s.mu.Lock()
	k, d := s.open[address], s.dialling[address]
	if k == nil && d == nil {
		var dialCtx context.Context
		d = &dialling{done: make(chan struct{})}
		dialCtx, d.cancel = context.WithCancelCause(s.replica.ctx)
		if !s.replica.spawn(func() { s.dial(dialCtx, address, d) }) {
			d.cancel(nil)
			s.mu.Unlock()
			return nil, ErrClosed
		}
		s.dialling[address] = d
	}
	s.mu.Unlock()
	if k != nil {
		return k, nil
	}
	select {
	case <-d.done:
		return d.caller, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// dial makes a connection and hands out its answers until it ends.
func (s *callers) dial(ctx context.Context, address string, d *dialling) {
	c, err := s.replica.dial(ctx, address, protocolCall)
	s.mu.Lock()
	delete(s.dialling, address)
	if err == nil && ctx.Err() != nil {
		_ = c.Close() // it was forsaken
		err = context.Cause(ctx)
	}
	if d.err = err; err == nil {
		d.caller = &caller{c: c, timeout: s.replica.config.RPCTimeout, waiting: map[uint64]chan answer{}, used: time.Now()}
		s.open[address] = d.caller
	}
	s.mu.Unlock()
	close(d.done)
	d.cancel(nil)
	if err != nil {
		return
	}
	d.caller.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[address] == d.caller {
		delete(s.open, address)
	}
}

// forsake ends what waits for an address, where perhaps nobody is any more. What was
// asked there may have happened.
func (s *callers) forsake(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.open[address]; k != nil {
		_ = k.c.Close()
	}
	if d := s.dialling[address]; d != nil {
		d.cancel(errLost)
	}
}

// expire closes connections that nobody has used for a while.
func (s *callers) expire(idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.open {
		k.mu.Lock()
		if len(k.waiting) == 0 && time.Since(k.used) > idle {
			_ = k.c.Close()
		}
		k.mu.Unlock()
	}
}

// callsMax bounds the calls of one connection that are served at once.
const callsMax = 1024

// serveCalls answers calls until the connection ends.
func (r *Replica) serveCalls(c *conn) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer func() { _ = c.Close() }()
	defer cancel()
	var writing sync.Mutex
	slots := make(chan struct{}, callsMax)
	for {
		frame, err := readFrame(c.r, frameBytesMax)
		if err != nil || len(frame) < callHeader {
			return
		}
		reply := func(payload []byte, err error) {
			result := codeOf(err)
			if err != nil {
				payload = []byte(err.Error())
			}
			out := beginFrame(make([]byte, 0, frameHeader+callHeader+len(payload)))
			out = append(append(append(out, frame[:8]...), byte(result)), payload...)
			writing.Lock()
			defer writing.Unlock()
			c.SetWriteDeadline(time.Now().Add(r.config.RPCTimeout))
			if _, err := c.Write(endFrame(out, 0)); err != nil {
				_ = c.Close()
			}
		}
		select {
		case slots <- struct{}{}:
		default:
			r.metrics.limits.WithLabelValues("calls").Inc()
			reply(nil, fmt.Errorf("%w: %d calls of one connection", ErrOverloaded, callsMax))
			continue
		}
		serving.Go(func() {
			defer func() { <-slots }()
			reply(r.serveCall(ctx, c.peer, frame[8], frame[callHeader:]))
		})
	}
}

func (r *Replica) serveCall(ctx context.Context, peer identity, kind byte, payload []byte) ([]byte, error) {
	if mine := r.book.view().lineage; kind != callStatus && peer.lineage != mine {
		return nil, fmt.Errorf("caller is of another history of the grid: %w", ErrNotMember)
	}
	switch kind {
	case callPropose, callMember:
		if kind == callMember {
			if _, err := parseMember(payload); err != nil {
				return nil, err
			}
		}
		if len(payload) > r.config.CommandBytesMax {
			return nil, ErrTooLarge
		}
		result, index, err := r.pipeline.propose(ctx, payload, kind == callMember)
		return append(binary.AppendUvarint(nil, index), result...), r.withHint(err)
	case callRead:
		index, err := r.reader.index(ctx)
		return binary.AppendUvarint(nil, index), r.withHint(err)
	case callStatus:
		return r.status().encode(), nil
	case callTerm:
		return r.term()
	case callRemove:
		return nil, r.withHint(r.removeServer(ctx, string(payload)))
	default:
		return nil, fmt.Errorf("call of kind %d is not known", kind)
	}
}

// parseMember checks an encoded memberCommand that came from outside.
func parseMember(payload []byte) (memberCommand, error) {
	if len(payload) == 0 || payload[0] != entryMember {
		return memberCommand{}, fmt.Errorf("decode member command: %w", ErrCorrupt)
	}
	return decodeMember(payload[1:])
}

// withHint adds to errNotLeader who leads, so that the caller need not search.
func (r *Replica) withHint(err error) error {
	if !errors.Is(err, errNotLeader) {
		return err
	}
	id, address := r.leader()
	if id == r.config.ID {
		return errNotLeader
	}
	return hintError{id, address}
}

// hintError is errNotLeader with the leader's id and address, if known. Its text
// is how it crosses the wire.
type hintError struct{ id, address string }

// Error implements error.
func (e hintError) Error() string {
	return string(appendBytes(appendBytes(nil, e.id), e.address))
}

// Is makes it errNotLeader.
func (e hintError) Is(target error) bool { return target == errNotLeader }

// parseHint is the inverse of hintError.Error.
func parseHint(text string) error {
	d := decoder{rest: []byte(text)}
	e := hintError{d.string(idBytesMax), d.string(addressBytesMax)}
	if d.end() != nil {
		return errNotLeader
	}
	return e
}
