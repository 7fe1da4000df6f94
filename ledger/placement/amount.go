package placement

import (
	"math"

	"github.com/dugnad/dugnad/ledger"
)

// amount returns how many slots of node n a placement of j gets, and how many
// tasks for them, when the range in hand has that many left.
func (p *Planner) amount(j *job, left uint32, n int32) (slots, count uint32) {
	nd := &p.nodes[n]
	room := p.room(j, nd)
	slots = min(room, left, p.share(j, n), p.step(j))
	// What a node is given ends, as far as can be told, before its machine is off.
	limit := uint64(max(1, min(p.params.WorkNanosMax, p.stays(nd.in))/j.expected))
	rounds := j.left / (uint64(p.params.Stages) * p.parallel(j, room))
	rounds = min(max(rounds, uint64(p.params.WorkNanosMin/j.expected), 1), limit)
	tasks := uint64(slots) * min(rounds, uint64(p.params.TasksMax)) // below 2⁶⁴
	tasks = min(max(tasks, uint64(p.params.TasksMin)), uint64(p.params.TasksMax))
	count = uint32(min(tasks, uint64(left)))
	return min(slots, count), count
}

// room returns how many of j's tasks a node can run at once, 1 to SlotsMax.
func (p *Planner) room(j *job, nd *node) uint32 {
	room := uint64(p.params.SlotsMax)
	if j.quota >= 0 {
		room = min(room, p.quotas[j.quota].room(j, nd.in.Node))
	}
	fit := func(need, free uint64) {
		if need > 0 {
			room = min(room, free/need)
		}
	}
	task := &j.Spec.Task
	fit(task.MemoryBytes, nd.free.MemoryBytes)
	fit(task.FuelRate, nd.free.FuelRate)
	fit(uint64(task.Slots), uint64(nd.free.Slots))
	fit(task.ScratchBytes, nd.free.ScratchBytes)
	return uint32(room)
}

// room returns how many of j's tasks on a node the quota allows for at once. It has
// room for one.
func (q *Quota) room(j *job, n *ledger.Node) uint64 {
	room := uint64(math.MaxUint64)
	if memory := j.Spec.Task.MemoryBytes; memory > 0 {
		room = q.MemoryBytes / memory
	}
	if rate := ledger.TaskRate(&j.Spec.Task, n); rate > 0 && q.FuelRate != Unbounded {
		room = min(room, (q.FuelRate-1)/rate+1)
	}
	return room
}

// take has the quota give what a placement takes.
func (q *Quota) take(j *job, slots uint32, n *ledger.Node) {
	q.MemoryBytes -= uint64(slots) * j.Spec.Task.MemoryBytes
	if q.FuelRate != Unbounded {
		q.FuelRate -= min(q.FuelRate, uint64(slots)*ledger.TaskRate(&j.Spec.Task, n))
	}
}

// parallel estimates how many slots the job has, or would have if every other
// node that may take it had as much room.
func (p *Planner) parallel(j *job, room uint32) uint64 {
	s := &p.shapes[j.shape]
	others := len(s.window)
	if !s.closed {
		others = p.pools[s.key.pool].size()
	}
	return j.slots + uint64(room)*uint64(max(others, 1))
}

// share bounds the slots of one placement where the job, or the policy, wants
// its tasks apart. j is the job of p.here.
func (p *Planner) share(j *job, n int32) uint32 {
	share := uint64(math.MaxUint32)
	if p.params.Policy == Loose {
		share = ceil(j.left, uint64(p.pools[p.shapes[j.shape].key.pool].size()))
	}
	if j.spread >= 0 {
		s := &p.spreads[j.spread]
		here := uint64(p.here.slots[s.of[n]])
		even := ceil(j.slots+j.left, uint64(len(s.values)))
		share = min(share, max(even, here+1)-here)
		if j.SpreadMax > 0 {
			share = min(share, uint64(j.SpreadMax)-here)
		}
	}
	return uint32(min(max(share, 1), math.MaxUint32))
}

// lease returns how long a lease for that many tasks lasts.
func (p *Planner) lease(j *job, slots, count uint32, nd *node) int64 {
	longest := p.params.LeaseNanosMax
	rounds := int64(ceil(uint64(count), uint64(slots)))
	wait := max(nd.in.Offer.WaitNanos, 0)
	if rounds > longest/2/j.expected || wait > longest {
		return longest
	}
	return min(max(2*rounds*j.expected+wait, p.params.LeaseNanosMin), longest)
}

// ceil returns a / b, rounded up.
func ceil(a, b uint64) uint64 { return (a + b - 1) / b }
