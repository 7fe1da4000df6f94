package placement

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// world is a grid whose tenants' tasks take their time, planned as a scheduler does.
type world struct {
	in      Input
	planner Planner
	players []*player
	running []stint
}

// player is a tenant with one job.
type player struct {
	Claim
	use
	spec ledger.JobSpec
	// nanos is how long a task takes, spread by how much that varies, want how many
	// wait.
	nanos, spread int64
	want          uint32
	// had sums up what its tasks held, in seconds; started counts them.
	had     amounts
	started uint64
	since   ledger.Time
}

// stint is tasks that run on a node.
type stint struct {
	player, node int
	slots        uint32
	end          ledger.Time
}

func newWorld(nodes int, capacity ledger.Resources) *world {
	w := &world{in: Input{Now: now, Params: Default()}}
	for i := range nodes {
		w.in.Nodes = append(w.in.Nodes, Node{Node: &ledger.Node{ID: nodeName(i), Capacity: capacity}})
	}
	return w
}

// exact lets tenants take turns task by task, in one pass.
func (w *world) exact() *world {
	p := &w.in.Params
	p.Grain, p.PlacementsMax, p.JobPlacementsMax = 1<<20, 1<<20, 1<<20
	return w
}

func (w *world) add(weight uint32, task ledger.Resources, nanos int64, want uint32) *player {
	id := gridTenant(len(w.players))
	p := &player{Claim: Claim{Tenant: id, Weight: weight}, nanos: nanos, want: want, since: w.in.Now}
	p.spec, p.at = ledger.JobSpec{Tenant: id, Task: task, FuelMax: 1}, w.in.Now
	w.players = append(w.players, p)
	return p
}

// step lets time go by, then plans once.
func (w *world) step(nanos int64) Output {
	w.in.Now += ledger.Time(nanos)
	w.in.Seed++
	w.running = slices.DeleteFunc(w.running, func(r stint) bool {
		if r.end <= w.in.Now {
			w.hold(r, r.end, false)
		}
		return r.end <= w.in.Now
	})
	w.read()
	out := w.planner.Plan(w.in)
	for _, placement := range out.Placements {
		i := int(placement.Job[0])
		p := w.players[i]
		node := slices.IndexFunc(w.in.Nodes, func(n Node) bool { return n.ID == placement.Node })
		p.want -= placement.Count
		p.started += uint64(placement.Count)
		nanos := p.nanos * int64(ceil(uint64(placement.Count), uint64(placement.Slots)))
		if p.spread > 0 {
			nanos += int64(mix(w.in.Seed<<20+p.started) % uint64(p.spread))
		}
		r := stint{i, node, placement.Slots, w.in.Now + ledger.Time(nanos)}
		w.hold(r, w.in.Now, true)
		w.running = append(w.running, r)
	}
	return out
}

// hold takes what tasks need, or gives it back.
func (w *world) hold(r stint, at ledger.Time, take bool) {
	p, n := w.players[r.player], w.in.Nodes[r.node].Node
	p.wait(max(at, p.at), &w.in.Params)
	need := p.spec.Task.Times(r.slots)
	if take {
		n.Reserved, p.Leased = n.Reserved.Plus(need), p.Leased.Plus(need)
	} else {
		n.Reserved, p.Leased = n.Reserved.Minus(need), p.Leased.Minus(need)
	}
	p.leased = amountsOf(&p.Leased)
}

// wait is that of use, and sums up.
func (p *player) wait(at ledger.Time, params *Params) {
	seconds := float64(at-p.at) / 1e9
	p.had.memory += p.leased.memory * seconds
	p.had.rate += p.leased.rate * seconds
	p.had.slots += p.leased.slots * seconds
	p.use.wait(at, params)
}

// read makes an input of the world as it is.
func (w *world) read() {
	w.in.Jobs, w.in.Claims = nil, nil
	var all total
	for i := range w.in.Nodes {
		n := &w.in.Nodes[i]
		n.Offer = Offer{At: w.in.Now, Free: n.Capacity.Minus(n.Reserved), DiskBytes: 1}
		all.add(&n.Capacity)
	}
	for i, p := range w.players {
		p.wait(w.in.Now, &w.in.Params)
		if p.want == 0 {
			continue
		}
		c := p.Claim
		c.Recent, c.Past = p.recent.share(&all), p.past.share(&all)
		w.in.Claims = append(w.in.Claims, c)
		w.in.Jobs = append(w.in.Jobs, Job{
			ID: ledger.JobID{byte(i)}, Spec: &p.spec, ExpectedNanos: p.nanos, Since: p.since,
			Pending: []ledger.Pending{{Tasks: ledger.Tasks(0, p.want)}},
		})
	}
}

// shareNow is what part a player has of the scarcest of what it has.
func (w *world) shareNow(p *player) float64 {
	var all total
	for i := range w.in.Nodes {
		all.add(&w.in.Nodes[i].Capacity)
	}
	return float64(amountsOf(&p.Leased).share(&all)) / ShareMax
}
