package meter

// segment is a straight piece of code, with one place in it where fuel is taken
// off the state.
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
	// its beginning.
	late bool
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
	// ahead is the fuel that is charged ahead on these edges.
	ahead int32
	// settled is set when ahead is known, or being computed.
	settled bool
	// exact is set where nothing may be charged ahead.
	exact bool
	// entry is set for what leaves a segment that is checked after its charge.
	entry bool
	// fed is set when a segment leads here.
	fed bool
	// loops is the depth of the innermost loop that goes on from here.
	loops int32
	// heir is 1 + the segment that is charged ahead, the one behind these edges
	// that is likely to run most often, or 0.
	heir int32
	// least is the smallest fuel of a segment behind.
	least int32
}

// aheadChain bounds how many junctions are followed to settle one.
const aheadChain = 64

// flow is the graph of a function's segments.
type flow struct {
	segments  []segment
	junctions []junction
}

func (g *flow) reset() { g.segments, g.junctions = g.segments[:0], g.junctions[:0] }

// junction returns a new one.
func (g *flow) junction() int32 {
	i := int32(len(g.junctions))
	g.junctions = append(g.junctions, junction{})
	g.junctions[i].parent = i
	return i
}

// root returns the junction that j has been joined to.
func (g *flow) root(j int32) int32 {
	all := g.junctions
	for {
		parent := all[j].parent
		if parent == j {
			return j
		}
		above := all[parent].parent
		all[j].parent = above
		j = above
	}
}

func (g *flow) at(j int32) *junction { return &g.junctions[g.root(j)] }

// join makes two junctions one.
func (g *flow) join(a, b int32) {
	a, b = g.root(a), g.root(b)
	if a == b {
		return
	}
	x, y := &g.junctions[a], &g.junctions[b]
	y.parent = a
	x.exact, x.entry, x.fed = x.exact || y.exact, x.entry || y.entry, x.fed || y.fed
	x.loops = max(x.loops, y.loops)
}

// add begins a segment behind junction in, and returns its index.
func (g *flow) add(kind segmentKind, in int32) int32 {
	out := g.junction()
	g.junctions[out].fed = true
	if kind != segmentPlain {
		g.at(in).exact = true
	}
	i := len(g.segments)
	g.segments = append(g.segments, segment{})
	s := &g.segments[i]
	s.kind, s.in, s.out = kind, in, out
	return int32(i)
}

// settle decides what is charged ahead at each junction.
func (g *flow) settle() {
	for i := len(g.segments) - 1; i >= 0; i-- {
		s := &g.segments[i]
		out, in := g.at(s.out), g.at(s.in)
		out.exact = out.exact || s.calls
		in.loops = max(in.loops, out.loops)
		if s.kind == segmentPlain && s.fuel == 0 && !s.calls && !s.trap && in.loops == out.loops {
			g.join(s.in, s.out) // an empty segment should not get a charge by this
		}
	}
	for i := range g.segments {
		s := &g.segments[i]
		s.in, s.out = g.root(s.in), g.root(s.out) // no more are joined
		in, out := &g.junctions[s.in], &g.junctions[s.out]
		if s.trap || in == out {
			continue
		}
		if in.heir == 0 || s.fuel < in.least {
			in.least = s.fuel
		}
		if in.heir == 0 || out.loops >= g.junctions[g.segments[in.heir-1].out].loops {
			in.heir = int32(i) + 1
		}
	}
}

// ahead returns the fuel that is charged ahead at a junction that has been joined
// to no other, as those of segments have not when it is settled. Any number would
// do that is zero where it must be exact: the segments behind make good for it.
// The heir's own charge, with what is charged ahead behind it, saves most.
func (g *flow) ahead(j int32, chain int) int32 {
	k := &g.junctions[j]
	if k.settled {
		return k.ahead
	}
	k.settled = true
	switch {
	case k.exact || !k.fed || k.heir == 0:
	case k.entry:
		// The check at the entry must not see what may not be burnt.
		k.ahead = k.least
	default:
		heir := &g.segments[k.heir-1]
		k.ahead = heir.fuel
		if !heir.calls && chain < aheadChain {
			if more := k.ahead + g.ahead(heir.out, chain+1); more <= checkEvery {
				k.ahead = more
			}
		}
	}
	return k.ahead
}

// charge is what is taken off the state in segment i: less than zero where
// more had been taken than the way leads to.
func (g *flow) charge(i int32) int32 {
	s := &g.segments[i]
	if s.trap && !s.calls {
		return 0 // nobody sees the state that it leaves behind
	}
	return s.fuel + g.ahead(s.out, 0) - g.ahead(s.in, 0)
}
