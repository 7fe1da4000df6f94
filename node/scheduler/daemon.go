package scheduler

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

const (
	// daemonsRound bounds the jobs of daemons that are made or stopped in one round.
	daemonsRound = 256
	// seatsPage is how many seats are read at a time.
	seatsPage = 1000
)

// daemons are the daemon orders that have not ended, with their seats. Nodes that come
// and go are seen at each look at the board.
type daemons struct {
	of map[ledger.OrderID]*daemon
	// next is when to look again, zero at once.
	next time.Time
	// flying says that a round is under way, index is that of its answers.
	flying, landed bool
	index          uint64
}

// daemon is an order that wants a job on each node that meets its constraints.
type daemon struct {
	state       ledger.OrderState
	constraints []ledger.Constraint
	seats       map[ledger.NodeID]*ledger.Seat
	// stopped are the jobs that were asked to stop.
	stopped map[ledger.JobID]bool
}

// keepDaemon takes a daemon in as it stands now.
func (l *lead) keepDaemon(tx ledger.Tx, o *ledger.Order) error {
	l.daemons.next = time.Time{}
	if d := l.daemons.of[o.ID]; d != nil {
		d.state = o.State
		return nil
	}
	spec, err := ledger.FindOrderSpec(tx, o.ID)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil // The view is newer, and has forgotten it: that is heard next.
	}
	if err != nil {
		return err
	}
	d := &daemon{state: o.State, constraints: spec.Constraints, seats: map[ledger.NodeID]*ledger.Seat{}, stopped: map[ledger.JobID]bool{}}
	l.daemons.of[o.ID] = d
	for after := ledger.NodeID(""); ; {
		list, err := ledger.Seats(tx, o.ID, after, seatsPage)
		for i := range list {
			after = list[i].Node
			d.seats[after] = &list[i]
		}
		if err != nil || len(list) < seatsPage {
			return err
		}
	}
}

// hearSeat takes in a change of a seat.
func (l *lead) hearSeat(key, value []byte) error {
	order, node, s, err := ledger.ReadSeat(key, value)
	d := l.daemons.of[order]
	if err != nil || d == nil {
		return err
	}
	l.daemons.next = time.Time{}
	if was := d.seats[node]; was != nil && (s == nil || s.Job != was.Job || !s.Open) {
		delete(d.stopped, was.Job)
	}
	if d.seats[node] = s; s == nil {
		delete(d.seats, node)
	}
	return nil
}

// daemonAt returns when to look at daemons next, zero for never.
func (l *lead) daemonAt() time.Time {
	d := &l.daemons
	switch {
	case len(d.of) == 0 || d.flying && (!d.landed || l.index < d.index):
		return time.Time{}
	case d.next.IsZero():
		return l.began // long ago: at once
	}
	return d.next
}

// daemon proposes the jobs that daemons lack, and to stop those on nodes that are to
// have none.
func (l *lead) daemon(now time.Time) {
	if at := l.daemonAt(); at.IsZero() || now.Before(at) {
		return
	}
	d := &l.daemons
	d.flying, d.next = false, now.Add(l.config.BoardInterval)
	var firings []ledger.Firing
	var commands []ledger.Command
	for _, id := range slices.SortedFunc(maps.Keys(d.of), func(a, b ledger.OrderID) int { return bytes.Compare(a[:], b[:]) }) {
		if len(firings)+len(commands) >= daemonsRound {
			d.next = time.Time{}
			break
		}
		f, c := d.of[id].lacks(id, l.backlog.Nodes(), l.stamp(now), daemonsRound)
		firings, commands = append(firings, f...), append(commands, c...)
	}
	for part := range slices.Chunk(firings, ledger.FiringsMax) {
		commands = append(commands, &ledger.Fire{Firings: part})
	}
	if len(commands) == 0 {
		return
	}
	d.flying, d.landed = true, false
	l.propose(inLanes(commands), l.daemonsAnswered)
}

// daemonsAnswered takes the answers to a round. Jobs that may not have been stopped
// are asked again when the ledger does not answer.
func (l *lead) daemonsAnswered(answers [][]answer) {
	d := &l.daemons
	d.landed = true
	for _, lane := range answers {
		for _, a := range lane {
			answered(l.metrics.runs, a.result)
			d.index = max(d.index, a.index)
			if a.err == nil {
				continue
			}
			d.next = time.Now().Add(l.config.RetryMax)
			for _, o := range d.of {
				clear(o.stopped)
			}
		}
	}
}

// lacks returns up to limit firings for nodes that lack a job, and commands to stop
// those that must have none. A node that is silent keeps its job: it may still run.
func (d *daemon) lacks(id ledger.OrderID, nodes []*ledger.Node, now ledger.Time, limit int) (firings []ledger.Firing, stops []ledger.Command) {
	if d.state != ledger.OrderActive {
		return nil, nil
	}
	keep := make(map[ledger.NodeID]bool, len(nodes))
	for _, n := range nodes {
		own := ledger.Constraint{Label: ledger.LabelNode, Value: string(n.ID)}
		meets := n.Meets(own) && !slices.ContainsFunc(d.constraints, func(c ledger.Constraint) bool { return !n.Meets(c) })
		keep[n.ID] = meets && n.State == ledger.NodeUp || n.State == ledger.NodeUnreachable
		s := d.seats[n.ID]
		free := s == nil || !s.Open && s.NotBefore <= now
		if meets && n.State == ledger.NodeUp && free && len(firings) < limit {
			firings = append(firings, ledger.Firing{Order: id, Node: n.ID})
		}
	}
	for _, node := range slices.Sorted(maps.Keys(d.seats)) {
		if s := d.seats[node]; s.Open && !keep[node] && !d.stopped[s.Job] && len(stops) < limit {
			d.stopped[s.Job] = true
			stops = append(stops, &ledger.Cancel{Job: s.Job})
		}
	}
	return firings, stops
}
