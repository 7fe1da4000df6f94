package meter

import (
	"math"
	"math/bits"
)

// segment is a straight piece of code. Fuel is taken off the state in one place
// in it, and in another behind its last call.
type segment struct {
	kind segmentKind
	// fuel is the cost of its instructions.
	fuel int32
	// in and out are the junctions before and behind it.
	in, out int32
	// calls is set when something in it looks at the state: it must be exact.
	calls bool
	// trap is set when it ends in a trap.
	trap bool
	// late is set when it is charged where it first uses the state, and not at
	// its beginning, and free when the state is changed there anyway.
	late, free bool
	// back is 1 + the point behind its last call, or 0.
	back int32
	// runs is a guess of how often it runs in onceRuns calls of the function.
	runs int64
}

// segmentKind says what precedes a segment.
type segmentKind uint8

const (
	segmentPlain segmentKind = iota
	segmentEntry
	segmentLoop
	segmentCheck
)

// junction is a set of edges between segments: all that leave the same segment
// or reach the same one belong to it. What has been charged ahead of its time is
// therefore the same on each of them: see DESIGN.md, "Charges move".
type junction struct {
	parent int32
	// ahead is the fuel that is charged ahead on these edges, beyond what is
	// charged ahead at the parent.
	ahead int32
	// exact is set where nothing may be charged ahead.
	exact bool
}

// flow is the graph of a function's segments.
type flow struct {
	segments  []segment
	junctions []junction
	links     links
	// entry is the segment that is checked after its charge, or -1.
	entry int32
}

// exactly is the junction where nothing is charged ahead: those that must be
// exact are joined to it. It stays a root.
const exactly = 0

func (g *flow) reset() {
	g.segments, g.entry = g.segments[:0], -1
	g.junctions = append(g.junctions[:0], junction{exact: true})
}

// junction returns a new one.
func (g *flow) junction() int32 {
	i := int32(len(g.junctions))
	g.junctions = append(g.junctions, junction{parent: i})
	return i
}

// root returns the junction that j has been joined to, and what is charged ahead
// at j beyond what is charged ahead there.
func (g *flow) root(j int32) (root, ahead int32) {
	for k := &g.junctions[j]; k.parent != j; k = &g.junctions[j] {
		if p := &g.junctions[k.parent]; p.parent != k.parent {
			k.parent, k.ahead = p.parent, k.ahead+p.ahead
		}
		ahead += k.ahead
		j = k.parent
	}
	return j, ahead
}

func (g *flow) at(j int32) *junction {
	j, _ = g.root(j)
	return &g.junctions[j]
}

// join makes two junctions one.
func (g *flow) join(a, b int32) { g.tie(a, b, 0) }

// tie joins two junctions so that more is charged ahead at a than at b. It does
// nothing when they have been joined before.
func (g *flow) tie(a, b, more int32) {
	a, aheadA := g.root(a)
	b, aheadB := g.root(b)
	if a == b {
		return
	}
	more += aheadB - aheadA
	if a == exactly {
		a, b, more = b, a, -more
	}
	x, y := &g.junctions[a], &g.junctions[b]
	x.parent, x.ahead = b, more
	y.exact = y.exact || x.exact
}

// add begins a segment behind junction in, and returns its index.
func (g *flow) add(kind segmentKind, in int32, runs int64) int32 {
	s := segment{kind: kind, in: in, out: g.junction(), runs: runs}
	if kind != segmentPlain {
		g.at(in).exact = true
	}
	g.segments = append(g.segments, s)
	return int32(len(g.segments) - 1)
}

// settle decides what is charged ahead at each junction. Any numbers would do
// that are zero where they must be. Segments are edges between junctions, and a
// forest of them can do without a charge: the one that saves most is found as
// Kruskal did (Proceedings of the AMS 7, 1956).
func (g *flow) settle() {
	for j := range g.junctions {
		if k := &g.junctions[j]; int(k.parent) == j && k.exact {
			g.tie(int32(j), exactly, 0)
		}
	}
	if g.entry >= 0 && !g.segments[g.entry].calls {
		out := g.segments[g.entry].out
		g.tie(out, exactly, g.least(out))
	}
	for i := range g.segments {
		// An empty segment should not get a charge by this.
		if s := &g.segments[i]; s.fuel == 0 && !s.calls && !s.trap {
			g.join(s.in, s.out)
		}
	}
	g.links.reset(len(g.segments))
	for i := len(g.segments) - 1; i >= 0; i-- {
		switch s := &g.segments[i]; {
		case s.calls:
			g.offer(s.in, exactly, s.fuel, s.weight())
			if !s.trap {
				g.offer(exactly, s.out, 0, lateChargeBytes*s.often())
			}
		case !s.trap:
			g.offer(s.in, s.out, s.fuel, s.weight())
		}
	}
	for _, l := range g.links.heaviestFirst() {
		g.tie(l.a, l.b, l.more)
	}
}

// What a charge takes, in bytes: at the beginning of a segment, and where the
// state is on the stack.
const (
	chargeBytes     = 7
	lateChargeBytes = 3
)

// often is how much the time of segment s counts: 1 outside of loops, and one more
// for each time that its number of runs doubles.
func (s *segment) often() int64 { return max(1, int64(bits.Len64(uint64(s.runs/onceRuns)))) }

// weight is how much is saved when segment s needs no charge: bytes, and time
// where it is likely to run often.
func (s *segment) weight() int64 {
	switch {
	case s.free:
		return 0
	case s.late:
		return lateChargeBytes * s.often()
	}
	return chargeBytes * s.often()
}

// offer adds a link between the roots of two junctions.
func (g *flow) offer(a, b, more int32, weight int64) {
	a, aheadA := g.root(a)
	b, aheadB := g.root(b)
	more += aheadB - aheadA
	switch {
	case a == b:
	case a > b:
		g.links.add(link{b, a, -more, weight})
	default:
		g.links.add(link{a, b, more, weight})
	}
}

// least returns the smallest fuel of a segment behind junction j: that much can
// be charged ahead before a check, which must not see what may not be burnt.
func (g *flow) least(j int32) int32 {
	j, _ = g.root(j)
	least := int32(math.MaxInt32)
	for i := range g.segments {
		s := &g.segments[i]
		if in, _ := g.root(s.in); in != j || s.trap {
			continue
		}
		if out, _ := g.root(s.out); out != j {
			least = min(least, s.fuel)
		}
	}
	if least == math.MaxInt32 {
		return 0
	}
	return max(least, 0)
}

// ahead returns the fuel that is charged ahead at a junction, when that has been
// settled.
func (g *flow) ahead(j int32) int32 {
	_, ahead := g.root(j)
	return ahead
}

// charge is what is taken off the state in segment i, but for what is charged
// ahead behind its last call: less than zero where more had been taken than the
// way leads to.
func (g *flow) charge(i int32) int32 {
	s := &g.segments[i]
	switch {
	case s.calls:
		return s.fuel - g.ahead(s.in)
	case s.trap:
		return 0 // nobody sees the state that it leaves behind
	}
	return s.fuel + g.ahead(s.out) - g.ahead(s.in)
}
