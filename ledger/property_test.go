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
	// receipts is the fuel of each day that came in signed reports.
	receipts map[tenantDay]uint64
	// seats has the jobs of daemons: none comes twice.
	seats map[ledger.JobID]bool
	// pictures are kept by the changes of the second replica.
	pictures []*picture
	// noticed has when tasks of a job were last told to give way.
	noticed map[taskKey]ledger.Time
	// steady makes it draw the commands of a grid that works rather than any.
	steady bool
}

type tenantDay struct {
	tenant ledger.TenantID
	day    uint32
}

type taskKey struct {
	job  ledger.JobID
	task uint32
}

func newWorld(t *rapid.T) *world {
	return &world{
		t: t, a: ledgertest.NewMemory(), b: ledgertest.NewMemory(), now: second,
		ended: map[taskKey]ledger.TaskState{}, fuelUsed: map[ledger.TenantID]uint64{},
		seats: map[ledger.JobID]bool{}, noticed: map[taskKey]ledger.Time{},
		receipts: map[tenantDay]uint64{},
	}
}

var (
	someTenants = []ledger.TenantID{"alder", "birch"}
	someNodes   = []ledger.NodeID{"n1", "n2", "n3"}
	someCounts  = []uint32{1, 3, 64, 65, 200, 8192, 20000}
)

// expectFuel books what a report must cost, by a naive model of its own: one
// entry per task.
func (w *world) expectFuel(c *ledger.Report) {
	n, err := ledger.FindNode(w.a, c.Node)
	keyed := err == nil && n.Key != [32]byte{}
	if keyed && !c.SignedBy(n.Key) {
		return
	}
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
				if !l.Open.Has(task) && !l.Elsewhere.Has(task) || gone[task] {
					continue runs
				}
			}
			for _, task := range tasks {
				gone[task] = true
			}
			fuel := min(run.Usage.Fuel, 10*uint64(run.Count))
			w.fuelUsed[j.Tenant] += fuel
			if keyed {
				w.receipts[tenantDay{j.Tenant, w.now.Day()}] += fuel
			}
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
	last := w.lastRuns()
	result, err := ledger.Apply(w.a, w.index, command)
	if err != nil {
		w.t.Fatalf("apply %T: %v", c, err)
	}
	answer, err := ledger.DecodeResult(result)
	if err != nil {
		w.t.Fatal(err)
	}
	if f, ok := c.(*ledger.Fire); ok {
		w.fired(f, answer, last)
	}
	if p, ok := c.(*ledger.Preempt); ok {
		w.preempted(p, answer)
	}
	w.crash(command)
	if w.a.Sum() != w.b.Sum() {
		w.t.Fatalf("replicas differ after %T", c)
	}
	if err := ledger.Check(w.a); err != nil {
		w.t.Fatalf("after %T %+v: %v", c, c, err)
	}
	w.conserve()
	w.look()
}

