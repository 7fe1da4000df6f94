package scheduler

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/calendar"
)

const (
	// catchUpMax bounds the missed times that are made up for at once: the latest
	// ones. An order may have so many jobs that have not ended.
	catchUpMax = ledger.OrderJobsMax - 3
	// ordersRound bounds the orders that are looked at in one round; the others have
	// the next one, at once.
	ordersRound = 256
	// ordersPage is how many orders are read at a time.
	ordersPage = 1000
	// scanFirst is the first stretch of time that is searched for missed times.
	scanFirst = time.Hour
)

// orders are the cron orders that have not ended, and when they are due. The
// ledger decides about each run: what a leader proposes again does no harm.
type orders struct {
	of    map[ledger.OrderID]*standing
	queue dueQueue
	// landing are rounds whose commands are committed and not heard of yet.
	landing []landing
}

// landing is orders of which the ledger has decided at an index.
type landing struct {
	index uint64
	ids   []ledger.OrderID
}

// standing is an order. What it runs by is nil for a schedule or a zone that this
// version cannot read.
type standing struct {
	ledger.Order
	schedule *calendar.Schedule
	zone     *time.Location
	// due is when there is something to fire, zero for never; at is the order's place
	// in the queue, -1 for none.
	due time.Time
	at  int
	// flying says that runs are under way.
	flying bool
}

// readOrders reads all orders.
func (l *lead) readOrders(tx ledger.Tx) error {
	l.orders, l.daemons = orders{of: map[ledger.OrderID]*standing{}}, daemons{of: map[ledger.OrderID]*daemon{}}
	for after := (ledger.OrderID{}); ; {
		list, err := ledger.Orders(tx, after, ordersPage)
		if err != nil {
			return err
		}
		for i := range list {
			after = list[i].ID
			if err := l.keepOrder(tx, after, &list[i]); err != nil {
				return err
			}
		}
		if len(list) < ordersPage {
			l.countOrders()
			return nil
		}
	}
}

// hearOrder takes in a change of an order.
func (l *lead) hearOrder(key, value []byte) error {
	id, o, err := ledger.ReadOrder(key, value)
	if err != nil {
		return err
	}
	_, err = l.config.Ledger.View(func(tx ledger.Tx) error { return l.keepOrder(tx, id, o) })
	l.countOrders()
	return err
}

func (l *lead) countOrders() { l.metrics.orders.Set(float64(len(l.orders.of) + len(l.daemons.of))) }

// keepOrder takes an order in as it stands now; nil is one that was forgotten.
func (l *lead) keepOrder(tx ledger.Tx, id ledger.OrderID, o *ledger.Order) error {
	s := l.orders.of[id]
	switch {
	case o == nil || o.State == ledger.OrderEnded:
		if s != nil {
			l.orders.queue.put(s, time.Time{})
		}
		delete(l.orders.of, id)
		delete(l.daemons.of, id)
		return nil
	case o.Kind == ledger.OrderDaemon:
		return l.keepDaemon(tx, o)
	case s == nil:
		s = &standing{at: -1}
		s.read(o, l)
		l.orders.of[id] = s
	}
	s.Order, s.Runs = *o, nil
	l.plan(s, time.Now())
	return nil
}

// read reads when an order runs, which never changes.
func (s *standing) read(o *ledger.Order, l *lead) {
	var err error
	if s.schedule, err = calendar.Parse(o.Schedule); err == nil {
		s.zone, err = calendar.Zone(o.Zone)
	}
	if err != nil {
		s.schedule = nil
		l.log.Warn("an order never runs", "order", o.ID.String(), "err", err)
	}
}

// plan puts an order into the queue.
func (l *lead) plan(s *standing, now time.Time) {
	var due time.Time
	if s.schedule != nil && s.State == ledger.OrderActive && !s.flying {
		due = s.schedule.Next(s.since(now, l.config.LateMax), s.zone)
	}
	l.orders.queue.put(s, due)
}

// since returns the time behind which the order's next run is looked for.
func (s *standing) since(now time.Time, late time.Duration) time.Time {
	last := moment(s.LastAt)
	if early := now.Add(-late - 1); s.CatchUp == ledger.CatchUpNone && early.After(last) {
		return early
	}
	return last
}

// orderAt returns when an order is due, zero for never.
func (l *lead) orderAt() time.Time {
	if len(l.orders.queue) == 0 {
		return time.Time{}
	}
	return l.orders.queue[0].due
}

// order proposes the runs that are due, and goes on with the orders of which the
// ledger's decisions have been heard.
func (l *lead) order(now time.Time) {
	l.landOrders(now)
	var lanes [][]ledger.Command
	var ids []ledger.OrderID
	for len(l.orders.queue) > 0 && len(ids) < ordersRound && !now.Before(l.orders.queue[0].due) {
		s := l.orders.queue[0]
		firings := s.firings(now, l.config.LateMax)
		if len(firings) == 0 {
			// It has become too late meanwhile.
			l.plan(s, now)
			continue
		}
		s.flying = true
		l.orders.queue.put(s, time.Time{})
		lanes = addFirings(lanes, len(ids), firings)
		ids = append(ids, s.ID)
	}
	if len(ids) == 0 {
		return
	}
	l.propose(lanes, func(answers [][]answer) { l.ordered(ids, answers) })
}

