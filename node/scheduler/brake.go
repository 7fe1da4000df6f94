package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

// grip is how hard the brake is on.
type grip int

const (
	// gripNone: what was lost is placed like everything else.
	gripNone grip = iota
	// gripLimited: so many tasks a second.
	gripLimited
	// gripStopped: nothing that was lost.
	gripStopped
)

// String returns the word for logs.
func (g grip) String() string { return [...]string{"off", "limited", "stopped"}[g] }

// brake bounds the placing of tasks whose lease was lost. When many nodes vanish
// at once all of their work comes back at once; it would crowd the others, for
// nothing when the nodes are back in a moment, or when it is this leader who is
// cut off.
type brake struct {
	grip grip
	// tokens are the lost tasks that may be placed, as of filled.
	tokens float64
	filled time.Time
	// lost are the ranges that were queued when the last pass began and had come
	// back as their node was lost; gone are the nodes, and when that was first
	// seen: it is before their offers are too old.
	lost map[lostRange]struct{}
	gone map[ledger.NodeID]time.Time
	// based says that new ranges are new, and not from before this leadership.
	based bool
	// held are the lost tasks that the last pass has kept back, by job.
	held map[ledger.JobID]uint64
}

type lostRange struct {
	job           ledger.JobID
	first, losses uint32
}

func newBrake(now time.Time, rate int) brake {
	return brake{tokens: float64(rate), filled: now, gone: map[ledger.NodeID]time.Time{}}
}

// gather takes note of the lost ranges of a snapshot.
func (b *brake) gather(jobs []placement.Job, now time.Time) {
	var lost map[lostRange]struct{}
	for i := range jobs {
		for _, p := range jobs[i].Pending {
			if p.Losses == 0 || p.Cause != ledger.CauseLost || len(p.Avoid) == 0 {
				continue
			}
			if lost == nil {
				lost = map[lostRange]struct{}{}
			}
			key := lostRange{jobs[i].ID, p.Tasks.First, p.Losses}
			lost[key] = struct{}{}
			if _, known := b.lost[key]; known || !b.based {
				continue
			}
			if node := p.Avoid[len(p.Avoid)-1]; b.gone[node].IsZero() {
				b.gone[node] = now
			}
		}
	}
	b.lost, b.based = lost, true
}

// lostBy reports whether a node has let a lease run out since it made an offer at a
// time: it is not to be given anything before it makes another.
func (b *brake) lostBy(id ledger.NodeID, offered time.Time) bool {
	at, lost := b.gone[id]
	return lost && !offered.After(at)
}

// weigh sets the grip by how many nodes have vanished of those that were there a
// window ago.
func (l *lead) weigh(now time.Time) {
	b := &l.brake
	maps.DeleteFunc(b.gone, func(id ledger.NodeID, at time.Time) bool {
		s := l.board.of[id]
		return now.Sub(at) > l.config.VanishedWindow || s != nil && !b.lostBy(id, s.at)
	})
	all, recent, silent := 0, 0, 0
	for _, n := range l.backlog.Nodes() {
		if n.State != ledger.NodeUp && n.State != ledger.NodeUnreachable {
			continue
		}
		at, vanished := b.gone[n.ID]
		if s := l.board.of[n.ID]; s != nil && !s.vanished.IsZero() && (!vanished || s.vanished.Before(at)) {
			at, vanished = s.vanished, true
		}
		switch age := now.Sub(at); {
		case !vanished:
			all++
		case age <= l.config.StopWindow:
			all, recent, silent = all+1, recent+1, silent+1
		case age <= l.config.VanishedWindow:
			all, recent = all+1, recent+1
		}
	}
	to := gripNone
	switch {
	case 2*silent > all:
		to = gripStopped
	case recent >= l.config.VanishedMin && 100*recent > l.config.VanishedPercent*all:
		to = gripLimited
	}
	l.metrics.silent.Set(float64(silent))
	l.grip(to, now, recent, all)
}

// grip sets the brake, and has what it held back looked at when it gets looser.
func (l *lead) grip(to grip, now time.Time, vanished, all int) {
	was := l.brake.grip
	if to == was {
		return
	}
	l.brake.grip = to
	l.metrics.brake.Set(float64(to))
	if to == gripNone {
		l.log.Info("lost tasks are placed freely again", "nodes", all)
	} else {
		l.log.Warn("the brake on placing lost tasks changes", "to", to.String(), "vanished", vanished, "nodes", all)
	}
	if to < was && len(l.brake.held) > 0 {
		l.wake(now, wakeBrake)
	}
}

// hold takes out of the jobs the lost tasks that must not be placed now.
func (l *lead) hold(jobs []placement.Job, now time.Time) {
	b := &l.brake
	rate := float64(l.config.ReplacePerSecond)
	b.tokens = min(rate, b.tokens+rate*now.Sub(b.filled).Seconds())
	b.filled = now
	b.held = nil
	if b.grip == gripNone {
		l.metrics.held.Set(0)
		return
	}
	left := uint32(0)
	if b.grip == gripLimited {
		left = uint32(max(b.tokens, 0))
	}
	total := uint64(0)
	for i := range jobs {
		j := &jobs[i]
		if !slices.ContainsFunc(j.Pending, func(p ledger.Pending) bool { return p.Losses > 0 }) {
			continue
		}
		kept, ready := make([]ledger.Pending, 0, len(j.Pending)), make([]ledger.Time, 0, len(j.Ready))
		for at, p := range j.Pending {
			if p.Losses > 0 {
				all := p.Tasks.Count()
				p.Tasks, _ = p.Tasks.Split(left)
				n := p.Tasks.Count()
				left -= n
				if held := uint64(all - n); held > 0 {
					if b.held == nil {
						b.held = map[ledger.JobID]uint64{}
					}
					b.held[j.ID] += held
					total += held
				}
			}
			if !p.Tasks.Empty() {
				kept = append(kept, p)
				if at < len(j.Ready) {
					ready = append(ready, j.Ready[at])
				}
			}
		}
		j.Pending, j.Ready = kept, ready
	}
	l.metrics.held.Set(float64(total))
}

// spend counts the lost tasks of a plan.
func (b *brake) spend(jobs []placement.Job, placements []ledger.Placement) {
	if b.grip != gripLimited {
		return
	}
	lost := map[ledger.JobID][]ledger.Pending{}
	for i := range jobs {
		for _, p := range jobs[i].Pending {
			if p.Losses > 0 {
				lost[jobs[i].ID] = append(lost[jobs[i].ID], p)
			}
		}
	}
	for i := range placements {
		p := &placements[i]
		if slices.ContainsFunc(lost[p.Job], func(r ledger.Pending) bool { return r.Tasks.Has(p.Start) }) {
			b.tokens -= float64(p.Count)
		}
	}
}

// refillWait is how long a pass that had to keep tasks back waits for tokens.
const refillWait = 500 * time.Millisecond
