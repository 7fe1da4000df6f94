package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// book is a ledger in memory with a backlog that is told of every change.
type book struct {
	fataler
	*ledgertest.Memory
	backlog  *ledger.Backlog
	snapshot Snapshot
	planner  Planner
	now      ledger.Time
	index    uint64
}

func newBook(t fataler) *book {
	b := &book{fataler: t, Memory: ledgertest.NewMemory(), now: now}
	var err error
	if b.backlog, err = ledger.NewBacklog(b.Memory, ledger.QueueLimit{}); err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

// do applies a command, tells the backlog, and returns the result.
func (b *book) do(c ledger.Command) ledger.Result {
	tx := b.Begin()
	b.index++
	answer, err := ledger.Apply(tx, b.index, ledger.Encode(ledger.Envelope{Now: b.now, Body: c}))
	if err != nil {
		b.Fatalf("%T: %v", c, err)
	}
	changed := tx.Changed()
	if err := tx.Commit(); err != nil {
		b.Fatalf("%v", err)
	}
	for _, key := range changed {
		value, _ := b.Get(key)
		if err := b.backlog.Change(key, value); err != nil {
			b.Fatalf("%v", err)
		}
	}
	r, err := ledger.DecodeResult(answer)
	if err != nil || r.Code != ledger.CodeOK {
		b.Fatalf("%T: %v %s, %v", c, r.Code, r.What, err)
	}
	return r
}

// read makes an input in which every node offers all that it has.
func (b *book) read(seed uint64) Input {
	in, err := b.snapshot.Read(b.Memory, b.backlog, Default(), b.now, func(n *Node) {
		n.Offer = Offer{At: b.now, Free: n.Capacity, DiskBytes: 1 << 30}
		n.Reliability = ReliabilityMax
	})
	if err != nil {
		b.Fatalf("%v", err)
	}
	in.Seed = seed
	return in
}

// place applies a plan, checks the ledger, and counts what it accepted and
// refused.
func (b *book) place(placements []ledger.Placement) (accepted, refused int) {
	for _, c := range Commands(placements) {
		for i, item := range b.do(c).Items {
			switch item.Code {
			case ledger.CodeOK:
				accepted++
			case ledger.CodeRangeUnknown, ledger.CodeCapacity, ledger.CodeQuotaMemory, ledger.CodeQuotaRate, ledger.CodeJobState, ledger.CodeNodeState:
				refused++
			default:
				b.Fatalf("placement %+v: %v", c.Placements[i], item.Code)
			}
		}
	}
	if err := ledger.Check(b.Memory); err != nil {
		b.Fatalf("%v", err)
	}
	for _, n := range b.backlog.Nodes() {
		if !n.Reserved.Fits(n.Capacity) {
			b.Fatalf("node %s: %+v are reserved of %+v", n.ID, n.Reserved, n.Capacity)
		}
	}
	tenants, err := ledger.Tenants(b.Memory, "", 100)
	if err != nil {
		b.Fatalf("%v", err)
	}
	for _, t := range tenants {
		if t.Quota.MemoryBytes > 0 && t.Leased.MemoryBytes > t.Quota.MemoryBytes {
			b.Fatalf("tenant %s leases %d bytes of %d", t.ID, t.Leased.MemoryBytes, t.Quota.MemoryBytes)
		}
	}
	return accepted, refused
}

func bookJob(i int) ledger.JobID { return ledger.JobID{1, byte(i)} }

// drawBook makes a small ledger in which everything collides.
func drawBook(t *rapid.T) *book {
	b := newBook(t)
	few := func(what string, low, top int) uint64 { return uint64(rapid.IntRange(low, top).Draw(t, what)) }
	for i := range 3 {
		b.do(&ledger.CreateTenant{Tenant: ledger.TenantID(fmt.Sprint("t", i)), Weight: 1, BandMax: 1, Quota: ledger.Quota{MemoryBytes: few("quota", 0, 12), FuelRate: few("rate", 0, 5)}})
	}
	b.do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 5})
	for i := range few("nodes", 1, 6) {
		b.do(&ledger.RegisterNode{
			Node:     nodeName(int(i)),
			Capacity: ledger.Resources{MemoryBytes: few("mem", 0, 8), FuelRate: few("fuel", 0, 8), Slots: uint32(few("slots", 0, 8)), ScratchBytes: 8},
			Labels:   []ledger.Label{{Name: "zone", Value: rapid.SampledFrom([]string{"n", "s"}).Draw(t, "zone")}},
		})
	}
	for i := range few("jobs", 1, 8) {
		b.submit(t, int(i))
	}
	return b
}

