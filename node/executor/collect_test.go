package executor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
)

// watched is a content store whose fetches from holders fail while it is cut off.
type watched struct {
	*content.Store

	mu  sync.Mutex
	cut bool
	// puts are those without an owner, fetches those that failed.
	puts, fetches int
}

func (w *watched) Put(ctx context.Context, r io.Reader, owner string) (content.Hash, int64, error) {
	w.mu.Lock()
	if owner == "" {
		w.puts++
	}
	w.mu.Unlock()
	return w.Store.Put(ctx, r, owner)
}

func (w *watched) Fetch(ctx context.Context, h content.Hash, o content.FetchOptions) (*content.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Only outputs of tasks are fetched from a holder that is known.
	if w.cut && len(o.Holders) > 0 {
		w.fetches++
		return nil, content.ErrNoHolder
	}
	return w.Store.Fetch(ctx, h, o)
}

func (w *watched) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// failed returns how many fetches have failed.
func (w *watched) failed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetches
}

// array runs a job of count tasks, each of which puts out two lines and "eN".
func (g *grid) array(count uint32, of ledger.TenantID) ledger.JobID {
	g.t.Helper()
	id := g.submit(count, &jobspec.Program{Args: []string{"array"}}, func(s *ledger.JobSpec) { s.Tenant = of })
	g.place(id, 0, count, 1)
	if j := g.finished(id); j.State != ledger.JobSucceeded {
		g.t.Fatalf("the array %s", j.State)
	}
	return id
}

// collectors opens an executor whose tasks say what they were given.
func (g *grid) collectors(change func(*Config)) (*watched, func(index int) string) {
	w := &watched{Store: g.store}
	var mu sync.Mutex
	seen := map[int]string{}
	g.box.run = func(a attempt) task.Outcome {
		if len(a.spec.Args) > 1 {
			fmt.Fprintf(a.streams.Stdout, "a%d\nb%d\n", a.index, a.index)
			fmt.Fprintf(a.streams.Stderr, "e%d", a.index)
			return exit(0)
		}
		var text string
		if a.streams.Stdin != nil {
			text = readAll(g.t, a.streams.Stdin)
		}
		for _, i := range a.spec.Inputs {
			text += "|" + i.Name + "=" + contents(g.t, i.Path)
		}
		mu.Lock()
		defer mu.Unlock()
		seen[a.index] = text
		return exit(0)
	}
	g.open(func(c *Config) {
		c.Objects = w
		if change != nil {
			change(c)
		}
	})
	return w, func(index int) string {
		mu.Lock()
		defer mu.Unlock()
		return seen[index]
	}
}

// reads is a program that reads all that a job has put out.
func reads(id ledger.JobID) *jobspec.Program {
	return &jobspec.Program{
		Stdin: &jobspec.Source{Job: id, Stream: jobspec.Stderr},
		Inputs: []jobspec.Input{
			{Name: "all", Source: jobspec.Source{Job: id, Stream: jobspec.Stdout}},
			{Name: "some", Source: jobspec.Source{Job: id, Stream: jobspec.Stdout, Lines: true}},
		},
	}
}

