package scheduler

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/p2p"
)

// TestWakes: a job that is blocked makes the scheduler plan again when something
// changes that could help it, and not otherwise.
func TestWakes(t *testing.T) {
	label := ledger.Label{Name: "gpu", Value: "yes"}
	gpu := func(count uint32) ledger.JobSpec {
		s := spec(count)
		s.Constraints = []ledger.Constraint{{Label: "gpu", Value: "yes"}}
		return s
	}
	full := func(g *grid) { g.submit(spec(4)) }
	bound := func(g *grid) { setSecret(g, 1, nodeID(7)); g.jobs++ }
	for name, test := range map[string]struct {
		// blocked is what waits on a grid of one node of four slots, after before.
		before  func(g *grid)
		blocked ledger.JobSpec
		// passes is how many plans change brings.
		change func(g *grid)
		passes int
	}{
		"nothing":                  {full, spec(1), func(*grid) {}, 0},
		"a task ends":              {full, spec(1), func(g *grid) { g.finish(0) }, 1},
		"a task ends elsewhere":    {full, gpu(1), func(g *grid) { g.finish(0) }, 0},
		"a renewal":                {full, spec(1), func(g *grid) { g.renew() }, 0},
		"a node comes":             {full, spec(1), func(g *grid) { g.add(1, 4) }, 1},
		"a node without the label": {full, gpu(1), func(g *grid) { g.add(1, 4) }, 0},
		"a node with the label":    {full, gpu(1), func(g *grid) { g.add(1, 4, label) }, 1},
		"a node gets the label": {nil, gpu(1), func(g *grid) {
			g.mustDo(&ledger.RegisterNode{Node: nodeID(0), Capacity: room(4), Labels: []ledger.Label{label}})
		}, 1},
		"a small node comes":           {nil, large(8), func(g *grid) { g.add(1, 4) }, 0},
		"a large node comes":           {nil, large(8), func(g *grid) { g.add(1, 8) }, 1},
		"a node grows":                 {full, spec(1), func(g *grid) { g.mustDo(&ledger.RegisterNode{Node: nodeID(0), Capacity: room(8)}); g.offer(0, 8) }, 1},
		"an offer alone grows":         {full, spec(1), func(g *grid) { g.offer(0, 8) }, 0},
		"another job is blocked":       {full, spec(1), func(g *grid) { g.submit(gpu(1)) }, 1},
		"a job is cancelled":           {full, spec(1), func(g *grid) { g.mustDo(&ledger.Cancel{Job: jobID(1)}) }, 0},
		"the operator gives more":      {func(g *grid) { g.offer(0, 2); g.wait(2 * time.Second); g.submit(spec(2)) }, spec(1), func(g *grid) { g.offer(0, 3) }, 1},
		"the operator gives less":      {func(g *grid) { g.offer(0, 2); g.wait(2 * time.Second); g.submit(spec(2)) }, spec(1), func(g *grid) { g.offer(0, 1) }, 0},
		"the node drains":              {full, spec(1), func(g *grid) { g.mustDo(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeDraining}) }, 0},
		"the quota of another":         {quota(20), spec(1), func(g *grid) { g.mustDo(&ledger.CreateTenant{Tenant: "u", Weight: 1}) }, 0},
		"the quota grows":              {quota(20), spec(1), func(g *grid) { setQuota(g, 30) }, 1},
		"the quota grows too little":   {quota(20), spec(1), func(g *grid) { setQuota(g, 25) }, 0},
		"a node comes, quota":          {quota(20), spec(1), func(g *grid) { g.add(1, 4) }, 0},
		"the tenant is denied no more": {func(g *grid) { g.deny(0, "t"); g.wait(2 * time.Second); g.jobs++ }, spec(1), func(g *grid) { g.offer(0, 4) }, 1},
		"a node without the secret":    {bound, confiding(1), func(g *grid) { g.add(1, 4) }, 0},
		"the secret is for it":         {bound, confiding(1), func(g *grid) { setSecret(g, 2, nodeID(0), nodeID(7)) }, 1},
		"the secret is for all":        {bound, confiding(1), func(g *grid) { setSecret(g, 2) }, 1},
		"the secret is removed":        {bound, confiding(1), func(g *grid) { g.mustDo(&ledger.DropSecret{Tenant: "t", Name: "KEY"}) }, 1},
		"the label is denied no more":  {func(g *grid) { g.want(0, "job-label-denied", "team"); g.wait(2 * time.Second); g.jobs++ }, labelled(), func(g *grid) { g.offer(0, 4) }, 1},
		"it is switched off later":     {func(g *grid) { g.want(0, "until", inMinutes(30)); g.wait(2 * time.Second); g.jobs++ }, spec(1), func(g *grid) { g.want(0, "until", inMinutes(90)) }, 1},
		"another is denied no more":    {func(g *grid) { g.deny(0, "t", "u"); g.wait(2 * time.Second); g.jobs++ }, spec(1), func(g *grid) { g.deny(0, "t") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGrid(t)
				g.add(1, 4)
				g.open()
				if test.before != nil {
					test.before(g)
					synctest.Wait()
				} else {
					g.jobs++
				}
				id := g.submit(test.blocked)
				g.wait(2 * time.Second)
				g.expect("ready at first", int(g.job(id).Tasks[ledger.TaskQueued]), int(test.blocked.Count))
				before := g.passes()
				test.change(g)
				g.wait(3 * time.Second)
				g.expect("passes after the change", g.passes()-before, test.passes)
				if started := out(g.job(id)) > 0; test.passes == 1 && !strings.HasPrefix(name, "another ") && !started {
					t.Error("the job has not started")
				}
				before = g.passes()
				g.renew()
				g.wait(3 * time.Second)
				g.expect("passes later", g.passes()-before, 0)
			})
		})
	}
}

