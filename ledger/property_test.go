package ledger_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

const second = ledger.Time(1_000_000_000)

// world draws commands, valid and not, and applies them to two replicas; the
// second one crashes at a random write of every command and does it again.
type world struct {
	t        *rapid.T
	a, b     *ledgertest.Memory
	now      ledger.Time
	index    uint64
	seq      uint64
	ended    map[taskKey]ledger.TaskState
	fuelUsed map[ledger.TenantID]uint64
	// steady makes it draw the commands of a grid that works rather than any.
	steady bool
}

type taskKey struct {
	job  ledger.JobID
	task uint32
}

func newWorld(t *rapid.T) *world {
	return &world{
		t: t, a: ledgertest.NewMemory(), b: ledgertest.NewMemory(), now: second,
		ended: map[taskKey]ledger.TaskState{}, fuelUsed: map[ledger.TenantID]uint64{},
	}
}

var (
	someTenants = []ledger.TenantID{"alder", "birch"}
	someNodes   = []ledger.NodeID{"n1", "n2", "n3"}
	someCounts  = []uint32{1, 3, 64, 65, 200, 8192, 20000}
)

func (w *world) n(low, high int, label string) int { return rapid.IntRange(low, high).Draw(w.t, label) }

func (w *world) job() ledger.JobID       { return ledger.JobID{15: byte(w.n(1, 8, "job"))} }
func (w *world) module() ledger.ModuleID { return ledger.ModuleID{31: byte(w.n(1, 2, "module"))} }
func (w *world) tenant() ledger.TenantID { return rapid.SampledFrom(someTenants).Draw(w.t, "tenant") }
func (w *world) node() ledger.NodeID     { return rapid.SampledFrom(someNodes).Draw(w.t, "node") }

// leases returns the leases of a node, and one that does not exist now and then.
func (w *world) leases(node ledger.NodeID) []ledger.Lease {
	leases, err := ledger.LeasesOf(w.a, node, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.n(0, 9, "stale") == 0 {
		leases = append(leases, ledger.Lease{Node: node, Epoch: ledger.Epoch(w.n(0, 50, "epoch")), Tasks: ledger.Tasks(0, 9)})
	}
	return leases
}

func (w *world) epochs(node ledger.NodeID) []ledger.Epoch {
	var epochs []ledger.Epoch
	for _, l := range w.leases(node) {
		if w.n(0, 2, "take") > 0 {
			epochs = append(epochs, l.Epoch)
		}
	}
	return epochs
}

func (w *world) command() ledger.Command {
	kind := w.n(0, 22, "command")
	if w.steady {
		kind = rapid.SampledFrom([]int{2, 8, 12, 12, 12, 16, 17, 18, 20, 20, 20, 20, 22, 22}).Draw(w.t, "command")
	}
	switch kind {
	case 0:
		return &ledger.CreateTenant{Tenant: w.tenant(), Weight: 1, BandMax: 3, Quota: w.quota()}
	case 1:
		return &ledger.SetQuota{Tenant: w.tenant(), Weight: 1, BandMax: 5, Quota: w.quota()}
	case 2, 3:
		return &ledger.RegisterNode{
			Node: w.node(), Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: uint32(w.n(1, 64, "slots")), ScratchBytes: 10},
			Labels: []ledger.Label{{Name: "zone", Value: rapid.SampledFrom([]string{"a", "b"}).Draw(w.t, "zone")}},
		}
	case 4:
		return &ledger.SetNodeState{Node: w.node(), State: ledger.NodeState(w.n(0, 4, "state"))}
	case 5:
		return &ledger.RemoveNode{Node: w.node()}
	case 6:
		return &ledger.PutModule{Module: w.module(), Bytes: 10, Holder: w.node()}
	case 7:
		return &ledger.DropModule{Module: w.module()}
	case 8, 9, 10:
		return w.submit()
	case 11:
		return &ledger.Cancel{Job: w.job()}
	case 12, 13, 14, 15:
		return w.place()
	case 16:
		node := w.node()
		return &ledger.Begin{Node: node, Epochs: w.epochs(node)}
	case 17:
		node := w.node()
		return &ledger.Renew{Node: node, Epochs: w.epochs(node), Expiry: w.now + second*ledger.Time(w.n(0, 60, "expiry"))}
	case 18:
		node := w.node()
		if w.n(0, 1, "refuse") == 0 {
			return &ledger.RefuseLease{Node: node, Epochs: w.epochs(node)}
		}
		return &ledger.Release{Node: node, Epochs: w.epochs(node), Cause: ledger.CauseReleased}
	case 19:
		return &ledger.NoteReasons{Notes: []ledger.Note{{Job: w.job(), Reasons: []ledger.Reason{{What: "memory", Nodes: 3, Have: 1, Need: 2}}}}}
	case 20, 21:
		return w.report()
	default:
		return &ledger.Tick{}
	}
}

