package placement

import (
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// quantile plans one job of one task on a grid of 1,000 nodes and returns how many
// of 1,000 of the nodes that would do are better than the one chosen.
func quantile(t *testing.T, in Input) uint64 {
	t.Helper()
	out := Plan(in)
	if len(out.Placements) != 1 {
		t.Fatalf("%d placements", len(out.Placements))
	}
	var p Planner
	p.prepare(in)
	j := &p.jobs[0]
	l := &p.pools[p.shapes[j.shape].key.pool]
	chosen, better, all := uint64(0), uint64(0), uint64(0)
	var scores []uint64
	for i := range l.size() {
		n := l.node(i)
		if !j.Spec.Task.Fits(p.nodes[n].free) || p.denies(j, &p.nodes[n]) {
			continue
		}
		score := p.score(j, n)
		if p.nodes[n].in.ID == out.Placements[0].Node {
			chosen = score
		}
		scores = append(scores, score)
	}
	for _, score := range scores {
		all++
		if score > chosen {
			better++
		}
	}
	return better * 1000 / all
}

// TestSampleQuality: the best of a sample of s is on average at the quantile
// s/(s+1), as promised; without a sample it is the best.
func TestSampleQuality(t *testing.T) {
	in := grid(1000, 200, 50)
	jobs := in.Jobs
	for _, sample := range []int{0, 8, 64} {
		in.Params.SampleSize = sample
		sum, worst := uint64(0), uint64(0)
		for i := range jobs {
			job := jobs[i]
			job.Pending = []ledger.Pending{{Tasks: ledger.Tasks(0, 1)}}
			in.Jobs, in.Seed = []Job{job}, uint64(i)
			q := quantile(t, in)
			sum, worst = sum+q, max(worst, q)
		}
		mean := sum / uint64(len(jobs))
		t.Logf("a sample of %d: %d of 1000 nodes are better on average, %d at worst", sample, mean, worst)
		switch {
		case sample == 0 && worst > 0:
			t.Errorf("without a sample %d of 1000 nodes are better", worst)
		case sample > 0 && mean > 1300/uint64(sample+1):
			t.Errorf("a sample of %d: %d of 1000 nodes are better, %d promised", sample, mean, 1000/(sample+1))
		}
	}
}

// TestPassQuality: a pass that samples places about as much as one that looks at
// every node.
func TestPassQuality(t *testing.T) {
	for _, policy := range []Policy{Dense, Loose} {
		in := grid(1000, 2000, 50)
		in.Params.Policy, in.Params.PlacementsMax = policy, 100_000
		sampled := slotsOf(Plan(in).Placements)
		in.Params.SampleSize = 0
		all := slotsOf(Plan(in).Placements)
		t.Logf("policy %d: %d slots with a sample, %d without", policy, sampled, all)
		if sampled*100 < all*97 {
			t.Errorf("policy %d: %d slots with a sample, %d without", policy, sampled, all)
		}
	}
}

// TestPassLooks: when the visits of a pass are used up, jobs still find nodes.
func TestPassLooks(t *testing.T) {
	in := grid(1000, 500, 90)
	for i := range in.Jobs {
		in.Jobs[i].Spec.Task.MemoryBytes += uint64(i)
	}
	free := Plan(in)
	in.Params.LookMax, in.Params.PassLooksMax = 100, 200
	tight := Plan(in)
	if len(tight.Placements)*10 < len(free.Placements)*8 {
		t.Errorf("%d placements, %d with more visits", len(tight.Placements), len(free.Placements))
	}
	if bound := 200 + 500*2*in.Params.SampleSize; tight.Stats.Visits > bound {
		t.Errorf("%d visits, %d allowed", tight.Stats.Visits, bound)
	}
	m := newNaive(in)
	for k, p := range tight.Placements {
		follow(t, m, k, p)
	}
}

func slotsOf(placements []ledger.Placement) int {
	n := 0
	for _, p := range placements {
		n += int(p.Slots)
	}
	return n
}
