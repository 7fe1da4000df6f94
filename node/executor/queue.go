package executor

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/dugnad/dugnad/ledger"
)

// joinMax is how many entries of the queue one report may join to at most
// ledger.ItemsMax runs.
const joinMax = 8 * ledger.ItemsMax

// queue holds the runs that wait for the ledger, in memory and in the journal.
type queue struct {
	max int64

	mu      sync.Mutex
	journal *journal
	waiting []entry
	bytes   int64
	// tasks are those of the entries.
	tasks uint64
	// busy says that a report is under way, of the first entries.
	busy bool
	// pushed and moved hold an element after entries came, and after the ledger
	// took some.
	pushed, moved chan struct{}
}

func newQueue(j *journal, waiting []entry, most int64) *queue {
	q := &queue{journal: j, waiting: waiting, max: most, pushed: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
	for i := range waiting {
		q.bytes += waiting[i].bytes
		q.tasks += uint64(waiting[i].run.Count)
	}
	if len(waiting) > 0 {
		notify(q.pushed)
	}
	return q
}

// push puts runs at the end. Unless it must, it returns ErrJournalFull when there
// is no room for them. Any other error says that they are in memory only.
func (q *queue) push(list []entry, must bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := int64(len(encodeRuns(nil, list)))
	if q.bytes > 0 && q.bytes+size > q.max && !must {
		return fmt.Errorf("%w: %d bytes wait, %d more, at most %d", ErrJournalFull, q.bytes, size, q.max)
	}
	q.waiting = append(q.waiting, list...)
	q.bytes += size
	for i := range list {
		q.tasks += uint64(list[i].run.Count)
	}
	err := q.journal.append(q.waiting, len(list))
	notify(q.pushed)
	return err
}

// batch is a report of the first n entries of a queue. It stays as it is until
// the ledger has answered it: a run that may have been counted must not be
// joined with one that was not.
type batch struct {
	n      int
	report ledger.Report
	// jobs has the job of each lease of the report.
	jobs []ledger.JobID
}

// next returns the next batch, or nil when nothing waits.
func (q *queue) next(node ledger.NodeID) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy = len(q.waiting) > 0; !q.busy {
		return nil
	}
	n := min(len(q.waiting), joinMax)
	list := join(q.waiting[:n])
	if len(list) > ledger.ItemsMax {
		n = min(n, ledger.ItemsMax)
		list = join(q.waiting[:n])
	}
	b := &batch{n: n, report: ledger.Report{Node: node}}
	for _, e := range list {
		if last := len(b.report.Leases) - 1; last < 0 || b.report.Leases[last].Epoch != e.epoch {
			b.report.Leases = append(b.report.Leases, ledger.LeaseReport{Epoch: e.epoch})
			b.jobs = append(b.jobs, e.job)
		}
		l := &b.report.Leases[len(b.report.Leases)-1]
		l.Runs = append(l.Runs, e.run)
	}
	return b
}

// taken drops the entries of a batch that the ledger has answered.
func (q *queue) taken(b *batch) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.waiting[:b.n] {
		q.bytes -= q.waiting[i].bytes
		q.tasks -= uint64(q.waiting[i].run.Count)
	}
	q.waiting = slices.Delete(q.waiting, 0, b.n)
	if len(q.waiting) == 0 && cap(q.waiting) > joinMax {
		q.waiting = nil
	}
	err := q.journal.take(b.n, q.waiting, q.bytes)
	q.busy = false
	notify(q.moved)
	return err
}

// idle reports whether no report is under way.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.busy && len(q.waiting) == 0
}

// size returns how many runs wait.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// show sets the metrics to what waits now.
func (q *queue) show(m *metrics) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m.waiting.Set(float64(len(q.waiting)))
	m.untold.Set(float64(q.tasks))
	m.journal.Set(float64(q.journal.size))
}

// join returns the runs of a list by lease and task. Runs beside each other that
// ended alike and have no result become one.
func join(list []entry) []entry {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.run.First, b.run.First))
	})
	n := 0
	for i := range out {
		if n > 0 && out[n-1].joins(&out[i]) {
			out[n-1].run.Count += out[i].run.Count
			out[n-1].run.Usage = sum(out[n-1].run.Usage, out[i].run.Usage)
			out[n-1].next = out[i].next
			continue
		}
		out[n] = out[i]
		n++
	}
	return out[:n]
}

// joins reports whether f continues e.
func (e *entry) joins(f *entry) bool {
	return e.epoch == f.epoch && !e.whole && !f.whole && e.next == f.run.First &&
		e.run.State == f.run.State && e.run.Exit == f.run.Exit && e.run.Terminal == f.run.Terminal &&
		e.run.Digest == [32]byte{} && f.run.Digest == [32]byte{}
}

// sum adds usage up to the largest number.
func sum(a, b ledger.Usage) ledger.Usage {
	add := func(x, y uint64) uint64 {
		if x+y < x {
			return ^uint64(0)
		}
		return x + y
	}
	return ledger.Usage{
		Fuel:              add(a.Fuel, b.Fuel),
		MemoryByteSeconds: add(a.MemoryByteSeconds, b.MemoryByteSeconds),
		WallNanos:         add(a.WallNanos, b.WallNanos),
		EgressBytes:       add(a.EgressBytes, b.EgressBytes),
	}
}

// close closes the journal and leaves it as it is.
func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.journal.close()
}

// notify leaves one element in the channel.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
