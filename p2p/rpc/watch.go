package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// Watch is a call with many answers, at its caller. It is safe for one reader;
// Close may be called at any time.
type Watch struct {
	remote *remote
	line   *outbound
	call   *call
	method *method
	name   string
	began  time.Time
	stop   func() bool
	once   sync.Once

	// arrived is signalled when there is a message.
	arrived chan struct{}
	// The fields below are guarded by the line's lock. ahead is what may still
	// come, read is what was read since the other side was told.
	messages [][]byte
	ahead    int
	read     int
}

// Watch asks a member for messages, until ctx ends or Close is called, which it
// must be. It returns when the request is queued: whether it is refused, Next
// says. Up to WatchesMax may be open to one member; one more is ErrBusy.
func (e *Endpoint) Watch(ctx context.Context, to p2p.NodeID, method string, request []byte) (*Watch, error) {
	m := e.caller(method)
	w, err := e.watch(ctx, to, m, method, request)
	if err != nil {
		m.called.count(err, 0)
		return nil, fmt.Errorf("watch %s at %s: %w", method, to, err)
	}
	return w, nil
}

func (e *Endpoint) watch(ctx context.Context, to p2p.NodeID, m *method, name string, request []byte) (*Watch, error) {
	if err := m.sendable(name, request, true); err != nil {
		return nil, err
	}
	r := e.use(to)
	if !r.watch() {
		e.release(r)
		e.metrics.limits.WithLabelValues("watches").Inc()
		return nil, fail(CodeBusy, "%d watches at this member are open", WatchesMax)
	}
	w := &Watch{remote: r, method: m, name: name, began: time.Now(), ahead: WindowBytes, arrived: make(chan struct{}, 1)}
	w.call = &call{most: m.ResponseBytesMax, finished: make(chan struct{}), watch: w}
	var err error
	if w.line, err = r.start(ctx, w.call, kindWatch, name, request); err != nil {
		r.unwatch()
		e.release(r)
		return nil, err
	}
	w.stop = context.AfterFunc(ctx, func() { w.end(ended(ctx)) })
	return w, nil
}

// Next returns the next message, which is the caller's to keep; io.EOF when the
// handler has returned without an error; and otherwise why the watch ended.
func (w *Watch) Next(ctx context.Context) ([]byte, error) {
	for {
		if message, ok := w.take(); ok {
			return message, nil
		}
		select {
		case <-w.arrived:
		case <-w.call.finished:
			if message, ok := w.take(); ok {
				return message, nil
			}
			if w.call.err == nil {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("watch %s at %s: %w", w.name, w.remote.id, w.call.err)
		case <-ctx.Done():
			return nil, ended(ctx)
		}
	}
}

// take returns the oldest message, and lets as much more come.
func (w *Watch) take() ([]byte, bool) {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	if len(w.messages) == 0 {
		return nil, false
	}
	message := w.messages[0]
	w.messages = w.messages[1:]
	w.read += len(message) + messageBytes
	if w.read >= WindowBytes/2 {
		w.ahead += w.read
		w.line.notice(kindCredit, w.call.out.id, binary.LittleEndian.AppendUint32(nil, uint32(w.read)))
		w.read = 0
	}
	return message, true
}

// end ends the watch, unless it has ended.
func (w *Watch) end(err error) {
	if w.line.forget(w.call) {
		w.call.err = err
		close(w.call.finished)
	}
}

// Close ends the watch at both sides.
func (w *Watch) Close() error {
	w.once.Do(func() {
		w.stop()
		w.end(&Error{Code: CodeClosed})
		<-w.call.finished
		err := w.call.err
		if codeOf(err) == CodeClosed {
			err = nil
		}
		w.method.called.count(err, time.Since(w.began))
		w.remote.unwatch()
		w.remote.endpoint.release(w.remote)
	})
	return nil
}

func (r *remote) watch() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watches >= WatchesMax {
		return false
	}
	r.watches++
	return true
}

func (r *remote) unwatch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watches--
}

// charge books a message that is about to come. It returns false when the other
// side may not send one.
func (o *outbound) charge(w *Watch, length int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w.ahead <= 0 {
		return false
	}
	w.ahead -= length + messageBytes
	return true
}

// deliver hands a message to the watch's reader.
func (o *outbound) deliver(c *call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls[c.out.id] != c {
		return
	}
	c.watch.messages = append(c.watch.messages, c.body)
	select {
	case c.watch.arrived <- struct{}{}:
	default:
	}
}
