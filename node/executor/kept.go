package executor

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// Orphans are tasks that an earlier process has begun and that have not ended with
// it: Sandbox.RunSeries goes on with one whose key it is given.
type Orphans interface {
	// Kept returns their keys.
	Kept() []string
	// Discard ends one that is not to go on. Nothing is told of it.
	Discard(key string)
}

// taskKey names an attempt at a task: it is the same for whoever takes the lease up
// again, and never that of another attempt.
type taskKey struct {
	job     ledger.JobID
	epoch   ledger.Epoch
	attempt uint32
	index   uint32
}

// taskKeyBytes is the length of an encoded key: the job, then numbers in big-endian
// order.
const taskKeyBytes = len(ledger.JobID{}) + 8 + 4 + 4

func (k taskKey) encode() string {
	b := append(make([]byte, 0, taskKeyBytes), k.job[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(k.epoch))
	b = binary.BigEndian.AppendUint32(b, k.attempt)
	return string(binary.BigEndian.AppendUint32(b, k.index))
}

// decodeTaskKey reports false for what encode does not make.
func decodeTaskKey(text string) (k taskKey, ok bool) {
	b := []byte(text)
	if len(b) != taskKeyBytes {
		return taskKey{}, false
	}
	n := copy(k.job[:], b)
	k.epoch = ledger.Epoch(binary.BigEndian.Uint64(b[n:]))
	k.attempt, k.index = binary.BigEndian.Uint32(b[n+8:]), binary.BigEndian.Uint32(b[n+12:])
	return k, true
}

// findKept looks up what an earlier process has begun. What is none of this
// executor's is ended.
func (e *Executor) findKept() {
	if e.config.Orphans == nil {
		return
	}
	for _, text := range e.config.Orphans.Kept() {
		k, ok := decodeTaskKey(text)
		if !ok {
			e.config.Orphans.Discard(text)
			continue
		}
		e.kept[k.epoch] = append(e.kept[k.epoch], k)
	}
	e.keptUntil = time.Now().Add(e.config.Lease)
}

// claim has the tasks of a new lease that an earlier process has begun go on before
// the others begin. Those that have ended for the ledger are ended. The caller holds
// e.mu.
func (l *lease) claim(id ledger.JobID) {
	e := l.e
	for _, k := range e.kept[l.epoch] {
		if k.job != id || k.attempt != l.attempt || !l.todo.Has(k.index) {
			e.config.Orphans.Discard(k.encode())
			continue
		}
		l.todo = l.todo.Minus(l.todo.Within(k.index, k.index+1))
		l.popped = append(l.popped, k.index)
		l.kept = append(l.kept, k)
	}
	delete(e.kept, l.epoch)
	slices.Sort(l.popped)
	if len(l.kept) > 0 {
		e.metrics.kept.Add(float64(len(l.kept)))
		e.log.Info("tasks of an earlier process go on", "epoch", l.epoch, "job", id, "tasks", len(l.kept))
	}
}

// letGo ends the tasks of a lease that an earlier process has begun and that nobody
// waits for. The caller holds e.mu.
func (l *lease) letGo() {
	for _, k := range l.kept {
		l.e.config.Orphans.Discard(k.encode())
	}
	l.kept = nil
}

// key is what a later process knows the lease's attempt at a task by.
func (l *lease) key(index uint32) string {
	return taskKey{l.job.id, l.epoch, l.attempt, index}.encode()
}

// begin says that a series is about to be given to the sandbox.
func (l *lease) begin(s *series) {
	s.run = rand.Uint64() | 1
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	for i := range s.tasks {
		if len(l.kept) == 0 {
			break
		}
		had := len(l.kept)
		l.kept = slices.DeleteFunc(l.kept, func(k taskKey) bool { return k.index == s.ends[i].index })
		if len(l.kept) < had {
			s.run = 0
		}
	}
	l.series[s] = struct{}{}
	l.feed.wake()
}

// over says that the sandbox is done with a series.
func (l *lease) over(s *series) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	delete(l.series, s)
}

// expireKept ends the tasks whose lease has not shown up in time: it has run out by
// then, as nobody has renewed it.
func (e *Executor) expireKept(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.kept) == 0 || now.Before(e.keptUntil) {
		return
	}
	for _, list := range e.kept {
		for _, k := range list {
			e.config.Orphans.Discard(k.encode())
		}
	}
	clear(e.kept)
}
