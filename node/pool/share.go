package pool

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/worker"
)

const (
	// compileNice is how much lower the priority of what compiles is: its work has no
	// slices that it could be held up between.
	compileNice = 10
	// governInterval is how often the share is divided among the workers anew.
	governInterval = 100 * time.Millisecond
	// settleTime is how long it takes to make up for what was used too much or too
	// little.
	settleTime = 400 * time.Millisecond
	// creditMax and debtMax bound what is made up for: what was left unused for want of
	// work is not, and a long compilation does not stop guests for ever.
	creditMax = 200 * time.Millisecond
	debtMax   = 30 * time.Second
	// hungry is the part of its share from which on a worker is taken to want more, and
	// sleepy the part of the whole that all those together are kept for who want little.
	hungry = 0.8
	sleepy = 0.1
	// shareMin is what a worker gets at least, as 0 would freeze it.
	shareMin = 1e-3
	// coresMax is the most that a worker can be told.
	coresMax = 4000
)

// Unbounded is the share of a pool that may use all processors.
const Unbounded = -1

// labourer is a worker that has a share.
type labourer interface {
	SetShare(share uint32)
	CPUTime() (time.Duration, error)
}

// governor divides a share of the processors among the workers, each of which keeps
// to its part by itself. What they have used is measured, with all that their
// processes do, and what compiles: too much of it comes off what follows.
type governor struct {
	// kicked has an element when there is something to do before the next round.
	kicked chan struct{}
	stop   chan struct{}

	mu sync.Mutex
	// cores is the share, or Unbounded; frozen says that it is 0 for now.
	cores  float64
	frozen bool
	hired  map[labourer]*wage
	// last is when the last round was, zero when there was none since there is a share.
	last time.Time
	// credit is how much less was used than the share allows, in seconds.
	credit float64
	// compiled is what compiling had taken by then.
	compiled time.Duration
}

// wage is what is known of a worker.
type wage struct {
	// cores is its part of the share, used what it has used of it lately, both in
	// cores.
	cores, used float64
	// wants is what it would use, in cores.
	wants float64
	// cpu is what it had used altogether at the last round.
	cpu time.Duration
	// told is the share that it has been told.
	told uint32
}

func (g *governor) init() {
	g.kicked, g.stop = make(chan struct{}, 1), make(chan struct{})
	g.cores, g.hired = Unbounded, map[labourer]*wage{}
}

// SetShare lets all workers together use so many processor cores, a part of one as
// well, or with Unbounded as many as they want. With frozen they do nothing until
// SetShare is called again, and neither does what compiles. It counts at once.
func (p *Pool) SetShare(cores float64, frozen bool) {
	g := &p.governor
	g.mu.Lock()
	defer g.mu.Unlock()
	p.cache.Freeze(frozen)
	if cores == g.cores && frozen == g.frozen {
		return
	}
	g.cores, g.frozen, g.last, g.credit = cores, frozen, time.Time{}, 0
	shown := cores
	if frozen {
		shown = 0
	}
	p.metrics.share.Set(shown)
	g.divide(cores)
	g.kick()
}

// hire gives a new worker its part at once.
func (g *governor) hire(l labourer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cpu, err := l.CPUTime()
	if err != nil {
		return
	}
	// It is taken to want as much as it can get.
	g.hired[l] = &wage{cpu: cpu, used: math.Inf(1), told: worker.ShareFree}
	g.divide(g.cores)
	g.kick()
}

func (g *governor) kick() {
	select {
	case g.kicked <- struct{}{}:
	default:
	}
}

// govern divides the share until the pool is closed.
func (p *Pool) govern() {
	g := &p.governor
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-g.kicked:
		case <-timer.C:
		}
		timer.Stop()
		if p.round() {
			timer.Reset(governInterval)
		}
	}
}

