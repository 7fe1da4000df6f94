package scheduler

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

// demandsMax bounds the kinds of blocked jobs that are told apart; beyond it every
// node with a free slot is taken for one that could help.
const demandsMax = 256

// waits is what the last pass has left, and what could help it.
type waits struct {
	// left has the tasks that the pass expects to be ready still.
	left map[ledger.JobID]left
	// careful says that one of left is to be looked at when it has more tasks.
	careful bool
	demands []demand
	crowded bool
	// quotas has, for each tenant that may not lease more, the least memory that a
	// task of it needs.
	quotas map[ledger.TenantID]uint64
	// seen are the nodes as they were when this was last compared.
	seen []*ledger.Node
	// beyond says that the queue was longer than what the pass has looked at.
	beyond bool
	// again says that a bound of the pass was reached.
	again bool
	// lifting says that something waits for nodes which it does not avoid: when the last
	// one of these goes it may return at once.
	lifting bool
	// touched says that a job changed that may have more ready tasks.
	touched bool
}

// left is what a pass has left of a job.
type left struct {
	tasks uint64
	// careful: what comes back to it may be placed although this is blocked.
	careful bool
}

// demand is what a kind of blocked jobs asks of a node.
type demand struct {
	spec        *ledger.JobSpec
	bound       []placement.Bound
	moduleBytes uint64
	// avoid are nodes that are of no help unless their operators have wanted something
	// else after at.
	avoid []ledger.NodeID
	at    ledger.Time
}

// remember keeps what a pass has left of its jobs, and returns when avoided nodes
// are allowed to the first of them, zero for never.
func (w *waits) remember(in *placement.Input, out *placement.Output, held map[ledger.JobID]uint64) (lifted ledger.Time) {
	w.left, w.careful, w.demands, w.crowded, w.again, w.touched = make(map[ledger.JobID]left, len(out.Left)), false, w.demands[:0], false, false, false
	w.quotas, w.lifting = nil, false
	known := map[*placement.Reasons]struct{}{}
	at := 0
	for _, o := range out.Left {
		for in.Jobs[at].ID != o.Job {
			at++
		}
		j := &in.Jobs[at]
		avoided := o.Reasons.Of(placement.CodeAvoided) > 0
		w.left[o.Job] = left{o.Tasks, avoided}
		w.careful = w.careful || avoided
		if avoided {
			w.lifting = true
			if end := returns(j, in); lifted == 0 || end > 0 && end < lifted {
				lifted = end
			}
		}
		if _, ok := known[o.Reasons]; ok {
			continue
		}
		known[o.Reasons] = struct{}{}
		w.block(j, o.Reasons, avoided, in.Now)
	}
	for job, tasks := range held {
		w.left[job] = left{w.left[job].tasks + tasks, true}
		w.careful = true
	}
	return lifted
}

