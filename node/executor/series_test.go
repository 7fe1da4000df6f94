package executor

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// TestSeries: short tasks are run in series, and each is recorded once.
func TestSeries(t *testing.T) {
	g := newGrid(t)
	g.open(nil)
	id := g.submit(3000, &jobspec.Program{}, nil)
	g.place(id, 0, 3000, 3)
	if j := g.finished(id); j.Tasks[ledger.TaskSucceeded] != 3000 || j.Usage.Fuel != 21000 {
		t.Errorf("%s, fuel %d", j.Tasks, j.Usage.Fuel)
	}
	if g.box.longest < 2 || g.box.longest > worker.SeriesMax {
		t.Errorf("the longest series has %d tasks", g.box.longest)
	}
}

// TestSeriesLost: a series that loses its worker costs none of its tasks an
// attempt, but the one that is to blame.
func TestSeriesLost(t *testing.T) {
	g := newGrid(t)
	lost := task.Outcome{Kind: task.WorkerLost, Message: "gone"}
	var mu sync.Mutex
	attempts, series := map[int]int{}, 0
	g.box.series = func(tasks []worker.Task, ended func(int, task.Outcome), _ func(from, to int)) {
		mu.Lock()
		series++
		mu.Unlock()
		ended(0, exit(0))
		for i := 1; i < len(tasks); i++ {
			ended(i, lost)
		}
	}
	g.box.run = func(a attempt) task.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if attempts[a.index] = max(attempts[a.index], a.attempt); a.index == 70 && a.attempt == 0 {
			return lost
		}
		return exit(0)
	}
	g.open(nil)
	id := g.submit(100, &jobspec.Program{}, nil)
	g.place(id, 0, 100, 1)
	g.await("the lost task waits", func(tx ledger.Tx) bool {
		j, err := ledger.FindJob(tx, id)
		return err == nil && j.Tasks[ledger.TaskSucceeded] == 99
	})
	if series != 1 {
		t.Errorf("%d series after the first cost the worker", series)
	}
	for index, n := range attempts {
		if n != 0 {
			t.Errorf("task %d has had %d attempts before", index, n)
		}
	}
}

// TestSeriesGivenBack: tasks that have not begun are run by another slot while the
// one before them goes on.
func TestSeriesGivenBack(t *testing.T) {
	g := newGrid(t)
	release := make(chan struct{})
	var begun atomic.Bool
	g.box.series = func(tasks []worker.Task, ended func(int, task.Outcome), back func(from, to int)) {
		if !begun.Swap(true) {
			back(1, len(tasks))
			<-release
			tasks = tasks[:1]
		}
		for i := range tasks {
			ended(i, exit(0))
		}
	}
	g.open(nil)
	id := g.submit(500, &jobspec.Program{}, nil)
	g.place(id, 0, 500, 2)
	g.await("all but one have ended", func(tx ledger.Tx) bool {
		j, err := ledger.FindJob(tx, id)
		return err == nil && j.Tasks[ledger.TaskSucceeded] == 499
	})
	close(release)
	if j := g.finished(id); j.Tasks[ledger.TaskSucceeded] != 500 || j.Usage.Fuel != 3500 {
		t.Errorf("%s, fuel %d", j.Tasks, j.Usage.Fuel)
	}
}

func TestPace(t *testing.T) {
	var p pace
	if p.next() != 1 {
		t.Errorf("begins with %d", p.next())
	}
	for _, step := range []struct {
		n    int
		took time.Duration
		want int
	}{
		{1, 0, 2},
		{2, time.Microsecond, 4},
		{4, 4 * time.Millisecond, 8},
		{8, 8 * time.Millisecond, 10},
		{10, time.Second, 1},
		{200, time.Millisecond, worker.SeriesMax},
	} {
		if p.note(step.n, step.took); p.next() != step.want {
			t.Errorf("after %d tasks in %s: %d, want %d", step.n, step.took, p.next(), step.want)
		}
	}
	p.alone = true
	if p.note(5, time.Microsecond); p.next() != 1 {
		t.Errorf("alone: %d", p.next())
	}
}