func (b *book) submit(t *rapid.T, i int) {
	few := func(what string, low, top int) uint64 { return uint64(rapid.IntRange(low, top).Draw(t, what)) }
	spec := ledger.JobSpec{
		Tenant: ledger.TenantID(fmt.Sprint("t", few("tenant", 0, 2))), Module: ledger.ModuleID{1}, Count: uint32(few("count", 1, 40)),
		Task:  ledger.Resources{MemoryBytes: few("mem", 0, 3), FuelRate: few("fuel", 1, 3), Slots: 1},
		Retry: ledger.Retry{AttemptsMax: 2, LossesMax: 2}, Band: uint8(few("band", 0, 1)),
		FuelMax: 1, SpreadLabel: rapid.SampledFrom([]string{"", "zone"}).Draw(t, "spread"),
	}
	spec.Constraints = rapid.SampledFrom([][]ledger.Constraint{nil, nil, {{Label: "zone", Value: "n"}}}).Draw(t, "constraints")
	b.do(&ledger.Submit{Job: bookJob(i), Spec: spec})
}

// TestPlanInLedger: the ledger accepts all of a fresh plan. Of two plans from one
// state it accepts the first and of the other what still holds, and nothing is
// given out twice or beyond capacity or quota. The plan after that is a fresh one.
func TestPlanInLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBook(t)
		in := b.read(1)
		first := b.planner.Plan(in)
		in.Seed, in.Params.Policy = 2, Loose
		second := b.planner.Plan(in)
		if _, refused := b.place(first.Placements); refused > 0 {
			t.Fatalf("%d of a fresh plan are refused: %+v", refused, first.Placements)
		}
		if rapid.Bool().Draw(t, "cancel") {
			b.do(&ledger.Cancel{Job: bookJob(0)})
		}
		if rapid.Bool().Draw(t, "drain") {
			b.do(&ledger.SetNodeState{Node: nodeName(0), State: ledger.NodeDraining})
		}
		b.place(second.Placements)
		third := b.planner.Plan(b.read(3))
		if _, refused := b.place(third.Placements); refused > 0 {
			t.Fatalf("%d of a plan after a stale one are refused", refused)
		}
		notes := &ledger.NoteReasons{}
		for _, l := range b.planner.Plan(b.read(4)).Left {
			notes.Notes = append(notes.Notes, l.Reasons.Note(l.Job))
		}
		for i, item := range b.do(notes).Items {
			if item.Code != ledger.CodeOK {
				t.Fatalf("note %+v: %v", notes.Notes[i], item.Code)
			}
		}
	})
}

// TestStalePlan: a plan that was overtaken is accepted in part.
func TestStalePlan(t *testing.T) {
	b := newBook(t)
	b.do(&ledger.CreateTenant{Tenant: "t", Weight: 1})
	b.do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	for i := range 2 {
		b.do(&ledger.RegisterNode{Node: nodeName(i), Capacity: ledger.Resources{MemoryBytes: 4, Slots: 4}})
	}
	for i := range 2 {
		b.do(&ledger.Submit{Job: bookJob(i), Spec: ledger.JobSpec{
			Tenant: "t", Module: ledger.ModuleID{1}, Count: 4, Task: ledger.Resources{MemoryBytes: 1, Slots: 1},
			FuelMax: 1, Retry: ledger.Retry{AttemptsMax: 1},
		}})
	}
	stale := Plan(b.read(1))
	b.do(&ledger.SetNodeState{Node: nodeName(0), State: ledger.NodeDraining})
	accepted, refused := b.place(stale.Placements)
	if accepted == 0 || refused == 0 {
		t.Fatalf("%d accepted, %d refused of %+v", accepted, refused, stale.Placements)
	}
	if left := Plan(b.read(2)).Left; len(left) == 0 {
		t.Error("what was refused is not planned again")
	}
}

