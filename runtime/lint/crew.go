package lint

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// What is read by several goroutines, and by how many. The memory of the estimate
// is shared among them: see entriesMax.
const (
	crewBytes   = 64 << 10 // the least size of all bodies
	crewMax     = 4
	stretchSize = 16 << 10 // bytes of bodies that one takes at a time
)

// crewSize returns how many goroutines read bodies of so many bytes.
func crewSize(bytes int) int {
	if bytes < crewBytes {
		return 1
	}
	return min(runtime.GOMAXPROCS(0), crewMax)
}

// stretch is a run of bodies: those of the functions from first to the one before
// end.
type stretch struct {
	first, end int
	bodies     wasm.Reader
}

// crew reads stretches of a code section.
type crew struct {
	stretches []stretch
	estimates []estimate // of all functions
	next      atomic.Int64
	failed    atomic.Bool
	wait      sync.WaitGroup
}

// readTogether reads all bodies by several goroutines. It reports false, and has
// changed nothing, when one of them may have to be refused: what is said then, and
// whether, depends on what came before, so they are read again, one by one.
func (c *checker) readTogether(r *wasm.Reader, n, readers int) bool {
	from := *r
	w := crew{estimates: make([]estimate, n)}
	if !w.split(r, n) {
		*r = from
		return false
	}
	members := make([]checker, readers)
	for i := range members {
		m := &members[i]
		*m = *c
		m.report, m.cost, m.body = Report{MutableGlobals: c.report.MutableGlobals}, cost{}, body{}
		m.cost.crew = readers
		w.wait.Go(func() { w.work(m) })
	}
	w.wait.Wait()
	if w.failed.Load() || !c.take(members, w.estimates) {
		*r = from
		return false
	}
	return true
}

// split cuts the bodies into stretches.
func (w *crew) split(r *wasm.Reader, n int) bool {
	from := *r
	for i, first := 0, 0; i < n; i++ {
		size, err := r.U32()
		if err != nil {
			return false
		}
		if _, err := r.Bytes(size); err != nil {
			return false
		}
		if r.Offset()-from.Offset() >= stretchSize || i == n-1 {
			sub, _ := from.Sub(uint32(r.Offset() - from.Offset()))
			w.stretches = append(w.stretches, stretch{first, i + 1, sub})
			from, first = *r, i+1
		}
	}
	return true
}

// work reads one stretch after the other.
func (w *crew) work(m *checker) {
	for !w.failed.Load() {
		i := int(w.next.Add(1) - 1)
		if i >= len(w.stretches) {
			return
		}
		s := w.stretches[i]
		err := m.readBodies(&s.bodies, s.first, s.end, func(f, _ int) error {
			w.estimates[f] = m.cost.estimate(m)
			if m.cost.full {
				w.failed.Store(true)
			}
			return nil
		})
		if err != nil {
			w.failed.Store(true)
		}
	}
}

// take adds up what the members have counted, in the order of the functions. It
// reports false, and has changed nothing, when that is more than is allowed.
func (c *checker) take(members []checker, estimates []estimate) bool {
	sum := *c
	sum.cost.grant(c)
	for i, e := range estimates {
		sum.function = c.funcImports + i
		if e.steps > sum.cost.stepsMax() || sum.cost.book(&sum, 0, e) != nil {
			return false
		}
	}
	for i := range members {
		sum.report.addCode(&members[i].report)
	}
	if uint64(sum.report.LocalsTotal) > uint64(c.limits.LocalsTotal) {
		return false
	}
	c.report, c.cost, c.function = sum.report, sum.cost, -1
	return true
}

// addCode adds what was counted in other bodies.
func (r *Report) addCode(o *Report) {
	r.CodeBytes += o.CodeBytes
	r.Instructions += o.Instructions
	r.Blocks += o.Blocks
	r.Loops += o.Loops
	r.LocalsTotal += o.LocalsTotal
	r.BodyBytesMax = max(r.BodyBytesMax, o.BodyBytesMax)
	r.LocalsMax = max(r.LocalsMax, o.LocalsMax)
	r.NestingMax = max(r.NestingMax, o.NestingMax)
	r.OperandsMax = max(r.OperandsMax, o.OperandsMax)
	r.BrTableMax = max(r.BrTableMax, o.BrTableMax)
	r.SIMD = r.SIMD || o.SIMD
}
