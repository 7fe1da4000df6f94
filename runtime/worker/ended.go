package worker

import (
	"time"
)

const (
	// endedMax bounds the tasks whose outcome a child keeps until its parent has
	// read it, and endedBytesMax their outcomes with all that they have put out. The
	// oldest is forgotten first: its parent has most probably read it.
	endedMax      = 1024
	endedBytesMax = 16 << 20
)

// endedTasks are the tasks whose outcome may not have been read, guarded by
// server.mu.
type endedTasks struct {
	tasks map[uint32]*childTask
	// order has them in the order in which they ended, and some that were forgotten.
	order []uint32
	bytes int
}

func (e *endedTasks) add(t *childTask) {
	e.tasks[t.id] = t
	e.order = append(e.order, t.id)
}

// weigh says how many bytes a task takes that was added, and forgets the oldest
// that are too much.
func (e *endedTasks) weigh(t *childTask, bytes int) {
	if e.tasks[t.id] == t {
		t.bytes = bytes
		e.bytes += bytes
	}
	for len(e.order) > endedMax || e.bytes > endedBytesMax && len(e.order) > 0 {
		oldest := e.order[0]
		e.order = e.order[1:]
		e.forget(oldest)
	}
}

// forget forgets a task, if it is here.
func (e *endedTasks) forget(id uint32) {
	t := e.tasks[id]
	if t == nil {
		return
	}
	e.bytes -= t.bytes
	delete(e.tasks, id)
	for len(e.order) > 0 && e.tasks[e.order[0]] == nil {
		e.order = e.order[1:]
	}
}

// begin reports whether the task is to run.
func (t *childTask) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.frozen = time.Now(), t.series.server.throttle.Frozen()
	return !t.dropped
}

// part is called when the parent is gone. A task that another one may have goes on.
func (t *childTask) part() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attached = false
	if t.away = t.keepable(); !t.away {
		t.dropped = true
		t.cancel()
		return
	}
	t.stdout.part()
	t.stderr.part()
	t.stdin.part()
	t.outbound.part()
}

// keepable reports whether the task may outlive its parent. t.mu is held.
func (t *childTask) keepable() bool {
	_, out := t.stdout.kept()
	_, errs := t.stderr.kept()
	return len(t.start.Key) > 0 && !t.begun.IsZero() && !t.dropped && out && errs
}

// leave takes a task that has ended from those that have not. From here on nothing
// that the parent sends reaches it.
func (s *server) leave(t *childTask) {
	t.mu.Lock()
	keep := t.keepable()
	t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, t.id)
	if keep {
		s.ended.add(t)
	}
}

// conclude keeps the outcome of a task that has left, and sends it, unless what it
// has put out is to be sent before.
func (s *server) conclude(t *childTask, outcome []byte, send func() error) error {
	if len(t.start.Key) == 0 {
		return send()
	}
	out, _ := t.stdout.kept()
	errs, _ := t.stderr.kept()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended.weigh(t, out+errs+len(outcome))
	}()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.outcome = outcome; t.away || t.dropped {
		return nil
	}
	return send()
}

// join is called when a parent has been sent all that the task has put out: from now
// on it hears of the task at once.
func (t *childTask) join(out *sender) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.attached || t.dropped {
		return nil // the parent is gone by now, or does not want it
	}
	t.away = false
	if t.outcome == nil {
		return nil
	}
	return out.send(frameOutcome, t.id, t.outcome)
}

// read forgets the tasks whose outcomes the parent has read.
func (s *server) read(ids []uint32) {
	if len(ids) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.ended.forget(id)
	}
}

// drop ends a task that was kept, and keeps nothing of it.
func (s *server) drop(t *childTask) {
	t.mu.Lock()
	t.dropped, t.away = true, false
	t.mu.Unlock()
	t.cancel()
	s.read([]uint32{t.id})
}

// find returns a task that has not ended, or whose outcome is kept.
func (s *server) find(id uint32) *childTask {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[id]; t != nil {
		return t
	}
	return s.ended.tasks[id]
}
