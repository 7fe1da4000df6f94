package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
)

func isReport(c ledger.Command) bool { _, ok := c.(*ledger.Report); return ok }

func isRelease(c ledger.Command) bool { _, ok := c.(*ledger.Release); return ok }

func isBegin(c ledger.Command) bool { _, ok := c.(*ledger.Begin); return ok }

func TestSingleTask(t *testing.T) {
	g := newGrid(t)
	g.open(nil)
	id := g.submit(1, &jobspec.Program{}, nil)
	g.place(id, 0, 1, 1)
	j := g.finished(id)
	if j.Tasks[ledger.TaskSucceeded] != 1 || j.Usage != (ledger.Usage{Fuel: 7, MemoryByteSeconds: 1 << 30, WallNanos: 5e8}) {
		t.Errorf("%s, %+v", j.Tasks, j.Usage)
	}
	if r := g.results(id); len(r) != 0 {
		t.Errorf("a task without output has a result: %v", r)
	}
	if n := g.faults.count(isReport); n != 1 {
		t.Errorf("%d reports", n)
	}
}

// TestEnds runs an array of tasks that end in all ways.
func TestEnds(t *testing.T) {
	g := newGrid(t)
	kinds := task.Kinds()
	const each = 40
	g.box.run = func(a attempt) task.Outcome {
		o := exit(0)
		if n := a.index / each; n < len(kinds) {
			o.Kind = kinds[n]
			o.ExitCode = uint32(a.index % 3)
		}
		if o.Kind == task.Cancelled {
			o.Kind = task.WorkerLost
		}
		if a.index%5 == 0 {
			_, _ = fmt.Fprintf(a.streams.Stdout, "out %d", a.index)
			_, _ = fmt.Fprintf(a.streams.Stderr, "err %d", a.index)
		}
		return o
	}
	g.open(nil)
	count := uint32(each * (len(kinds) + 1))
	id := g.submit(count, &jobspec.Program{}, func(s *ledger.JobSpec) { s.Retry.AttemptsMax = 1 })
	g.place(id, 0, count/2, 3)
	g.place(id, count/2, count, 4)
	j := g.finished(id)
	results := g.results(id)
	want := ledger.Tally{}
	for i := range count {
		o := g.box.run(attempt{index: int(i), streams: discard()})
		want[ClassOf(&o).State()]++
		r, ok := results[i]
		if needs := ClassOf(&o) != ClassNone || i%5 == 0; needs && !ok {
			t.Errorf("task %d, %s, has no result", i, o.Kind)
		}
		if ok && (r.Outcome.Kind != o.Kind || r.Outcome.ExitCode != o.ExitCode || r.Node != string(self)) {
			t.Errorf("task %d is %+v", i, r)
		}
		out, errs := "", ""
		if i%5 == 0 {
			out, errs = fmt.Sprint("out ", i), fmt.Sprint("err ", i)
		}
		if r.stdout != out || r.stderr != errs {
			t.Errorf("task %d wrote %q and %q", i, r.stdout, r.stderr)
		}
	}
	if j.Tasks != want || j.Usage.Fuel != 7*uint64(count) {
		t.Errorf("%s, want %s; fuel %d", j.Tasks, want, j.Usage.Fuel)
	}
	if j.Today != j.Usage || j.Stored == 0 {
		t.Errorf("receipts say %+v, reports %+v; %d bytes are stored", j.Today, j.Usage, j.Stored)
	}
}

// TestRetry: a failure that is not terminal is tried again, the loss of a worker
// too, whatever the program says.
func TestRetry(t *testing.T) {
	g := newGrid(t)
	g.box.run = func(a attempt) task.Outcome {
		if a.attempt < 2 {
			return task.Outcome{Kind: task.WorkerLost}
		}
		return exit(0)
	}
	g.open(nil)
	id := g.submit(1, &jobspec.Program{RetryOn: []string{"exit:9"}}, nil)
	for attempt := range uint32(3) {
		g.await("the task is queued", func(tx ledger.Tx) bool {
			list, err := ledger.PendingOf(tx, id, 1)
			return err == nil && len(list) == 1 && list[0].Attempt == attempt
		})
		g.place(id, 0, 1, 1)
	}
	if j := g.finished(id); j.Tasks[ledger.TaskSucceeded] != 1 {
		t.Error(j.Tasks)
	}
}

