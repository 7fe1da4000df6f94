package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/p2p/capacity"
)

// lookAgain is the least time between two looks at the board: a pass that begins
// sooner after the last one takes what that one has seen.
const lookAgain = 100 * time.Millisecond

// seats are the nodes as the board shows them.
type seats struct {
	of map[ledger.NodeID]*seat
	// last and next are when the board was looked at and will be.
	last, next time.Time
	// round numbers the looks.
	round uint64
	// flying says that changes of nodes' states are under way.
	flying bool
}

// seat is what is known of a node beside the ledger.
type seat struct {
	// given is what the operator gives, of which leases are not taken off.
	given         ledger.Resources
	diskBytes     uint64
	wait, busyFor time.Duration
	operator      string
	// allowed and denied are tenants, labelsAllowed and labelsDenied jobs' labels.
	allowed, denied             []ledger.TenantID
	labelsAllowed, labelsDenied []ledger.LabelRule
	// until is when the node is switched off, zero is not.
	until time.Time
	// wanted stands for what the operator wants, once it was heard; changed is when this
	// leader has seen that become another one, zero is that it has not.
	wanted                 string
	heard                  bool
	changed                time.Time
	raw                    []byte
	held                   placement.Filter
	at                     time.Time
	listedRound, nodeRound uint64
	// vanished is since when it has no offer to be believed, zero when it has one
	// or nobody has looked yet.
	vanished time.Time
}

// fresh reports whether the planner believes the seat's offer.
func (l *lead) fresh(s *seat, now time.Time) bool {
	return s != nil && s.listedRound == l.board.round && int64(now.Sub(s.at)) <= l.config.Params.OfferAgeNanosMax
}

// look takes in what the board shows, tells the ledger who has gone silent and who
// is back, and wakes what waits for an offer.
func (l *lead) look(now time.Time) {
	b := &l.board
	b.last, b.next = now, now.Add(l.config.BoardInterval)
	b.round++
	var better []ledger.NodeID
	for _, e := range l.config.Board.List() {
		id := ledger.NodeID(e.Node)
		s := b.of[id]
		if s == nil {
			s = &seat{}
			b.of[id] = s
		}
		was := *s
		l.read(s, e, now)
		s.listedRound = b.round
		back := l.brake.lostBy(id, was.at) && !l.brake.lostBy(id, s.at)
		if back || was.listedRound != b.round-1 || now.Sub(was.at) > time.Duration(l.config.Params.OfferAgeNanosMax) || s.beats(&was) {
			better = append(better, id)
		}
	}
	l.census(now)
	l.checkOffers(now, better)
}

// read takes an entry of the board into its seat.
func (l *lead) read(s *seat, e capacity.Entry, now time.Time) {
	o := &e.Offer
	s.given = ledger.Resources{MemoryBytes: o.MemoryBytes, FuelRate: o.FuelRate, Slots: o.Slots}
	s.diskBytes, s.wait, s.busyFor, s.at = o.DiskBytes, o.Wait, o.BusyFor, e.At
	s.listen(o.Labels, now)
	if sameBytes(s.raw, e.Held) {
		return
	}
	s.raw = e.Held
	var err error
	if s.held, err = placement.DecodeFilter(e.Held); err != nil {
		l.metrics.filters.Inc()
	}
}

// listen takes in what an operator wants.
func (s *seat) listen(labels []capacity.Label, now time.Time) {
	wanted := ""
	s.operator, s.allowed, s.denied, s.labelsAllowed, s.labelsDenied, s.until = "", nil, nil, nil, nil, time.Time{}
	for _, label := range labels {
		switch label.Key {
		case placement.SpreadOperator:
			s.operator = label.Value
		case capacity.LabelTenantAllowed:
			s.allowed = append(s.allowed, ledger.TenantID(label.Value))
		case capacity.LabelTenantDenied:
			s.denied = append(s.denied, ledger.TenantID(label.Value))
		case capacity.LabelJobLabelAllowed:
			s.labelsAllowed = append(s.labelsAllowed, ruleOf(label.Value))
		case capacity.LabelJobLabelDenied:
			s.labelsDenied = append(s.labelsDenied, ruleOf(label.Value))
		case capacity.LabelUntil:
			// What is no time comes from a later version, or from a liar.
			s.until, _ = time.Parse(time.RFC3339, label.Value)
		case capacity.LabelWanted:
			wanted = label.Value
		}
	}
	if s.heard && wanted != s.wanted {
		s.changed = now
	}
	s.wanted, s.heard = wanted, true
}

// ruleOf reads what an offer says of labels.
func ruleOf(text string) ledger.LabelRule {
	name, value, _ := strings.Cut(text, "=")
	return ledger.LabelRule{Name: name, Value: value}
}

// wants reports whether an operator lets a job's tasks in.
func (s *seat) wants(spec *ledger.JobSpec) bool {
	covers := func(r ledger.LabelRule) bool { return r.Covers(spec.Labels) }
	return !slices.Contains(s.denied, spec.Tenant) && (len(s.allowed) == 0 || slices.Contains(s.allowed, spec.Tenant)) &&
		!slices.ContainsFunc(s.labelsDenied, covers) && (len(s.labelsAllowed) == 0 || slices.ContainsFunc(s.labelsAllowed, covers))
}