// round measures what was used, and divides the share. It reports whether another
// round is to follow by itself.
func (p *Pool) round() bool {
	g := &p.governor
	g.mu.Lock()
	defer g.mu.Unlock()
	compiled := p.cache.CompileTime()
	now := time.Now()
	span := now.Sub(g.last).Seconds()
	first := g.last.IsZero()
	if !first && span < governInterval.Seconds()/2 {
		return true
	}
	more := max(compiled-g.compiled, 0).Seconds()
	g.compiled, g.last = compiled, now
	if first {
		g.measure(0)
	}
	if g.cores < 0 || g.frozen || len(g.hired) == 0 {
		g.last = time.Time{}
		return false
	}
	if !first {
		p.metrics.used.Add(g.advance(span, more))
	}
	return true
}

// advance measures what was used in a span of so many seconds, what compiling took
// of it included, divides the share by that, and returns it.
func (g *governor) advance(span, compiled float64) (used float64) {
	used = g.measure(span) + compiled
	g.credit = min(g.credit+g.cores*span-used, g.cores*creditMax.Seconds())
	g.credit = max(g.credit, -debtMax.Seconds())
	g.divide(max(g.cores+g.credit/settleTime.Seconds(), 0))
	return used
}

// measure returns the processor time in seconds that the workers have used since the
// last time, in a span of so many seconds or, with 0, of any length. It forgets those
// that are gone.
func (g *governor) measure(span float64) (sum float64) {
	for l, w := range g.hired {
		cpu, err := l.CPUTime()
		if err != nil {
			delete(g.hired, l)
			continue
		}
		used := max(cpu-w.cpu, 0).Seconds()
		sum += used
		w.cpu = cpu
		if span > 0 {
			w.used = used / span
		}
	}
	return sum
}

// divide gives each worker its part of so many cores: those that want less than an
// equal part what they want, the others the same each.
func (g *governor) divide(cores float64) {
	order := make([]labourer, 0, len(g.hired))
	for l, w := range g.hired {
		w.wants = w.used/hungry + sleepy*cores/float64(len(g.hired))
		if w.used >= hungry*w.cores {
			w.wants = math.Inf(1)
		}
		order = append(order, l)
	}
	slices.SortFunc(order, func(a, b labourer) int { return cmp.Compare(g.hired[a].wants, g.hired[b].wants) })
	for i, l := range order {
		w := g.hired[l]
		w.cores = min(w.wants, cores/float64(len(order)-i))
		cores -= w.cores
		if share := g.shareOf(w); share != w.told {
			w.told = share
			l.SetShare(share)
		}
	}
}

// shareOf is what a worker is told.
func (g *governor) shareOf(w *wage) uint32 {
	switch {
	case g.frozen:
		return 0
	case g.cores < 0:
		return worker.ShareFree
	}
	return uint32(math.Round(min(max(w.cores, shareMin), coresMax) * float64(worker.ShareWhole)))
}

// each calls do for every worker that runs.
func (p *Pool) each(do func(pid int, cpu func() (time.Duration, error))) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.crews {
		select {
		case <-c.ready:
			if c.worker != nil {
				do(c.worker.PID(), c.worker.CPUTime)
			}
		default:
		}
	}
	for _, a := range p.adopted {
		do(a.PID(), a.CPUTime)
	}
}

// CPUTime is the processor time of the workers and compilers that run.
func (p *Pool) CPUTime() (sum time.Duration) {
	p.each(func(_ int, cpu func() (time.Duration, error)) {
		// One that has ended meanwhile is none that runs.
		if used, err := cpu(); err == nil {
			sum += used
		}
	})
	return sum + p.cache.CompilingTime()
}

// MemoryUsed is the memory of the workers that run which nobody shares with them.
func (p *Pool) MemoryUsed() (bytes uint64) {
	p.each(func(pid int, _ func() (time.Duration, error)) { bytes += privateMemory(pid) })
	return bytes
}

// privateMemory is the memory of a process, zero when it is gone.
func privateMemory(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	// size, resident, shared: in pages
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return 0
	}
	resident, _ := strconv.ParseUint(fields[1], 10, 64)
	shared, _ := strconv.ParseUint(fields[2], 10, 64)
	return (resident - min(shared, resident)) * uint64(os.Getpagesize())
}

// Dismiss ends the workers that have nothing to do, and with them what they keep.
func (p *Pool) Dismiss() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.crews {
		if c.uses == 0 && !p.closed {
			p.removeLocked(c)
		}
	}
}
