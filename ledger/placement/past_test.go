package placement

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"pgregory.net/rapid"
)

// TestUse: averages fade by half in each half-life, however the time is cut up, and
// stay between what was held.
func TestUse(t *testing.T) {
	params := Default()
	rapid.Check(t, func(t *rapid.T) {
		u := use{at: now, leased: amounts{slots: 8}}
		u.wait(now+ledger.Time(params.PastNanos), &params)
		if math.Abs(u.past.slots-4) > 1e-9 {
			t.Fatalf("after a half-life of 8 slots the average is %v", u.past.slots)
		}
		u.leased = amounts{}
		at := u.at
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			// A clock that goes back takes nothing away.
			at += ledger.Time(rapid.Int64Range(-hourNanos, 2*hourNanos).Draw(t, "nanos"))
			before := u
			if u.wait(at, &params); u.past.slots > before.past.slots || u.past.slots < 0 || at <= before.at && u.past != before.past {
				t.Fatalf("%v became %v", before.past, u.past)
			}
		}
		whole, cut := use{at: now, leased: amounts{rate: 5}}, use{at: now, leased: amounts{rate: 5}}
		for range 7 {
			cut.wait(cut.at+ledger.Time(hourNanos), &params)
		}
		whole.wait(cut.at, &params)
		if math.Abs(whole.past.rate-cut.past.rate) > 1e-9 || math.Abs(whole.recent.rate-cut.recent.rate) > 1e-9 {
			t.Fatalf("%+v in one step, %+v in seven", whole, cut)
		}
	})
}

// TestAccounts: what is made of accounts is what a leader would know that had been
// there, if the use was even; of another use it says when it was to the day.
func TestAccounts(t *testing.T) {
	params := Default()
	there := use{at: 0, leased: amounts{memory: 3, rate: 100, slots: 2}}
	end := 2*dayNanos + dayNanos/2
	there.wait(end, &params)
	anew := use{at: end}
	for day := ledger.Time(0); day < 3; day++ {
		from, to := day*dayNanos, min((day+1)*dayNanos, end)
		seconds := uint64((to - from) / 1e9)
		anew.spend(&ledger.Usage{Fuel: 100 * seconds, MemoryByteSeconds: 3 * seconds, WallNanos: 2e9 * seconds}, from, to, &params)
	}
	if math.Abs(there.past.rate-anew.past.rate) > 0.01 || math.Abs(there.past.memory-anew.past.memory) > 0.01 || math.Abs(there.past.slots-anew.past.slots) > 0.01 {
		t.Errorf("who was there knows %+v, who was not %+v", there.past, anew.past)
	}
	anew.spend(&ledger.Usage{Fuel: 1}, end, end, &params)
}

// TestNewLeader: a snapshot that is made anew has, from accounts, what a tenant used
// today and yesterday, and of two tenants lets the one go first that did not.
func TestNewLeader(t *testing.T) {
	b := newBook(t)
	b.now = 1000*dayNanos - ledger.Time(hourNanos)
	b.do(&ledger.RegisterNode{Node: nodeName(0), Capacity: ledger.Resources{MemoryBytes: 100, Slots: 1, FuelRate: 1000}})
	b.do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	for i, tenant := range []ledger.TenantID{"a", "b"} {
		b.do(&ledger.CreateTenant{Tenant: tenant, Weight: 1})
		b.do(&ledger.Submit{Job: bookJob(i), Spec: ledger.JobSpec{
			Tenant: tenant, Module: ledger.ModuleID{1}, Count: 10, Task: ledger.Resources{MemoryBytes: 1, Slots: 1, FuelRate: 1000},
			FuelMax: 1e9, Retry: ledger.Retry{AttemptsMax: 1},
		}})
	}
	b.do(&ledger.Place{Placements: []ledger.Placement{{Job: bookJob(0), Count: 1, Slots: 1, Node: nodeName(0), Expiry: b.now + 1e9}}})
	b.now += ledger.Time(hourNanos) / 2
	b.do(&ledger.Report{Node: nodeName(0), Leases: []ledger.LeaseReport{{Epoch: 1, Runs: []ledger.Run{{Count: 1, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 1800 * 1000}}}}}})
	b.now += ledger.Time(hourNanos)
	in := b.read(1)
	// Half an hour of all within a day that ended half an hour ago.
	want := 0.5 / 24 * (1 - math.Exp2(-24/4.0)) * math.Exp2(-0.5/4)
	if got := float64(in.Claims[0].Past) / ShareMax; math.Abs(got-want) > 1e-6 || in.Claims[1].Past != 0 {
		t.Errorf("past is %v and %v, want %v and none", got, in.Claims[1].Past, want)
	}
	if out := Plan(in); len(out.Placements) != 1 || out.Placements[0].Job != bookJob(1) {
		t.Errorf("the slot goes to %+v", out.Placements)
	}
}

// BenchmarkFair is a pass of 1,024 placements, with 10,000 jobs of as many of the
// tenants as that are: read a snapshot, plan. Hear is what it
// costs to hear that a tenant's record has changed.
func BenchmarkFair(b *testing.B) {
	for _, tenants := range []int{10, 1000, 100_000} {
		s := newBook(b)
		for i := range 64 {
			s.do(&ledger.RegisterNode{Node: nodeName(i), Capacity: ledger.Resources{MemoryBytes: 64, FuelRate: 64, Slots: 64}})
		}
		s.do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
		for i := range tenants {
			s.do(&ledger.CreateTenant{Tenant: gridTenant(i), Weight: 1})
		}
		for i := range 10_000 {
			var id ledger.JobID
			binary.BigEndian.PutUint32(id[:], uint32(i+1))
			s.do(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
				Tenant: gridTenant(i * tenants / 10_000), Module: ledger.ModuleID{1}, Count: 100, FuelMax: 1,
				Task: ledger.Resources{MemoryBytes: 1, FuelRate: 1, Slots: 1}, Retry: ledger.Retry{AttemptsMax: 1},
			}})
		}
		b.Run(fmt.Sprintf("tenants=%d/Plan", tenants), func(b *testing.B) {
			b.ReportAllocs()
			placements := 0
			for b.Loop() {
				in := s.read(1)
				in.Params.PlacementsMax = 1024
				placements += len(s.planner.Plan(in).Placements)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(placements), "ns/placement")
		})
		b.Run(fmt.Sprintf("tenants=%d/Hear", tenants), func(b *testing.B) {
			b.ReportAllocs()
			at := s.now
			for b.Loop() {
				at += 1e6
				s.snapshot.Hear(s.backlog.Tenant(gridTenant(0)), at)
			}
		})
	}
}