func (w *world) quota() ledger.Quota {
	q := ledger.Quota{}
	if w.n(0, 1, "bounded") == 0 {
		q = ledger.Quota{FuelTotal: 100_000, MemoryBytes: 500, QueuedTasks: 30_000, Jobs: 4}
	}
	return q
}

func (w *world) submit() ledger.Command {
	spec := ledger.JobSpec{
		Tenant: w.tenant(), Module: w.module(), Count: rapid.SampledFrom(someCounts).Draw(w.t, "count"), Band: uint8(w.n(0, 4, "band")),
		Task: ledger.Resources{MemoryBytes: 10, FuelRate: 5, Slots: 1}, FuelMax: 10,
		Retry: ledger.Retry{
			AttemptsMax: uint32(w.n(1, 3, "attempts")), LossesMax: uint32(w.n(0, 2, "losses")),
			BackoffNanos: int64(w.n(0, 2, "backoff")) * 1e9, BackoffMaxNanos: 5e9,
		},
		QueueNanos: int64(w.n(0, 1, "queue")) * 100e9, TotalNanos: int64(w.n(0, 1, "total")) * 200e9,
		LossGraceNanos: int64(w.n(0, 1, "grace")) * 20e9, AfterAny: w.n(0, 1, "any") == 1,
	}
	for range w.n(0, 2, "dependencies") {
		spec.After = append(spec.After, w.job())
	}
	if w.n(0, 3, "constrained") == 0 {
		spec.Constraints = []ledger.Constraint{{Label: "zone", Value: "a"}}
	}
	if w.n(0, 3, "payload") == 0 {
		spec.Payload = []byte("payload")
	}
	return &ledger.Submit{Job: w.job(), Spec: spec}
}

func (w *world) place() ledger.Command {
	queue, err := ledger.Queue(w.a, ledger.QueueLimit{})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &ledger.Place{}
	for _, q := range queue {
		for _, r := range q.Ranges {
			if w.n(0, 2, "skip") == 0 {
				continue
			}
			count := uint32(w.n(1, 10000, "tasks"))
			if w.n(0, 1, "few") == 0 {
				count = uint32(w.n(1, 70, "tasks"))
			}
			c.Placements = append(c.Placements, ledger.Placement{
				Job: q.Job.ID, Start: r.Tasks.First + uint32(w.n(0, 20, "off")/20), Count: count, Node: w.node(),
				Slots: min(count, uint32(w.n(1, 20, "slots"))), Expiry: w.now + second*ledger.Time(w.n(0, 60, "expiry")),
			})
		}
	}
	return c
}

func (w *world) report() ledger.Command {
	c := &ledger.Report{Node: w.node()}
	named := map[ledger.Epoch]bool{}
	for _, l := range w.leases(c.Node) {
		if named[l.Epoch] {
			continue
		}
		named[l.Epoch] = true
		lr := ledger.LeaseReport{Epoch: l.Epoch}
		for range w.n(0, 4, "runs") {
			run := ledger.Run{
				First: l.Tasks.First + uint32(w.n(0, int(l.Tasks.End-l.Tasks.First), "first")), Count: uint32(w.n(1, 40, "count")),
				State: ledger.TaskState(w.n(int(ledger.TaskSucceeded), int(ledger.TaskRefused), "state")), Terminal: w.n(0, 3, "terminal") == 0,
			}
			if w.n(0, 1, "rest") == 0 {
				run.First, run.Count = l.Open.First, max(l.Open.Count(), 1)
			}
			run.Usage.Fuel = uint64(w.n(0, 12*int(run.Count), "fuel"))
			if w.n(0, 2, "output") == 0 {
				run.Digest[0] = 1
			}
			lr.Runs = append(lr.Runs, run)
		}
		c.Leases = append(c.Leases, lr)
	}
	return c
}

// expectFuel books what a report must cost, by a naive model of its own: one
// entry per task.
func (w *world) expectFuel(c *ledger.Report) {
	for _, lr := range c.Leases {
		leases, _ := ledger.LeasesOf(w.a, c.Node, lr.Epoch-1, 1)
		if len(leases) == 0 || leases[0].Epoch != lr.Epoch {
			continue
		}
		l := leases[0]
		j, _ := ledger.FindJob(w.a, l.Job)
		gone := map[uint32]bool{}
	runs:
		for _, run := range lr.Runs {
			var tasks []uint32
			for task := run.First; task < l.Tasks.End && uint32(len(tasks)) < run.Count; task++ {
				if l.Tasks.Has(task) {
					tasks = append(tasks, task)
				}
			}
			if uint32(len(tasks)) != run.Count {
				continue
			}
			for _, task := range tasks {
				if !l.Open.Has(task) || gone[task] {
					continue runs
				}
			}
			for _, task := range tasks {
				gone[task] = true
			}
			w.fuelUsed[j.Tenant] += min(run.Usage.Fuel, 10*uint64(run.Count))
		}
	}
}