// TestInputs: tasks see their inputs and read their stdin.
func TestInputs(t *testing.T) {
	g := newGrid(t)
	lines, file := g.put([]byte("a\nb\nc\nd\ne")), g.put([]byte("the file"))
	folder := g.put(archive(t, entryOf("x/y", "deep"), entryOf("z", "flat")))
	var mu sync.Mutex
	seen := map[int]string{}
	g.box.run = func(a attempt) task.Outcome {
		in, err := io.ReadAll(a.streams.Stdin)
		text := string(in)
		for _, i := range a.spec.Inputs {
			text += "|" + i.Name + "=" + contents(t, i.Path)
		}
		mu.Lock()
		defer mu.Unlock()
		seen[a.index] = fmt.Sprint(text, err)
		return exit(0)
	}
	g.open(nil)
	id := g.submit(3, &jobspec.Program{
		Stdin: &jobspec.Source{Object: lines, Lines: true},
		Inputs: []jobspec.Input{
			{Name: "f", Source: jobspec.Source{Object: file}},
			{Name: "d", Source: jobspec.Source{Object: folder}, Folder: true},
			{Name: "l", Source: jobspec.Source{Object: lines, Lines: true}},
		},
	}, nil)
	g.place(id, 0, 3, 1)
	g.finished(id)
	for i, share := range []string{"a\n", "b\nc\n", "d\ne"} {
		want := fmt.Sprint(share, "|f=the file|d=x/y:deep,z:flat|l=", share, nil)
		if first, next := jobspec.Shares(5, 3, uint32(i)); seen[i] != want {
			t.Errorf("task %d saw %q, want %q (lines %d to %d)", i, seen[i], want, first, next)
		}
	}
}

// TestRefusedModule: the tasks of a module that cannot be run end, once.
func TestRefusedModule(t *testing.T) {
	g := newGrid(t)
	g.box.refuse = refusal("no such feature")
	g.open(nil)
	id := g.submit(100, &jobspec.Program{}, nil)
	g.place(id, 0, 100, 2)
	j := g.finished(id)
	if j.Tasks[ledger.TaskRefused] != 100 {
		t.Error(j.Tasks)
	}
	if r := g.results(id); len(r) != 100 || r[42].Outcome.Message != "no such feature" {
		t.Errorf("%d results, %+v", len(r), r[42])
	}
}

type refusal string

func (r refusal) Error() string   { return "refused: " + string(r) }
func (r refusal) Refusal() string { return string(r) }

// TestFetchFails: a lease whose objects cannot be had is handed back.
func TestFetchFails(t *testing.T) {
	g := newGrid(t)
	g.open(nil)
	nobody := content.Sum([]byte("nobody has this"))
	id := g.submit(2, &jobspec.Program{Stdin: &jobspec.Source{Object: nobody}}, nil)
	g.place(id, 0, 2, 1)
	g.queued(id, ledger.CauseModule)
}

// TestBadArchive: what no node can unpack ends the tasks.
func TestBadArchive(t *testing.T) {
	g := newGrid(t)
	bad := g.put(archive(t, entryOf("../x", "")))
	g.open(nil)
	id := g.submit(2, &jobspec.Program{Inputs: []jobspec.Input{{Name: "a", Source: jobspec.Source{Object: bad}, Folder: true}}}, nil)
	g.place(id, 0, 2, 1)
	if j := g.finished(id); j.Tasks[ledger.TaskRefused] != 2 {
		t.Error(j.Tasks)
	}
}

