package ledger_test

import (
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// scatter makes a job wait in n ranges of one task each.
func (d *driver) scatter(job ledger.JobID, n uint32, node ledger.NodeID) {
	d.Helper()
	d.spread(job, n, node)
	leases, err := ledger.LeasesOf(d.Memory, node, 0, int(n))
	if err != nil {
		d.Fatal(err)
	}
	c := &ledger.Release{Node: node, Cause: ledger.CauseReleased}
	for _, l := range leases {
		c.Epochs = append(c.Epochs, l.Epoch)
	}
	d.do(c)
}

// spread makes a job of n tasks with a lease for each.
func (d *driver) spread(job ledger.JobID, n uint32, node ledger.NodeID) {
	d.Helper()
	d.do(&ledger.Submit{Job: job, Spec: plainSpec(n)})
	c := &ledger.Place{}
	for i := range n {
		c.Placements = append(c.Placements, ledger.Placement{Job: job, Start: i, Count: 1, Node: node, Slots: 1, Expiry: d.now + 60*second})
	}
	d.do(c)
}

// written applies a command and returns how many keys it has changed.
func (d *driver) written(c ledger.Command) (int, ledger.Result) {
	d.Helper()
	tx := d.Begin()
	d.index++
	answer, err := ledger.Apply(tx, d.index, ledger.Encode(ledger.Envelope{Now: d.now, Body: c}))
	if err != nil {
		d.Fatal(err)
	}
	n := len(tx.Changed())
	_ = tx.Commit()
	r, _ := ledger.DecodeResult(answer)
	return n, r
}

// keysMax bounds what one of the commands below may write, whatever the size of
// what it is about.
const keysMax = 3000

func TestCancelIsBounded(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.scatter(jobNumber(1), 2000, "n1")
	n, r := d.written(&ledger.Cancel{Job: jobNumber(1)})
	if n > keysMax || !r.More {
		t.Errorf("cancelling 2000 ranges writes %d keys, more is due: %v", n, r.More)
	}
	d.check()
	d.ticks()
	d.check()
	if j, _ := ledger.FindJob(d.Memory, jobNumber(1)); j.State != ledger.JobKilled || j.Unlisted != 2000 {
		t.Errorf("job is %+v", j)
	}
}

func TestLosingNodeIsBounded(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.spread(jobNumber(1), 2000, "n1")
	n, r := d.written(&ledger.SetNodeState{Node: "n1", State: ledger.NodeGone})
	if n > keysMax || !r.More {
		t.Errorf("giving up 2000 leases writes %d keys, more is due: %v", n, r.More)
	}
	d.check()
	d.ticks()
	d.check()
	if j, _ := ledger.FindJob(d.Memory, jobNumber(1)); j.Tasks[ledger.TaskQueued] != 2000 {
		t.Errorf("job is %+v", j)
	}
}

// TestNodeComesBack gives a node up and takes it back before all of its leases
// are gone: it keeps the others.
func TestNodeComesBack(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.spread(jobNumber(1), 1000, "n1")
	d.do(&ledger.SetNodeState{Node: "n1", State: ledger.NodeGone})
	d.do(&ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{Slots: 1}})
	d.check()
	d.ticks()
	if n, _ := ledger.FindNode(d.Memory, "n1"); n.Leases == 0 || n.State != ledger.NodeUp {
		t.Errorf("node is %+v", n)
	}
	d.now += 1000 * second
	d.ticks()
	d.check()
}

func TestExpiryIsBounded(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.spread(jobNumber(1), 1500, "n1")
	d.now += 60 * second
	n, r := d.written(&ledger.Tick{})
	if n > keysMax || !r.More {
		t.Errorf("a Tick with 1500 leases due writes %d keys, more is due: %v", n, r.More)
	}
	d.ticks()
	d.check()
	if j, _ := ledger.FindJob(d.Memory, jobNumber(1)); j.Tasks[ledger.TaskUnreachable] != 1500 {
		t.Errorf("job is %+v", j)
	}
}

func TestManyDependents(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: plainSpec(1)})
	for i := range 1000 {
		spec := plainSpec(2)
		spec.After = []ledger.JobID{jobNumber(1)}
		if i%2 == 1 {
			spec.After = append(spec.After, jobNumber(1+i))
		}
		d.do(&ledger.Submit{Job: jobNumber(2 + i), Spec: spec})
	}
	n, r := d.written(&ledger.Cancel{Job: jobNumber(1)})
	if n > keysMax || !r.More {
		t.Errorf("killing 1000 dependents writes %d keys, more is due: %v", n, r.More)
	}
	d.check()
	d.ticks()
	d.check()
	if tenant, _ := ledger.FindTenant(d.Memory, "acme"); tenant.Jobs != 0 || tenant.FuelReserved != 0 {
		t.Errorf("tenant is %+v", tenant)
	}
}

