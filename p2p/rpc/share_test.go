package rpc_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/dugnad/dugnad/p2p/rpc"
)

func TestQueue(t *testing.T) {
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		errs := make(chan error, 6)
		call := func(ctx context.Context) {
			_, err := s.c.Call(ctx, "a", "block", nil)
			errs <- err
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			go call(t.Context())
		}
		synctest.Wait()
		for range 3 {
			go call(ctx)
		}
		synctest.Wait()
		_, err := s.c.Call(t.Context(), "a", "echo", nil)
		want(t, err, rpc.ErrBusy)
		if n := value(s.metrics[0], "dugnad_rpc_queued_calls"); n != 3 {
			t.Errorf("%v calls are queued, want 3", n)
		}
		cancel()
		for range 3 {
			want(t, <-errs, rpc.ErrCancelled)
		}
		go call(t.Context())
		synctest.Wait()
		close(s.probe.release)
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := value(s.metrics[0], "dugnad_rpc_limit_reached_total", "limit", "queue"); n != 1 {
			t.Errorf("the queue was full %v times, want once", n)
		}
	}, func(c *rpc.Config) { c.InFlightMax, c.QueueMax = 2, 3 })
}

func TestWatchShares(t *testing.T) {
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		var open []*rpc.Watch
		for range rpc.WatchesMax {
			w, err := s.c.Watch(t.Context(), "a", "flood", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			open = append(open, w)
		}
		for i, w := range open {
			_, err := w.Next(t.Context())
			if i < 3 && err != nil || i >= 3 && !errors.Is(err, rpc.ErrBusy) {
				t.Errorf("watch %d: %v", i, err)
			}
		}
		_, err := s.c.Watch(t.Context(), "a", "flood", nil)
		want(t, err, rpc.ErrBusy)
		for _, w := range open {
			w.Close()
		}
		synctest.Wait()
		w, err := s.c.Watch(t.Context(), "a", "count", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for err = nil; err == nil; {
			_, err = w.Next(t.Context())
		}
		want(t, err, io.EOF)
	}, func(c *rpc.Config) { c.WatchesPerPeerMax = 3 })
}

// TestTurns has one member's calls fill its share of handlers, and the calls of
// another handled meanwhile, and in turn when all handlers are taken.
func TestTurns(t *testing.T) {
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		other := open(t, s.network.Add("o", p2p.RoleClient), nil)
		errs := make(chan error, 20)
		call := func(e *rpc.Endpoint, text string) {
			_, err := e.Call(t.Context(), "a", "block", []byte(text))
			errs <- err
		}
		for range 8 {
			go call(s.c, "greedy")
		}
		synctest.Wait()
		for range 4 {
			go call(other, "modest")
		}
		synctest.Wait()
		got := map[string]int{}
		for range len(s.probe.started) {
			got[<-s.probe.started]++
		}
		if got["greedy"] != 3 || got["modest"] != 1 {
			t.Errorf("handlers at once: %v, want 3 and 1", got)
		}
		if n := value(s.metrics[1], "dugnad_rpc_waiting_requests"); n != 8 {
			t.Errorf("%v requests wait, want 8", n)
		}
		close(s.probe.release)
		for range 12 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		for _, name := range []string{"dugnad_rpc_waiting_requests", "dugnad_rpc_handlers", "dugnad_rpc_held_bytes"} {
			if n := value(s.metrics[1], name); n != 0 {
				t.Errorf("%s is %v at the end", name, n)
			}
		}
	}, func(c *rpc.Config) { c.HandlersMax, c.HandlersPerPeerMax = 4, 3 })
}

// TestPanic has a panic logged where it happened, counted, and nothing of it
// sent to the caller.
func TestPanic(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		_, err := s.c.Call(t.Context(), "a", "panic", nil)
		want(t, err, rpc.ErrPanic)
		if text := "call panic at a: handler panicked"; err.Error() != text {
			t.Errorf("got %q, want %q", err, text)
		}
		for side, metrics := range map[string]*prometheus.Registry{"call": s.metrics[0], "serve": s.metrics[1]} {
			if n := value(metrics, "dugnad_rpc_calls_total", "side", side, "method", "panic", "code", "panic"); n != 1 {
				t.Errorf("%s: counted %v times, want once", side, n)
			}
		}
		for _, part := range []string{"handler panicked", "method=panic", "peer=c", "at the disco", "main_test.go"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("the log lacks %q: %s", part, log.String())
			}
		}
	}, func(c *rpc.Config) { c.Logger = logger })
}
