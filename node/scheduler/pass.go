package scheduler

import (
	"hash/maphash"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

// probeRounds is how many tasks a slot gets in a row of a job of which none has
// ended. What FuelMax says may be far off either way, and what was given out is not
// taken back.
const probeRounds = 4

// flight is a plan that is being committed.
type flight struct {
	// landed says that all answers are in, index is the highest of them.
	landed bool
	index  uint64
	// accepted and refused count placements.
	accepted, refused int
	failed            bool
	// began is when the pass did.
	began time.Time
}

// input reads what a pass plans on, from which the brake has taken what it holds
// back.
func (l *lead) input(now time.Time) (in placement.Input, err error) {
	if now.Sub(l.board.last) >= lookAgain {
		l.look(now)
	}
	_, err = l.config.Ledger.View(func(tx ledger.Tx) error {
		in, err = l.snapshot.Read(tx, l.backlog, l.config.Params, l.stamp(now), l.tell)
		return err
	})
	if err != nil {
		return in, err
	}
	l.seed++
	in.Seed = l.seed
	probe := l.config.Params.WorkNanosMax / probeRounds
	for i := range in.Jobs {
		if j := &in.Jobs[i]; j.ExpectedNanos == 0 {
			j.ExpectedNanos = max(probe, 1)
		}
	}
	l.brake.gather(in.Jobs, now)
	if len(l.brake.gone) > 0 {
		l.weigh(now)
		for i := range in.Nodes {
			if n := &in.Nodes[i]; l.brake.lostBy(n.ID, l.local(n.Offer.At, now)) {
				n.Offer = placement.Offer{}
			}
		}
	}
	l.hold(in.Jobs, now)
	return in, nil
}

// pass makes a plan and proposes it.
func (l *lead) pass(now time.Time) error {
	l.due = time.Time{}
	in, err := l.input(now)
	if err != nil {
		return err
	}
	// What input has found out may have asked for a pass: this is it.
	l.due = time.Time{}
	var failed *error
	in.Leases, failed = l.tenures()
	out := l.planner.Plan(in)
	if *failed != nil {
		return *failed
	}
	if len(in.Jobs) > 0 {
		l.metrics.passes.Inc()
		l.metrics.passSeconds.Observe(time.Since(now).Seconds())
	}
	l.metrics.blocked.Set(float64(len(out.Left)))
	for i := range out.Placements {
		out.Placements[i].Expiry = in.Now + ledger.Time(l.config.Lease)
	}
	lifted := l.waits.remember(&in, &out, l.brake.held)
	l.waits.seen = append(l.waits.seen[:0], l.backlog.Nodes()...)
	l.waits.beyond = l.backlog.Queued() > len(in.Jobs)
	if l.waits.crowded {
		l.metrics.crowded.Inc()
	}
	l.preempt(&out, &in, now)
	l.brake.spend(in.Jobs, out.Placements)
	l.notes.take(out.Left, now, l.config.NoteAgainAfter)
	l.flight = &flight{landed: len(out.Placements) == 0, began: now}
	if !l.flight.landed {
		l.commit(out.Placements)
	}
	if lifted > 0 {
		l.wake(now.Add(time.Duration(lifted-in.Now)), wakeAvoid)
	}
	if len(l.brake.held) > 0 && l.brake.grip == gripLimited {
		l.wake(now.Add(refillWait), wakeBrake)
	}
	return l.land(time.Now())
}

// commit proposes placements. Those of one job keep their order, as each begins
// where the one before has ended.
func (l *lead) commit(placements []ledger.Placement) {
	n := min((len(placements)+placement.CommandPlacementsMax-1)/placement.CommandPlacementsMax, lanesMax)
	byLane := make([][]ledger.Placement, n)
	for _, p := range placements {
		i := 0
		if n > 1 {
			i = int(maphash.Bytes(laneSeed, p.Job[:]) % uint64(n))
		}
		byLane[i] = append(byLane[i], p)
	}
	var lanes [][]ledger.Command
	for _, list := range byLane {
		var lane []ledger.Command
		for _, c := range placement.Commands(list) {
			lane = append(lane, c)
		}
		if len(lane) > 0 {
			lanes = append(lanes, lane)
		}
	}
	f, jobs := l.flight, l.trace(placements)
	l.propose(lanes, func(answers [][]answer) {
		f.landed = true
		for i, lane := range answers {
			for k, a := range lane {
				f.take(a)
				answered(l.metrics.placements, a.result)
				l.tracePlaced(jobs, lanes[i][k], a, f.began)
			}
		}
	})
}

// laneSeed makes jobs' lanes the same within a process, which nothing depends on.
var laneSeed = maphash.MakeSeed()

func (f *flight) take(a answer) {
	f.index = max(f.index, a.index)
	f.failed = f.failed || a.err != nil || a.result.Code != ledger.CodeOK
	for _, item := range a.result.Items {
		if item.Code == ledger.CodeOK {
			f.accepted++
		} else {
			f.refused++
		}
	}
}

// land ends a flight whose changes the backlog has taken in, and says when the
// next pass begins if that one has not brought an end.
func (l *lead) land(now time.Time) error {
	f := l.flight
	if f == nil || !f.landed || l.index < f.index {
		return nil
	}
	l.flight = nil
	repeat := f.refused > 0 || f.failed || l.waits.again
	switch {
	case !repeat:
		l.refused = 0
	case f.accepted > 0 && !f.failed:
		l.refused = 0
		l.wake(now, l.repeatCause(f))
	default:
		l.wake(now.Add(l.retryWait()), l.repeatCause(f))
		l.refused++
	}
	if f.accepted > 0 {
		l.waits.touched = true
	}
	return l.check(now)
}

func (l *lead) repeatCause(f *flight) string {
	if f.refused > 0 || f.failed {
		return wakeRetry
	}
	return wakeMore
}

// retryWait returns the wait after a pass that has brought nothing.
func (l *lead) retryWait() time.Duration {
	wait := l.config.RetryMin << min(l.refused, 30)
	if wait <= 0 || wait > l.config.RetryMax {
		return l.config.RetryMax
	}
	return wait
}