// TestManyAlternatives: a job ends for which many wait, each of which has others
// that would have done as well.
func TestManyAlternatives(t *testing.T) {
	const first, others, waiting = 1, 60, 300
	d := newDriver(t)
	d.found("n1")
	var after []ledger.JobID
	for i := range others {
		d.do(&ledger.Submit{Job: jobNumber(first + i), Spec: plainSpec(1)})
		after = append(after, jobNumber(first+i))
	}
	for i := range waiting {
		spec := plainSpec(2)
		spec.After, spec.AfterOne = after, true
		d.do(&ledger.Submit{Job: jobNumber(1000 + i), Spec: spec})
	}
	epoch := d.do(&ledger.Place{Placements: []ledger.Placement{{Job: jobNumber(first), Count: 1, Node: "n1", Slots: 1, Expiry: d.now + second}}}).Items[0].Epoch
	n, r := d.written(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: epoch, Runs: []ledger.Run{{Count: 1, State: ledger.TaskSucceeded}}}}})
	if n > keysMax || !r.More {
		t.Errorf("telling %d dependents writes %d keys, more is due: %v", waiting, n, r.More)
	}
	d.check()
	// Nobody is left to be told when the rest are cancelled before their turn.
	for i := range waiting {
		d.try(&ledger.Cancel{Job: jobNumber(1000 + i)})
	}
	d.check()
	d.ticks()
	d.check()
	if j, _ := ledger.FindJob(d.Memory, jobNumber(first)); j.Dependents != 0 || j.State != ledger.JobSucceeded {
		t.Errorf("job is %+v", j)
	}
}

// TestTenMillionTasks takes the largest job there can be through its life. One
// task in ten fails at the first attempt, scattered, and nothing grows beyond a
// bit for each task.
func TestTenMillionTasks(t *testing.T) {
	d := newDriver(t)
	d.found("n1", "n2")
	job := jobNumber(1)
	d.do(&ledger.Submit{Job: job, Spec: plainSpec(ledger.CountMax)})
	settled, attempts := 0, map[uint32]int{}
	for {
		queue, err := ledger.Queue(d.Memory, ledger.QueueLimit{Ranges: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(queue) == 0 {
			if j, _ := ledger.FindJob(d.Memory, job); j.State.Final() {
				break
			}
			d.now += 100 * second
			d.ticks()
			continue
		}
		r := queue[0].Ranges[0]
		attempts[r.Attempt]++
		placed := d.do(&ledger.Place{Placements: []ledger.Placement{{
			Job: job, Start: r.Tasks.First, Count: ledger.LeaseTasksMax, Node: "n1", Slots: 8, Expiry: d.now + 3600*second,
		}}})
		d.reportTenths(placed.Items[0].Epoch, r.Attempt == 0)
		if settled++; settled%40 == 0 {
			d.check()
		}
	}
	d.check()
	j, err := ledger.FindJob(d.Memory, job)
	if err != nil || j.State != ledger.JobSucceeded || j.Tasks[ledger.TaskSucceeded] != ledger.CountMax {
		t.Fatalf("job is %+v, %v", j, err)
	}
	tenant, _ := ledger.FindTenant(d.Memory, "acme")
	if want := uint64(ledger.CountMax + ledger.CountMax/10); tenant.FuelUsed != want || tenant.FuelReserved != 0 {
		t.Errorf("used %d fuel, should be %d, %d are still reserved", tenant.FuelUsed, want, tenant.FuelReserved)
	}
	t.Logf("%d leases, %d keys, %d bytes at the end", settled, d.Len(), d.Bytes())
	d.now += ledger.RetentionNanos
	t.Logf("pruned by %d ticks", d.ticks())
	d.check()
	if _, err := ledger.FindJob(d.Memory, job); err == nil {
		t.Error("job is still there")
	}
}

// reportTenths reports all tasks of a lease, in parts of 1000 runs: each burnt
// one unit, and when fail is set every tenth has failed.
func (d *driver) reportTenths(epoch ledger.Epoch, fail bool) {
	d.Helper()
	leases, err := ledger.LeasesOf(d.Memory, "n1", epoch-1, 1)
	if err != nil || len(leases) == 0 {
		d.Fatal("no lease", err)
	}
	l := leases[0]
	if !fail {
		n := l.Open.Count()
		d.do(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: epoch, Runs: []ledger.Run{
			{First: l.Open.First, Count: n, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: uint64(n)}},
		}}}})
		return
	}
	var runs []ledger.Run
	send := func() {
		d.Helper()
		d.do(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: epoch, Runs: runs}}})
		runs = nil
	}
	for first := l.Open.First; first < l.Open.End; {
		if first%10 == 0 {
			runs = append(runs, ledger.Run{First: first, Count: 1, State: ledger.TaskFailed, Usage: ledger.Usage{Fuel: 1}})
			first++
		} else {
			n := min(10-first%10, l.Open.End-first)
			runs = append(runs, ledger.Run{First: first, Count: n, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: uint64(n)}})
			first += n
		}
		if len(runs) >= 4000 {
			send()
		}
	}
	if len(runs) > 0 {
		send()
	}
}

// TestPruningDelaysNoLease has more jobs to prune than one Tick can, and a lease
// that runs out behind them.
func TestPruningDelaysNoLease(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	for n := range 1000 {
		d.do(&ledger.Submit{Job: jobNumber(n + 10), Spec: plainSpec(1)})
		d.do(&ledger.Cancel{Job: jobNumber(n + 10)})
	}
	d.now += ledger.RetentionNanos - 60*second + 1
	d.spread(jobNumber(1), 1, "n1")
	d.now += 60 * second
	n, r := d.written(&ledger.Tick{})
	if n > keysMax || !r.More {
		t.Errorf("a Tick with 1000 jobs to prune writes %d keys, more is due: %v", n, r.More)
	}
	if j, _ := ledger.FindJob(d.Memory, jobNumber(1)); j.Tasks[ledger.TaskUnreachable] != 1 {
		t.Errorf("job is %+v", j)
	}
	d.check()
	ticks := d.ticks()
	d.check()
	if jobs, _ := ledger.Jobs(d.Memory, ledger.JobID{}, 10); len(jobs) != 1 {
		t.Errorf("%d jobs are left after %d ticks", len(jobs), ticks)
	}
}
