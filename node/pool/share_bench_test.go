package pool

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// BenchmarkShare shows the processor time that the workers of some tenants take, all
// with guests that compute without end, in per cent of one core, beside what they are
// to take. One run is shareSpan long.
func BenchmarkShare(b *testing.B) {
	for _, percent := range []int{10, 25, 50, 100, 150} {
		for _, tenants := range []int{1, 3} {
			b.Run(fmt.Sprintf("%d%%/%d_tenants", percent, tenants), func(b *testing.B) {
				low, high := math.Inf(1), 0.0
				p, stop := busy(b, tenants)
				defer stop()
				p.SetShare(float64(percent)/100, false)
				for b.Loop() {
					got := 100 * p.measured(b)
					low, high = min(low, got), max(high, got)
				}
				b.ReportMetric(low, "%-least")
				b.ReportMetric(high, "%-most")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// shareSpan is how long the processor time of one figure is.
const shareSpan = 4 * time.Second

// busy opens a pool in which each tenant has two guests that compute.
func busy(b *testing.B, tenants int) (*Pool, func()) {
	b.Helper()
	p, err := Open(b.Context(), Default(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	image := prepare(b, p, "spin")
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	for i := range 2 * tenants {
		running.Go(func() {
			p.run(ctx, fmt.Sprintf("tenant%d", i%tenants), image, task.Spec{Limits: task.Max()}, worker.Streams{})
		})
	}
	for n := 0; n < tenants; time.Sleep(10 * time.Millisecond) {
		p.governor.mu.Lock()
		n = len(p.governor.hired)
		p.governor.mu.Unlock()
	}
	return p, func() {
		cancel()
		running.Wait()
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	}
}

// measured returns how many cores the workers take.
func (p *Pool) measured(b *testing.B) float64 {
	b.Helper()
	total := func() (sum time.Duration) {
		p.governor.mu.Lock()
		defer p.governor.mu.Unlock()
		for l := range p.governor.hired {
			cpu, err := l.CPUTime()
			if err != nil {
				b.Fatal(err)
			}
			sum += cpu
		}
		return sum
	}
	before, begin := total(), time.Now()
	time.Sleep(shareSpan)
	return (total() - before).Seconds() / time.Since(begin).Seconds()
}
