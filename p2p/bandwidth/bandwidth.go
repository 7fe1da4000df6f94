// Package bandwidth bounds what a node moves over the network for others, in each
// direction: one token bucket that all streams of the direction share, in turns of a
// piece each. It counts what is moved, bound or not.
package bandwidth

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/dugnad/dugnad/p2p/metric"
)

const (
	// PieceBytes is what a stream may move before it is the next one's turn.
	PieceBytes = 16 << 10
	// RateMin is the least bound of a direction, in bytes per second. With less the
	// streams that a node serves at once would each move so little that others take it
	// for one that is lost.
	RateMin = 64 << 10
	// burstParts is the part of a second's bytes that may go at once after a rest.
	burstParts = 4
	// useSpan is the time over which Use.BytesPerSecond is a mean, at least.
	useSpan = 2 * time.Second
)

// Kind is what bytes are moved for.
type Kind string

// The kinds.
const (
	// KindObjects are objects of the store: modules, inputs, results and their copies.
	KindObjects Kind = "objects"
	// KindCopies are small results, which go to the node that keeps the other copy
	// inside of the request.
	KindCopies Kind = "copies"
	// KindLogs is what tasks put out while they run, for those who follow them.
	KindLogs Kind = "logs"
	// KindHTTP are connections of guests to the outside.
	KindHTTP Kind = "http"
	// KindAPI are requests of other machines to the HTTP interface, and their answers.
	KindAPI Kind = "api"
)

// Link is both directions of a node.
type Link struct{ Down, Up *Flow }

// New returns a link without bounds, whose metrics reg receives; nil keeps none.
func New(reg prometheus.Registerer) (*Link, error) {
	var err error
	moved, waits, waited := vector(reg, "bytes_total", "Bytes that were moved for users of the grid, by direction and what for.", &err, "direction", "kind"),
		vector(reg, "limit_reached_total", "How often the operator's bound held a piece up, by direction.", &err, "limit"),
		vector(reg, "waited_seconds_total", "How long streams have waited for the operator's bound, all together.", &err, "direction")
	bound := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dugnad_bandwidth_bound_bytes", Help: "The operator's bound for each second, 0 where there is none."}, []string{"direction"})
	waiting := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dugnad_bandwidth_waiting", Help: "Streams that wait for the operator's bound."}, []string{"direction"})
	metric.Register(reg, &bound, bound, &err)
	metric.Register(reg, &waiting, waiting, &err)
	flow := func(direction string) *Flow {
		f := &Flow{
			limiter: rate.NewLimiter(rate.Inf, 0), changed: make(chan struct{}), since: time.Now(), moved: map[Kind]prometheus.Counter{},
			waits: waits.WithLabelValues(direction), waited: waited.WithLabelValues(direction),
			bound: bound.WithLabelValues(direction), waiting: waiting.WithLabelValues(direction),
		}
		for _, k := range []Kind{KindObjects, KindCopies, KindLogs, KindHTTP, KindAPI} {
			f.moved[k] = moved.WithLabelValues(direction, string(k))
		}
		return f
	}
	return &Link{Down: flow("down"), Up: flow("up")}, err
}

