package scheduler

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

const (
	// spareEndedPart is the part of a job's tasks of which more must have succeeded
	// before one of the others is taken for a straggler: one in so many.
	spareEndedPart = 2
	// spareLeasesMax bounds the leases of which a look for stragglers reads the job:
	// the others wait until there are fewer.
	spareLeasesMax = 4096
	// sparesAtOnce bounds the spares that one look places.
	sparesAtOnce = 64
)

// spares are second attempts that this leader has placed.
type spares struct {
	// flying says that placements are under way.
	flying bool
	// tried are the tasks, with their leases, that have had theirs: none gets
	// another one there.
	tried map[attempt]bool
}

// attempt is a task under a lease.
type attempt struct {
	node  ledger.NodeID
	epoch ledger.Epoch
	task  uint32
}

// straggler is a lease that has taken much longer than the tasks of its job that
// have ended.
type straggler struct {
	lease ledger.Lease
	*pace
}

// help, called at each look at the board, places second attempts at tasks that take long where they are, when
// nothing waits that could use the room.
func (l *lead) help(now time.Time) error {
	if l.spares.flying || l.flight != nil || l.backlog.Queued() > 0 || l.brake.grip != gripNone {
		return nil
	}
	list, err := l.stragglers(now)
	if err != nil || len(list) == 0 {
		return err
	}
	var placements []ledger.Placement
	free := l.rooms(now)
	for i := range list {
		s := &list[i]
		// A node begins with the first tasks of a lease.
		running, _ := s.lease.Open.Split(s.lease.Slots)
		running.Runs(func(first, end uint32) {
			for task := first; task < end && len(placements) < sparesAtOnce; task++ {
				at := attempt{s.lease.Node, s.lease.Epoch, task}
				if l.spares.tried[at] || s.left == 0 {
					continue
				}
				if node := free.choose(s); node != "" {
					l.spares.tried[at] = true
					s.left--
					placements = append(placements, ledger.Placement{
						Job: s.lease.Job, Start: task, Count: 1, Slots: 1, Node: node, Expiry: l.stamp(now) + ledger.Time(l.config.Lease), Spare: true,
					})
				}
			}
		})
	}
	if len(placements) == 0 {
		return nil
	}
	l.log.Info("second attempts are placed", "tasks", len(placements), "job", placements[0].Job, "node", placements[0].Node)
	l.spares.flying = true
	l.propose([][]ledger.Command{{&ledger.Place{Placements: placements}}}, func(answers [][]answer) {
		l.spares.flying = false
		for _, a := range answers[0] {
			answered(l.metrics.spares, a.result)
		}
	})
	return nil
}

// stragglers returns leases that take too long, of jobs that may have spares, and
// forgets what was tried of leases that have ended.
func (l *lead) stragglers(now time.Time) (list []straggler, err error) {
	maps.DeleteFunc(l.spares.tried, func(at attempt, _ bool) bool { return !l.roll.Has(at.node, at.epoch) })
	jobs := paces{}
	_, err = l.config.Ledger.View(func(tx ledger.Tx) error {
		read := 0
		for _, n := range l.backlog.Nodes() {
			for _, held := range l.roll.Of(n.ID) {
				elapsed := now.Sub(l.local(held.Granted, now))
				if elapsed <= l.config.SpareAfter {
					continue
				}
				if read++; read > spareLeasesMax {
					l.metrics.unread.Inc()
					return nil
				}
				p, err := jobs.read(tx, held.Job)
				if err != nil {
					return err
				}
				if p.mean == 0 {
					continue
				}
				lease, err := ledger.FindLease(tx, n.ID, held.Epoch)
				if err == nil && !lease.Spare && p.late(&lease, elapsed, &l.config) {
					list = append(list, straggler{lease, p})
				}
				if err != nil && !errors.Is(err, ledger.ErrNotFound) {
					return err
				}
			}
		}
		return nil
	})
	return list, err
}