// queued waits until a job has one pending range, given back for the cause.
func (g *grid) queued(id ledger.JobID, cause ledger.Cause) (p ledger.Pending) {
	g.t.Helper()
	g.await("the tasks are queued again", func(tx ledger.Tx) bool {
		list, err := ledger.PendingOf(tx, id, 10)
		if err != nil || len(list) == 0 || list[0].Cause == ledger.CauseNone {
			return false
		}
		p = list[0]
		return true
	})
	if p.Cause != cause {
		g.t.Errorf("queued again because of %s, want %s", p.Cause, cause)
	}
	return p
}

// TestRefusals: what the node does not want or cannot hold is handed back.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		spec   func(*ledger.JobSpec)
		want   ledger.Cause
	}{
		{"preference", func(c *Config) {
			c.Accept = func(ledger.Lease, ledger.JobSpec) ledger.Cause { return ledger.CausePreference }
		}, nil, ledger.CausePreference},
		{"label", func(c *Config) {
			c.Accept = func(_ ledger.Lease, spec ledger.JobSpec) ledger.Cause {
				if (ledger.LabelRule{Name: "team", Value: "b"}).Covers(spec.Labels) {
					return ledger.CausePreference
				}
				return ledger.CauseModule
			}
		}, func(s *ledger.JobSpec) { s.Labels = []ledger.Label{{Name: "team", Value: "b"}} }, ledger.CausePreference},
		{"slots", nil, func(s *ledger.JobSpec) { s.Task.Slots = 9 }, ledger.CauseFull},
		{"payload", nil, func(s *ledger.JobSpec) { s.Payload = []byte("?") }, ledger.CauseRefused},
		{"input bytes", func(c *Config) { c.InputBytesMax = 1 }, nil, ledger.CauseFull},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGrid(t)
			p := &jobspec.Program{Inputs: []jobspec.Input{{Name: "f", Source: jobspec.Source{Object: g.put([]byte("two"))}}}}
			g.open(tt.change)
			id := g.submit(2, p, tt.spec)
			g.place(id, 0, 2, 1)
			g.queued(id, tt.want)
		})
	}
}

// TestLeasesMax: one lease too many is refused, the others go on.
func TestLeasesMax(t *testing.T) {
	g := newGrid(t)
	start := make(chan struct{})
	g.box.run = func(attempt) task.Outcome { <-start; return exit(0) }
	g.open(func(c *Config) { c.LeasesMax = 2 })
	id := g.submit(3, &jobspec.Program{}, nil)
	for i := range uint32(3) {
		g.place(id, i, 1, 1)
	}
	p := g.queued(id, ledger.CauseFull)
	if p.Tasks.Count() != 1 {
		t.Error(p.Tasks)
	}
	close(start)
	g.await("two have ended", func(tx ledger.Tx) bool {
		j, err := ledger.FindJob(tx, id)
		return err == nil && j.Tasks[ledger.TaskSucceeded] == 2
	})
}

// TestBegin: a lease that runs for a while is running in the ledger.
func TestBegin(t *testing.T) {
	g := newGrid(t)
	running := make(chan struct{}, 2)
	g.box.run = func(a attempt) task.Outcome {
		running <- struct{}{}
		return a.cancelled()
	}
	e := g.open(nil)
	id := g.submit(2, &jobspec.Program{}, nil)
	g.place(id, 0, 2, 2)
	<-running
	<-running
	g.await("it runs", func(tx ledger.Tx) bool {
		j, err := ledger.FindJob(tx, id)
		return err == nil && j.Tasks[ledger.TaskRunning] == 2
	})
	if slots, busy := e.Running(); slots != 2 || busy != 0 {
		t.Errorf("%d slots, busy for %s", slots, busy)
	}
	if n := g.faults.count(isBegin); n != 1 {
		t.Errorf("%d times begun", n)
	}
}

