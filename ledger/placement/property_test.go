package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawInput makes small snapshots in which everything collides.
func drawInput(t *rapid.T) Input {
	in := Input{Now: now, Seed: rapid.Uint64().Draw(t, "seed"), Params: Default()}
	p := &in.Params
	p.Policy = Policy(rapid.IntRange(0, 1).Draw(t, "policy"))
	p.SampleSize = rapid.SampledFrom([]int{0, 1, 2, 5, 64}).Draw(t, "sample")
	p.RoundPlacementsMax = rapid.IntRange(1, 3).Draw(t, "round")
	p.JobPlacementsMax = rapid.SampledFrom([]int{2, 256}).Draw(t, "per job")
	p.PlacementsMax = rapid.SampledFrom([]int{3, 4096}).Draw(t, "per pass")
	p.SlotsMax = uint32(rapid.SampledFrom([]int{1, 2, 64}).Draw(t, "slots max"))
	p.TasksMax = uint32(rapid.SampledFrom([]int{3, 10_000}).Draw(t, "tasks max"))
	for i := range rapid.IntRange(0, 10).Draw(t, "nodes") {
		in.Nodes = append(in.Nodes, drawNode(t, i))
	}
	for i := range rapid.IntRange(0, 8).Draw(t, "jobs") {
		in.Jobs = append(in.Jobs, drawJob(t, i))
	}
	for _, tenant := range []ledger.TenantID{"t1", "t2"} {
		if rapid.Bool().Draw(t, "claim") {
			in.Claims = append(in.Claims, drawClaim(t, tenant))
		}
	}
	if rapid.Bool().Draw(t, "quota") {
		q := Quota{"t1", Unbounded, Unbounded}
		if rapid.Bool().Draw(t, "memory") {
			q.MemoryBytes = uint64(rapid.IntRange(0, 5).Draw(t, "quota left"))
		}
		if rapid.Bool().Draw(t, "rate") {
			q.FuelRate = uint64(rapid.IntRange(0, 5).Draw(t, "rate left"))
		}
		in.Quotas = []Quota{q}
	}
	return in
}

func drawClaim(t *rapid.T, id ledger.TenantID) Claim {
	few := func(what string) uint64 { return uint64(rapid.IntRange(0, 9).Draw(t, what)) }
	most := func(what string) uint64 {
		return rapid.SampledFrom([]uint64{0, 1, ShareMax / 3, ShareMax, 1 << 63}).Draw(t, what)
	}
	return Claim{
		id, rapid.SampledFrom([]uint32{0, 1, 2, ledger.WeightMax}).Draw(t, "weight"),
		ledger.Resources{MemoryBytes: few("mem"), FuelRate: few("fuel"), Slots: uint32(few("slots"))},
		most("recent"), most("past"),
	}
}

func drawNode(t *rapid.T, i int) Node {
	few := func(what string, top int) uint64 { return uint64(rapid.IntRange(0, top).Draw(t, what)) }
	rec := &ledger.Node{ID: nodeName(i)}
	rec.Capacity = ledger.Resources{MemoryBytes: few("mem", 8), FuelRate: few("fuel", 8), Slots: uint32(few("slots", 8)), ScratchBytes: few("scratch", 8)}
	rec.Reserved = ledger.Resources{MemoryBytes: few("used", 3), FuelRate: few("used", 2), Slots: uint32(few("used", 2))}
	rec.State = ledger.NodeState(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1, 3}).Draw(t, "state"))
	if v := rapid.SampledFrom([]string{"", "n", "s"}).Draw(t, "zone"); v != "" {
		rec.Labels = []ledger.Label{{Name: "zone", Value: v}}
	}
	rec.Features = rapid.SampledFrom([][]string{nil, {"simd"}}).Draw(t, "features")
	n := Node{Node: rec, Operator: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "operator"), Reliability: uint32(few("trust", 1200))}
	n.Allow = rapid.SampledFrom([][]ledger.TenantID{nil, nil, {"t1"}, {"t1", "t2"}}).Draw(t, "allow")
	n.Deny = rapid.SampledFrom([][]ledger.TenantID{nil, nil, nil, {"t1"}}).Draw(t, "deny")
	rules := func(what string) []ledger.LabelRule {
		return rapid.SampledFrom([][]ledger.LabelRule{nil, nil, nil, {{Name: "team"}}, {{Name: "team", Value: "a"}}, {{Name: "team", Value: "b"}, {Name: "purpose"}}}).Draw(t, what)
	}
	n.AllowLabels, n.DenyLabels = rules("labels allowed"), rules("labels denied")
	n.Offer = Offer{
		At: now - ledger.Time(rapid.SampledFrom([]int64{0, 1, 15e9, 16e9}).Draw(t, "age")), DiskBytes: few("disk", 6),
		Free:      ledger.Resources{MemoryBytes: few("free", 20), FuelRate: few("free", 20), Slots: uint32(few("free", 20)), ScratchBytes: 9},
		WaitNanos: int64(few("wait", 12)) * 1e9,
		Until:     rapid.SampledFrom([]ledger.Time{0, 0, 0, now - 1, now + 10e9, now + 3600e9}).Draw(t, "until"),
		Changed:   rapid.SampledFrom([]ledger.Time{0, now - 7e9}).Draw(t, "changed"),
	}
	if rapid.Bool().Draw(t, "holds") {
		n.Held = NewFilter(1)
		n.Held.Add(ledger.ModuleID{1})
	}
	return n
}

