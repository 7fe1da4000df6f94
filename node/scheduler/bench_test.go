package scheduler

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/book"
)

// BenchmarkSubmitToLease is the time from the submission of a task to its lease on
// a grid with nothing else to do: two commits, to a ledger on disk whose only voter
// this is. BenchmarkCommit is one of them.
func BenchmarkSubmitToLease(b *testing.B) {
	ctx, l, board := benchBook(b, 100, 10_000)
	openScheduler(b, l, board)
	i := 0
	for b.Loop() {
		must(ctx, b, l, &ledger.Submit{Job: jobID(i), Spec: spec(1)})
		leased(ctx, b, l, jobID(i))
		i++
	}
}

// BenchmarkCommit is the submission of a task.
func BenchmarkCommit(b *testing.B) {
	ctx, l, _ := benchBook(b, 100, 10_000)
	i := 0
	for b.Loop() {
		must(ctx, b, l, &ledger.Submit{Job: jobID(i), Spec: spec(1)})
		i++
	}
}

// BenchmarkReaction is the scheduler's own part of it: on a ledger in memory, where
// a commit takes no time.
func BenchmarkReaction(b *testing.B) {
	g := newGrid(b)
	g.add(100, 10_000)
	g.open()
	for b.Loop() {
		id := g.submit(spec(1))
		for out(g.job(id)) == 0 {
			g.memoryLedger.mu.Lock()
			more := g.more
			g.memoryLedger.mu.Unlock()
			if out(g.job(id)) == 0 {
				<-more
			}
		}
	}
}

// BenchmarkBacklog is 10,000 jobs of a task each that wait for 1,000 nodes of 32
// slots: from the opening of the scheduler until all are leased.
func BenchmarkBacklog(b *testing.B) {
	const jobs = 10_000
	placed := 0.0
	for b.Loop() {
		b.StopTimer()
		ctx, l, board := benchBook(b, 1000, 32)
		submitAll(ctx, b, l, jobs)
		b.StartTimer()
		began := time.Now()
		s := openScheduler(b, l, board)
		for i := range jobs {
			leased(ctx, b, l, jobID(i))
		}
		placed += jobs / time.Since(began).Seconds()
		b.StopTimer()
		stop(b, s)
		closeBook(b, l)
		b.StartTimer()
	}
	b.ReportMetric(placed/float64(b.N), "placements/s")
}

func benchBook(b *testing.B, nodes int, slots uint32) (context.Context, *book.Book, *handBoard) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	b.Cleanup(cancel)
	board := &handBoard{}
	l := openBook(b, "a")
	found(ctx, b, l, board, nodes, slots)
	return ctx, l, board
}

// submitAll submits jobs of one task each.
func submitAll(ctx context.Context, b *testing.B, l *book.Book, jobs int) {
	b.Helper()
	const lanes = 64
	var running sync.WaitGroup
	for lane := range lanes {
		running.Go(func() {
			for i := lane; i < jobs; i += lanes {
				if r, _, err := l.Do(ctx, &ledger.Submit{Job: jobID(i), Spec: spec(1)}); err != nil || r.Code != ledger.CodeOK {
					b.Errorf("job %d: %v, %v", i, r.Code, err)
					return
				}
			}
		})
	}
	running.Wait()
}