// addFirings adds the firings of the nth order to a lane: those of one order stay in
// their order, those of several share commands.
func addFirings(lanes [][]ledger.Command, n int, firings []ledger.Firing) [][]ledger.Command {
	if len(lanes) < lanesMax {
		lanes = append(lanes, nil)
	}
	lane := &lanes[n%lanesMax]
	for len(firings) > 0 {
		var last *ledger.Fire
		if i := len(*lane); i > 0 {
			last = (*lane)[i-1].(*ledger.Fire)
		}
		if last == nil || len(last.Firings) == ledger.FiringsMax {
			last = &ledger.Fire{}
			*lane = append(*lane, last)
		}
		part := firings[:min(len(firings), ledger.FiringsMax-len(last.Firings))]
		last.Firings = append(last.Firings, part...)
		firings = firings[len(part):]
	}
	return lanes
}

// ordered takes the answers to a round. What was decided shows in the orders when
// their changes are heard; of what has no answer the ledger is asked again.
func (l *lead) ordered(ids []ledger.OrderID, answers [][]answer) {
	land := landing{ids: ids}
	for _, lane := range answers {
		for _, a := range lane {
			land.index = max(land.index, a.index)
			answered(l.metrics.runs, a.result)
		}
	}
	l.orders.landing = append(l.orders.landing, land)
}

// landOrders goes on with orders whose changes have been heard.
func (l *lead) landOrders(now time.Time) {
	l.orders.landing = slices.DeleteFunc(l.orders.landing, func(land landing) bool {
		if l.index < land.index {
			return false
		}
		for _, id := range land.ids {
			s := l.orders.of[id]
			if s == nil {
				continue
			}
			s.flying = false
			l.plan(s, now)
			// What is due still was not decided: by a ledger that does not answer, or
			// whose clock is behind.
			if !s.due.IsZero() && !now.Before(s.due) {
				l.orders.queue.put(s, now.Add(l.config.RetryMax))
			}
		}
		return true
	})
}

// firings returns the runs of an order that are due, the earliest first. Those that
// come with one that is made up for come after it, as it does after others.
func (s *standing) firings(now time.Time, late time.Duration) (list []ledger.Firing) {
	times := s.times(now)
	onTime, _ := slices.BinarySearchFunc(times, now.Add(-late), time.Time.Compare)
	from := onTime
	switch s.CatchUp {
	case ledger.CatchUpOne:
		if onTime == len(times) { // otherwise one on time will do
			from = max(onTime-1, 0)
		}
	case ledger.CatchUpAll:
		from = max(onTime-catchUpMax, 0)
	}
	for i := from; i < len(times); i++ {
		list = append(list, ledger.Firing{Order: s.ID, At: stamp(times[i]), Late: from < onTime})
	}
	if len(list) > 0 {
		list[0].Missed = uint32(min(from, ledger.MissedMax))
	}
	return list
}

// times returns the times of an order that are over and not decided about, in order:
// all of them, or so many that those before are not made up for.
func (s *standing) times(now time.Time) (list []time.Time) {
	last := moment(s.LastAt)
	for stretch := scanFirst; ; stretch *= 2 {
		from := now.Add(-stretch)
		if from.Before(last) {
			from = last
		}
		list = list[:0]
		for t := s.schedule.Next(from, s.zone); !t.IsZero() && !t.After(now); t = s.schedule.Next(t, s.zone) {
			list = append(list, t)
		}
		if !from.After(last) || len(list) > 2*catchUpMax {
			return list
		}
	}
}

// moment is a time of the ledger.
func moment(t ledger.Time) time.Time { return time.Unix(0, int64(t)) }

// dueQueue is the orders by when they are due.
type dueQueue []*standing

// put gives an order its place, or takes it out when it is never due.
func (q *dueQueue) put(s *standing, due time.Time) {
	s.due = due
	switch {
	case due.IsZero() && s.at >= 0:
		heap.Remove(q, s.at)
	case due.IsZero():
	case s.at >= 0:
		heap.Fix(q, s.at)
	default:
		heap.Push(q, s)
	}
}

// Len implements heap.Interface, as the next four do.
func (q dueQueue) Len() int { return len(q) }

func (q dueQueue) Less(i, j int) bool {
	return cmp.Or(q[i].due.Compare(q[j].due), slices.Compare(q[i].ID[:], q[j].ID[:])) < 0
}

func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push adds an order at the end.
func (q *dueQueue) Push(x any) {
	s := x.(*standing)
	s.at = len(*q)
	*q = append(*q, s)
}

// Pop takes the last order away.
func (q *dueQueue) Pop() any {
	n := len(*q) - 1
	s := (*q)[n]
	s.at = -1
	(*q)[n] = nil
	*q = (*q)[:n]
	return s
}
