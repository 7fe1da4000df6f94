package placement

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// grid makes a snapshot of a grid: nodes of 4 sizes in 5 zones, of which some
// have a GPU, some lists of tenants and some modules; jobs of 1,000 tenants with
// 100 tasks each in 12 sizes, a third with demands, 2,000 modules. Part of 100
// of each node is reserved.
func grid(nodes, jobs int, reserved uint64) Input {
	r := rand.New(rand.NewPCG(1, 2))
	in := Input{Now: now, Seed: 3, Params: Default()}
	for i := range nodes {
		in.Nodes = append(in.Nodes, gridNode(r, i, reserved))
	}
	for i := range jobs {
		in.Jobs = append(in.Jobs, gridJob(r, i))
	}
	return in
}

func gridNode(r *rand.Rand, i int, reserved uint64) Node {
	size := uint64(1) << r.IntN(4)
	c := ledger.Resources{MemoryBytes: size << 32, FuelRate: size * 2e9, Slots: uint32(size) * 4, ScratchBytes: size << 34}
	n := Node{
		Node: &ledger.Node{
			ID: nodeName(i), Capacity: c, Features: []string{"simd"},
			Reserved: ledger.Resources{
				MemoryBytes: c.MemoryBytes * reserved / 100, FuelRate: c.FuelRate * reserved / 100,
				Slots: uint32(uint64(c.Slots) * reserved / 100), ScratchBytes: c.ScratchBytes * reserved / 100,
			},
			Labels: []ledger.Label{{Name: "arch", Value: "amd64"}, {Name: "zone", Value: fmt.Sprint(r.IntN(5))}},
		},
		Operator: fmt.Sprint("operator", r.IntN(300)), Reliability: uint32(900 + r.IntN(100)),
		Offer:     Offer{At: now - ledger.Time(r.IntN(5e9)), DiskBytes: 1 << 30, WaitNanos: int64(r.IntN(3e9))},
		BusyUntil: now + ledger.Time(r.IntN(60e9)),
	}
	n.Offer.Free = c.Minus(n.Reserved)
	if r.IntN(10) == 0 {
		n.Labels = slices.Insert(n.Labels, 1, ledger.Label{Name: "gpu", Value: "yes"})
	}
	if r.IntN(20) == 0 {
		n.Deny = []ledger.TenantID{gridTenant(r.IntN(1000))}
	}
	n.Held = NewFilter(50)
	for range 50 {
		n.Held.Add(gridModule(r.IntN(2000)))
	}
	return n
}

func gridJob(r *rand.Rand, i int) Job {
	spec := &ledger.JobSpec{Tenant: gridTenant(r.IntN(1000)), Module: gridModule(r.IntN(2000)), Count: 100}
	spec.Task = ledger.Resources{MemoryBytes: 64 << 20 << r.IntN(6), FuelRate: 5e8 << r.IntN(2), Slots: 1}
	switch r.IntN(12) {
	case 0:
		spec.Constraints = []ledger.Constraint{{Label: "gpu", Value: "yes"}}
	case 1:
		spec.Constraints = []ledger.Constraint{{Label: "zone", Value: fmt.Sprint(r.IntN(5))}}
	case 2:
		spec.SpreadLabel = "zone"
	case 3:
		spec.Features = []string{"simd"}
	}
	j := Job{Spec: spec, ModuleBytes: uint64(1+r.IntN(8)) << 20, ExpectedNanos: int64(1e8 << r.IntN(8)), Since: now - ledger.Time(20_000-i)*1e9}
	binary.BigEndian.PutUint32(j.ID[:], uint32(i))
	j.Pending = []ledger.Pending{{Tasks: ledger.Tasks(0, 100)}}
	if r.IntN(20) == 0 {
		j.Pending[0].Avoid = []ledger.NodeID{nodeName(r.IntN(1000))}
	}
	return j
}

func gridTenant(i int) ledger.TenantID { return ledger.TenantID(fmt.Sprint("tenant-", i)) }

func gridModule(i int) ledger.ModuleID {
	var m ledger.ModuleID
	r := rand.New(rand.NewPCG(uint64(i), 9))
	for at := 0; at < len(m); at += 8 {
		binary.LittleEndian.PutUint64(m[at:], r.Uint64())
	}
	return m
}