// TestBeginPrepared: a lease whose module is not ready to run yet is not running in the
// ledger, however often it is renewed.
func TestBeginPrepared(t *testing.T) {
	g := newGrid(t)
	ready := make(chan struct{})
	g.box.ready = ready
	g.box.run = func(a attempt) task.Outcome { return a.cancelled() }
	g.open(func(c *Config) { c.BeginAfter, c.RenewInterval = time.Nanosecond, time.Millisecond })
	id := g.submit(1, &jobspec.Program{}, nil)
	g.place(id, 0, 1, 1)
	state := func(want ledger.TaskState) func(tx ledger.Tx) bool {
		return func(tx ledger.Tx) bool {
			j, err := ledger.FindJob(tx, id)
			return err == nil && j.Tasks[want] == 1
		}
	}
	expiry, renewals := ledger.Time(0), 0
	g.await("it is renewed", func(tx ledger.Tx) bool {
		if list, err := ledger.LeasesOf(tx, self, 0, 1); err == nil && len(list) == 1 && list[0].Expiry > expiry {
			expiry = list[0].Expiry
			renewals++
		}
		return renewals == 5
	})
	g.await("it has not begun", state(ledger.TaskLeased))
	if n := g.faults.count(isBegin); n != 0 {
		t.Errorf("%d times begun", n)
	}
	close(ready)
	g.await("it runs", state(ledger.TaskRunning))
}

// TestCancel: the tasks of a job that is stopped are killed.
func TestCancel(t *testing.T) {
	g := newGrid(t)
	running := make(chan struct{}, 10)
	g.box.run = func(a attempt) task.Outcome {
		running <- struct{}{}
		return a.cancelled()
	}
	g.open(nil)
	id := g.submit(10, &jobspec.Program{}, nil)
	g.place(id, 0, 10, 2)
	<-running
	<-running
	g.do(&ledger.Cancel{Job: id})
	j := g.finished(id)
	if j.Tasks[ledger.TaskKilled] != 10 || j.Usage.Fuel != 6 || len(running) != 0 {
		t.Errorf("%s, fuel %d, %d more were started", j.Tasks, j.Usage.Fuel, len(running))
	}
	if r := g.results(id); r[0].Outcome.Kind != task.Cancelled || r[1].Outcome.Kind != task.Cancelled {
		t.Errorf("results are %+v", r)
	}
}

// TestStale: a lease that is taken away is dropped at once.
func TestStale(t *testing.T) {
	g := newGrid(t)
	running, gone := make(chan struct{}, 1), make(chan error, 1)
	g.box.run = func(a attempt) task.Outcome {
		running <- struct{}{}
		o := a.cancelled()
		gone <- context.Cause(a.ctx)
		return o
	}
	g.open(func(c *Config) { c.RenewInterval, c.Lease = time.Hour, 2*time.Hour })
	id := g.submit(2, &jobspec.Program{}, nil)
	epoch := g.place(id, 0, 2, 1)
	<-running
	g.do(&ledger.Release{Node: self, Epochs: []ledger.Epoch{epoch}, Cause: ledger.CausePreempted})
	if err := <-gone; !errors.Is(err, errStale) {
		t.Error(err)
	}
	if p := g.queued(id, ledger.CausePreempted); p.Tasks.Count() != 2 || p.Attempt != 0 {
		t.Errorf("%+v", p)
	}
	if n := g.faults.count(isReport); n != 0 {
		t.Errorf("%d reports", n)
	}
}

// TestDrain: what runs may end, what has not begun goes back.
func TestDrain(t *testing.T) {
	g := newGrid(t)
	running, end := make(chan struct{}, 10), make(chan struct{})
	g.box.run = func(attempt) task.Outcome {
		running <- struct{}{}
		<-end
		return exit(0)
	}
	e := g.open(nil)
	id := g.submit(10, &jobspec.Program{}, nil)
	g.place(id, 0, 10, 2)
	<-running
	<-running
	drained := make(chan error)
	go func() { drained <- e.Drain(t.Context()) }()
	g.await("what has not begun is queued, while the others run", func(tx ledger.Tx) bool {
		list, err := ledger.PendingOf(tx, id, 10)
		return err == nil && len(list) == 1 && list[0].Cause == ledger.CauseDrain && list[0].Tasks.Count() == 8
	})
	select {
	case err := <-drained:
		t.Fatalf("drained while tasks run: %v", err)
	default:
	}
	if l := g.leases(); len(l) != 1 || l[0].Open.Count() != 2 || l[0].Slots != 2 {
		t.Errorf("leases are %+v", l)
	}
	close(end)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if p := g.queued(id, ledger.CauseDrain); p.Tasks.Count() != 8 {
		t.Error(p.Tasks)
	}
	if n := g.faults.count(isRelease); n != 1 {
		t.Errorf("%d releases", n)
	}
	g.place(id, 2, 8, 2)
	g.await("the new lease is refused", func(tx ledger.Tx) bool {
		list, err := ledger.PendingOf(tx, id, 10)
		return err == nil && len(list) == 1 && list[0].Cause == ledger.CauseRefused
	})
	e.Resume()
	g.tickUntilReady(id)
	g.place(id, 2, 8, 2)
	g.finished(id)
}