func nodeName(i int) ledger.NodeID { return ledger.NodeID(fmt.Sprintf("n%05d", i)) }

func drawJob(t *rapid.T, i int) Job {
	few := func(what string, top int) uint64 { return uint64(rapid.IntRange(0, top).Draw(t, what)) }
	spec := &ledger.JobSpec{
		Tenant: ledger.TenantID(rapid.SampledFrom([]string{"t1", "t2", "t3"}).Draw(t, "tenant")), Module: ledger.ModuleID{byte(few("module", 2))},
		Task: ledger.Resources{MemoryBytes: few("mem", 3), FuelRate: few("fuel", 2), Slots: uint32(few("slots", 2)), ScratchBytes: few("scratch", 2)},
		Band: uint8(few("band", 1)), SpreadLabel: rapid.SampledFrom([]string{"", "", "zone", SpreadOperator}).Draw(t, "spread"),
	}
	spec.Constraints = rapid.SampledFrom([][]ledger.Constraint{
		nil, nil, {{Label: "zone", Value: "n"}}, {{Label: "zone", Not: true}}, {{Label: "zone", Value: "s", Not: true}},
	}).Draw(t, "constraints")
	spec.Features = rapid.SampledFrom([][]string{nil, nil, {"simd"}}).Draw(t, "features")
	spec.Labels = rapid.SampledFrom([][]ledger.Label{
		nil, {{Name: "other", Value: "x"}}, {{Name: "team", Value: "a"}}, {{Name: "team", Value: "c"}}, {{Name: "purpose", Value: "x"}, {Name: "team", Value: "b"}},
	}).Draw(t, "job labels")
	spec.TimeoutNanos = rapid.SampledFrom([]int64{0, 10e9, 10e9 + 1, 3600e9}).Draw(t, "timeout")
	j := Job{ID: ledger.JobID{byte(i)}, Spec: spec, ModuleBytes: uint64(spec.Module[0]) * 2, ExpectedNanos: int64(few("expected", 3)) * 1e8}
	j.SpreadMax = uint32(few("spread max", 3))
	j.Since = now - ledger.Time(few("waiting", 100))*1e9
	first := uint32(0)
	for range rapid.IntRange(0, 3).Draw(t, "ranges") {
		r := ledger.Tasks(first, first+uint32(few("tasks", 30)))
		if rapid.Bool().Draw(t, "hole") {
			r = r.Minus(ledger.Tasks(first+1, first+1+uint32(few("hole", 5))))
		}
		first += 40
		avoid := rapid.SampledFrom([][]ledger.NodeID{nil, nil, {"n00000"}, {"n00001", "n00000"}, {"gone"}}).Draw(t, "avoid")
		j.Pending = append(j.Pending, ledger.Pending{
			Tasks: r, Avoid: avoid, Refusals: uint8(few("refusals", 1)),
			Cause: rapid.SampledFrom([]ledger.Cause{ledger.CauseOutcome, ledger.CauseLost, ledger.CausePreference}).Draw(t, "cause"),
		})
	}
	for range rapid.IntRange(0, len(j.Pending)).Draw(t, "known") {
		j.Ready = append(j.Ready, rapid.SampledFrom([]ledger.Time{0, now, now - 5e9, now - 6e9, now - 10e9, now - 11e9}).Draw(t, "ready"))
	}
	// A tenant's secret has the same nodes for all jobs.
	if rapid.IntRange(0, 3).Draw(t, "secret A") == 0 {
		j.Bound = append(j.Bound, Bound{"A", []ledger.NodeID{nodeName(0), nodeName(2), "gone"}})
	}
	if rapid.IntRange(0, 3).Draw(t, "secret B") == 0 {
		nodes := map[ledger.TenantID][]ledger.NodeID{"t1": {nodeName(0), nodeName(1)}, "t2": {"gone"}}
		j.Bound = append(j.Bound, Bound{"B", nodes[spec.Tenant]})
	}
	if spec.SpreadLabel != "" {
		j.Running = rapid.SampledFrom([][]Running{nil, {{"n", 1}}, {{"x", 2}, {"y", 1}}, {{"elsewhere", 7}}}).Draw(t, "running")
	}
	return j
}