// BenchmarkPlan is a pass over an empty, a nearly full and a full grid.
func BenchmarkPlan(b *testing.B) {
	for _, nodes := range []int{1000, 10_000, 100_000} {
		for _, reserved := range []uint64{0, 90, 100} {
			b.Run(fmt.Sprintf("nodes=%d/jobs=10000/reserved=%d", nodes, reserved), func(b *testing.B) {
				in := grid(nodes, 10_000, reserved)
				benchmarkPlan(b, in)
			})
		}
	}
	b.Run("nodes=1000/jobs=10000/reserved=0/sample=all", func(b *testing.B) {
		in := grid(1000, 10_000, 0)
		in.Params.SampleSize = 0
		benchmarkPlan(b, in)
	})
	b.Run("nodes=1000/jobs=10000/reserved=0/policy=loose", func(b *testing.B) {
		in := grid(1000, 10_000, 0)
		in.Params.Policy = Loose
		benchmarkPlan(b, in)
	})
	for _, hard := range hardGrids {
		for _, reserved := range []uint64{0, 50, 100} {
			b.Run(fmt.Sprintf("nodes=1000/jobs=10000/reserved=%d/%s", reserved, hard.name), func(b *testing.B) {
				in := grid(1000, 10_000, reserved)
				hard.change(&in)
				benchmarkPlan(b, in)
			})
		}
	}
}

// hardGrids change a grid so that jobs, or nodes, have little in common.
var hardGrids = []struct {
	name   string
	change func(*Input)
}{
	{"each=own-shape", func(in *Input) {
		for i := range in.Jobs {
			in.Jobs[i].Spec.Task.MemoryBytes += uint64(i)
		}
	}},
	{"each=own-size", func(in *Input) {
		r := rand.New(rand.NewPCG(5, 6))
		for i := range in.Jobs {
			t := &in.Jobs[i].Spec.Task
			t.MemoryBytes, t.ScratchBytes = uint64(1+r.IntN(2<<30)), uint64(r.IntN(2<<30))
			t.FuelRate = uint64(1e8 + r.IntN(1e9))
		}
	}},
	{"each=own-class", func(in *Input) {
		for i := range in.Nodes {
			in.Nodes[i].Labels = append(in.Nodes[i].Labels, ledger.Label{Name: "zz-host", Value: fmt.Sprint(i)})
		}
	}},
	{"each=own-host", func(in *Input) {
		for i := range in.Nodes {
			in.Nodes[i].Labels = append(in.Nodes[i].Labels, ledger.Label{Name: "zz-host", Value: fmt.Sprint(i)})
		}
		for i := range in.Jobs {
			in.Jobs[i].Spec.Constraints = []ledger.Constraint{{Label: "zz-host", Value: fmt.Sprint(i % 1500)}}
		}
	}},
	{"each=spread-full", func(in *Input) {
		for i := range in.Jobs {
			j := &in.Jobs[i]
			j.Spec.SpreadLabel, j.SpreadMax = "zone", 1
			for zone := range 5 {
				j.Running = append(j.Running, Running{fmt.Sprint(zone), 1})
			}
		}
	}},
	{"each=no-quota", func(in *Input) {
		for i := range 1000 {
			in.Quotas = append(in.Quotas, Quota{Tenant: gridTenant(i)})
		}
	}},
	{"each=denied-by-half", func(in *Input) {
		for i := range in.Nodes {
			in.Nodes[i].Deny = nil
			for k := range 500 {
				in.Nodes[i].Deny = append(in.Nodes[i].Deny, gridTenant((i+k)%1000))
			}
		}
	}},
}

func benchmarkPlan(b *testing.B, in Input) {
	var p Planner
	var out Output
	b.ReportAllocs()
	for b.Loop() {
		in.Seed++
		out = p.Plan(in)
	}
	tasks := 0
	for _, placement := range out.Placements {
		tasks += int(placement.Count)
	}
	b.ReportMetric(float64(len(out.Placements)), "placements")
	b.ReportMetric(float64(tasks), "tasks")
	b.ReportMetric(float64(out.Stats.Shapes), "shapes")
	b.ReportMetric(float64(out.Stats.Visits), "visits")
}

// BenchmarkTenants is a pass of as many placements, of one slot each, between more and
// more tenants, over as many jobs and nodes. What it costs is that of the pass, and
// ns/placement should not grow with the tenants but for the cache.
func BenchmarkTenants(b *testing.B) {
	for _, tenants := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint("tenants=", tenants), func(b *testing.B) {
			in := grid(1000, 10_000, 0)
			in.Params.Grain = 1 << 20
			in.Params.JobPlacementsMax = in.Params.PlacementsMax
			for i := range in.Nodes {
				in.Nodes[i].Deny = nil
			}
			for i := range in.Jobs {
				in.Jobs[i].Spec.Tenant = gridTenant(i % tenants)
			}
			for i := range tenants {
				in.Claims = append(in.Claims, Claim{Tenant: gridTenant(i), Weight: uint32(1 + i%3), Past: ShareMax / uint64(tenants) * uint64(i%7)})
			}
			var p Planner
			placed := 0
			for b.Loop() {
				in.Seed++
				placed += len(p.Plan(in).Placements)
			}
			b.ReportMetric(float64(placed)/float64(b.N), "placements")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(placed), "ns/placement")
		})
	}
}

// BenchmarkExplain is a dry run.
func BenchmarkExplain(b *testing.B) {
	in := grid(1000, 1, 90)
	for b.Loop() {
		Explain(in, in.Jobs[0])
	}
}
