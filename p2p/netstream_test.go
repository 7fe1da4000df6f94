package p2p

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
)

func TestStreamsWaitAtTheLimit(t *testing.T) {
	limit := func(c *Config) { c.Protocols = map[string]StreamLimit{testProtocol: {PerPeer: 4, Total: 8}} }
	first := founder(t, limit)
	second := join(t, first, RoleWorker, limit)
	first.Handle(testProtocol, echo)
	var open []Stream
	for range 4 {
		s := must[Stream](t)(second.Open(testContext(t), first.Self(), testProtocol))
		s.SetDeadline(time.Now().Add(waitMax))
		if _, err := s.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := second.Open(short, first.Self(), testProtocol); !errors.Is(err, ErrBusy) {
		t.Fatalf("one too many: %v", err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { askEcho(t, second, first.Self(), "queued") })
	}
	for _, s := range open {
		s.Close()
	}
	wg.Wait()
}

func TestHandlers(t *testing.T) {
	first := founder(t)
	second := join(t, first, RoleWorker)
	entered, leave := make(chan struct{}), make(chan struct{})
	first.Handle(testProtocol, func(s Stream) {
		if s.Remote() != second.Self() || s.RemoteAddr().String() != string(second.Self()) || s.LocalAddr().String() != string(first.Self()) {
			t.Errorf("stream from %s", s.Remote())
		}
		close(entered)
		<-leave
	})
	s := must[Stream](t)(second.Open(testContext(t), first.Self(), testProtocol))
	s.SetDeadline(time.Now().Add(waitMax))
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	<-entered
	removed := make(chan struct{})
	go func() { first.Handle(testProtocol, nil); close(removed) }()
	select {
	case <-removed:
		t.Fatal("Handle returned while its handler ran")
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	<-removed
	if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("a stream that was left: %v", err)
	}
	if _, err := second.Open(testContext(t), first.Self(), "/nobody/1"); !errors.Is(err, ErrNotHandled) {
		t.Fatalf("a protocol that nobody handles: %v", err)
	}
	if _, err := second.Open(testContext(t), second.Self(), testProtocol); !errors.Is(err, ErrUnknownMember) {
		t.Fatalf("to itself: %v", err)
	}
	if _, err := second.Open(testContext(t), testKey(t, 1).NodeID(), testProtocol); !errors.Is(err, ErrUnknownMember) {
		t.Fatalf("to nobody: %v", err)
	}
}

func TestListenAndDial(t *testing.T) {
	first := founder(t)
	second := join(t, first, RoleWorker)
	l := first.Listen(testProtocol, 4)
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.Copy(conn, conn)
			conn.Close()
		}
		done <- err
	}()
	conn := must[net.Conn](t)(second.Dial(testContext(t), first.Address(), testProtocol))
	conn.SetDeadline(time.Now().Add(waitMax))
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "ping" {
		t.Fatalf("%q, %v", b, err)
	}
	// A listener that is closed leaves the accepted connections alone.
	l.Close()
	if _, err := io.WriteString(conn, "pong"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "pong" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := conn.(Stream).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("accept after close: %v", err)
	}
	for _, wrong := range []string{"", "nobody", "@/ip4/1.2.3.4/tcp/1", string(first.Self()) + "@nonsense"} {
		if _, err := second.Dial(testContext(t), wrong, testProtocol); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// A connection that the other side closes because it has a better one takes no
// stream with it.
func TestOpenWhileConnectionsAreLost(t *testing.T) {
	first := founder(t, apart)
	second := join(t, first, RoleWorker, apart)
	second.Handle(testProtocol, echo)
	askEcho(t, first, second.Self(), "before")
	for _, protocol := range []int{ma.P_QUIC_V1, ma.P_TCP} {
		to := listening(t, first, protocol)
		for range 20 {
			before := len(first.swarm.ConnsToPeer(second.self))
			// The swarm at this end never hears of it.
			conn := must[transport.CapableConn](t)(second.swarm.TransportForDialing(to).Dial(testContext(t), to, first.self))
			eventually(t, "the other end has it", func() bool { return len(first.swarm.ConnsToPeer(second.self)) > before })
			var asking sync.WaitGroup
			asking.Go(func() { askEcho(t, first, second.Self(), "meanwhile") })
			conn.Close()
			asking.Wait()
			eventually(t, "it is gone", func() bool { return len(first.swarm.ConnsToPeer(second.self)) == 1 })
		}
	}
}

// Whatever libp2p says when a context has ended, the caller reads that it has.
func TestOpenSaysThatItsContextEnded(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancelLate()
	broken := errors.New("i/o deadline reached")
	for _, c := range []struct {
		ctx  context.Context
		want error
	}{{ended, context.Canceled}, {late, context.DeadlineExceeded}} {
		if err := withCause(c.ctx, broken); !errors.Is(err, c.want) || !errors.Is(err, broken) {
			t.Errorf("error %v, want %v in it", err, c.want)
		}
	}
	if err := withCause(t.Context(), broken); err.Error() != broken.Error() {
		t.Errorf("error %v while the context goes on", err)
	}
}
