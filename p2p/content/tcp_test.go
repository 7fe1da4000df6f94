package content

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// wire is p2p.Network over plain TCP on the loopback: a connection for each
// stream, which begins with who opens it for what.
type wire struct {
	id       p2p.NodeID
	listener net.Listener
	mu       sync.Mutex
	handlers map[string]func(p2p.Stream)
	calls    sync.WaitGroup
	others   map[p2p.NodeID]string
}

type preface struct {
	From     p2p.NodeID
	Protocol string
}

type wireStream struct {
	*net.TCPConn
	remote p2p.NodeID
}

func (s wireStream) Remote() p2p.NodeID { return s.remote }

func (s wireStream) Reset() error {
	_ = s.SetLinger(0)
	return s.Close()
}

func newWire(t testing.TB, id p2p.NodeID) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{id: id, listener: l, handlers: map[string]func(p2p.Stream){}, others: map[p2p.NodeID]string{}}
	t.Cleanup(func() { _ = l.Close() })
	go w.accept()
	return w
}

// meet makes wires known to one another.
func meet(wires ...*wire) {
	for _, a := range wires {
		for _, b := range wires {
			if a != b {
				a.others[b.id] = b.listener.Addr().String()
			}
		}
	}
}

func (w *wire) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		go w.serve(c.(*net.TCPConn))
	}
}

func (w *wire) serve(c *net.TCPConn) {
	defer c.Close()
	var length [1]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return
	}
	b := make([]byte, length[0])
	var p preface
	if _, err := io.ReadFull(c, b); err != nil || json.Unmarshal(b, &p) != nil {
		return
	}
	w.mu.Lock()
	f := w.handlers[p.Protocol]
	if f != nil {
		w.calls.Add(1)
	}
	w.mu.Unlock()
	if f != nil {
		defer w.calls.Done()
		f(wireStream{c, p.From})
	}
}

func (w *wire) Self() p2p.NodeID { return w.id }

func (w *wire) Open(ctx context.Context, to p2p.NodeID, protocol string) (p2p.Stream, error) {
	address, ok := w.others[to]
	if !ok {
		return nil, errors.New("member is unknown")
	}
	c, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(preface{w.id, protocol})
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(append([]byte{byte(len(b))}, b...)); err != nil {
		return nil, err
	}
	return wireStream{c.(*net.TCPConn), to}, nil
}

func (w *wire) Handle(protocol string, f func(p2p.Stream)) {
	w.mu.Lock()
	delete(w.handlers, protocol)
	if f != nil {
		w.handlers[protocol] = f
	}
	w.mu.Unlock()
	if f == nil {
		w.calls.Wait()
	}
}

func (w *wire) RoleOf(id p2p.NodeID) (p2p.Role, bool) {
	_, ok := w.others[id]
	return p2p.RoleWorker, ok
}

func (w *wire) Connected() (out []p2p.NodeID) {
	for id := range w.others {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (w *wire) Notify(func(p2p.NodeID, bool)) func() { return func() {} }