// paces are those of the jobs that a look has come upon.
type paces map[ledger.JobID]*pace

// read reads a job's pace once.
func (p paces) read(tx ledger.Tx, id ledger.JobID) (*pace, error) {
	if is := p[id]; is != nil {
		return is, nil
	}
	is, err := readPace(tx, id)
	p[id] = is
	return is, err
}

// pace is how fast a job's tasks are.
type pace struct {
	spec  ledger.JobSpec
	bound []placement.Bound
	// left is how many more spares the job may have.
	left uint32
	// mean is the time of a task that has ended, zero when too few have, or the
	// job may have no further spare.
	mean time.Duration
}

// readPace reads a job's pace. The ledger has the sum of its attempts' times, so
// that a new leader knows as much as the one before.
func readPace(tx ledger.Tx, id ledger.JobID) (*pace, error) {
	p := &pace{}
	j, err := ledger.FindJob(tx, id)
	if err != nil {
		return nil, err
	}
	done := j.Tasks[ledger.TaskSucceeded]
	if j.State != ledger.JobActive || j.Pending > 0 || done <= j.Count/spareEndedPart {
		return p, nil
	}
	if p.spec, err = ledger.FindSpec(tx, id); err == nil && j.Spares < p.spec.SparesMax {
		if p.bound, err = placement.Bounds(tx, &p.spec); err != nil {
			return nil, err
		}
		p.left = p.spec.SparesMax - j.Spares
		p.mean = max(time.Duration(j.Usage.WallNanos/uint64(done)), 1)
	}
	return p, err
}

// late reports whether a lease has taken much longer than its tasks would, one
// after the other in its slots, at the pace of those that have ended.
func (p *pace) late(lease *ledger.Lease, elapsed time.Duration, c *Config) bool {
	if p.mean == 0 || lease.Slots == 0 {
		return false
	}
	rounds := (lease.Tasks.Count() + lease.Slots - 1) / lease.Slots
	return elapsed-c.SpareAfter > time.Duration(c.SpareFactor)*time.Duration(rounds)*p.mean
}

// rooms is what nodes have free.
type rooms struct {
	nodes []*ledger.Node
	free  map[ledger.NodeID]ledger.Resources
	seats map[ledger.NodeID]*seat
}

// rooms returns the nodes that are up and whose offers are to be believed.
func (l *lead) rooms(now time.Time) *rooms {
	r := &rooms{free: map[ledger.NodeID]ledger.Resources{}, seats: l.board.of}
	for _, n := range l.backlog.Nodes() {
		if s := l.board.of[n.ID]; n.State == ledger.NodeUp && l.fresh(s, now) {
			r.nodes = append(r.nodes, n)
			r.free[n.ID] = s.free(n)
		}
	}
	return r
}

// choose takes room for one task from the node that has the most slots free, and
// returns it; "" is that there is none.
func (r *rooms) choose(s *straggler) ledger.NodeID {
	var best *ledger.Node
	for _, n := range r.nodes {
		if n.ID == s.lease.Node || slices.Contains(s.lease.Avoid, n.ID) || !s.spec.Task.Fits(r.free[n.ID]) || !suits(n, &s.spec) || !given(n.ID, s.bound) ||
			!r.seats[n.ID].wants(&s.spec) {
			continue
		}
		if best == nil || r.free[n.ID].Slots > r.free[best.ID].Slots {
			best = n
		}
	}
	if best == nil {
		return ""
	}
	r.free[best.ID] = r.free[best.ID].Minus(s.spec.Task)
	return best.ID
}

// suits reports whether a node is what a job asks for.
func suits(n *ledger.Node, spec *ledger.JobSpec) bool {
	for _, c := range spec.Constraints {
		if !n.Meets(c) {
			return false
		}
	}
	for _, f := range spec.Features {
		if !n.Offers(f) {
			return false
		}
	}
	return true
}