// step applies one command and verifies everything.
func (w *world) step() {
	if w.n(0, 3, "wait") == 0 {
		steps := []int{1, 5, 30, 100, 700_000}
		if w.steady {
			steps = []int{1, 2, 30}
		}
		w.now += second * ledger.Time(rapid.SampledFrom(steps).Draw(w.t, "seconds"))
	}
	c := w.command()
	e := ledger.Envelope{Now: w.now, Body: c}
	if w.n(0, 2, "client") == 0 {
		w.seq++
		e.Client, e.Seq = [16]byte{byte(w.n(1, 3, "who"))}, w.seq
	}
	if r, ok := c.(*ledger.Report); ok {
		w.expectFuel(r)
	}
	w.index++
	command := ledger.Encode(e)
	result, err := ledger.Apply(w.a, w.index, command)
	if err != nil {
		w.t.Fatalf("apply %T: %v", c, err)
	}
	if _, err := ledger.DecodeResult(result); err != nil {
		w.t.Fatal(err)
	}
	w.crash(command)
	if w.a.Sum() != w.b.Sum() {
		w.t.Fatalf("replicas differ after %T", c)
	}
	if err := ledger.Check(w.a); err != nil {
		w.t.Fatalf("after %T %+v: %v", c, c, err)
	}
	w.conserve()
}

// crash applies the command to the second replica, with a crash at a random
// write first, and again when it has a client.
func (w *world) crash(command []byte) {
	before := w.b.Sum()
	tx := w.b.Begin()
	_, err := ledger.Apply(&ledgertest.Faulty{Tx: tx, Writes: w.n(0, 30, "writes")}, w.index, command)
	tx.Discard()
	if err != nil && !errors.Is(err, ledgertest.ErrInjected) {
		w.t.Fatal(err)
	}
	if w.b.Sum() != before {
		w.t.Fatal("a discarded transaction left something behind")
	}
	tx = w.b.Begin()
	first, err := ledger.Apply(tx, w.index, command)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = tx.Commit()
	if e, _ := ledger.Decode(command); e.Client != ([16]byte{}) {
		again, err := ledger.Apply(w.b, w.index, command)
		if err != nil || string(again) != string(first) {
			w.t.Fatalf("a repeated command gives %x, %v; at first %x", again, err, first)
		}
	}
}

// conserve verifies that fuel is charged as the model says and that final tasks
// stay as they are.
func (w *world) conserve() {
	for _, id := range someTenants {
		t, err := ledger.FindTenant(w.a, id)
		if err != nil {
			continue
		}
		if t.FuelUsed != w.fuelUsed[id] {
			w.t.Fatalf("tenant %s used %d fuel, its reports say %d", id, t.FuelUsed, w.fuelUsed[id])
		}
	}
	for key, state := range w.ended {
		if task, err := ledger.FindTask(w.a, key.job, key.task); err == nil && task.State != state {
			if j, _ := ledger.FindJob(w.a, key.job); !j.Pruning {
				w.t.Fatalf("task %d of %s was %s and is %s", key.task, key.job, state, task.State)
			}
		}
	}
	for n := range 8 {
		id := ledger.JobID{15: byte(n + 1)}
		j, err := ledger.FindJob(w.a, id)
		for _, task := range []uint32{0, 1, 63, 64, 199, 8191} {
			key := taskKey{id, task}
			if err != nil || j.Pruning {
				delete(w.ended, key)
			} else if t, err := ledger.FindTask(w.a, id, task); err == nil && t.State.Final() {
				w.ended[key] = t.State
			}
		}
	}
}

func TestRandomCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { newWorld(t).live(80) })
}

func TestRandomWork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.steady = true
		w.live(120)
	})
}

// live founds the grid and takes up to the given number of steps.
func (w *world) live(steps int) {
	for _, c := range []ledger.Command{
		&ledger.CreateTenant{Tenant: "alder", Weight: 1, BandMax: 3},
		&ledger.CreateTenant{Tenant: "birch", Weight: 1, BandMax: 3, Quota: w.quota()},
		&ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: 50}},
		&ledger.RegisterNode{Node: "n2", Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: 50}},
		&ledger.PutModule{Module: ledger.ModuleID{31: 1}, Bytes: 10},
		&ledger.PutModule{Module: ledger.ModuleID{31: 2}, Bytes: 10},
	} {
		command := ledger.Encode(ledger.Envelope{Now: w.now, Body: c})
		for _, m := range []*ledgertest.Memory{w.a, w.b} {
			if _, err := ledger.Apply(m, 1, command); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for range w.n(1, steps, "steps") {
		w.step()
	}
}
