package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/dugnad/dugnad/runtime/task"
)

// told is what a caller of RunSeries was told.
type told struct {
	outcomes []task.Outcome
	// back has the tasks that did not begin.
	back map[int]bool
}

func (s *told) ended(t testing.TB) func(i int, o task.Outcome) {
	return func(i int, o task.Outcome) {
		if i != len(s.outcomes) {
			t.Errorf("outcome of task %d after %d others", i, len(s.outcomes))
		}
		s.outcomes = append(s.outcomes, o)
	}
}

func (s *told) given(from, to int) {
	if s.back == nil {
		s.back = map[int]bool{}
	}
	for ; from < to; from++ {
		s.back[from] = true
	}
}

func neverBack(t testing.TB) func(from, to int) {
	return func(from, to int) { t.Errorf("tasks %d to %d were given back", from, to) }
}

// TestSeries: the tasks of a series end as they would alone, each with its own
// streams and limits.
func TestSeries(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "cat")
	const length = 100
	alone := w.Run(t.Context(), img, task.Spec{}, Streams{Stdin: strings.NewReader("task 10\n")})
	var outs [length]bytes.Buffer
	tasks := make([]Task, length)
	for i := range tasks {
		tasks[i].Streams = Streams{Stdin: strings.NewReader(fmt.Sprintf("task %d\n", i)), Stdout: &outs[i]}
	}
	tasks[20].Spec.Limits.Fuel = 1
	tasks[30].Spec.Env = []string{"no value"}
	tasks[40].Spec.Limits.OutputBytes = 3
	tasks[length-1].Spec.Args = []string{strings.Repeat("a", task.SpecBytesMax)}
	var s told
	// A slow machine may give tasks back: they are run again.
	for from := 0; from < length; from = len(s.outcomes) {
		ended := s.ended(t)
		w.RunSeries(t.Context(), img, tasks[from:], func(i int, o task.Outcome) { ended(from+i, o) }, s.given)
	}
	for i, o := range s.outcomes {
		want, out := task.Exited, fmt.Sprintf("task %d\n", i)
		switch i {
		case 20:
			want, out = task.OutOfFuel, ""
		case 30, length - 1:
			want, out = task.Refused, ""
		case 40:
			want, out = task.OutputLimit, "tas"
		}
		if o.Kind != want || outs[i].String() != out {
			t.Errorf("task %d: %+v, %q, want %s and %q", i, o, outs[i].String(), want, out)
		}
		if i >= 10 && want == task.Exited && o.Usage.Fuel != alone.Usage.Fuel {
			t.Errorf("task %d burnt %d fuel, alone %d", i, o.Usage.Fuel, alone.Usage.Fuel)
		}
	}
	if len(s.back) == 0 {
		t.Log("nothing was given back")
	}
}

// TestSeriesGivesBack: tasks do not wait for one that takes long, and its outcome
// is not lost.
func TestSeriesGivesBack(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "cat")
	never, feed := io.Pipe()
	tasks := make([]Task, 10)
	tasks[1].Streams.Stdin = never
	back, done := make(chan [2]int, 1), make(chan struct{})
	var s told
	go func() {
		defer close(done)
		w.RunSeries(t.Context(), img, tasks, s.ended(t), func(from, to int) { back <- [2]int{from, to} })
	}()
	got := <-back
	if got[0] != 2 || got[1] != len(tasks) {
		// The machine was so slow that a task which does nothing took long.
		t.Logf("tasks %d to %d were given back", got[0], got[1])
	}
	feed.Close()
	wait(t, done, "the end of the series")
	if len(s.outcomes) != got[0] {
		t.Errorf("%d outcomes, %d to %d were given back", len(s.outcomes), got[0], got[1])
	}
	for _, o := range s.outcomes {
		wantKind(t, o, task.Exited)
	}
	// Nothing is left of those that did not begin.
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, r := range w.tasks {
		if !r.returned {
			t.Errorf("task %d is still there", id)
		}
	}
}

