package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// TestSuite runs what holds on every network on several of them.
func TestSuite(t *testing.T) {
	networks := map[string]func(t *testing.T) (p2p.Network, p2p.Network){
		"Memory": func(t *testing.T) (p2p.Network, p2p.Network) {
			_, c, a := memory(t, p2ptest.Config{})
			return c, a
		},
		"MemoryNarrowAndSlow": func(t *testing.T) (p2p.Network, p2p.Network) {
			_, c, a := memory(t, p2ptest.Config{BufferBytes: 5000, Latency: 50 * time.Microsecond})
			return c, a
		},
		"TCP":  func(t *testing.T) (p2p.Network, p2p.Network) { return newTCPNetwork(t), newTCPNetwork(t) },
		"Host": func(t *testing.T) (p2p.Network, p2p.Network) { return hosts(t, quicAddress) },
	}
	tests := map[string]func(t *testing.T, c, a *rpc.Endpoint, to p2p.NodeID, p *probe){
		"Sizes": testSizes, "Errors": testErrors, "Deadline": testDeadline, "Cancel": testCancel,
		"Thousand": testThousand, "LargeAmongSmall": testLargeAmongSmall,
		"Watch": testWatch, "WatchLarge": testWatchLarge, "WatchErrors": testWatchErrors,
		"WatchBackPressure": testWatchBackPressure, "Close": testClose,
	}
	for on, open2 := range networks {
		for name, test := range tests {
			t.Run(on+"/"+name, func(t *testing.T) {
				p := newProbe()
				from, to := open2(t)
				c := open(t, from, p.methods())
				a := open(t, to, p.methods())
				test(t, c, a, to.Self(), p)
			})
		}
	}
}

func testSizes(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, _ *probe) {
	const frame = rpc.FrameBytesMax
	for _, n := range []int{0, 1, 200, frame - 100, frame - 18, frame - 17, frame - 16, frame - 4, frame - 3, frame, frame + 1, 2 * frame, 4 << 20} {
		request := pattern(n)
		got, err := c.Call(t.Context(), to, "echo", request)
		if err != nil || !bytes.Equal(got, request) {
			t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
		}
	}
}

func testErrors(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, _ *probe) {
	for _, test := range []struct {
		method  string
		request int
		want    error
	}{
		{"nothing", 0, rpc.ErrUnknownMethod},
		{strings.Repeat("x", rpc.MethodBytesMax), 0, rpc.ErrUnknownMethod},
		{strings.Repeat("x", rpc.MethodBytesMax+1), 0, rpc.ErrUnknownMethod},
		{"", 0, rpc.ErrUnknownMethod},
		{"count", 0, rpc.ErrUnknownMethod},
		{"odd", 0, errOdd},
		{"plain", 0, &rpc.Fault{Code: rpc.CodeFailed}},
		{"panic", 0, rpc.ErrPanic},
		{"exit", 0, rpc.ErrPanic},
		{"fat", 0, rpc.ErrResponseTooLarge},
		{"echo", 4<<20 + 1, rpc.ErrRequestTooLarge},
	} {
		_, err := c.Call(t.Context(), to, test.method, make([]byte, test.request))
		want(t, err, test.want)
	}
	_, err := c.Call(t.Context(), to, "odd", nil)
	if text := fmt.Sprintf("call odd at %s: look at 3: the number is odd", to); err.Error() != text {
		t.Errorf("got %q, want %q", err, text)
	}
	var fault *rpc.Fault
	if _, err := c.Call(t.Context(), to, "plain", nil); !errors.As(err, &fault) || len(fault.Text) != rpc.TextBytesMax {
		t.Errorf("got a text of %d bytes, want %d", len(fault.Text), rpc.TextBytesMax)
	}
}

func testDeadline(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, p *probe) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Call(ctx, to, "block", nil)
	want(t, err, rpc.ErrTimeout, context.DeadlineExceeded)
	select {
	case <-p.started: // unless the machine was so slow that it was never sent
		receive(t, p.ended)
	default:
	}
}

func testCancel(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, p *probe) {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		receive(t, p.started)
		cancel()
	}()
	_, err := c.Call(ctx, to, "block", nil)
	want(t, err, rpc.ErrCancelled, context.Canceled)
	want(t, receive(t, p.ended), context.Canceled)
	_, err = c.Call(ctx, to, "echo", nil)
	want(t, err, rpc.ErrCancelled)
}