// TestPause: a lease whose module is being compiled stays, and goes on afterwards; when
// it is drained, compiling ends at once.
func TestPause(t *testing.T) {
	g := newGrid(t)
	ready := make(chan struct{})
	g.box.ready, g.box.preparing = ready, make(chan struct{}, 10)
	e := g.open(nil)
	id := g.submit(2, &jobspec.Program{}, nil)
	g.place(id, 0, 2, 2)
	<-g.box.preparing
	e.Pause()
	if l := g.leases(); len(l) != 1 || l[0].Open.Count() != 2 || g.faults.count(isRelease) != 0 {
		t.Errorf("leases are %+v", l)
	}
	other := g.submit(1, &jobspec.Program{}, nil)
	g.place(other, 0, 1, 1)
	g.await("a new lease is refused", func(tx ledger.Tx) bool {
		list, err := ledger.PendingOf(tx, other, 10)
		return err == nil && len(list) == 1 && list[0].Cause == ledger.CauseRefused
	})
	e.Resume()
	close(ready)
	g.finished(id)
}

// TestPauseEnds: a lease whose module is being compiled goes back, and the compiler with
// it, when what runs does.
func TestPauseEnds(t *testing.T) {
	g := newGrid(t)
	g.box.ready, g.box.preparing = make(chan struct{}), make(chan struct{}, 10)
	e := g.open(nil)
	id := g.submit(2, &jobspec.Program{}, nil)
	g.place(id, 0, 2, 2)
	<-g.box.preparing
	e.Pause()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	// It returns when nobody waits for Prepare any more.
	if err := e.Drain(over); err != nil {
		t.Fatal(err)
	}
	if p := g.queued(id, ledger.CauseDrain); p.Tasks.Count() != 2 {
		t.Errorf("%+v", p)
	}
}

// TestPausedLate: a module that is ready as the node pauses is none that is compiled: its
// tasks go back.
func TestPausedLate(t *testing.T) {
	g := newGrid(t)
	ready := make(chan struct{})
	g.box.ready, g.box.preparing = ready, make(chan struct{}, 10)
	e := g.open(nil)
	id := g.submit(2, &jobspec.Program{}, nil)
	g.place(id, 0, 2, 2)
	<-g.box.preparing
	e.Pause()
	close(ready) // as if the sandbox were frozen too late
	if p := g.queued(id, ledger.CauseDrain); p.Tasks.Count() != 2 {
		t.Errorf("%+v", p)
	}
}

