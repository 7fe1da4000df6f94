package rpc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/dugnad/dugnad/p2p"
)

// tcpNetwork is a p2p.Network over loopback sockets, one connection a stream,
// without security: what the kernel costs, and nothing else.
type tcpNetwork struct {
	self     p2p.NodeID
	listener net.Listener
	all      sync.WaitGroup

	mu       sync.Mutex
	handlers map[string]func(p2p.Stream)
	calls    map[string]*sync.WaitGroup
}

func newTCPNetwork(t testing.TB) *tcpNetwork {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &tcpNetwork{
		self: p2p.NodeID(listener.Addr().String()), listener: listener,
		handlers: make(map[string]func(p2p.Stream)), calls: make(map[string]*sync.WaitGroup),
	}
	n.all.Go(n.accept)
	t.Cleanup(func() {
		listener.Close()
		n.all.Wait()
	})
	return n
}

func (n *tcpNetwork) accept() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.all.Go(func() { n.serve(conn) })
	}
}

func (n *tcpNetwork) serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	from, protocol, _ := strings.Cut(strings.TrimSpace(line), " ")
	n.mu.Lock()
	handler, calls := n.handlers[protocol], n.calls[protocol]
	if err != nil || handler == nil {
		n.mu.Unlock()
		return
	}
	calls.Add(1)
	n.mu.Unlock()
	defer calls.Done()
	handler(&tcpStream{conn.(*net.TCPConn), reader, p2p.NodeID(from)})
}

func (n *tcpNetwork) Self() p2p.NodeID { return n.self }

func (n *tcpNetwork) Open(ctx context.Context, to p2p.NodeID, protocol string) (p2p.Stream, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", string(to))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "%s %s\n", n.self, protocol)
	return &tcpStream{conn.(*net.TCPConn), conn, to}, nil
}

func (n *tcpNetwork) Handle(protocol string, handler func(p2p.Stream)) {
	n.mu.Lock()
	was := n.calls[protocol]
	n.handlers[protocol], n.calls[protocol] = handler, new(sync.WaitGroup)
	n.mu.Unlock()
	if handler == nil && was != nil {
		was.Wait()
	}
}

func (n *tcpNetwork) RoleOf(p2p.NodeID) (p2p.Role, bool)            { return p2p.RoleAdmin, true }
func (n *tcpNetwork) Connected() []p2p.NodeID                       { return nil }
func (n *tcpNetwork) Notify(func(p2p.NodeID, bool)) (cancel func()) { return func() {} }

type tcpStream struct {
	*net.TCPConn
	reader io.Reader
	remote p2p.NodeID
}

func (s *tcpStream) Read(b []byte) (int, error) { return s.reader.Read(b) }
func (s *tcpStream) Remote() p2p.NodeID         { return s.remote }

func (s *tcpStream) Reset() error {
	s.SetLinger(0)
	return s.Close()
}
