package scheduler

import (
	"errors"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

// needsMax bounds the jobs of which preempts knows what they need.
const needsMax = 1 << 16

// preempts is the notices that this leader has given.
type preempts struct {
	// flying says that some are under way, index is that of the last answer: until the
	// picture has taken it in, no others are planned.
	flying bool
	index  uint64
	// needs are those of jobs with leases, which never change.
	needs map[ledger.JobID]need
}

// need is what a task of a job takes, and for which band.
type need struct {
	band uint8
	task ledger.Resources
}

// tenures returns what tells a plan of a node's leases, and where it notes what went
// wrong; nil while none may give way.
func (l *lead) tenures() (of func(ledger.NodeID, uint8) []placement.Tenure, failed *error) {
	failed = new(error)
	if l.preempts.flying || l.index < l.preempts.index || l.brake.grip != gripNone {
		return nil, failed
	}
	if len(l.preempts.needs) > needsMax || l.preempts.needs == nil {
		l.preempts.needs = map[ledger.JobID]need{}
	}
	return func(node ledger.NodeID, below uint8) (list []placement.Tenure) {
		_, err := l.config.Ledger.View(func(tx ledger.Tx) error {
			for _, held := range l.roll.Of(node) {
				t, err := l.tenure(tx, node, held, below)
				if err != nil && !errors.Is(err, ledger.ErrNotFound) {
					return err
				}
				if t.Slots > 0 {
					list = append(list, t)
				}
			}
			return nil
		})
		*failed = errors.Join(*failed, err)
		return list
	}, failed
}

// tenure reads a lease. One that need not give way to a job of the band, a spare and one
// that has ended have no slots to give.
func (l *lead) tenure(tx ledger.Tx, node ledger.NodeID, held ledger.Held, below uint8) (placement.Tenure, error) {
	n, known := l.preempts.needs[held.Job]
	if !known {
		spec, err := ledger.FindSpec(tx, held.Job)
		if err != nil {
			return placement.Tenure{}, err
		}
		n = need{spec.Band, spec.Task}
		l.preempts.needs[held.Job] = n
	}
	if n.band >= below && held.Notice == 0 {
		return placement.Tenure{}, nil
	}
	lease, err := ledger.FindLease(tx, node, held.Epoch)
	if err != nil || lease.Spare {
		return placement.Tenure{}, err
	}
	return placement.Tenure{
		Epoch: lease.Epoch, Band: n.band, Slots: lease.Slots, Task: n.task,
		Granted: lease.Granted, Notice: lease.Notice, Preempted: lease.Preempted,
	}, nil
}

// preempt proposes the notices of a plan, those for one job in one command.
func (l *lead) preempt(out *placement.Output, in *placement.Input, now time.Time) {
	if out.PreemptAt != 0 {
		l.wake(now.Add(max(time.Duration(out.PreemptAt-in.Now), l.config.RetryMin)), wakePreempt)
	}
	if len(out.Preemptions) == 0 {
		return
	}
	var commands []ledger.Command
	var last *ledger.Preempt
	leases := 0
	for _, p := range out.Preemptions {
		if last == nil || last.Job != p.Job {
			last = &ledger.Preempt{Job: p.Job}
			commands = append(commands, last)
		}
		last.Leases = append(last.Leases, p.Leases...)
		leases += len(p.Leases)
	}
	l.log.Info("leases give way to a higher band", "leases", leases, "job", out.Preemptions[0].Job, "node", out.Preemptions[0].Leases[0].Node)
	l.preempts.flying = true
	l.propose(inLanes(commands), func(answers [][]answer) {
		l.preempts.flying = false
		for _, lane := range answers {
			for _, a := range lane {
				l.preempts.index = max(l.preempts.index, a.index)
				answered(l.metrics.preemptions, a.result)
			}
		}
	})
}