// TestDrainAnswerLost: what the ledger has got back without this node hearing of it is
// handed back again, and the lease ends with what runs.
func TestDrainAnswerLost(t *testing.T) {
	g := newGrid(t)
	running, end := make(chan struct{}, 10), make(chan struct{})
	g.box.run = func(attempt) task.Outcome {
		running <- struct{}{}
		<-end
		return exit(0)
	}
	var lost atomic.Int32
	again := make(chan struct{})
	g.faults.set(nil, func(c ledger.Command) error {
		if !isRelease(c) {
			return nil
		}
		n := lost.Add(1)
		if n == 2 {
			close(again)
		}
		if n <= 3 {
			return errAway
		}
		return nil
	})
	e := g.open(func(c *Config) { c.RenewInterval, c.BeginAfter, c.Lease = time.Hour, time.Hour, 3*time.Hour })
	id := g.submit(10, &jobspec.Program{}, nil)
	g.place(id, 0, 10, 2)
	<-running
	<-running
	drained := make(chan error)
	go func() { drained <- e.Drain(t.Context()) }()
	g.await("what has not begun is queued", func(tx ledger.Tx) bool {
		n, err := ledger.FindNode(tx, self)
		j, err2 := ledger.FindJob(tx, id)
		return err == nil && err2 == nil && n.Reserved.Slots == 2 && j.Tasks[ledger.TaskQueued] == 8
	})
	<-again
	close(end)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if n := g.faults.count(isRelease); n < 2 || len(g.leases()) != 0 {
		t.Errorf("%d releases, leases %+v", n, g.leases())
	}
	if p := g.queued(id, ledger.CauseDrain); p.Tasks.Count() != 8 {
		t.Error(p.Tasks)
	}
}

// tickUntilReady lets the back-off of a job's only range end.
func (g *grid) tickUntilReady(id ledger.JobID) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		g.do(&ledger.Tick{})
		ready := false
		g.await("it is queued", func(tx ledger.Tx) bool {
			list, err := ledger.PendingOf(tx, id, 10)
			ready = err == nil && len(list) == 1 && list[0].Phase == ledger.PhaseReady
			return err == nil
		})
		if ready {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	g.t.Fatal("the back-off does not end")
}

// TestDrainCutsShort: at the end of its context Drain cancels what runs.
func TestDrainCutsShort(t *testing.T) {
	g := newGrid(t)
	running := make(chan struct{}, 10)
	g.box.run = func(a attempt) task.Outcome {
		running <- struct{}{}
		return a.cancelled()
	}
	e := g.open(nil)
	id := g.submit(10, &jobspec.Program{}, nil)
	g.place(id, 0, 10, 2)
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if p := g.queued(id, ledger.CauseDrain); p.Tasks.Count() != 10 || p.Attempt != 0 {
		t.Errorf("%+v", p)
	}
}

// TestClose hands back what has not ended and reports what has.
func TestClose(t *testing.T) {
	g := newGrid(t)
	running := make(chan struct{}, 10)
	g.box.run = func(a attempt) task.Outcome {
		if a.index < 3 {
			return exit(1)
		}
		running <- struct{}{}
		return a.cancelled()
	}
	e := g.open(nil)
	id := g.submit(10, &jobspec.Program{}, func(s *ledger.JobSpec) { s.Retry.AttemptsMax = 1 })
	g.place(id, 0, 10, 1)
	<-running
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if p := g.queued(id, ledger.CauseReleased); p.Tasks.Count() != 7 || len(g.leases()) != 0 {
		t.Errorf("%s, %d leases", p.Tasks, len(g.leases()))
	}
	if err := e.Drain(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	// Without a ledger Close ends nevertheless.
	g.faults.set(func(ledger.Command) error { return errAway }, nil)
	e = g.open(func(c *Config) { c.CloseTimeout = 50 * time.Millisecond })
	g.place(id, 3, 7, 1)
	<-running
	if err := e.Close(); !errors.Is(err, ErrUnfinished) {
		t.Error(err)
	}
	if len(g.leases()) != 1 {
		t.Error("the lease is gone")
	}
}

// TestResumeDuringClose: a lease that is taken up while the executor closes is waited
// for like any other.
func TestResumeDuringClose(t *testing.T) {
	g := newGrid(t)
	g.box.run = func(a attempt) task.Outcome { return a.cancelled() }
	const rounds = 20
	id := g.submit(rounds, &jobspec.Program{}, nil)
	for i := range uint32(rounds) {
		c := g.config()
		c.CloseTimeout = time.Millisecond
		e, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		closed, resumer := make(chan struct{}), sync.WaitGroup{}
		resumer.Go(func() {
			for {
				select {
				case <-closed:
					return
				default:
					e.Resume()
				}
			}
		})
		g.place(id, i, 1, 1)
		if err := e.Close(); err != nil && !errors.Is(err, ErrUnfinished) {
			t.Error(err)
		}
		close(closed)
		resumer.Wait()
		e.mu.Lock()
		for epoch, l := range e.leases {
			if l.working {
				t.Errorf("lease %d is worked on after Close", epoch)
			}
		}
		e.mu.Unlock()
	}
}

// TestLeaderAway: work goes on without a leader, and is reported when there is
// one.
func TestLeaderAway(t *testing.T) {
	g := newGrid(t)
	g.faults.set(func(ledger.Command) error { return errAway }, nil)
	var mu sync.Mutex
	ran, all := 0, make(chan struct{})
	g.box.run = func(a attempt) task.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if ran++; ran == 1000 {
			close(all)
		}
		return exit(0)
	}
	g.open(nil)
	id := g.submit(1000, &jobspec.Program{}, nil)
	g.place(id, 0, 500, 4)
	g.place(id, 500, 500, 4)
	<-all
	g.faults.set(nil, nil)
	if j := g.finished(id); j.Tasks[ledger.TaskSucceeded] != 1000 || j.Usage.Fuel != 7000 || ran != 1000 {
		t.Errorf("%s, fuel %d, ran %d", j.Tasks, j.Usage.Fuel, ran)
	}
}