// large asks for many slots in one task.
// labelled is one task with a label.
func labelled() ledger.JobSpec {
	s := spec(1)
	s.Labels = []ledger.Label{{Name: "team", Value: "a"}}
	return s
}

func inMinutes(n int) string {
	return time.Now().Add(time.Duration(n) * time.Minute).Format(time.RFC3339)
}

func large(slots uint32) ledger.JobSpec {
	s := spec(1)
	s.Task.Slots = slots
	return s
}

// confiding names a secret.
func confiding(count uint32) ledger.JobSpec {
	s := spec(count)
	s.Secrets = []ledger.SecretName{"KEY"}
	return s
}

// setSecret sets the secret that confiding names, for some nodes only, or for all.
func setSecret(g *grid, version byte, nodes ...ledger.NodeID) {
	g.mustDo(&ledger.PutSecret{
		Tenant: "t", Name: "KEY", ID: [16]byte{version}, Nodes: nodes,
		Keys: []ledger.SecretKey{{Node: nodeID(0), Sealed: []byte{1}}}, Value: []byte{1},
	})
}

// TestBound: tasks that are given a secret go to the nodes that it is for, of which there
// are few, and to no others, whatever is free there.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(40, 4)
		g.open()
		setSecret(g, 1, nodeID(11), nodeID(23), nodeID(99))
		synctest.Wait()
		e, err := g.Explain(t.Context(), confiding(9))
		if err != nil || e.Started != 8 || len(e.Nodes) != 2 || e.Reasons == nil || e.Reasons.Of(placement.CodeSecret) != 38 {
			t.Errorf("%+v, %v: want eight of nine tasks on two nodes", e, err)
		}
		id := g.submit(confiding(9))
		g.wait(3 * time.Second)
		g.expect("tasks that have started", out(g.job(id)), 8)
		for i := range 40 {
			if list := g.leases(i); (len(list) > 0) != (i == 11 || i == 23) {
				t.Errorf("node %d has %d leases", i, len(list))
			}
		}
		for range 20 {
			g.renew()
			g.wait(3 * time.Second)
		}
		if names := g.reasons(id); !slices.Contains(names, "38 secret") {
			t.Errorf("reasons %q", names)
		}
	})
}

// quota bounds the tenant's memory, and uses it up.
func quota(mebibytes uint64) func(g *grid) {
	return func(g *grid) {
		setQuota(g, mebibytes)
		g.submit(spec(uint32(mebibytes / 10)))
	}
}

func setQuota(g *grid, mebibytes uint64) {
	g.mustDo(&ledger.SetQuota{Tenant: "t", Weight: 1, BandMax: ledger.BandTop, Quota: ledger.Quota{MemoryBytes: mebibytes * mib}})
}

// TestAvoided: tasks that have failed go back to the only node as soon as their back-off
// is over, and the scheduler does not plan until then.
func TestAvoided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.open()
		g.wait(g.config.SettleWait)
		s := spec(1)
		s.Retry.BackoffNanos, s.Retry.BackoffMaxNanos = int64(time.Second), int64(time.Second)
		id := g.submit(s)
		synctest.Wait()
		l := g.leases(0)[0]
		g.mustDo(&ledger.Report{Node: nodeID(0), Leases: []ledger.LeaseReport{{
			Epoch: l.Epoch, Runs: []ledger.Run{{Count: 1, State: ledger.TaskFailed}},
		}}})
		g.wait(time.Second)
		g.expect("tasks out after the back-off", out(g.job(id)), 1)
		g.expect("passes after the back-off", g.passes(), 2)
	})
}

