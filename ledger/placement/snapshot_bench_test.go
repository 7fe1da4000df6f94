package placement

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// BenchmarkPass is what a scheduler does on 1,000 nodes with 10,000 jobs of 1,000
// tenants: read a snapshot, plan. Between two passes, which are not measured, 256
// of the placements are committed.
func BenchmarkPass(b *testing.B) {
	s := newBook(b)
	for i := range 1000 {
		s.do(&ledger.CreateTenant{Tenant: gridTenant(i), Weight: 1, Quota: ledger.Quota{MemoryBytes: 1 << 45}})
		s.do(&ledger.RegisterNode{
			Node: nodeName(i), Capacity: ledger.Resources{MemoryBytes: 32 << 30, FuelRate: 16e9, Slots: 32, ScratchBytes: 64 << 30},
			Labels: []ledger.Label{{Name: "zone", Value: fmt.Sprint(i % 5)}},
		})
	}
	for i := range 2000 {
		s.do(&ledger.PutModule{Module: gridModule(i), Bytes: 1 << 20})
	}
	for i := range 10_000 {
		var id ledger.JobID
		binary.BigEndian.PutUint32(id[:], uint32(i+1))
		s.do(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
			Tenant: gridTenant(i % 1000), Module: gridModule(i % 2000), Count: 100, FuelMax: 1e9,
			Task:  ledger.Resources{MemoryBytes: 64 << 20 << (i % 6), FuelRate: 5e8, Slots: 1},
			Retry: ledger.Retry{AttemptsMax: 3},
		}})
	}
	var seed uint64
	pass := func() Output {
		seed++
		return s.planner.Plan(s.read(seed))
	}
	b.ReportAllocs()
	placed := 0
	for b.Loop() {
		out := pass()
		placed += len(out.Placements)
		b.StopTimer()
		for _, c := range Commands(out.Placements[:min(256, len(out.Placements))]) {
			s.do(c)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(placed)/float64(b.N), "placements")
}
