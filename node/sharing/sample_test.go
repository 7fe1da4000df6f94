package sharing

import (
	"fmt"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// book is a ledger to which commands are applied.
type book struct {
	*testing.T
	tx    *ledgertest.Memory
	index uint64
}

func (b *book) do(list ...ledger.Command) {
	b.Helper()
	for _, c := range list {
		b.index++
		answer, err := ledger.Apply(b.tx, b.index, ledger.Encode(ledger.Envelope{Now: ledger.Time(start.UnixNano()), Body: c}))
		if err != nil {
			b.Fatal(err)
		}
		if r, err := ledger.DecodeResult(answer); err != nil || r.Code != ledger.CodeOK {
			b.Fatalf("%T: %+v, %v", c, r, err)
		}
	}
}

// give submits a job of a tenant, and places slots of its tasks.
func (b *book) give(tenant ledger.TenantID, task ledger.Resources, count, slots uint32) {
	b.Helper()
	id, now := ledger.JobID{byte(b.index), 1}, ledger.Time(start.UnixNano())
	b.do(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
		Tenant: tenant, Module: ledger.ModuleID{1}, Count: count, Task: task, FuelMax: 1000,
		Retry: ledger.Retry{AttemptsMax: 1, LossesMax: 1, BackoffNanos: 1e9, BackoffMaxNanos: 1e9}, LossGraceNanos: 1e9,
	}})
	if slots > 0 {
		b.do(&ledger.Place{Placements: []ledger.Placement{{Job: id, Count: slots, Node: "n1", Slots: slots, Expiry: now + 1e9}}})
	}
}

// TestRead: shares are of what the nodes have that are up, weights of those who want
// anything; who has nothing and waits for nothing is not there.
func TestRead(t *testing.T) {
	b := &book{T: t, tx: ledgertest.NewMemory()}
	capacity := ledger.Resources{MemoryBytes: 1 << 30, FuelRate: 1e9, Slots: 8}
	for _, id := range []ledger.NodeID{"n1", "n2", "n3"} {
		b.do(&ledger.RegisterNode{Node: id, Capacity: capacity})
	}
	b.do(&ledger.SetNodeState{Node: "n3", State: ledger.NodeDraining}, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	for i, id := range []ledger.TenantID{"ada", "ben", "cyd", "dan"} {
		b.do(&ledger.CreateTenant{Tenant: id, Weight: uint32(i + 1), BandMax: 7})
	}
	b.give("ada", ledger.Resources{MemoryBytes: 128 << 20, FuelRate: 1e8, Slots: 1}, 5, 4)
	b.give("ben", ledger.Resources{MemoryBytes: 64 << 20, FuelRate: 1e8, Slots: 1}, 2, 2)
	b.give("cyd", ledger.Resources{MemoryBytes: 64 << 20, FuelRate: 1e8, Slots: 1}, 3, 0)
	got, err := Read(b.tx, start)
	if err != nil {
		t.Fatal(err)
	}
	ada := Use{"ada", Parts{0.25, 0.2, 0.25}, 1. / 6}
	if u, ok := got.Find("ada"); !ok || !near(u.Memory, ada.Memory) || !near(u.Rate, ada.Rate) || !near(u.Slots, ada.Slots) || !near(u.Entitled, ada.Entitled) {
		t.Errorf("ada has %+v, %t, want %+v", u, ok, ada)
	}
	if u, ok := got.Find("cyd"); !ok || u.Parts != (Parts{}) || !near(u.Entitled, 0.5) {
		t.Errorf("cyd, who waits, has %+v, %t", u, ok)
	}
	if len(got.Uses) != 3 || !near(got.Weights, 6) || !near(got.All.Memory, 0.3125) || !near(got.All.Slots, 0.375) || !got.At.Equal(start) {
		t.Errorf("sample %+v", got)
	}
}

// TestReadMany: a sample is of all tenants, however many pages they fill.
func TestReadMany(t *testing.T) {
	b := &book{T: t, tx: ledgertest.NewMemory()}
	b.do(&ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{MemoryBytes: 1 << 40, FuelRate: 1e12, Slots: 1 << 14}},
		&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	for i := range 2*pageMax + 1 {
		b.do(&ledger.CreateTenant{Tenant: ledger.TenantID(fmt.Sprintf("t%05d", i)), Weight: 1, BandMax: 7})
	}
	last := ledger.TenantID(fmt.Sprintf("t%05d", 2*pageMax))
	b.give(last, ledger.Resources{MemoryBytes: 1 << 30, FuelRate: 1e9, Slots: 1}, 1, 1)
	got, err := Read(b.tx, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got.Find(last); !ok || len(got.Uses) != 1 {
		t.Errorf("sample %+v", got)
	}
}