// testThousand has 1,000 calls in flight to one member, of which none fails.
func testThousand(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, p *probe) {
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			request := fmt.Appendf(nil, "call %d", i)
			got, err := c.Call(t.Context(), to, "block", request)
			if err != nil || !bytes.Equal(got, request) {
				t.Errorf("call %d: %q, %v", i, got, err)
			}
		})
	}
	receive(t, p.started)
	close(p.release)
	all.Wait()
}

// testLargeAmongSmall has small calls end while a large one is under way.
func testLargeAmongSmall(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, _ *probe) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			request := pattern(4 << 20)
			if got, err := c.Call(t.Context(), to, "echo", request); err != nil || !bytes.Equal(got, request) {
				t.Errorf("large call: %d bytes, %v", len(got), err)
			}
		})
	}
	for i := range 100 {
		request := fmt.Appendf(nil, "call %d", i)
		if got, err := c.Call(t.Context(), to, "echo", request); err != nil || !bytes.Equal(got, request) {
			t.Errorf("call %d: %q, %v", i, got, err)
		}
	}
	all.Wait()
}

func testWatch(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, _ *probe) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			w, err := c.Watch(t.Context(), to, "count", fmt.Appendf(nil, "%d.", i))
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			for j := range 1000 {
				got, err := w.Next(t.Context())
				if text := fmt.Sprintf("%d.%d", i, j); err != nil || string(got) != text {
					t.Errorf("got %q, %v, want %q", got, err, text)
					return
				}
			}
			if _, err := w.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want EOF", err)
			}
		})
	}
	all.Wait()
}

func testWatchLarge(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, _ *probe) {
	w, err := c.Watch(t.Context(), to, "large", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 4 {
		got, err := w.Next(t.Context())
		if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 4<<20)) {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
	_, err = w.Next(t.Context())
	want(t, err, errOdd)
}

func testWatchErrors(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, p *probe) {
	_, err := c.Watch(t.Context(), to, "echo", nil)
	want(t, err, rpc.ErrUnknownMethod)
	_, err = c.Watch(t.Context(), to, "count", make([]byte, rpc.FrameBytesMax))
	want(t, err, rpc.ErrRequestTooLarge)
	for method, target := range map[string]error{"nothing": rpc.ErrUnknownMethod, "overflow": rpc.ErrResponseTooLarge} {
		w, err := c.Watch(t.Context(), to, method, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Next(t.Context())
		want(t, err, target)
		w.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, err := c.Watch(ctx, to, "flood", nil)
	if err != nil {
		t.Fatal(err)
	}
	receive(t, p.started)
	cancel()
	for err = nil; err == nil; {
		_, err = w.Next(t.Context())
	}
	want(t, err, rpc.ErrCancelled)
	want(t, receive(t, p.ended), rpc.ErrCancelled)
	w.Close()
}

// testWatchBackPressure leaves a watch unread: its handler stands still, others
// go on, and all comes when it is read.
func testWatchBackPressure(t *testing.T, c, _ *rpc.Endpoint, to p2p.NodeID, p *probe) {
	w, err := c.Watch(t.Context(), to, "flood", nil)
	if err != nil {
		t.Fatal(err)
	}
	const ahead = (rpc.WindowBytes + 1063) / 1064 // a message counts with 64 bytes more
	for range ahead {
		receive(t, p.started)
	}
	for range 100 {
		if _, err := c.Call(t.Context(), to, "echo", []byte("meanwhile")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.started); n != 0 {
		t.Errorf("%d messages more than the window were sent", n)
	}
	for range 3 * ahead {
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	want(t, receive(t, p.ended), rpc.ErrCancelled)
	_, err = w.Next(t.Context())
	for err == nil {
		_, err = w.Next(t.Context())
	}
	want(t, err, rpc.ErrClosed)
}

func testClose(t *testing.T, c, a *rpc.Endpoint, to p2p.NodeID, p *probe) {
	errs := make(chan error, 8)
	for range 8 {
		go func() {
			_, err := c.Call(t.Context(), to, "block", nil)
			errs <- err
		}()
	}
	for range 8 {
		receive(t, p.started)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for range 8 {
		want(t, receive(t, p.ended), context.Canceled)
		want(t, receive(t, errs), rpc.ErrUncertain)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := c.Call(t.Context(), to, "echo", nil)
	want(t, err, rpc.ErrClosed)
}