// TestSnapshot: the input says of jobs, tenants and leases what the ledger does.
func TestSnapshot(t *testing.T) {
	b := newBook(t)
	const second = ledger.Time(1e9)
	for i, quota := range []uint64{0, 10, 10} {
		b.do(&ledger.CreateTenant{Tenant: ledger.TenantID(fmt.Sprint("t", i)), Weight: 1, BandMax: 7, Quota: ledger.Quota{MemoryBytes: quota}})
	}
	b.do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 77})
	for i := range 2 {
		b.do(&ledger.RegisterNode{
			Node: nodeName(i), Capacity: ledger.Resources{MemoryBytes: 100, Slots: 100, FuelRate: 100},
			Labels: []ledger.Label{{Name: "zone", Value: fmt.Sprint("z", i)}},
		})
	}
	submit := func(i int, tenant ledger.TenantID, band uint8) {
		b.do(&ledger.Submit{Job: bookJob(i), Spec: ledger.JobSpec{
			Tenant: tenant, Module: ledger.ModuleID{1}, Count: 10, Task: ledger.Resources{MemoryBytes: 2, Slots: 1, FuelRate: 1},
			Band: band, FuelMax: 1, Retry: ledger.Retry{AttemptsMax: 1}, SpreadLabel: "zone",
		}})
	}
	submit(1, "t1", 0)
	submit(2, "t2", 0)
	submit(3, "t0", 0)
	submit(4, "t0", 5)
	place := func(start, count uint32, node int) {
		b.do(&ledger.Place{Placements: []ledger.Placement{{Job: bookJob(1), Start: start, Count: count, Node: nodeName(node), Slots: min(2, count), Expiry: b.now + 60*second}}})
	}
	place(0, 2, 0)
	place(2, 4, 1)
	b.do(&ledger.Report{Node: nodeName(0), Leases: []ledger.LeaseReport{{Epoch: 1, Runs: []ledger.Run{{Count: 1, State: ledger.TaskSucceeded, Usage: ledger.Usage{WallNanos: 500}}}}}})
	for range 2 { // the second time from memory
		in := b.read(1)
		var order []ledger.JobID
		for _, j := range in.Jobs {
			order = append(order, j.ID)
		}
		// The higher band first, then by tenant: they are of one age.
		if diff := cmp.Diff([]ledger.JobID{bookJob(4), bookJob(3), bookJob(1), bookJob(2)}, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		held := Claim{Tenant: "t1", Weight: 1, Leased: ledger.Resources{MemoryBytes: 6, Slots: 3, FuelRate: 3}}
		at := slices.IndexFunc(in.Claims, func(c Claim) bool { return c.Tenant == "t1" })
		if diff := cmp.Diff(held, in.Claims[at], cmpopts.IgnoreFields(Claim{}, "Recent", "Past")); diff != "" || len(in.Claims) != 3 {
			t.Errorf("claim of %d (-want +got):\n%s", len(in.Claims), diff)
		}
		want := Job{
			ID: bookJob(1), ModuleBytes: 77, ExpectedNanos: 500, Since: b.now,
			Running: []Running{{"z0", 1}, {"z1", 2}}, Pending: []ledger.Pending{{Job: bookJob(1), Tasks: ledger.Tasks(6, 10)}},
		}
		tasks := cmp.Comparer(func(a, b ledger.Range) bool { return a.String() == b.String() })
		if diff := cmp.Diff(want, in.Jobs[2], cmpopts.IgnoreFields(Job{}, "Spec"), tasks); diff != "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
		byTenant := func(a, b Quota) bool { return a.Tenant < b.Tenant }
		if diff := cmp.Diff([]Quota{{"t1", 4, Unbounded}, {"t2", 10, Unbounded}}, in.Quotas, cmpopts.SortSlices(byTenant)); diff != "" {
			t.Errorf("quotas (-want +got):\n%s", diff)
		}
	}
	place(6, 1, 1)
	in := b.read(1)
	if diff := cmp.Diff([]Running{{"z0", 1}, {"z1", 3}}, in.Jobs[2].Running); diff != "" {
		t.Errorf("running after another placement (-want +got):\n%s", diff)
	}
}