// sameBytes reports whether a and b are the same memory.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// beats reports whether a seat offers more of something than it did, or to others.
func (s *seat) beats(was *seat) bool {
	return s.changed != was.changed || !s.until.Equal(was.until) || !slices.Equal(s.labelsAllowed, was.labelsAllowed) || !slices.Equal(s.labelsDenied, was.labelsDenied) ||
		!slices.Equal(s.allowed, was.allowed) || !slices.Equal(s.denied, was.denied) || !s.given.Fits(was.given) || s.diskBytes > was.diskBytes || !sameBytes(s.raw, was.raw)
}

// census notes who has vanished or is back, and proposes to tell.
func (l *lead) census(now time.Time) {
	b := &l.board
	settled := l.began.Add(l.config.SettleWait)
	states := map[ledger.NodeState][]ledger.NodeID{}
	for _, n := range l.backlog.Nodes() {
		s := b.of[n.ID]
		if s == nil {
			s = &seat{}
			b.of[n.ID] = s
		}
		s.nodeRound = b.round
		switch {
		case l.fresh(s, now):
			s.vanished = time.Time{}
			// A node that says that it goes has left an offer behind.
			if n.State == ledger.NodeUnreachable && s.at.After(l.local(n.Changed, now)) {
				states[ledger.NodeUp] = append(states[ledger.NodeUp], n.ID)
			}
			continue
		case now.Before(settled) && n.State != ledger.NodeUnreachable:
			continue
		case s.vanished.IsZero() || s.vanished.Before(l.local(n.Changed, now)) && n.State == ledger.NodeUp:
			s.vanished = l.lastSeen(n, s, now, settled)
			if l.waits.lifting {
				l.wake(now, wakeAvoid)
			}
		}
		if n.State == ledger.NodeUp && now.Sub(s.vanished) >= l.config.SilenceMax {
			states[ledger.NodeUnreachable] = append(states[ledger.NodeUnreachable], n.ID)
		}
	}
	maps.DeleteFunc(b.of, func(_ ledger.NodeID, s *seat) bool { return s.nodeRound != b.round && s.listedRound != b.round })
	l.setStates(states)
	l.weigh(now)
}

// lastSeen returns since when a node is without an offer to be believed: what
// happened before this leadership is not known but from the ledger.
func (l *lead) lastSeen(n *ledger.Node, s *seat, now, settled time.Time) time.Time {
	since := l.local(n.Changed, now)
	if n.State == ledger.NodeUp && since.Before(settled) {
		since = settled
	}
	if over := s.at.Add(time.Duration(l.config.Params.OfferAgeNanosMax)); !s.at.IsZero() && over.After(since) {
		since = over
	}
	return since
}

// setStates proposes new states of nodes. A node that is given up or back while
// others are under way has its turn at the next look.
func (l *lead) setStates(states map[ledger.NodeState][]ledger.NodeID) {
	if len(states) == 0 || l.board.flying {
		return
	}
	var commands []ledger.Command
	for _, state := range slices.SortedFunc(maps.Keys(states), func(a, b ledger.NodeState) int { return cmp.Compare(a, b) }) {
		ids := states[state]
		l.log.Info("nodes change their state", "state", state.String(), "nodes", len(ids), "first", ids[0])
		l.metrics.states.WithLabelValues(state.String()).Add(float64(len(ids)))
		for _, id := range ids {
			// What an operator has said meanwhile stands.
			from := ledger.NodeUp
			if state == ledger.NodeUp {
				from = ledger.NodeUnreachable
			}
			commands = append(commands, &ledger.SetNodeState{Node: id, State: state, From: []ledger.NodeState{from}})
		}
	}
	l.board.flying = true
	l.propose(inLanes(commands), func([][]answer) {
		l.board.flying = false
	})
}

// tell fills in what a plan needs to know of a node beside the ledger.
func (l *lead) tell(n *placement.Node) {
	for _, label := range n.Labels {
		if label.Name == placement.SpreadOperator {
			n.Operator = label.Value
		}
	}
	n.Reliability, n.Hold = placement.ReliabilityMax, l.roll.Hold(n.ID)
	s := l.board.of[n.ID]
	if s == nil || s.listedRound != l.board.round {
		return
	}
	if n.Operator == "" {
		n.Operator = s.operator
	}
	n.Offer = placement.Offer{At: l.stamp(s.at), Free: s.free(n.Node), Over: s.over(n.Node), DiskBytes: s.diskBytes, WaitNanos: int64(s.wait)}
	n.Held, n.Allow, n.Deny, n.AllowLabels, n.DenyLabels = s.held, s.allowed, s.denied, s.labelsAllowed, s.labelsDenied
	if !s.until.IsZero() {
		n.Offer.Until = stamp(s.until)
	}
	if !s.changed.IsZero() {
		n.Offer.Changed = l.stamp(s.changed)
	}
	if s.busyFor > 0 {
		n.BusyUntil = l.stamp(s.at.Add(s.busyFor))
	}
}

// over returns what the ledger's leases take beyond what the operator gives.
func (s *seat) over(n *ledger.Node) ledger.Resources {
	given := s.given
	given.ScratchBytes = n.Capacity.ScratchBytes
	return n.Reserved.Minus(given)
}

// free returns what the operator gives less what the ledger's leases take of it.
// An offer says nothing of scratch space: that is as the node was registered.
func (s *seat) free(n *ledger.Node) ledger.Resources {
	given := s.given
	given.ScratchBytes = n.Capacity.ScratchBytes
	return given.Minus(n.Reserved)
}