// TestRestart: a new process goes on where the one before was killed.
func TestRestart(t *testing.T) {
	g := newGrid(t)
	g.faults.set(func(ledger.Command) error { return errAway }, nil)
	var mu sync.Mutex
	var first, second []int
	stuck := make(chan struct{})
	g.box.run = func(a attempt) task.Outcome {
		if a.index == 50 {
			close(stuck)
			return a.cancelled()
		}
		mu.Lock()
		defer mu.Unlock()
		first = append(first, a.index)
		_, _ = fmt.Fprint(a.streams.Stdout, a.index)
		return exit(0)
	}
	e := g.open(nil)
	id := g.submit(100, &jobspec.Program{}, nil)
	g.place(id, 0, 100, 1)
	<-stuck
	for e.journaled() < 50 {
		<-time.After(time.Millisecond)
	}
	if err := e.crash(); err != nil {
		t.Fatal(err)
	}
	if e.journaled() != 50 || len(e.gather.list) != 0 {
		t.Errorf("%d tasks are in the journal, %d gathered: what was cut short is none of them", e.journaled(), len(e.gather.list))
	}
	g.faults.set(nil, nil)
	g.box.run = func(a attempt) task.Outcome {
		mu.Lock()
		defer mu.Unlock()
		second = append(second, a.index)
		return exit(0)
	}
	g.open(nil)
	j := g.finished(id)
	if j.Tasks[ledger.TaskSucceeded] != 100 || j.Usage.Fuel != 700 {
		t.Errorf("%s, fuel %d", j.Tasks, j.Usage.Fuel)
	}
	if len(first) != 50 || len(second) != 50 || slices.Min(second) != 50 {
		t.Errorf("first %v, then %v", first, second)
	}
	if r := g.results(id); r[49].stdout != "49" {
		t.Errorf("task 49 wrote %q", r[49].stdout)
	}
}

// journaled is the number of tasks in the journal.
func (e *Executor) journaled() (n int) {
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	for _, w := range e.queue.waiting {
		n += int(w.run.Count)
	}
	return n
}

// TestFull: with little room for outcomes tasks wait, and all are recorded.
func TestFull(t *testing.T) {
	g := newGrid(t)
	g.box.run = func(a attempt) task.Outcome { return exit(uint32(a.index % 2)) }
	g.open(func(c *Config) { c.OutcomesMax, c.JournalBytesMax = 2, 100 })
	id := g.submit(300, &jobspec.Program{}, func(s *ledger.JobSpec) { s.Retry.AttemptsMax = 1 })
	g.place(id, 0, 300, 8)
	if j := g.finished(id); j.Tasks[ledger.TaskSucceeded] != 150 || j.Tasks[ledger.TaskFailed] != 150 || j.Usage.Fuel != 2100 {
		t.Errorf("%s, fuel %d", j.Tasks, j.Usage.Fuel)
	}
}

