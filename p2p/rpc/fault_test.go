package rpc_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// scene is a client c and an admin a, in a bubble.
type scene struct {
	network *p2ptest.Network
	c, a    *rpc.Endpoint
	admin   *p2ptest.Node
	probe   *probe
	// metrics are c's and a's.
	metrics [2]*prometheus.Registry
}

func bubble(t *testing.T, c p2ptest.Config, f func(t *testing.T, s *scene), change ...func(*rpc.Config)) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{probe: newProbe(), metrics: [2]*prometheus.Registry{prometheus.NewRegistry(), prometheus.NewRegistry()}}
		var client *p2ptest.Node
		s.network, client, s.admin = memory(t, c)
		with := func(r *prometheus.Registry) []func(*rpc.Config) {
			return append(change, func(c *rpc.Config) { c.Registerer = r })
		}
		s.c = open(t, client, s.probe.methods(), with(s.metrics[0])...)
		s.a = open(t, s.admin, s.probe.methods(), with(s.metrics[1])...)
		f(t, s)
	})
}

func TestRoles(t *testing.T) {
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		_, err := s.c.Call(t.Context(), "a", "admin", nil)
		want(t, err, rpc.ErrNotAllowed)
		got, err := s.a.Call(t.Context(), "c", "admin", nil)
		if text := fmt.Sprintf("a %d admin", p2p.RoleAdmin); string(got) != text || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	})
}

// TestDeadlineTravels has the handler's context end when the caller's does, and
// not at the caller's word: that is cut off.
func TestDeadlineTravels(t *testing.T) {
	bubble(t, p2ptest.Config{Latency: 10 * time.Millisecond}, func(t *testing.T, s *scene) {
		if _, err := s.c.Call(t.Context(), "a", "echo", nil); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(500*time.Millisecond, func() { s.network.Block("c", "a") })
		_, err := s.c.Call(ctx, "a", "block", nil)
		want(t, err, rpc.ErrTimeout)
		want(t, <-s.probe.ended, context.DeadlineExceeded)
		if took := time.Since(began); took != time.Second+10*time.Millisecond {
			t.Errorf("the handler's context ended after %v, want the deadline and the latency", took)
		}
	})
}

func TestCancelTravels(t *testing.T) {
	bubble(t, p2ptest.Config{Latency: 10 * time.Millisecond}, func(t *testing.T, s *scene) {
		ctx, cancel := context.WithCancel(t.Context())
		go s.c.Call(ctx, "a", "block", nil)
		<-s.probe.started
		began := time.Now()
		cancel()
		want(t, <-s.probe.ended, context.Canceled)
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("the handler's context ended after %v, want the latency", took)
		}
	})
}

func TestPartition(t *testing.T) {
	bubble(t, p2ptest.Config{BrokenAfter: 10 * time.Second}, func(t *testing.T, s *scene) {
		errs := make(chan error, 1)
		go func() {
			_, err := s.c.Call(t.Context(), "a", "block", nil)
			errs <- err
		}()
		<-s.probe.started
		s.network.Cut("a")
		err := <-errs
		want(t, err, rpc.ErrUncertain)
		if rpc.IsSafeToRepeat(err) {
			t.Error("a call that ran is said to be safe to repeat")
		}
		want(t, <-s.probe.ended, context.Canceled)
		_, err = s.c.Call(t.Context(), "a", "echo", nil)
		want(t, err, rpc.ErrUnavailable, p2ptest.ErrUnreachable)
		if !rpc.IsSafeToRepeat(err) {
			t.Error("a call that was not sent is said to be unsafe to repeat")
		}
		s.network.Restore("a")
		if _, err := s.c.Call(t.Context(), "a", "echo", nil); err != nil {
			t.Errorf("call after the partition: %v", err)
		}
		if n := value(s.metrics[0], "dugnad_rpc_streams_total", "event", "opened"); n != 2 {
			t.Errorf("%v streams were opened, want 2", n)
		}
	})
}

// TestHealedInTime carries on where it stopped, on the same stream.
func TestHealedInTime(t *testing.T) {
	bubble(t, p2ptest.Config{BrokenAfter: 10 * time.Second}, func(t *testing.T, s *scene) {
		for _, cut := range []func(){
			func() { s.network.Block("c", "a") },
			func() { s.network.Block("a", "c") },
		} {
			if _, err := s.c.Call(t.Context(), "a", "echo", nil); err != nil {
				t.Fatal(err)
			}
			cut()
			time.AfterFunc(5*time.Second, s.network.Heal)
			began := time.Now()
			if _, err := s.c.Call(t.Context(), "a", "echo", nil); err != nil || time.Since(began) != 5*time.Second {
				t.Errorf("call across the partition: %v after %v", err, time.Since(began))
			}
		}
		if n := value(s.metrics[0], "dugnad_rpc_streams_total", "event", "opened"); n != 1 {
			t.Errorf("%v streams were opened, want 1", n)
		}
	})
}

func TestBreak(t *testing.T) {
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		w, err := s.c.Watch(t.Context(), "a", "flood", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		<-s.probe.started
		s.network.Break("a", "c")
		for err == nil {
			_, err = w.Next(t.Context())
		}
		want(t, err, rpc.ErrUncertain)
		<-s.probe.ended
		if _, err := s.c.Call(t.Context(), "a", "echo", nil); err != nil {
			t.Errorf("call after the break: %v", err)
		}
	})
}

func TestNodeComesBack(t *testing.T) {
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		if _, err := s.c.Call(t.Context(), "a", "echo", nil); err != nil {
			t.Fatal(err)
		}
		s.a.Close()
		s.admin.Close()
		_, err := s.c.Call(t.Context(), "a", "echo", nil)
		want(t, err, rpc.ErrUnavailable)
		_, err = s.c.Call(t.Context(), "nobody", "echo", nil)
		want(t, err, rpc.ErrUnavailable)
		open(t, s.network.Add("a", p2p.RoleAdmin), s.probe.methods())
		if _, err := s.c.Call(t.Context(), "a", "echo", nil); err != nil {
			t.Errorf("call to the node that came back: %v", err)
		}
	})
}

// TestOpenGivesUp ends the wait for a stream with the call's context, or after
// OpenTimeMax.
func TestOpenGivesUp(t *testing.T) {
	bubble(t, p2ptest.Config{}, func(t *testing.T, s *scene) {
		s.network.Cut("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.c.Call(ctx, "a", "echo", nil)
		want(t, err, rpc.ErrTimeout)
		began := time.Now()
		_, err = s.c.Call(t.Context(), "a", "echo", nil)
		want(t, err, rpc.ErrUnavailable, context.DeadlineExceeded)
		if took := time.Since(began); took != 29*time.Second {
			t.Errorf("gave up after %v, want what is left of 30s", took)
		}
	})
}
