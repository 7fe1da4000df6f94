package p2ptest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/p2p"
)

func testMembers(t *testing.T, a, b p2p.Network) {
	near, far := pairUp(t, a, b)
	if near.Remote() != b.Self() || far.Remote() != a.Self() {
		t.Errorf("remotes are %s and %s, want %s and %s", near.Remote(), far.Remote(), b.Self(), a.Self())
	}
	for _, pair := range [][2]p2p.Network{{a, b}, {b, a}} {
		if _, ok := pair[0].RoleOf(pair[1].Self()); !ok {
			t.Errorf("%s does not know the role of %s", pair[0].Self(), pair[1].Self())
		}
		if got := pair[0].Connected(); !slices.Contains(got, pair[1].Self()) || !slices.IsSorted(got) {
			t.Errorf("%s is connected to %v, want %s among them, sorted", pair[0].Self(), got, pair[1].Self())
		}
	}
	if _, ok := a.RoleOf("nobody"); ok {
		t.Error("somebody who was never there has a role")
	}
}

func testHandlerReturns(t *testing.T, a, b p2p.Network) {
	b.Handle(suiteProtocol, func(s p2p.Stream) {
		if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
			t.Errorf("read: %v", err)
		}
	})
	t.Cleanup(func() { b.Handle(suiteProtocol, nil) })
	s := dial(t, a, b)
	write(t, s, []byte{1})
	if err := failure(t, s); err == nil {
		t.Error("the stream of a handler that returned ended well, want a reset")
	}
}

func testUnknownProtocol(t *testing.T, a, b p2p.Network) {
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	s, err := a.Open(ctx, b.Self(), "/dugnad/p2ptest/unknown")
	if err != nil {
		return
	}
	s.SetDeadline(time.Now().Add(waitMax))
	defer reset(t, s)
	if err := failure(t, s); err == nil {
		t.Error("a protocol that nobody handles was answered")
	}
}

func testHandleNil(t *testing.T, a, b p2p.Network) {
	streams, end := accept(t, b)
	s := dial(t, a, b)
	write(t, s, []byte{1})
	receive(t, streams)
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		b.Handle(suiteProtocol, nil)
	}()
	select {
	case <-removed:
		t.Error("Handle(nil) returned while the handler ran")
	case <-time.After(shortly):
	}
	end()
	receive(t, removed)
}

func testContextEnded(t *testing.T, a, b p2p.Network) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := a.Open(ctx, b.Self(), suiteProtocol); !errors.Is(err, context.Canceled) {
		t.Errorf("open with an ended context: %v, %v, want context.Canceled", s, err)
	}
}

// testLimitWaits holds as many streams as there may be. What it checks holds
// also when a machine is so slow that an Open ends before the limit.
func testLimitWaits(t *testing.T, a, b p2p.Network) {
	const openMax = 3000
	b.Handle(suiteProtocol, echo)
	t.Cleanup(func() { b.Handle(suiteProtocol, nil) })
	var held []p2p.Stream
	for len(held) < openMax {
		ctx, cancel := context.WithTimeout(t.Context(), 20*shortly)
		s, err := a.Open(ctx, b.Self(), suiteProtocol)
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("stream %d: %v, want a wait until the context ends", len(held), err)
			}
			break
		}
		t.Cleanup(func() { reset(t, s) })
		s.SetDeadline(time.Now().Add(waitMax))
		write(t, s, []byte{1})
		read(t, s, []byte{1})
		held = append(held, s)
	}
	t.Logf("%d streams at once", len(held))
	if len(held) == openMax {
		return
	}
	waiting := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		s, err := a.Open(ctx, b.Self(), suiteProtocol)
		if err == nil {
			err = s.Reset()
		}
		waiting <- err
	}()
	reset(t, held[0])
	if err := receive(t, waiting); err != nil {
		t.Errorf("open after a stream was reset: %v", err)
	}
}

func testNotify(t *testing.T, a, b p2p.Network) {
	closer, ok := b.(io.Closer)
	if !ok {
		t.Skip("the network cannot be closed")
	}
	type event struct {
		id p2p.NodeID
		up bool
	}
	events := make(chan event, 64)
	running := make(chan struct{}, 1)
	cancel := a.Notify(func(id p2p.NodeID, up bool) {
		select {
		case running <- struct{}{}:
		default:
			t.Error("two calls at once")
		}
		events <- event{id, up}
		<-running
	})
	defer cancel()
	wasUp := slices.Contains(a.Connected(), b.Self())
	b.Handle(suiteProtocol, echo)
	s := dial(t, a, b)
	write(t, s, []byte{1})
	read(t, s, []byte{1})
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	for up := wasUp; ; {
		e := receive(t, events)
		if e.id != b.Self() {
			continue
		}
		// A host may have been connected between Notify and Connected.
		if e.up == up && (!wasUp || !up) {
			t.Fatalf("up %v twice", e.up)
		}
		if up = e.up; !up {
			break
		}
	}
	if slices.Contains(a.Connected(), b.Self()) {
		t.Error("still connected after the last connection went")
	}
	if _, ok := a.RoleOf(b.Self()); !ok {
		t.Error("the role of a member that was connected is forgotten")
	}
}

func testCloseLeavesNothing(t *testing.T, open func(*testing.T, int) []p2p.Network, ignore []goleak.Option) {
	ignore = append([]goleak.Option{goleak.IgnoreCurrent()}, ignore...)
	t.Run("Inner", func(t *testing.T) {
		nodes := open(t, 2)
		var readers sync.WaitGroup
		for _, to := range nodes {
			to.Handle(suiteProtocol, echo)
		}
		for i, from := range nodes {
			for j, to := range nodes {
				if i == j {
					continue
				}
				s := dial(t, from, to)
				write(t, s, []byte{1})
				read(t, s, []byte{1})
				readers.Go(func() {
					if _, err := io.Copy(io.Discard, s); err == nil {
						t.Error("a stream that was open at Close ended well")
					}
				})
			}
		}
		for _, n := range nodes {
			c, ok := n.(io.Closer)
			if !ok {
				t.Skip("the network cannot be closed")
			}
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Errorf("close again: %v", err)
			}
		}
		readers.Wait()
	})
	goleak.VerifyNone(t, ignore...)
}