// TestPlanAgainstNaive: every placement is feasible when it is made, nothing is
// handed out twice or too much of, nothing that would fit is left, and the
// reasons are those that a plain implementation finds.
func TestPlanAgainstNaive(t *testing.T) {
	var p Planner
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if err := in.Params.Validate(); err != nil {
			t.Fatal(err)
		}
		out := p.Plan(in)
		m := newNaive(in)
		for k, placement := range out.Placements {
			follow(t, m, k, placement)
		}
		if len(out.Placements) > in.Params.PlacementsMax {
			t.Fatalf("%d placements", len(out.Placements))
		}
		checkLeft(t, m, out)
	})
}

// fataler is what rapid.T and testing.T have in common.
type fataler interface {
	Fatalf(format string, args ...any)
}

func follow(t fataler, m *naive, k int, p ledger.Placement) {
	i, r, n := m.find(p)
	if n == nil || r < 0 {
		t.Fatalf("placement %d: %+v has no node, job or range", k, p)
	}
	params := m.in.Params
	if p.Slots < 1 || p.Slots > p.Count || p.Slots > params.SlotsMax || p.Count > params.TasksMax || p.Count > m.rest[i][r].Count() {
		t.Fatalf("placement %d: amounts out of bounds: %+v of %v", k, p, m.rest[i][r])
	}
	if lease := int64(p.Expiry - m.in.Now); lease < params.LeaseNanosMin || lease > params.LeaseNanosMax {
		t.Fatalf("placement %d: lease of %d ns", k, lease)
	}
	if avoids := slices.Contains(m.in.Jobs[i].Pending[r].Avoid, p.Node); p.Heed == avoids {
		t.Fatalf("placement %d: Heed is %v, that the range avoids the node %v", k, p.Heed, avoids)
	} else if from := m.in.Jobs[i].Pending[r]; (p.Refusals > 0) != (avoids && from.Cause == ledger.CausePreference) || p.Refusals > 0 && p.Refusals != from.Refusals+1 {
		t.Fatalf("placement %d: %d refusals from %+v", k, p.Refusals, from)
	}
	for range p.Slots {
		if code := m.check(i, r, n); code != CodeFits {
			t.Fatalf("placement %d: %+v is not feasible: %v", k, p, code)
		}
		m.applySlot(i, n)
	}
	_, m.rest[i][r] = m.rest[i][r].Split(p.Count)
	m.placed[i]++
}

