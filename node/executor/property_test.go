package executor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/task"
)

// fate is how attempt number n at a task ends in a history: the same whenever it
// is run, so that what the ledger counts is known in advance.
func fate(seed uint64, index, n int) task.Outcome {
	r := rand.New(rand.NewPCG(seed, uint64(index)<<8|uint64(n)))
	o := task.Outcome{Kind: task.Exited, Usage: task.Usage{Fuel: 1 + r.Uint64N(1000), WallTime: time.Duration(r.Int64N(1000)), MemoryPeakBytes: 3}}
	switch r.IntN(12) {
	case 0:
		o.Kind = task.WorkerLost
	case 1:
		o.Kind = task.OutOfFuel
	case 2:
		o.Kind = task.Refused
	case 3, 4:
		o.ExitCode = 1
	}
	return o
}

// TestRandomFaults runs jobs while commands get lost before or after the ledger
// had them, the node's process is killed and started again, drained and closed.
// In the end every task has ended as it must, and every attempt that counts is
// counted once.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { randomFaults(t, seed) })
	}
}

func randomFaults(t *testing.T, seed uint64) {
	g := newGrid(t)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 99))
	chance := func(oneIn int) bool {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(oneIn) == 0
	}
	fail := func(c ledger.Command) error {
		if chance(4) {
			return errAway
		}
		return nil
	}
	g.faults.set(fail, fail)
	g.box.run = func(a attempt) task.Outcome {
		o := fate(seed, a.index, a.attempt)
		if a.ctx.Err() != nil {
			return task.Outcome{Kind: task.Cancelled}
		}
		if a.index%7 == 0 {
			_, _ = fmt.Fprintf(a.streams.Stdout, "%d.%d", a.index, a.attempt)
		}
		return o
	}
	const count, attemptsMax = 1000, 3
	id := g.submit(count, &jobspec.Program{}, func(s *ledger.JobSpec) { s.Retry.AttemptsMax = attemptsMax })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := g.config()
	c.CloseTimeout, c.PutAttempts = time.Second, 5
	e, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		if ctx.Err() != nil {
			t.Fatal("the job does not end")
		}
		done = g.schedule(id, r, &mu)
		if !chance(15) {
			<-time.After(time.Millisecond)
			continue
		}
		if chance(3) {
			if err := e.Close(); err != nil && !errors.Is(err, ErrUnfinished) {
				t.Fatal(err)
			}
		} else if err := e.crash(); err != nil {
			t.Fatal(err)
		}
		if e, err = Open(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil && !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	g.verify(id, seed, count, attemptsMax)
}

// schedule places what is ready, in pieces, and reports whether the job has
// ended.
func (g *grid) schedule(id ledger.JobID, r *rand.Rand, mu *sync.Mutex) (ended bool) {
	g.t.Helper()
	var places []ledger.Placement
	if _, err := g.book.View(func(tx ledger.Tx) error {
		j, err := ledger.FindJob(tx, id)
		if err != nil {
			return err
		}
		ended = j.Finished != 0
		list, err := ledger.PendingOf(tx, id, 4)
		mu.Lock()
		defer mu.Unlock()
		for _, p := range list {
			if p.Phase == ledger.PhaseReady {
				n := 1 + r.Uint32N(min(p.Tasks.Count(), 400))
				places = append(places, ledger.Placement{
					Job: id, Start: p.Tasks.First, Count: n, Slots: 1 + r.Uint32N(min(n, 4)), Node: self,
					Expiry: ledger.Time(time.Now().Add(10 * time.Second).UnixNano()),
				})
			}
		}
		return err
	}); err != nil {
		g.t.Fatal(err)
	}
	if len(places) > 0 {
		g.placeAll(places)
	}
	g.do(&ledger.Tick{})
	return ended
}

// placeAll places what is still there: a range that was seen begins elsewhere when a
// task before it has failed meanwhile and joined it.
func (g *grid) placeAll(places []ledger.Placement) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	r, _, err := g.book.Do(ctx, &ledger.Place{Placements: places})
	if err != nil || r.Code != ledger.CodeOK {
		g.t.Fatalf("place: %v %s, %v", r.Code, r.What, err)
	}
	for _, i := range r.Items {
		if i.Code != ledger.CodeOK && i.Code != ledger.CodeRangeUnknown {
			g.t.Fatalf("place: item %v", i.Code)
		}
	}
}

// verify compares the ledger with what the fates say.
func (g *grid) verify(id ledger.JobID, seed uint64, count, attemptsMax int) {
	g.t.Helper()
	j := g.finished(id)
	var want ledger.Tally
	var usage ledger.Usage
	program := &jobspec.Program{}
	results := g.results(id)
	for i := range count {
		for n := range attemptsMax {
			o := fate(seed, i, n)
			class := ClassOf(&o)
			end := ended{outcome: o}
			usage = sum(usage, end.usage())
			if class.State() != ledger.TaskFailed || n == attemptsMax-1 || class != ClassWorkerLost && program.Terminal(o) {
				want[class.State()]++
				r, ok := results[uint32(i)]
				if needs := class != ClassNone || i%7 == 0; needs && (!ok || int(r.Attempt) != n || r.Outcome.Kind != o.Kind) {
					g.t.Errorf("task %d ended with attempt %d, %s; its result is of %d, %s", i, n, o.Kind, r.Attempt, r.Outcome.Kind)
				}
				break
			}
		}
	}
	if j.Tasks != want || j.Usage != usage {
		g.t.Errorf("%s, %+v; want %s, %+v", j.Tasks, j.Usage, want, usage)
	}
	if _, err := g.book.View(ledger.Check); err != nil {
		g.t.Error(err)
	}
}

// BenchmarkTasks runs 100,000 tasks that do nothing.
func BenchmarkTasks(b *testing.B) {
	for range b.N {
		b.StopTimer()
		g := newGrid(b)
		g.open(func(c *Config) { c.Slots = 2 })
		const count = 100_000
		id := g.submit(count, &jobspec.Program{}, nil)
		b.StartTimer()
		g.place(id, 0, count/2, 1)
		g.place(id, count/2, count/2, 1)
		g.finished(id)
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/count/float64(b.N), "ns/task")
		b.ReportMetric(float64(g.faults.count(isReport)), "reports")
	}
}

// BenchmarkLatency runs tasks one at a time, from placement to end.
func BenchmarkLatency(b *testing.B) {
	g := newGrid(b)
	g.open(nil)
	id := g.submit(uint32(b.N), &jobspec.Program{}, nil)
	b.ResetTimer()
	for i := range uint32(b.N) {
		g.place(id, i, 1, 1)
		g.await("it has ended", func(tx ledger.Tx) bool {
			j, err := ledger.FindJob(tx, id)
			return err == nil && j.Tasks[ledger.TaskSucceeded] == i+1
		})
	}
}