// returns is when the first of a job's ranges may go back to nodes that they avoid; zero
// is that all may.
func returns(j *placement.Job, in *placement.Input) (first ledger.Time) {
	for i := range j.Pending {
		if len(j.Pending[i].Avoid) == 0 {
			continue
		}
		if at := j.ReturnAt(i, &in.Params) + 1; at > in.Now && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

// block keeps what could help a job, and those that share its reasons. avoids says
// that it will not go to nodes which it avoids.
func (w *waits) block(j *placement.Job, r *placement.Reasons, avoids bool, now ledger.Time) {
	w.again = w.again || r.Of(placement.CodeLimit) > 0
	if r.Of(placement.CodeQuota) > 0 {
		if w.quotas == nil {
			w.quotas = map[ledger.TenantID]uint64{}
		}
		need, ok := w.quotas[j.Spec.Tenant]
		if !ok || j.Spec.Task.MemoryBytes < need {
			w.quotas[j.Spec.Tenant] = j.Spec.Task.MemoryBytes
		}
		return
	}
	if len(w.demands) == demandsMax {
		w.crowded = true
		return
	}
	d := demand{spec: j.Spec, bound: j.Bound, moduleBytes: j.ModuleBytes, at: now}
	if avoids {
		d.avoid = avoidedByAll(j.Pending)
	}
	w.demands = append(w.demands, d)
}

// avoidedByAll returns the nodes that every one of the ranges avoids.
func avoidedByAll(ranges []ledger.Pending) []ledger.NodeID {
	var all []ledger.NodeID
	for i, r := range ranges {
		if i == 0 {
			all = slices.Clone(r.Avoid)
			continue
		}
		all = slices.DeleteFunc(all, func(n ledger.NodeID) bool { return !slices.Contains(r.Avoid, n) })
	}
	return all
}

// helps reports whether a node could take a task of something that is blocked.
// As the pass has left nothing that fits, the node has changed then.
func (l *lead) helps(n *ledger.Node, now time.Time) bool {
	s := l.board.of[n.ID]
	if n.State != ledger.NodeUp || !l.fresh(s, now) || l.brake.lostBy(n.ID, s.at) {
		return false
	}
	free, given := n.Capacity.Minus(n.Reserved), s.free(n)
	fits := func(task ledger.Resources) bool { return task.Fits(free) && task.Fits(given) }
	if l.waits.crowded && fits(ledger.Resources{Slots: 1}) {
		return true
	}
	for i := range l.waits.demands {
		d := &l.waits.demands[i]
		if fits(d.spec.Task) && d.allows(n) && (!slices.Contains(d.avoid, n.ID) || l.stamp(s.changed) > d.at) && (d.moduleBytes <= s.diskBytes || s.held.Holds(d.spec.Module)) {
			return true
		}
	}
	return false
}

// allows applies the demands that do not depend on what is free.
func (d *demand) allows(n *ledger.Node) bool {
	for _, f := range d.spec.Features {
		if !n.Offers(f) {
			return false
		}
	}
	for _, c := range d.spec.Constraints {
		if !n.Meets(c) {
			return false
		}
	}
	return given(n.ID, d.bound)
}

// given reports whether a node is given secrets that are for some nodes only.
func given(n ledger.NodeID, list []placement.Bound) bool {
	for i := range list {
		if !slices.Contains(list[i].Nodes, n) {
			return false
		}
	}
	return true
}

// hear takes changes of the ledger in.
func (l *lead) hear(n news) error {
	for _, c := range n.changes {
		value := c.Value
		if c.Deleted {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		if err := errors.Join(l.backlog.Change(c.Key, value), l.roll.Change(c.Key, value)); err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(c.Key, ledger.QueuePrefix()):
			if !c.Deleted {
				l.wake(time.Now(), wakeQueue)
			}
			l.waits.touched = l.waits.touched || c.Deleted && l.waits.beyond
		case bytes.HasPrefix(c.Key, ledger.JobPrefix()):
			id := c.Key[len(ledger.JobPrefix()):]
			if l.waits.careful && len(id) == len(ledger.JobID{}) && l.waits.left[ledger.JobID(id)].careful {
				l.waits.touched = true
			}
		case bytes.HasPrefix(c.Key, ledger.TenantPrefix()):
			if t := l.backlog.Tenant(ledger.TenantID(c.Key[len(ledger.TenantPrefix()):])); t != nil {
				l.snapshot.Hear(t, l.stamp(time.Now()))
			}
		case bytes.HasPrefix(c.Key, ledger.SecretPrefix()):
			// It may be for other nodes than before.
			if len(l.waits.left) > 0 {
				l.wake(time.Now(), wakeSecret)
			}
		case bytes.HasPrefix(c.Key, ledger.OrderPrefix()):
			if err := l.hearOrder(c.Key, value); err != nil {
				return err
			}
		case bytes.HasPrefix(c.Key, ledger.SeatPrefix()):
			if err := l.hearSeat(c.Key, value); err != nil {
				return err
			}
		case !c.Deleted:
			l.ticks.hear(c.Key)
		}
	}
	l.index = max(l.index, n.index)
	l.metrics.queued.Set(float64(l.backlog.Queued()))
	now := time.Now()
	if l.flight == nil {
		return l.check(now)
	}
	return nil
}

// check wakes what the last pass has left if something has changed since that
// could help it. The pass must be committed and seen.
func (l *lead) check(now time.Time) error {
	if l.wanted(now) {
		return nil
	}
	if l.waits.touched {
		l.waits.touched = false
		if more, err := l.moreReady(); err != nil || more {
			l.wake(now, wakeReady)
			return err
		}
	}
	if len(l.waits.demands) > 0 {
		nodes := l.backlog.Nodes()
		for i, n := range nodes {
			if (i >= len(l.waits.seen) || l.waits.seen[i] != n) && l.helps(n, now) {
				l.wake(now, wakeNode)
				break
			}
		}
		if l.waits.lifting && fewerUp(l.waits.seen, nodes) {
			l.wake(now, wakeAvoid)
		}
		l.waits.seen = append(l.waits.seen[:0], nodes...)
	}
	for tenant, need := range l.waits.quotas {
		if q, bounded := placement.QuotaOf(l.backlog.Tenant(tenant)); !bounded || q.MemoryBytes >= need {
			l.wake(now, wakeQuota)
		}
	}
	return nil
}

// fewerUp reports whether a node that was up is not, or is not there.
func fewerUp(was, is []*ledger.Node) bool {
	at := 0
	for _, n := range was {
		for at < len(is) && is[at].ID < n.ID {
			at++
		}
		if n.State == ledger.NodeUp && (at == len(is) || is[at].ID != n.ID || is[at].State != ledger.NodeUp) {
			return true
		}
	}
	return false
}

// checkOffers wakes what the last pass has left if one of the nodes, which offer
// more than before, could help it.
func (l *lead) checkOffers(now time.Time, better []ledger.NodeID) {
	if l.flight != nil || l.wanted(now) || len(l.waits.demands) == 0 || len(better) == 0 {
		return
	}
	nodes := l.backlog.Nodes()
	for _, id := range better {
		i, ok := slices.BinarySearchFunc(nodes, id, func(n *ledger.Node, id ledger.NodeID) int { return bytes.Compare([]byte(n.ID), []byte(id)) })
		if ok && l.helps(nodes[i], now) {
			l.wake(now, wakeOffer)
			return
		}
	}
}

// moreReady reports whether the queue has tasks that the last pass has not seen.
func (l *lead) moreReady() (more bool, err error) {
	_, err = l.config.Ledger.View(func(tx ledger.Tx) error {
		jobs, err := l.backlog.Jobs(tx)
		for _, q := range jobs {
			was, known := l.waits.left[q.Job.ID]
			if known && !was.careful {
				continue
			}
			ready := uint64(0)
			for _, r := range q.Ranges {
				ready += uint64(r.Tasks.Count())
			}
			more = more || ready > was.tasks
		}
		return err
	})
	return more, err
}
