package p2ptest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/p2p"
)

const (
	// waitMax bounds every wait for something that must come.
	waitMax = 2 * time.Minute
	// shortly is how long a call is given that must not succeed. Nothing
	// depends on what happens within it.
	shortly = 100 * time.Millisecond
	// suiteProtocol is what the suite speaks.
	suiteProtocol = "/dugnad/p2ptest/1"
)

// TestNetwork checks all that p2p.Network and p2p.Stream promise. open returns
// n networks, each of which can open streams to the others; those that are also
// an io.Closer are closed by the suite, besides what open itself arranges.
// ignore lists goroutines that outlive a network for a good reason.
func TestNetwork(t *testing.T, open func(t *testing.T, n int) []p2p.Network, ignore ...goleak.Option) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, a, b p2p.Network)
	}{
		{"Members", testMembers},
		{"HalfClose", testHalfClose},
		{"CloseDelivers", testCloseDelivers},
		{"Reset", testReset},
		{"HandlerReturns", testHandlerReturns},
		{"UnknownProtocol", testUnknownProtocol},
		{"HandleNil", testHandleNil},
		{"ContextEnded", testContextEnded},
		{"LimitWaits", testLimitWaits},
		{"Notify", testNotify},
		{"PastDeadline", testPastDeadline},
		{"DeadlineWakes", testDeadlineWakes},
		{"CloseWakes", testCloseWakes},
		{"BackPressure", testBackPressure},
		{"OneAfterAnother", testOneAfterAnother},
		{"Parallel", testParallel},
	} {
		t.Run(test.name, func(t *testing.T) {
			nodes := open(t, 2)
			test.f(t, nodes[0], nodes[1])
		})
	}
	t.Run("CloseLeavesNothing", func(t *testing.T) { testCloseLeavesNothing(t, open, ignore) })
}

// echo answers each stream with what it reads.
func echo(s p2p.Stream) {
	if _, err := io.Copy(s, s); err == nil {
		s.Close()
	}
}

// dial opens a stream that ends with the test and cannot hang it.
func dial(t *testing.T, from, to p2p.Network) p2p.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	s, err := from.Open(ctx, to.Self(), suiteProtocol)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	s.SetDeadline(time.Now().Add(waitMax))
	t.Cleanup(func() { reset(t, s) })
	return s
}

// accept has to's streams sent to the channel. A handler ends when end is
// called, or the test ends.
func accept(t *testing.T, to p2p.Network) (streams <-chan p2p.Stream, end func()) {
	t.Helper()
	out := make(chan p2p.Stream, 16)
	ctx, cancel := context.WithCancel(context.Background())
	to.Handle(suiteProtocol, func(s p2p.Stream) {
		s.SetDeadline(time.Now().Add(waitMax))
		select {
		case out <- s:
		case <-ctx.Done():
		}
		<-ctx.Done()
	})
	t.Cleanup(func() {
		cancel()
		to.Handle(suiteProtocol, nil)
	})
	return out, cancel
}

// pairUp returns both ends of a stream on which one byte has gone each way.
func pairUp(t *testing.T, a, b p2p.Network) (near, far p2p.Stream) {
	t.Helper()
	streams, _ := accept(t, b)
	near = dial(t, a, b)
	write(t, near, []byte{1})
	far = receive(t, streams)
	read(t, far, []byte{1})
	write(t, far, []byte{2})
	read(t, near, []byte{2})
	return near, far
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(waitMax):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func write(t *testing.T, s p2p.Stream, b []byte) {
	t.Helper()
	if n, err := s.Write(b); n != len(b) || err != nil {
		t.Fatalf("write %d bytes: %d, %v", len(b), n, err)
	}
}

func read(t *testing.T, s p2p.Stream, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(s, got); err != nil {
		t.Fatalf("read %d bytes: %d, %v", len(want), n, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes that are not what was written", len(want))
	}
}

func reset(t *testing.T, s p2p.Stream) {
	t.Helper()
	if err := s.Reset(); err != nil {
		t.Errorf("reset: %v", err)
	}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// failure returns the error that reading ends with.
func failure(t *testing.T, s p2p.Stream) error {
	t.Helper()
	_, err := io.Copy(io.Discard, s)
	if timedOut(err) {
		t.Fatalf("read: %v", err)
	}
	return err
}

// pattern returns n bytes that differ with the place and the seed.
func pattern(n int, seed uint32) []byte {
	out := make([]byte, n)
	for i := range out {
		seed = seed*1664525 + 1013904223
		out[i] = byte(seed >> 24)
	}
	return out
}
