package scheduler

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// TestOneJob: a task is leased as soon as it is submitted, in one pass.
func TestOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 4)
		g.open()
		synctest.Wait()
		g.expect("passes while nothing waits", g.passes(), 0)
		began := time.Now()
		id := g.submit(spec(1))
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("leased after %v, want at once", took)
		}
		g.expect("tasks out", out(g.job(id)), 1)
		g.expect("passes", g.passes(), 1)
		leases := append(g.leases(0), g.leases(1)...)
		if len(leases) != 1 || leases[0].Expiry != stamp(began.Add(g.config.Lease)) {
			t.Errorf("leases are %+v, want one of %v", leases, g.config.Lease)
		}
		g.wait(5 * time.Second)
		g.expect("passes later", g.passes(), 1)
		g.expect("commands", g.count(&ledger.Place{}), 1)
	})
}

// TestArray: an array is shared out to all nodes as they get free, first in small
// shares, then in large ones, and all of it runs.
func TestArray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(4, 2)
		g.open()
		const tasks = 1_000_000
		id := g.submit(spec(tasks))
		synctest.Wait()
		for i := range 4 {
			leases := g.leases(i)
			if len(leases) != 1 || leases[0].Tasks.Count() != 2*probeRounds {
				t.Errorf("node %d begins with %+v, want %d tasks", i, leases, 2*probeRounds)
			}
		}
		largest, leases := uint32(0), 4
		for !g.job(id).State.Final() {
			done := g.job(id).Tasks[ledger.TaskSucceeded]
			for i := range 4 {
				g.finish(i)
				synctest.Wait()
				for _, l := range g.leases(i) {
					largest = max(largest, l.Tasks.Count())
					leases++
				}
			}
			if g.job(id).Tasks[ledger.TaskSucceeded] == done {
				t.Fatalf("nothing was placed: %v of %d tasks are done", g.job(id).Tasks, tasks)
			}
		}
		if largest < 50_000 || leases > 100 {
			t.Errorf("%d leases, the largest of %d tasks: want at most 100, and more than 50,000", leases, largest)
		}
		g.expect("succeeded", int(g.job(id).Tasks[ledger.TaskSucceeded]), tasks)
	})
}

// TestBatch: what is submitted while a plan is committed goes together into the
// next one.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 200)
		g.commit = 10 * time.Millisecond
		g.open()
		synctest.Wait()
		for range 100 {
			g.submit(spec(1))
		}
		g.wait(100 * time.Millisecond)
		g.expect("leases", len(g.leases(0)), 100)
		if n := g.passes(); n > 3 {
			t.Errorf("%d passes, want at most 3", n)
		}
	})
}

// TestManyInOrder: a plan of many commands is committed as a whole, whichever
// lanes they take.
func TestManyInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(100, 4)
		for range 20 {
			g.submit(spec(20))
		}
		g.commit = time.Millisecond
		g.open()
		g.wait(time.Second)
		for i := range 20 {
			g.expect("tasks out", out(g.job(jobID(i))), 20)
		}
		g.expect("refused", g.metric("placements_total", "")-g.metric("placements_total", "ok"), 0)
	})
}

// TestStaleRefused: what the ledger refuses is planned again, and when that goes
// on the passes come seldom.
func TestStaleRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.open()
		synctest.Wait()
		// The node begins to drain at the moment at which the plan arrives.
		drained := false
		g.fail = func(c ledger.Command) error {
			if _, ok := c.(*ledger.Place); ok && !drained {
				drained = true
				g.apply(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeDraining})
			}
			return nil
		}
		id := g.submit(spec(1))
		g.wait(time.Second)
		g.expect("refused", g.metric("placements_total", ledger.CodeNodeState.String()), 1)
		g.expect("tasks out", out(g.job(id)), 0)
		g.expect("passes", g.passes(), 2)
		g.mustDo(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeUp})
		synctest.Wait()
		g.expect("tasks out after", out(g.job(id)), 1)
	})
}

// TestNoAnswer: while the ledger takes no plans they are repeated with a growing
// wait, and go through as soon as it does.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.open()
		synctest.Wait()
		broken := errors.New("broken")
		g.fail = func(c ledger.Command) error {
			if _, ok := c.(*ledger.Place); ok {
				return broken
			}
			return nil
		}
		id := g.submit(spec(1))
		g.wait(10 * time.Second)
		if n := g.count(&ledger.Place{}); n < 10 || n > 20 {
			t.Errorf("%d plans in ten seconds, want between 10 and 20", n)
		}
		g.memoryLedger.mu.Lock()
		g.fail = nil
		g.memoryLedger.mu.Unlock()
		g.wait(g.config.RetryMax)
		g.expect("tasks out", out(g.job(id)), 1)
	})
}

// TestHandOver: a scheduler works while its member leads, and knows nothing of
// the terms before.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.elect(false)
		g.open()
		first := g.submit(spec(1))
		g.wait(time.Minute)
		g.expect("tasks out elsewhere", out(g.job(first)), 0)
		if _, err := g.Explain(t.Context(), spec(1)); !errors.Is(err, ErrNotLeader) {
			t.Errorf("explain elsewhere: %v", err)
		}
		g.elect(true)
		synctest.Wait()
		g.expect("tasks out at the leader", out(g.job(first)), 1)
		g.elect(false)
		synctest.Wait()
		second := g.submit(spec(1))
		g.wait(time.Second)
		g.expect("tasks out after", out(g.job(second)), 0)
		// From one term to the next.
		g.elect(true)
		g.elect(true)
		synctest.Wait()
		g.expect("tasks out in the end", out(g.job(second)), 1)
	})
}