// TestLastResort: a task goes back to the node that failed it as soon as the only other
// one, which is full, is out, or when it has waited long enough for that.
func TestLastResort(t *testing.T) {
	for name, leave := range map[string]func(g *grid){
		"stays": func(*grid) {},
		"drains": func(g *grid) {
			g.mustDo(&ledger.SetNodeState{Node: nodeID(1), State: ledger.NodeDraining})
		},
		"makes no offer": func(g *grid) {
			g.board.mu.Lock()
			defer g.board.mu.Unlock()
			delete(g.board.offers, p2p.NodeID(nodeID(1)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGrid(t)
				g.add(1, 4)
				g.open()
				id := g.submit(spec(1))
				synctest.Wait()
				failing := g.leases(0)[0].Epoch
				g.add(1, 4)
				g.submit(spec(7)) // fills both nodes
				g.wait(g.config.BoardInterval)
				g.mustDo(&ledger.Report{Node: nodeID(0), Leases: []ledger.LeaseReport{{
					Epoch: failing, Runs: []ledger.Run{{Count: 1, State: ledger.TaskFailed}},
				}}})
				g.run(time.Duration(g.config.Params.AvoidNanosMax) - time.Second)
				g.expect("tasks out while another node could take it", out(g.job(id)), 0)
				leave(g)
				g.run(2 * time.Second)
				g.expect("tasks out in the end", out(g.job(id)), 1)
			})
		})
	}
}

// TestReturned: what a node hands back while a plan is being committed is not
// forgotten.
func TestReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 4)
		g.open()
		synctest.Wait()
		id := g.submit(spec(8))
		synctest.Wait()
		g.expect("tasks out", out(g.job(id)), 8)
		// A lease comes back at the moment at which the next is granted.
		released := false
		g.fail = func(c ledger.Command) error {
			if _, ok := c.(*ledger.Place); ok && !released {
				released = true
				list, err := ledger.LeasesOf(g.memory, nodeID(1), 0, 10)
				if err != nil || len(list) == 0 {
					return err
				}
				g.apply(&ledger.Release{Node: nodeID(1), Epochs: []ledger.Epoch{list[0].Epoch}, Cause: ledger.CauseReleased})
			}
			return nil
		}
		g.mustDo(&ledger.Release{Node: nodeID(0), Epochs: []ledger.Epoch{g.leases(0)[0].Epoch}, Cause: ledger.CauseReleased})
		g.wait(time.Second)
		if !released {
			t.Fatal("nothing was released")
		}
		g.expect("tasks out in the end", out(g.job(id)), 8)
	})
}

// TestNotes: why a job waits is noted once, and again when it is for other
// reasons; it is cleared when it waits no longer.
func TestNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(2, 4)
		g.open()
		g.wait(g.config.SettleWait)
		g.submit(spec(8))
		id := g.submit(spec(1))
		g.wait(g.config.NoteInterval)
		if diff := cmp.Diff([]string{"2 full-fuel-rate"}, g.reasons(id)); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
		g.expect("commands", g.count(&ledger.NoteReasons{}), 1)
		for range 3 {
			g.submit(large(16))
			g.renew()
			g.wait(g.config.NoteInterval)
		}
		g.expect("commands for four jobs", g.count(&ledger.NoteReasons{}), 4)
		g.expect("notes", g.metric("notes_total", ""), 4)
		g.mustDo(&ledger.SetNodeState{Node: nodeID(0), State: ledger.NodeDraining})
		g.renew()
		g.run(g.config.NoteAgainAfter)
		g.submit(large(16))
		g.wait(g.config.NoteInterval)
		if diff := cmp.Diff([]string{"1 node-state", "1 full-fuel-rate"}, g.reasons(id)); diff != "" {
			t.Errorf("other reasons (-want +got):\n%s", diff)
		}
		g.finish(1)
		g.wait(2 * g.config.NoteInterval)
		g.expect("tasks out", out(g.job(id)), 1)
		if got := g.reasons(id); got != nil {
			t.Errorf("reasons of a job that runs: %v", got)
		}
	})
}

// TestNotesBounded: many jobs are noted some at a time.
func TestNotesBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.config.NotesMax = 10
		g.open()
		for range 95 {
			g.submit(spec(1))
		}
		g.wait(g.config.SettleWait + 5*g.config.NoteInterval + time.Millisecond)
		g.expect("notes", g.metric("notes_total", "ok"), 60)
		g.wait(20 * g.config.NoteInterval)
		g.expect("notes in the end", g.metric("notes_total", "ok"), 95)
		g.expect("commands", g.count(&ledger.NoteReasons{}), 10)
	})
}

// TestFilters: what nodes hold is read, and nonsense is counted.
func TestFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		id := p2p.NodeID(nodeID(0))
		e := g.board.offers[id]
		e.Held = []byte("nonsense")
		g.board.offers[id] = e
		g.open()
		g.wait(5 * g.config.BoardInterval)
		g.expect("refused filters", g.metric("filters_refused_total", ""), 1)
		job := g.submit(spec(1))
		synctest.Wait()
		g.expect("tasks out", out(g.job(job)), 1)
	})
}
