package placement

import (
	"cmp"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// yield is what a node could give to a job that waits.
type yield struct {
	// free is what the pass has left, and what leases free that have notice already,
	// less the tasks that wait for it.
	free ledger.Resources
	// over is what has to be free before anything is.
	over ledger.Resources
	// leases may give way, the lowest band first, then the one that loses least.
	leases []Tenure
	// later says that there are others, which may not yet.
	later bool
}

// yieldsMax bounds the nodes of which a pass asks for leases.
const yieldsMax = 256

// bandShape is what jobs have in common for which there is no room to be made, unless
// nodes refuse one of them for itself.
type bandShape struct {
	shape int32
	band  uint8
}

// price is how much it takes to make room on a node: the less the better.
type price struct {
	band  uint8
	count int
	lost  uint64
}

func (a price) compare(b price) int {
	return cmp.Or(cmp.Compare(a.band, b.band), cmp.Compare(a.count, b.count), cmp.Compare(a.lost, b.lost))
}

// withhold keeps what is free on nodes where leases make room for a higher band from
// the jobs of a band.
func (p *Planner) withhold(band uint8) {
	for _, n := range p.withheld {
		if nd := &p.nodes[n]; nd.in.Hold > band && nd.free != (ledger.Resources{}) {
			nd.kept, nd.free = nd.free, ledger.Resources{}
		}
	}
}

// preempt names the leases that give way to tasks which are left though their nodes
// are only full, the highest band first.
func (p *Planner) preempt() {
	if p.in.Leases == nil || p.full() {
		return
	}
	left := p.params.PreemptionsMax
	p.preemptLooks = 0
	for i := range p.jobs {
		j := &p.jobs[i]
		if j.Spec.Band == 0 {
			return
		}
		if j.left == 0 || j.placements >= p.params.JobPlacementsMax || p.overQuota(j) {
			continue
		}
		if at := j.Since + ledger.Time(p.params.PreemptAfterNanos); at > p.in.Now {
			p.again(at)
			continue
		}
		p.readAvoid(j, j.firstLeft())
		p.readHeld(j)
		key := bandShape{j.shape, j.Spec.Band}
		if p.stuck[key] {
			continue
		}
		for n := j.left; n > 0 && left > 0; n, left = n-1, left-1 {
			if !p.makeRoom(j) {
				p.stuck[key] = len(p.avoid) == 0 && j.spread < 0 && j.tenant < 0
				break
			}
		}
		if left == 0 {
			p.again(p.in.Now + ledger.Time(p.params.PreemptAfterNanos))
			return
		}
	}
}

// again asks for another pass at a time.
func (p *Planner) again(at ledger.Time) {
	if p.out.PreemptAt == 0 || at < p.out.PreemptAt {
		p.out.PreemptAt = at
	}
}

// makeRoom finds room for one more task of j on the node where that takes least, and
// reports whether there is any.
func (p *Planner) makeRoom(j *job) bool {
	l := &p.pools[p.shapes[j.shape].key.pool]
	w := newWalk(l.size(), p.in.Seed)
	looks := l.size()
	if p.params.SampleSize > 0 {
		looks = min(looks, p.params.SampleSize)
	}
	if most := p.params.PreemptLooksMax - p.preemptLooks; looks > most {
		looks = most
	}
	p.preemptLooks += looks
	best, bestPrice, later := int32(-1), price{}, looks < l.size()
	var bestLeases []Tenure
	for range looks {
		n := l.node(w.next())
		y := p.yieldOf(n, j.Spec.Band)
		if y == nil || p.denies(j, &p.nodes[n]) || p.refuses(j, n, false) != CodeFits || !j.Spec.Task.Fits(p.nodes[n].capacity) {
			continue
		}
		leases, cost, ok := y.victims(j, p.in.Now)
		later = later || y.later
		if ok && (best < 0 || cmp.Or(cost.compare(bestPrice), cmp.Compare(n, best)) < 0) {
			best, bestPrice, bestLeases = n, cost, leases
		}
	}
	if best < 0 {
		if later {
			p.again(p.in.Now + ledger.Time(p.params.PreemptAfterNanos))
		}
		return false
	}
	p.yields[best].take(j, bestLeases)
	if len(bestLeases) > 0 {
		names := make([]ledger.LeaseName, len(bestLeases))
		for i := range bestLeases {
			names[i] = ledger.LeaseName{Node: p.nodes[best].in.ID, Epoch: bestLeases[i].Epoch}
		}
		p.out.Preemptions = append(p.out.Preemptions, Preemption{j.ID, names})
	}
	return true
}

// yieldOf returns what a node could give to a band, or a lower one, nil when too many
// were looked at.
func (p *Planner) yieldOf(n int32, band uint8) *yield {
	if y, ok := p.yields[n]; ok {
		return y
	}
	if len(p.yields) >= yieldsMax {
		return nil
	}
	nd := &p.nodes[n]
	y := &yield{free: nd.free.Plus(nd.kept), over: nd.in.Offer.Over}
	p.yields[n] = y
	for _, t := range p.in.Leases(nd.in.ID, band) {
		switch {
		case t.Notice != 0:
			y.free = y.free.Plus(t.Task.Times(t.Slots))
		case t.Preempted != 0 && p.in.Now < t.Preempted+ledger.PreemptAgainNanos:
			y.later = true
		default:
			y.leases = append(y.leases, t)
		}
	}
	slices.SortFunc(y.leases, func(a, b Tenure) int {
		return cmp.Or(cmp.Compare(a.Band, b.Band), cmp.Compare(a.lost(p.in.Now), b.lost(p.in.Now)), cmp.Compare(b.Epoch, a.Epoch))
	})
	return y
}

// lost is the work that goes with a lease, in slot nanoseconds, at most: what of it has
// ended is not known here.
func (t *Tenure) lost(now ledger.Time) uint64 {
	return mulDiv(uint64(max(now-t.Granted, 0)), uint64(t.Slots), 1)
}

// victims returns as few leases of lower bands as make room for a task of j; none when
// there is room, or soon will be.
func (y *yield) victims(j *job, now ledger.Time) (chosen []Tenure, cost price, ok bool) {
	task := j.Spec.Task.Plus(y.over)
	free := y.free
	for i := range y.leases {
		if task.Fits(free) || y.leases[i].Band >= j.Spec.Band {
			break
		}
		free = free.Plus(y.leases[i].Task.Times(y.leases[i].Slots))
		chosen = append(chosen, y.leases[i])
	}
	if !task.Fits(free) {
		return nil, price{}, false
	}
	// Those that a later one has made needless stay, the highest band first.
	for i := len(chosen) - 1; i >= 0; i-- {
		if without := free.Minus(chosen[i].Task.Times(chosen[i].Slots)); task.Fits(without) {
			free = without
			chosen = slices.Delete(chosen, i, i+1)
		}
	}
	for i := range chosen {
		cost.band = max(cost.band, chosen[i].Band)
		cost.lost = addMax(cost.lost, chosen[i].lost(now))
	}
	cost.count = len(chosen)
	return chosen, cost, true
}

// take books a task for which leases give way.
func (y *yield) take(j *job, leases []Tenure) {
	for i := range leases {
		y.free = y.free.Plus(leases[i].Task.Times(leases[i].Slots))
	}
	y.free = y.free.Minus(j.Spec.Task)
	y.leases = slices.DeleteFunc(y.leases, func(t Tenure) bool {
		return slices.ContainsFunc(leases, func(o Tenure) bool { return o.Epoch == t.Epoch })
	})
}
