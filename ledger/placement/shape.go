package placement

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// shape is the jobs that the same nodes can take: what one of them has found out
// holds for the others.
type shape struct {
	key shapeKey
	// window are nodes that fitted when last looked at.
	window []int32
	walk   walk
	// visited counts steps of the walk, misses those since it last found a node.
	visited, misses int
	// evicted is set when a node was dropped from the window though it may fit.
	evicted bool
	// closed is set when the walk is over.
	closed bool
}

type shapeKey struct {
	pool int32
	task ledger.Resources
}

// walk visits the numbers below n in a pseudo-random order, over and over.
type walk struct {
	at, step, n int
}

func newWalk(n int, seed uint64) walk {
	if n < 2 {
		return walk{n: n}
	}
	h := mix(seed)
	w := walk{at: int(h % uint64(n)), step: 1 + int(mix(h)%uint64(n-1)), n: n}
	for gcd(w.step, n) != 1 {
		w.step = w.step%(n-1) + 1
	}
	return w
}

func (w *walk) next() int {
	at := w.at
	if w.at += w.step; w.at >= w.n {
		w.at -= w.n
	}
	return at
}

// mix scrambles x (the finalizer of SplitMix64: Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (s *shape) begin(k shapeKey, nodes int, seed uint64) {
	*s = shape{key: k, window: s.window[:0], walk: newWalk(nodes, seed), closed: nodes == 0}
}

// empty reports whether no node can take the shape any more.
func (s *shape) empty() bool { return s.closed && len(s.window) == 0 }

// placed lets other nodes into the window after n got a task, where emptier ones
// are to be found.
func (s *shape) placed(n int32, policy Policy) {
	if policy != Loose || s.closed {
		return
	}
	if i := slices.Index(s.window, n); i >= 0 {
		s.drop(i)
		s.evicted = true
	}
}

func (s *shape) drop(i int) {
	last := len(s.window) - 1
	s.window[i] = s.window[last]
	s.window = s.window[:last]
}

// refill walks on until the window has SampleSize nodes or there are no more.
func (p *Planner) refill(s *shape) {
	l := &p.pools[s.key.pool]
	if !s.closed && len(s.window) == 0 && l.hopeless(s.key.task) {
		s.closed = true
	}
	size := l.size()
	for !s.closed && (p.params.SampleSize == 0 || len(s.window) < p.params.SampleSize) {
		n := l.node(s.walk.next())
		again := s.visited >= size && slices.Contains(s.window, n)
		s.visited++
		s.misses++
		p.out.Stats.Visits++
		if !again && s.key.task.Fits(p.nodes[n].free) {
			s.window = append(s.window, n)
			s.misses = 0
		}
		s.closed = s.misses >= size || (s.visited >= size && !s.evicted) || p.looked(s)
	}
	if s.empty() && size > 0 && (!s.evicted || s.misses >= size) && s.visited >= min(size, p.params.LookMax) {
		l.fail(s.key.task)
	}
}

// looked reports whether the bounds allow no further step of the walk.
func (p *Planner) looked(s *shape) bool {
	return p.params.SampleSize > 0 && (s.visited >= p.params.LookMax ||
		(p.out.Stats.Visits >= p.params.PassLooksMax && s.visited >= p.params.SampleSize))
}