func vector(reg prometheus.Registerer, name, help string, err *error, labels ...string) (v *prometheus.CounterVec) {
	metric.Register(reg, &v, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_bandwidth_" + name, Help: help}, labels), err)
	return v
}

// Flow is one direction. Its methods are safe for concurrent use; a nil one bounds and
// counts nothing.
type Flow struct {
	moved          map[Kind]prometheus.Counter
	waits, waited  prometheus.Counter
	bound, waiting prometheus.Gauge

	mu      sync.Mutex
	limiter *rate.Limiter
	// perSecond is the bound, 0 without one.
	perSecond uint64
	// changed is closed, and replaced, when the bound is another one.
	changed chan struct{}
	// queue are those that wait, in the order in which they go; the first one has its
	// turn.
	queue []*turn
	// total is all bytes, lately those since since, mean what there was per second in
	// the span before that.
	total, lately uint64
	since         time.Time
	mean          float64
}

// turn is closed for who may go on.
type turn struct{ begun chan struct{} }

// SetRate bounds the direction to so many bytes per second from now on, also for those
// that wait; 0 does not bound it.
func (f *Flow) SetRate(perSecond uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if perSecond == f.perSecond {
		return
	}
	now := time.Now()
	f.perSecond = perSecond
	f.bound.Set(float64(perSecond))
	if perSecond == 0 {
		f.limiter.SetLimitAt(now, rate.Inf)
	} else {
		// A new one: what an unbounded direction had in store is no measure.
		f.limiter = rate.NewLimiter(rate.Limit(perSecond), burst(perSecond))
		f.limiter.ReserveN(now, burst(perSecond))
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func burst(perSecond uint64) int { return int(max(min(perSecond, 1<<40)/burstParts, PieceBytes)) }

// Bound reports whether the direction is bounded.
func (f *Flow) Bound() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.perSecond > 0
}

// Wait returns when n more bytes may go, and counts them. Those who wait take turns of
// PieceBytes. Its error is that of ctx, when that ends while it waits.
func (f *Flow) Wait(ctx context.Context, kind Kind, n int) error {
	if !f.Bound() {
		f.Book(kind, n)
		return nil
	}
	for n > 0 {
		piece := min(n, PieceBytes)
		if err := f.wait(ctx, piece); err != nil {
			return err
		}
		f.count(kind, piece)
		n -= piece
	}
	return nil
}

// Book counts n bytes that have gone: what follows waits for them.
func (f *Flow) Book(kind Kind, n int) {
	if f == nil || n <= 0 {
		return
	}
	f.count(kind, n)
	f.mu.Lock()
	defer f.mu.Unlock()
	for now := time.Now(); f.perSecond > 0 && n > 0; n -= PieceBytes {
		f.limiter.ReserveN(now, min(n, PieceBytes))
	}
}

// Delay is how long one more piece would wait now.
func (f *Flow) Delay() time.Duration {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.perSecond == 0 {
		return 0
	}
	// What the first one waits for is off the tokens already.
	lacking := float64(max(len(f.queue), 1)*PieceBytes) - f.limiter.TokensAt(time.Now())
	return time.Duration(max(lacking, 0) / float64(f.perSecond) * float64(time.Second))
}

// wait returns when a piece may go.
func (f *Flow) wait(ctx context.Context, n int) error {
	f.mu.Lock()
	if f.perSecond == 0 || len(f.queue) == 0 && f.limiter.AllowN(time.Now(), n) {
		f.mu.Unlock()
		return nil
	}
	t := &turn{begun: make(chan struct{})}
	f.queue = append(f.queue, t)
	if len(f.queue) == 1 {
		close(t.begun)
	}
	f.mu.Unlock()
	f.waits.Inc()
	f.waiting.Inc()
	began := time.Now()
	defer func() {
		f.leave(t)
		f.waiting.Dec()
		f.waited.Add(time.Since(began).Seconds())
	}()
	select {
	case <-t.begun:
		return f.take(ctx, n)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave ends a turn, or gives it up.
func (f *Flow) leave(t *turn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.queue {
		if f.queue[i] != t {
			continue
		}
		f.queue = append(f.queue[:i], f.queue[i+1:]...)
		if i == 0 && len(f.queue) > 0 {
			close(f.queue[0].begun)
		}
		return
	}
}

// take waits for the tokens of who has the turn.
func (f *Flow) take(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		now, changed := time.Now(), f.changed
		r := f.limiter.ReserveN(now, n)
		f.mu.Unlock()
		timer := time.NewTimer(r.DelayFrom(now))
		select {
		case <-timer.C:
			return nil
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		r.Cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (f *Flow) count(kind Kind, n int) {
	f.moved[kind].Add(float64(n))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(time.Now())
	f.total += uint64(n)
	f.lately += uint64(n)
}

// settle begins another span when one is over.
func (f *Flow) settle(now time.Time) {
	if span := now.Sub(f.since); span >= useSpan {
		f.mean, f.lately, f.since = float64(f.lately)/span.Seconds(), 0, now
	}
}

// Use is what a direction has moved.
type Use struct {
	// Rate is the bound in bytes per second, 0 without one.
	Rate uint64
	// BytesPerSecond is the mean of the last seconds, Bytes all since the node started.
	BytesPerSecond, Bytes uint64
	// Waiting are the streams that wait for the bound.
	Waiting int
}

// Use returns what the direction has moved.
func (f *Flow) Use() Use {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(time.Now())
	return Use{Rate: f.perSecond, BytesPerSecond: uint64(f.mean), Bytes: f.total, Waiting: len(f.queue)}
}