func checkLeft(t fataler, m *naive, out Output) {
	left := out.Left
	for i := range m.in.Jobs {
		j := &m.in.Jobs[i]
		tasks, first := uint64(0), -1
		for r, rest := range m.rest[i] {
			if tasks += uint64(rest.Count()); first < 0 && !rest.Empty() {
				first = r
			}
		}
		if tasks == 0 {
			continue
		}
		if len(left) == 0 || left[0].Job != j.ID || left[0].Tasks != tasks {
			t.Fatalf("job %d has %d tasks left, the plan says %+v", i, tasks, left)
		}
		checkReasons(t, m, i, first, left[0].Reasons)
		left = left[1:]
		if len(out.Placements) == m.in.Params.PlacementsMax || m.placed[i] == m.in.Params.JobPlacementsMax {
			continue
		}
		for r, rest := range m.rest[i] {
			for k := range m.in.Nodes {
				if !rest.Empty() && m.check(i, r, &m.in.Nodes[k]) == CodeFits {
					t.Fatalf("job %d, range %d fits on %s and was left", i, r, m.in.Nodes[k].ID)
				}
			}
		}
	}
	if len(left) > 0 {
		t.Fatalf("nothing is left of %+v", left)
	}
}

func checkReasons(t fataler, m *naive, i, r int, got *Reasons) {
	var want, have [codes]uint32
	for k := range m.in.Nodes {
		code := m.check(i, r, &m.in.Nodes[k])
		if code == CodeFits {
			code = CodeLimit
		}
		want[code]++
	}
	sum := uint32(0)
	for _, c := range got.Counts {
		have[c.Code] += c.Nodes
		sum += c.Nodes
	}
	if sum != got.Nodes || int(sum) != len(m.in.Nodes) {
		t.Fatalf("the counts sum up to %d of %d nodes", sum, len(m.in.Nodes))
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Fatalf("job %d: reasons differ (-want +got):\n%s\n%v", i, diff, got.Counts)
	}
}

// TestPlanIsPure: the same input gives the same plan, whatever the planner did
// before and whatever the order of nodes.
func TestPlanIsPure(t *testing.T) {
	var used Planner
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		want := Plan(in)
		if diff := cmp.Diff(want, used.Plan(in)); diff != "" {
			t.Fatalf("a used planner differs (-new +used):\n%s", diff)
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		in.Nodes = slices.Clone(in.Nodes)
		r.Shuffle(len(in.Nodes), func(i, k int) { in.Nodes[i], in.Nodes[k] = in.Nodes[k], in.Nodes[i] })
		if diff := cmp.Diff(want, used.Plan(in)); diff != "" {
			t.Fatalf("another order of nodes differs (-want +got):\n%s", diff)
		}
	})
}

// TestExplain: the dry run counts what the plain implementation counts.
func TestExplain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if len(in.Jobs) == 0 {
			return
		}
		in.Jobs[0].Pending = []ledger.Pending{{Tasks: ledger.Tasks(0, 1), Avoid: []ledger.NodeID{"n00001"}}}
		m := newNaive(in)
		var want [codes]uint32
		for k := range in.Nodes {
			want[m.check(0, 0, &in.Nodes[k])]++
		}
		r := Explain(in, in.Jobs[0])
		for c := range codes {
			if r.Of(c) != want[c] {
				t.Fatalf("%v: %d nodes, want %d", c, r.Of(c), want[c])
			}
		}
	})
}

// TestSampling: on a grid that is larger than what is looked at, placements are
// feasible and counts still sum up to the number of nodes.
func TestSampling(t *testing.T) {
	for _, policy := range []Policy{Dense, Loose} {
		in := grid(2000, 300, 85)
		in.Params.Policy, in.Params.SampleSize, in.Params.LookMax, in.Params.ReasonLooksMax = policy, 8, 100, 300
		out := Plan(in)
		m := newNaive(in)
		for k, p := range out.Placements {
			follow(t, m, k, p)
		}
		if len(out.Placements) < 250 {
			t.Errorf("%d placements of 300 jobs", len(out.Placements))
		}
		sampled := false
		for _, l := range out.Left {
			sum := uint32(0)
			for _, c := range l.Reasons.Counts {
				sum += c.Nodes
			}
			if sum != 2000 {
				t.Fatalf("the counts sum up to %d: %v", sum, l.Reasons.Counts)
			}
			sampled = sampled || l.Reasons.Sampled > 0
		}
		if !sampled {
			t.Error("no reasons are sampled")
		}
	}
}