// TestJobInputs: tasks read what those of another job have put out, in order, and
// share one object of it, also with later leases.
func TestJobInputs(t *testing.T) {
	g := newGrid(t)
	w, seen := g.collectors(nil)
	id := g.submit(3, reads(g.array(4, tenant)), nil)
	g.place(id, 0, 2, 2)
	g.await("two tasks have ended", func(tx ledger.Tx) bool {
		j, err := ledger.FindJob(tx, id)
		return err == nil && j.Tasks[ledger.TaskSucceeded] == 2 && j.Leases == 0
	})
	g.place(id, 2, 1, 1)
	g.finished(id)
	all := "a0\nb0\na1\nb1\na2\nb2\na3\nb3\n"
	for i, share := range []string{"a0\nb0\n", "a1\nb1\na2\n", "b2\na3\nb3\n"} {
		if want := "e0e1e2e3|all=" + all + "|some=" + share; seen(i) != want {
			t.Errorf("task %d saw %q, want %q", i, seen(i), want)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.puts != 2 {
		t.Errorf("what the job has put out was stored %d times, want twice: stdout and stderr", w.puts)
	}
}

// TestJobInputUnread: an attempt fails that reads what cannot be had now, and says
// so; a later one reads it.
func TestJobInputUnread(t *testing.T) {
	g := newGrid(t)
	w, seen := g.collectors(func(c *Config) { c.FetchAttempts = 2 })
	array := g.array(1, tenant)
	w.set(true)
	id := g.submit(1, reads(array), nil)
	lost := g.submit(1, reads(array), func(s *ledger.JobSpec) { s.Retry.AttemptsMax = 1 })
	g.place(id, 0, 1, 1)
	g.await("the first attempt has failed", func(tx ledger.Tx) bool {
		list, err := ledger.PendingOf(tx, id, 1)
		return err == nil && len(list) == 1 && list[0].Attempt == 1
	})
	g.place(lost, 0, 1, 1)
	if j := g.finished(lost); j.State != ledger.JobFailed || j.Tasks[ledger.TaskFailed] != 1 {
		t.Errorf("the job whose attempts are used up %s, %v", j.State, j.Tasks)
	}
	if n := w.failed(); n < 4 {
		t.Errorf("%d fetches for two attempts of two tries", n)
	}
	r := g.results(lost)[0].Outcome
	if !strings.Contains(r.Message, "fetch stdin") || !strings.Contains(r.Message, array.String()) || !strings.Contains(r.Message, content.ErrNoHolder.Error()) {
		t.Errorf("it says %q", r.Message)
	}
	if _, err := g.book.View(func(tx ledger.Tx) error {
		task, err := ledger.FindTask(tx, lost, 0)
		if Class(task.Exit) != ClassUnread {
			t.Errorf("it ended as %s", Class(task.Exit))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	w.set(false)
	g.place(id, 0, 1, 1)
	if j := g.finished(id); j.State != ledger.JobSucceeded || seen(0) != "e0|all=a0\nb0\n|some=a0\nb0\n" {
		t.Errorf("%s, it saw %q", j.State, seen(0))
	}
}

// TestJobInputRefused: what no later attempt could read ends the tasks, with why.
func TestJobInputRefused(t *testing.T) {
	g := newGrid(t)
	g.do(&ledger.CreateTenant{Tenant: "other", Weight: 1, BandMax: 3})
	g.collectors(func(c *Config) { c.JobInputBytesMax = 20 })
	waiting := g.submit(1, &jobspec.Program{}, nil)
	for name, c := range map[string]struct {
		job  ledger.JobID
		want string
	}{
		"unknown":        {ledger.JobID{1}, "is not known: finished jobs are pruned after a week"},
		"other tenant's": {g.array(1, "other"), "is not known"},
		"not ended":      {waiting, "has not succeeded"},
		"too large":      {g.array(4, tenant), "too much for an input: more than 20 bytes"},
	} {
		id := g.submit(2, &jobspec.Program{Stdin: &jobspec.Source{Job: c.job, Stream: jobspec.Stdout}}, nil)
		g.place(id, 0, 2, 1)
		if j := g.finished(id); j.Tasks[ledger.TaskRefused] != 2 {
			t.Errorf("%s: %v", name, j.Tasks)
		}
		if r := g.results(id)[1].Outcome; !strings.Contains(r.Message, c.want) || !strings.Contains(r.Message, c.job.String()) {
			t.Errorf("%s: %q", name, r.Message)
		}
	}
}

// TestCollectIsInterrupted: a lease that ends leaves no reader of a collection
// behind.
func TestCollectIsInterrupted(t *testing.T) {
	g := newGrid(t)
	w, _ := g.collectors(func(c *Config) { c.FetchAttempts, c.BackoffMax = 1<<30, time.Hour })
	array := g.array(1, tenant)
	w.set(true)
	id := g.submit(1, reads(array), nil)
	g.place(id, 0, 1, 1)
	for deadline := time.Now().Add(patience); w.failed() == 0 && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	g.do(&ledger.Cancel{Job: id})
	if j := g.finished(id); j.State != ledger.JobKilled {
		t.Errorf("it %s", j.State)
	}
}