// TestFeedBreaks: when changes are missing the picture is made anew.
func TestFeedBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.open()
		synctest.Wait()
		g.memoryLedger.mu.Lock()
		g.tooOld = true
		g.memoryLedger.mu.Unlock()
		id := g.submit(spec(1))
		g.wait(time.Second)
		g.expect("tasks out", out(g.job(id)), 1)
	})
}

// TestTicks: timers fire when they are due, none before a new leader has waited,
// and nothing is proposed while none is due.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		s := spec(1)
		s.QueueNanos = int64(time.Second)
		s.Task.Slots = 5
		early := g.submit(s)
		g.open()
		g.wait(g.config.SettleWait - time.Millisecond)
		g.expect("ticks while settling", g.count(&ledger.Tick{}), 0)
		g.wait(time.Millisecond)
		g.expect("ticks when settled", g.count(&ledger.Tick{}), 1)
		if state := g.job(early).State; state != ledger.JobKilled {
			t.Errorf("the job whose deadline has passed is %v", state)
		}
		g.wait(time.Minute)
		g.expect("ticks for nothing", g.count(&ledger.Tick{}), 1)
		late := g.submit(s)
		g.wait(time.Second - time.Millisecond)
		g.expect("ticks before the deadline", g.count(&ledger.Tick{}), 1)
		g.wait(time.Millisecond)
		g.expect("ticks at the deadline", g.count(&ledger.Tick{}), 2)
		if state := g.job(late).State; state != ledger.JobKilled {
			t.Errorf("the job whose deadline is now is %v", state)
		}
	})
}

// TestManyTimers: a Tick that has left something due is followed by another at
// once.
func TestManyTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		s := spec(1)
		s.TotalNanos = int64(time.Second)
		for range 1000 {
			g.submit(s)
		}
		g.open()
		g.wait(g.config.SettleWait)
		if n := g.count(&ledger.Tick{}); n < 4 {
			t.Errorf("%d ticks for 1000 timers", n)
		}
		for i := range 1000 {
			if state := g.job(jobID(i)).State; state != ledger.JobKilled {
				t.Fatalf("job %d is %v", i, state)
			}
		}
	})
}

// TestTimerKey: the keys of timers are as the ledger has them.
func TestTimerKey(t *testing.T) {
	m := newMemoryLedger(t)
	m.apply(&ledger.CreateTenant{Tenant: "t", Weight: 1})
	m.apply(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	s := spec(1)
	s.QueueNanos = int64(time.Hour)
	if r := m.apply(&ledger.Submit{Job: jobID(0), Spec: s}); r.Code != ledger.CodeOK {
		t.Fatal(r.Code, r.What)
	}
	var known ticks
	for _, n := range m.history {
		for _, c := range n.changes {
			known.hear(c.Key)
		}
	}
	at, ok, err := ledger.NextTick(m.memory)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if !known.set || known.at != at {
		t.Errorf("heard of a timer at %v, %v; it is at %v", known.at, known.set, at)
	}
}

// TestExplain: what would happen to a job is what the planner says of the queue
// and the nodes as they are, and nothing happens.
func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 4)
		g.add(1, 8, ledger.Label{Name: "gpu", Value: "yes"})
		g.open()
		synctest.Wait()
		s := spec(5)
		s.Constraints = []ledger.Constraint{{Label: "gpu", Value: "yes"}}
		e, err := g.Explain(t.Context(), s)
		if err != nil || e.Started != 5 || len(e.Nodes) != 1 || e.Nodes[0] != (Share{nodeID(2), 5, 5}) || e.Reasons != nil {
			t.Errorf("%+v, %v: want five tasks on the node with the label", e, err)
		}
		s.Constraints[0].Value = "no"
		e, err = g.Explain(t.Context(), s)
		if err != nil || e.Started != 0 || e.Reasons == nil || e.Reasons.Nodes != 3 {
			t.Errorf("%+v, %v: want reasons", e, err)
		}
		if _, err := g.Explain(t.Context(), spec(0)); err == nil {
			t.Error("a job without tasks is explained")
		}
		g.submit(spec(1000))
		synctest.Wait()
		e, err = g.Explain(t.Context(), spec(1))
		if err != nil || e.Started != 0 || e.Ahead != 1 || e.Queued != 1 {
			t.Errorf("%+v, %v: want one job ahead and no room", e, err)
		}
		if _, err := g.View(func(tx ledger.Tx) error {
			jobs, err := ledger.Jobs(tx, ledger.JobID{}, 10)
			if len(jobs) != 1 {
				t.Errorf("%d jobs, want one", len(jobs))
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// TestValidate: the defaults are valid but for what has none.
func TestValidate(t *testing.T) {
	c := Default()
	if c.Validate() == nil {
		t.Error("a scheduler without a ledger is valid")
	}
	c.Ledger, c.Board = newMemoryLedger(t), &handBoard{}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"queue": func(c *Config) { c.Queue.Jobs = -1 }, "lease": func(c *Config) { c.Lease = 0 },
		"settle": func(c *Config) { c.SettleWait = -1 }, "interval": func(c *Config) { c.BoardInterval = 0 },
		"brake": func(c *Config) { c.VanishedMin = 0 }, "windows": func(c *Config) { c.StopWindow = 2 * c.VanishedWindow },
		"retry": func(c *Config) { c.RetryMax = 0 }, "notes": func(c *Config) { c.NotesMax = ledger.ItemsMax + 1 },
		"late": func(c *Config) { c.LateMax = 0 }, "timeout": func(c *Config) { c.ProposeTimeout = 0 }, "params": func(c *Config) { c.Params.Stages = 0 },
	} {
		bad := c
		if change(&bad); bad.Validate() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}
