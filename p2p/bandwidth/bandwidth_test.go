package bandwidth

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric/metrictest"
)

func newLink(t *testing.T) *Link {
	t.Helper()
	l, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// between fails unless a time is from low to high, in seconds of the test's clock.
func between(t *testing.T, what string, took time.Duration, low, high float64) {
	t.Helper()
	if s := took.Seconds(); s < low || s > high {
		t.Errorf("%s took %s, want %g s to %g s", what, took, low, high)
	}
}

// TestShares: streams of a direction have the same each, whatever they ask for at once,
// and together what the bound allows; the other direction has its own.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		l.Down.SetRate(1 << 20)
		ctx, cancel := context.WithCancel(t.Context())
		moved := make([]int, 8)
		var streams sync.WaitGroup
		for i := range moved {
			streams.Go(func() {
				// The first stream asks for 1 MiB at a time, the last one for 8 KiB.
				for size := 1 << (20 - i); ; size = 1 << (20 - i) {
					for done := 0; done < size; done += min(size, PieceBytes) {
						if l.Down.Wait(ctx, KindObjects, min(size, PieceBytes)) != nil {
							return
						}
						moved[i] += min(size, PieceBytes)
					}
				}
			})
		}
		time.Sleep(16 * time.Second)
		cancel()
		streams.Wait()
		sum := 0
		for _, n := range moved {
			sum += n
		}
		// One that moves half a piece a turn has half of what others have.
		for i, n := range moved[:7] {
			if want := sum * 2 / 15; n < want*9/10 || n > want*11/10 {
				t.Errorf("stream %d has moved %d of %d bytes", i, n, sum)
			}
		}
		if sum < 15<<20 || sum > 16<<20+1<<18 {
			t.Errorf("%d bytes in 16 s at 1 MiB a second", sum)
		}
		if use := l.Down.Use(); use.Bytes != uint64(sum) || use.Waiting != 0 || use.Rate != 1<<20 {
			t.Errorf("use %+v of %d bytes", use, sum)
		}
		began := time.Now()
		if err := l.Up.Wait(t.Context(), KindHTTP, 1<<30); err != nil || time.Since(began) != 0 {
			t.Errorf("the other direction waits: %v, %s", err, time.Since(began))
		}
	})
}

// TestFirstComeFirst: a stream that wants much does not keep one from its turn that
// wants little.
func TestFirstComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		l.Up.SetRate(RateMin)
		var large sync.WaitGroup
		for range 3 {
			large.Go(func() {
				if err := l.Up.Wait(t.Context(), KindObjects, 1<<20); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if err := l.Up.Wait(t.Context(), KindHTTP, PieceBytes); err != nil {
			t.Fatal(err)
		}
		between(t, "a piece behind 3 MiB", time.Since(began), 0.9, 1.1)
		large.Wait()
		between(t, "3 MiB and a piece at 64 KiB a second", time.Since(began), 48, 48.5)
	})
}

// TestSetRate: another bound counts at once, also for who waits.
func TestSetRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		l.Down.SetRate(RateMin)
		began := time.Now()
		done := make(chan time.Duration, 2)
		wait := func(n int) {
			go func() {
				if err := l.Down.Wait(t.Context(), KindObjects, n); err != nil {
					t.Error(err)
				}
				done <- time.Since(began)
			}()
		}
		wait(10 << 20) // 160 s
		time.Sleep(16 * time.Second)
		l.Down.SetRate(1 << 20)
		between(t, "1 MiB at 64 KiB and 9 MiB at 1 MiB a second", <-done, 24.5, 25.5)
		began = time.Now()
		wait(100 << 20)
		wait(100 << 20)
		synctest.Wait()
		if use := l.Down.Use(); use.Waiting != 2 {
			t.Errorf("%d wait, not 2", use.Waiting)
		}
		l.Down.SetRate(0)
		between(t, "what is not bounded any more", <-done, 0, 0)
		between(t, "what is not bounded any more", <-done, 0, 0)
		l.Down.SetRate(1 << 20)
		began = time.Now()
		wait(1 << 20)
		between(t, "1 MiB at the bound that is back", <-done, 0.9, 1.1)
	})
}

// TestWaitEnds: who gives up leaves the queue, also when it is their turn, and takes
// nothing with it.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		l.Up.SetRate(RateMin)
		l.Up.Book(KindCopies, 1<<20) // 16 s
		first, give := context.WithCancel(t.Context())
		second, up := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for _, ctx := range []context.Context{first, second} {
			go func() { ended <- l.Up.Wait(ctx, KindObjects, PieceBytes) }()
			synctest.Wait()
		}
		began := time.Now()
		third := make(chan time.Duration, 1)
		go func() {
			if err := l.Up.Wait(t.Context(), KindObjects, PieceBytes); err != nil {
				t.Error(err)
			}
			third <- time.Since(began)
		}()
		synctest.Wait()
		if d := l.Up.Delay(); d < 16*time.Second || d > 18*time.Second {
			t.Errorf("one more would wait for %s", d)
		}
		up()
		give()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		between(t, "the third", <-third, 16, 16.5)
		if use := l.Up.Use(); use.Waiting != 0 || use.Bytes != 1<<20+PieceBytes {
			t.Errorf("%+v", use)
		}
	})
}

// TestBurst: a rest saves up a part of a second, and no more.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		l.Down.SetRate(1 << 20)
		time.Sleep(time.Hour)
		began := time.Now()
		if err := l.Down.Wait(t.Context(), KindAPI, 1<<20); err != nil {
			t.Fatal(err)
		}
		between(t, "1 MiB after a rest", time.Since(began), 0.7, 0.8)
		if use := l.Down.Use(); use.BytesPerSecond > 1<<20 {
			t.Errorf("use %+v", use)
		}
	})
}

// TestNoFlow: where nothing is bounded nothing waits, and so nothing ends.
func TestNoFlow(t *testing.T) {
	var f *Flow
	f.Book(KindAPI, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if f.Bound() || f.Delay() != 0 || f.Wait(t.Context(), KindAPI, 1<<30) != nil || f.Wait(ended, KindAPI, 1) != nil {
		t.Error("a flow that is none bounds something")
	}
}

// TestMetrics: what is moved is counted by direction and kind, what waits by direction.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		l, err := New(reg)
		if err != nil {
			t.Fatal(err)
		}
		l.Up.SetRate(RateMin)
		l.Down.Book(KindAPI, 7)
		if err := l.Up.Wait(t.Context(), KindHTTP, 2*PieceBytes); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name   string
			labels []string
			want   float64
		}{
			{"bytes_total", []string{"down", "api"}, 7},
			{"bytes_total", []string{"up", "http"}, 2 * PieceBytes},
			{"bytes_total", []string{"up", "api"}, 0},
			{"bound_bytes", []string{"up"}, RateMin},
			{"limit_reached_total", []string{"up"}, 2},
			{"limit_reached_total", []string{"down"}, 0},
			{"waited_seconds_total", []string{"up"}, 0.5},
			{"waiting", []string{"up"}, 0},
		} {
			if got := metrictest.Value(t, reg, "dugnad_bandwidth_"+c.name, c.labels...); got < c.want || got > c.want*1.01 {
				t.Errorf("%s%v is %g, want %g", c.name, c.labels, got, c.want)
			}
		}
	})
}
