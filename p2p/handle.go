package p2p

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// handled counts the calls of one protocol's handler.
type handled struct {
	mu      sync.Mutex
	removed bool
	calls   sync.WaitGroup
}

func (c *handled) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return false
	}
	c.calls.Add(1)
	return true
}

func (c *handled) remove() {
	c.mu.Lock()
	c.removed = true
	c.mu.Unlock()
}

// Handle has handler called, in a goroutine of its own, for each stream that a
// member opens for protocol.
func (h *Host) Handle(name string, handler func(Stream)) {
	h.handlersMu.Lock()
	before := h.handlers[name]
	delete(h.handlers, name)
	if before != nil {
		before.remove()
	}
	if handler == nil {
		h.libp2p.RemoveStreamHandler(protocol.ID(name))
	} else {
		calls := &handled{}
		h.handlers[name] = calls
		h.libp2p.SetStreamHandler(protocol.ID(name), func(s network.Stream) { h.handle(s, calls, handler) })
	}
	h.handlersMu.Unlock()
	if before != nil && handler == nil {
		before.calls.Wait()
	}
}

// stopHandling takes no more streams; calls that are under way go on.
func (h *Host) stopHandling(name string) {
	h.handlersMu.Lock()
	defer h.handlersMu.Unlock()
	if calls := h.handlers[name]; calls != nil {
		calls.remove()
		h.libp2p.RemoveStreamHandler(protocol.ID(name))
		h.left = append(h.left, calls)
		delete(h.handlers, name)
	}
}

func (h *Host) handle(s network.Stream, calls *handled, handler func(Stream)) {
	if _, member := h.book.roleOf(s.Conn().RemotePeer()); !member || !calls.enter() {
		_ = s.Reset() // nobody reads it
		return
	}
	defer calls.calls.Done()
	p := s.Conn().RemotePeer()
	h.hold(p)
	stream := newStream(s, func() { h.drop(p) })
	defer func() {
		select {
		case <-stream.ended:
		default:
			_ = stream.Reset() // the handler has left it
		}
	}()
	handler(stream)
}

// waitHandlers waits for all calls, after the connections were closed.
func (h *Host) waitHandlers() {
	h.handlersMu.Lock()
	all := h.left
	for _, calls := range h.handlers {
		calls.remove()
		all = append(all, calls)
	}
	h.handlersMu.Unlock()
	for _, calls := range all {
		calls.calls.Wait()
	}
}
