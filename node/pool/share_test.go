package pool

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// labourerFake is a worker that uses what it wants of what it is given.
type labourerFake struct {
	share uint32
	wants float64
	used  time.Duration
	gone  bool
}

func (l *labourerFake) SetShare(share uint32) { l.share = share }

func (l *labourerFake) CPUTime() (time.Duration, error) {
	if l.gone {
		return 0, errors.New("gone")
	}
	return l.used, nil
}

func sum(all []*labourerFake) (used time.Duration) {
	for _, l := range all {
		used += l.used
	}
	return used
}

// work lets it work for a while.
func (l *labourerFake) work(span time.Duration) {
	cores := l.wants
	if l.share != worker.ShareFree {
		cores = min(cores, float64(l.share)/float64(worker.ShareWhole))
	}
	l.used += time.Duration(cores * float64(span))
}

// TestShareIsDivided: whatever workers want, after some rounds they use the whole share
// or all that they want; none uses less than another that it envies; and no round gives
// away much more than there is.
func TestShareIsDivided(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		g := &governor{}
		g.init()
		g.cores = rapid.Float64Range(0.05, 4).Draw(r, "cores")
		var all []*labourerFake
		wanted := 0.0
		for range rapid.IntRange(1, 6).Draw(r, "workers") {
			l := &labourerFake{wants: rapid.SampledFrom([]float64{0, 0.01, 0.2, 1, 2}).Draw(r, "wants")}
			all = append(all, l)
			wanted += l.wants
			g.hire(l)
		}
		const span = governInterval
		tally := make([]time.Duration, len(all))
		total := 0.0
		for round := range 200 {
			begun := sum(all)
			for i, l := range all {
				before := l.used
				l.work(span)
				if round >= 100 {
					tally[i] += l.used - before
				}
			}
			used := (sum(all) - begun).Seconds()
			if round >= 100 {
				total += used
			}
			g.advance(span.Seconds(), 0)
		}
		seconds := 100 * span.Seconds()
		if want := min(g.cores, wanted); math.Abs(total/seconds-want) > 0.03*want+0.002 {
			r.Fatalf("%v cores are used, want %v", total/seconds, want)
		}
		for i, l := range all {
			for j := range all {
				mine, theirs := tally[i].Seconds()/seconds, tally[j].Seconds()/seconds
				if mine < l.wants*0.95 && mine < theirs*0.85-0.002 {
					r.Fatalf("worker %d wants %v and uses %v, worker %d uses %v", i, l.wants, mine, j, theirs)
				}
			}
		}
	})
}

// TestCompilingCounts: what compiles comes off what guests get, and is made up for.
func TestCompilingCounts(t *testing.T) {
	g := &governor{}
	g.init()
	g.cores = 0.5
	l := &labourerFake{wants: 2}
	g.hire(l)
	const span = governInterval
	compiled := 0.0
	for round := range 600 {
		l.work(span)
		more := 0.0
		if round < 50 {
			more = span.Seconds()
		}
		compiled += more
		g.advance(span.Seconds(), more)
	}
	if got := (l.used.Seconds() + compiled) / (600 * span.Seconds()); math.Abs(got-0.5) > 0.01 {
		t.Errorf("%v cores were used, want 0.5", got)
	}
	if l.share == 0 {
		t.Error("the worker is frozen, and not only slow")
	}
}

// printer is a guest's output that tells when there is some.
type printer struct {
	mu   sync.Mutex
	some chan struct{}
	n    int
}

func (p *printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += len(b)
	select {
	case p.some <- struct{}{}:
	default:
	}
	return len(b), nil
}

// TestFrozenTimeDoesNotCount: a guest that is frozen for longer than its timeout goes
// on, where it was, when that ends; the node's other pools are not frozen.
func TestFrozenTimeDoesNotCount(t *testing.T) {
	t.Parallel()
	p, other := open(t, nil), open(t, nil)
	flood, spin := prepare(t, p, "flood"), prepare(t, other, "spin")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &printer{some: make(chan struct{}, 1)}
	ended := make(chan task.Outcome, 1)
	limits := task.Max()
	limits.Timeout = 3 * time.Second
	go func() {
		ended <- p.run(ctx, "a", flood, task.Spec{Limits: limits}, worker.Streams{Stdout: out})
	}()
	<-out.some
	begun := time.Now()
	p.SetShare(Unbounded, true)
	limits.Timeout += 2 * time.Second
	if o, _ := run(t, other, "a", spin, task.Spec{Limits: limits}); o.Kind != task.DeadlineExceeded {
		t.Fatalf("the other pool's guest: %+v", o)
	}
	select {
	case o := <-ended:
		t.Fatalf("the frozen guest has ended: %+v", o)
	default:
	}
	frozen := time.Since(begun)
	p.SetShare(Unbounded, false)
	if o := <-ended; o.Kind != task.DeadlineExceeded && o.Kind != task.OutputLimit || o.Kind == task.DeadlineExceeded && o.Usage.WallTime < frozen {
		t.Errorf("%+v after %s of frost", o, frozen)
	}
}

// TestFrozenGuestIsCancelled: a guest that is frozen can be ended, and one that has not
// begun can be told not to.
func TestFrozenGuestIsCancelled(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	hello := prepare(t, p, "hello")
	if o, _ := run(t, p, "a", hello, task.Spec{}); o.Kind != task.Exited {
		t.Fatalf("%+v", o)
	}
	p.SetShare(0.5, true)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan task.Outcome, 1)
	var out bytes.Buffer
	go func() { ended <- p.run(ctx, "a", hello, task.Spec{}, worker.Streams{Stdout: &out}) }()
	cancel()
	// It may be told before it has come to the worker.
	if o := <-ended; o.Kind != task.Cancelled && !strings.Contains(o.Message, context.Canceled.Error()) || out.Len() > 0 {
		t.Errorf("a guest of a frozen pool: %+v, %q", o, out.String())
	}
	p.SetShare(0.5, false)
	if o, text := run(t, p, "a", hello, task.Spec{}); o.Kind != task.Exited || text != "hello\n" {
		t.Errorf("afterwards: %+v, %q", o, text)
	}
	p.Dismiss()
	if n := p.pid("a"); n != 0 {
		t.Errorf("a worker that was dismissed is still there: %d", n)
	}
	if o, _ := run(t, p, "a", hello, task.Spec{}); o.Kind != task.Exited {
		t.Errorf("after that: %+v", o)
	}
}
