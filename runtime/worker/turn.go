package worker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

const (
	// turnTick is how long the outcomes of a series may wait for company.
	turnTick = 5 * time.Millisecond
	// turnTicks is for how many ticks one task may keep those behind it waiting:
	// then they are given back.
	turnTicks = 4
)

// childSeries is the child's side of tasks that run one after the other.
type childSeries struct {
	server *server
	// arrived has one element after waiting or more changed.
	arrived chan struct{}

	mu      sync.Mutex
	waiting []*childTask
	// more says that further tasks are to come, returned that nothing behind the
	// task that runs is to begin, ended that nothing runs any more.
	more, returned, ended bool
	// turn counts the tasks that have begun; idle is for how many ticks it has
	// not changed, since it was seen.
	turn, seen, idle int
	ticker           *time.Timer
}

// queue puts a task behind those of the open series, or begins one with it. It
// is called by the reading goroutine alone.
func (s *server) queue(ctx context.Context, t *childTask, more bool) {
	q := s.open
	if q == nil {
		q = &childSeries{server: s, arrived: make(chan struct{}, 1)}
		defer s.work.Go(func() { q.run(ctx) })
	}
	if s.open = nil; more {
		s.open = q
	}
	t.series = q
	if !q.add(t, more) {
		s.giveBack(t)
	}
}

// add puts a task at the end; it reports false when it is not to begin.
func (q *childSeries) add(t *childTask, more bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.more = more; q.returned {
		notify(q.arrived)
		return false
	}
	q.waiting = append(q.waiting, t)
	notify(q.arrived)
	return true
}

// run runs the tasks and sends their outcomes, the last one at once.
func (q *childSeries) run(ctx context.Context) {
	for t := q.next(ctx); t != nil; t = q.next(ctx) {
		o := q.server.run(t)
		q.server.noteSendError(q.conclude(t, &o))
	}
	q.server.noteSendError(q.server.out.flush())
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	if q.ticker != nil {
		q.ticker.Stop()
	}
}

// next waits for the next task; nil is that there is none.
func (q *childSeries) next(ctx context.Context) *childTask {
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			t := q.waiting[0]
			q.waiting = q.waiting[1:]
			q.turn++
			if q.ticker == nil && (q.more || len(q.waiting) > 0) {
				q.ticker = time.AfterFunc(turnTick, q.tick)
			}
			q.mu.Unlock()
			return t
		}
		more := q.more
		q.mu.Unlock()
		if !more {
			return nil
		}
		// The parent sends a series in one piece.
		select {
		case <-q.arrived:
		case <-ctx.Done():
			return nil
		}
	}
}

// conclude keeps an outcome, if it is one to keep, and sends it.
func (q *childSeries) conclude(t *childTask, o *task.Outcome) error {
	payload, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return q.server.conclude(t, payload, func() error { return q.send(t.id, payload) })
}

// send sends an outcome, which may wait while further tasks follow.
func (q *childSeries) send(id uint32, payload []byte) error {
	q.mu.Lock()
	last := !q.more && len(q.waiting) == 0
	q.mu.Unlock()
	if last {
		return q.server.out.send(frameOutcome, id, payload)
	}
	return q.server.out.hold(frameOutcome, id, payload)
}

// tick sends the outcomes that are held, and gives back the tasks that wait for
// one that takes long.
func (q *childSeries) tick() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	if q.idle++; q.turn != q.seen {
		q.seen, q.idle = q.turn, 0
	}
	if q.idle < turnTicks {
		q.ticker.Reset(turnTick)
	} else {
		q.returned = true
		for _, t := range q.waiting {
			q.server.giveBack(t)
		}
		q.waiting = nil
	}
	q.server.noteSendError(q.server.out.flush())
}

// cut gives back the tasks that have not begun: there is nobody to tell how they
// would end.
func (q *childSeries) cut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.waiting {
		q.server.giveBack(t)
	}
	q.waiting, q.more, q.returned = nil, false, true
	notify(q.arrived)
}

// giveBack says that a task has not begun and will not.
func (s *server) giveBack(t *childTask) {
	t.cancel()
	s.forget(t)
	s.noteSendError(s.out.send(frameReturned, t.id, nil))
}