// look compares the pictures with the second replica. One that lags behind reads
// jobs that are newer than what it knows.
func (w *world) look() {
	for _, p := range w.pictures {
		if w.n(0, 2, "late") == 0 {
			if _, err := p.Jobs(w.b); err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		if err := p.tell(); err != nil {
			w.t.Fatal(err)
		}
		if err := p.compare(w.b); err != nil {
			w.t.Fatal(err)
		}
	}
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
	for _, p := range w.pictures {
		if err := p.note(tx); err != nil {
			w.t.Fatal(err)
		}
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
	for key, fuel := range w.receipts {
		a, err := ledger.FindAccount(w.a, key.tenant, key.day)
		gone := w.now.Day() >= key.day+ledger.AccountDays
		if err != nil || a.Receipts.Fuel != fuel && !gone {
			w.t.Fatalf("receipts of %s on day %d: %d fuel in the account, %d in the reports: %v", key.tenant, key.day, a.Receipts.Fuel, fuel, err)
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

// preempted verifies that only lower bands give way, for a job that waits, and no task
// twice within a minute.
func (w *world) preempted(c *ledger.Preempt, r ledger.Result) {
	j, err := ledger.FindJob(w.a, c.Job)
	for i, item := range r.Items {
		if item.Code != ledger.CodeOK {
			continue
		}
		l, lost := ledger.FindLease(w.a, c.Leases[i].Node, c.Leases[i].Epoch)
		of, gone := ledger.FindJob(w.a, l.Job)
		if err != nil || lost != nil || gone != nil || of.Band >= j.Band || j.Ready == 0 || l.Spare || l.Notice != w.now+ledger.NoticeNanos || l.For != j.Band {
			w.t.Fatalf("%+v of band %d gives way to %+v", l, of.Band, j)
		}
		l.Open.Runs(func(first, end uint32) {
			for task := first; task < end; task++ {
				key := taskKey{l.Job, task}
				if at, was := w.noticed[key]; was && w.now < at+ledger.PreemptAgainNanos {
					w.t.Fatalf("task %d of %s was told to give way at %s and at %s", task, l.Job, at, w.now)
				}
				w.noticed[key] = w.now
			}
		})
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
		&ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: 50}, Labels: own("n1"), Key: w.key("n1")},
		&ledger.RegisterNode{Node: "n2", Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: 50}, Labels: own("n2")},
		&ledger.PutModule{Module: ledger.ModuleID{31: 1}, Bytes: 10},
		&ledger.PutModule{Module: ledger.ModuleID{31: 2}, Bytes: 10},
		w.firstOrder(1, ledger.OrderCron),
		w.firstOrder(2, ledger.OrderDaemon),
	} {
		command := ledger.Encode(ledger.Envelope{Now: w.now, Body: c})
		for _, m := range []*ledgertest.Memory{w.a, w.b} {
			if _, err := ledger.Apply(m, 1, command); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for _, limit := range []ledger.QueueLimit{{}, {Jobs: 3, TenantJobs: 2, Ranges: 2}} {
		p, err := newPicture(w.b, limit)
		if err != nil {
			w.t.Fatal(err)
		}
		w.pictures = append(w.pictures, p)
	}
	for range w.n(1, steps, "steps") {
		w.step()
	}
}

// lastRuns returns the time of the latest run of each order.
func (w *world) lastRuns() map[ledger.OrderID]ledger.Time {
	orders, err := ledger.Orders(w.a, ledger.OrderID{}, 10)
	if err != nil {
		w.t.Fatal(err)
	}
	last := map[ledger.OrderID]ledger.Time{}
	for _, o := range orders {
		last[o.ID] = o.LastAt
	}
	return last
}

// fired verifies that a time of an order is decided about once, by the last of what a
// command says of it, and that no node has two jobs of a daemon.
func (w *world) fired(c *ledger.Fire, r ledger.Result, last map[ledger.OrderID]ledger.Time) {
	for i, item := range r.Items {
		f := c.Firings[i]
		o, err := ledger.FindOrder(w.a, f.Order)
		switch {
		case err != nil || item.Code == ledger.CodeRunPast || item.Code == ledger.CodeInvalid || o.State != ledger.OrderActive:
		case o.Kind == ledger.OrderCron:
			if f.At <= last[o.ID] || o.LastAt < f.At {
				w.t.Fatalf("the run of %s at %s is decided about again, or not noted: %s, %+v", o.ID, f.At, item.Code, o)
			}
			last[o.ID] = f.At
			if _, err := ledger.FindJob(w.a, ledger.RunJob(o.ID, f.At)); item.Code == ledger.CodeOK && err != nil {
				w.t.Fatalf("the run of %s at %s made no job: %v", o.ID, f.At, err)
			}
		case item.Code == ledger.CodeOK:
			seats, err := ledger.Seats(w.a, o.ID, "", 10)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, s := range seats {
				if s.Node != f.Node {
					continue
				}
				if j, err := ledger.FindJob(w.a, s.Job); err != nil || j.State.Final() || w.seats[s.Job] {
					w.t.Fatalf("seat %+v: job %+v, %v", s, j, err)
				}
				w.seats[s.Job] = true
			}
		}
	}
}