func TestSeriesCancelled(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tasks := make([]Task, 5)
	tasks[0].Streams.Stdout = writerFunc(cancel)
	var s told
	w.RunSeries(ctx, testImage(t, cache, "spin"), tasks, s.ended(t), s.given)
	if len(s.outcomes)+len(s.back) != len(tasks) {
		t.Fatalf("%d outcomes, %d given back", len(s.outcomes), len(s.back))
	}
	for _, o := range s.outcomes {
		wantKind(t, o, task.Cancelled)
	}
	wantKind(t, w.Run(t.Context(), testImage(t, cache, "tiny"), task.Spec{}, Streams{}), task.Exited)
}

// writerFunc is called with the first bytes that are written.
type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

// TestSeriesLost: each task of a series is told that its worker is lost.
func TestSeriesLost(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	tasks := make([]Task, 8)
	tasks[0].Streams.Stdout = writerFunc(func() { _ = syscall.Kill(w.PID(), syscall.SIGKILL) })
	var s told
	w.RunSeries(t.Context(), testImage(t, cache, "spin"), tasks, s.ended(t), s.given)
	if len(s.outcomes)+len(s.back) != len(tasks) {
		t.Fatalf("%d outcomes, %d given back", len(s.outcomes), len(s.back))
	}
	for _, o := range s.outcomes {
		wantKind(t, o, task.WorkerLost)
	}
	// Nor does a series begin in a worker that is gone.
	s = told{}
	w.RunSeries(t.Context(), testImage(t, cache, "tiny"), tasks, s.ended(t), neverBack(t))
	if len(s.outcomes) != len(tasks) || s.outcomes[7].Kind != task.WorkerLost {
		t.Errorf("%+v", s.outcomes)
	}
}

// TestSeriesBounds: what there is no room for is given back at once.
func TestSeriesBounds(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "tiny")
	var s told
	w.RunSeries(t.Context(), img, make([]Task, SeriesMax+3), s.ended(t), s.given)
	if len(s.outcomes) > SeriesMax || len(s.outcomes)+len(s.back) != SeriesMax+3 {
		t.Errorf("%d outcomes, %d given back", len(s.outcomes), len(s.back))
	}
	s = told{}
	tasks := make([]Task, 5)
	for i := range tasks {
		tasks[i].Spec.Args = []string{strings.Repeat("a", seriesBytesMax/2)}
	}
	w.RunSeries(t.Context(), img, tasks, s.ended(t), s.given)
	if len(s.outcomes) > 2 || !s.back[2] || len(s.outcomes)+len(s.back) != 5 {
		t.Errorf("%d outcomes, given back %v", len(s.outcomes), s.back)
	}
}

func TestEvilSeries(t *testing.T) {
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "tiny")
	for behaviour, message := range map[string]string{
		"gives the first back":   "but it was to begin",
		"gives back out of turn": "out of turn",
		"ends out of turn":       "before the one that it runs after",
		"gives back what wrote":  "but it was to begin",
	} {
		t.Run(behaviour, func(t *testing.T) {
			w := openTestWorker(t, cache, func(c *Config) { c.Executable = evilExecutable(t, behaviour) })
			var s told
			w.RunSeries(t.Context(), img, make([]Task, 4), s.ended(t), s.given)
			if len(s.outcomes) == 0 || s.outcomes[0].Kind != task.WorkerLost || !strings.Contains(s.outcomes[0].Message, message) {
				t.Errorf("%+v, want %q", s.outcomes, message)
			}
			if len(s.outcomes)+len(s.back) != 4 {
				t.Errorf("%d outcomes, %d given back", len(s.outcomes), len(s.back))
			}
			wait(t, w.Gone(), "the child's end")
		})
	}
}

// TestSeriesGivesBackLate: the tasks behind one that has ended already may be
// given back, too.
func TestSeriesGivesBackLate(t *testing.T) {
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "tiny")
	for range 8 {
		w := openTestWorker(t, cache, func(c *Config) { c.Executable = evilExecutable(t, "gives back as it ends") })
		var s told
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.RunSeries(t.Context(), img, make([]Task, 3), s.ended(t), s.given)
		}()
		wait(t, done, "the end of the series")
		if len(s.outcomes) != 1 || len(s.back) != 2 {
			t.Fatalf("%d outcomes, %d given back", len(s.outcomes), len(s.back))
		}
	}
}