// TestOutput: output that cannot be kept makes a task fail, it is not lost in
// silence.
func TestOutput(t *testing.T) {
	g := newGrid(t)
	g.box.run = func(a attempt) task.Outcome {
		if _, err := a.streams.Stdout.Write(make([]byte, a.spec.Limits.OutputBytes+1)); !errors.Is(err, ErrOutput) {
			t.Errorf("beyond the limit: %v", err)
		}
		return exit(0)
	}
	bad := &fullStore{Store: g.store}
	g.open(func(c *Config) { c.Objects, c.OutputBytesMax = bad, 100 })
	id := g.submit(1, &jobspec.Program{}, func(s *ledger.JobSpec) { s.Retry.AttemptsMax = 1 })
	g.place(id, 0, 1, 1)
	if j := g.finished(id); j.Tasks[ledger.TaskFailed] != 1 || bad.puts != Default().PutAttempts {
		t.Errorf("%s after %d tries", j.Tasks, bad.puts)
	}
	var ends []ledger.Ending
	g.await("it failed", func(tx ledger.Tx) bool {
		found, err := ledger.FindTask(tx, id, 0)
		ends = append(ends, ledger.Ending{State: found.State, Exit: found.Exit})
		return err == nil
	})
	if Class(ends[0].Exit) != ClassUnkept {
		t.Errorf("%+v", ends)
	}
}

// fullStore is a content store that takes nothing.
type fullStore struct {
	*content.Store
	puts int
}

func (s *fullStore) Put(context.Context, io.Reader, string) (content.Hash, int64, error) {
	s.puts++
	return content.Hash{}, 0, content.ErrFull
}

// TestPins: a result that the ledger counts stays pinned, however often it was
// reported; one that it will never count does not.
func TestPins(t *testing.T) {
	g := newGrid(t)
	g.box.run = func(a attempt) task.Outcome {
		_, _ = fmt.Fprint(a.streams.Stdout, "text")
		return exit(0)
	}
	var once sync.Once
	lost := func(c ledger.Command) (err error) {
		if isReport(c) {
			once.Do(func() { err = errAway })
		}
		return err
	}
	g.faults.set(nil, lost)
	e := g.open(nil)
	id := g.submit(2, &jobspec.Program{}, nil)
	owner := result.Owner(id)
	g.place(id, 0, 1, 1)
	g.await("it has ended", func(tx ledger.Tx) bool {
		j, err := ledger.FindJob(tx, id)
		return err == nil && j.Tasks[ledger.TaskSucceeded] == 1
	})
	settled(t, e)
	kept := g.store.OwnerBytes(owner)
	if kept == 0 || g.faults.count(isReport) < 2 {
		t.Fatalf("%d bytes are pinned after %d reports", kept, g.faults.count(isReport))
	}

	arrived, release := make(chan struct{}, 100), make(chan struct{})
	g.faults.set(func(c ledger.Command) error {
		if isReport(c) {
			arrived <- struct{}{}
			<-release
		}
		return nil
	}, nil)
	epoch := g.place(id, 1, 1, 1)
	<-arrived
	if now := g.store.OwnerBytes(owner); now <= kept {
		t.Errorf("%d bytes are pinned, %d before", now, kept)
	}
	g.do(&ledger.Release{Node: self, Epochs: []ledger.Epoch{epoch}, Cause: ledger.CausePreempted})
	close(release)
	settled(t, e)
	if now := g.store.OwnerBytes(owner); now != kept {
		t.Errorf("%d bytes are pinned, want %d", now, kept)
	}
}

// settled waits until nothing waits for the ledger and no result is in doubt.
func settled(t *testing.T, e *Executor) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		e.mu.Lock()
		is := e.queue.idle() && len(e.doubts) == 0 && len(e.leases) == 0
		e.mu.Unlock()
		if is {
			return
		}
	}
	t.Fatal("results stay in doubt")
}
