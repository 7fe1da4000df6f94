package sharing

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

var start = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// near allows for the order in which numbers are added up.
func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// drawSample draws what a few tenants have at a time.
func drawSample(rt *rapid.T, at time.Time) Sample {
	s := Sample{At: at, LeftOut: rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(rt, "left out")}
	for i := range 5 {
		if !rapid.Bool().Draw(rt, "wants") {
			continue
		}
		part := rapid.Float64Range(0, 0.2)
		u := Use{ledger.TenantID(fmt.Sprint("t", i)), Parts{part.Draw(rt, "memory"), part.Draw(rt, "rate"), part.Draw(rt, "slots")}, part.Draw(rt, "entitled")}
		s.Uses = append(s.Uses, u)
		s.All, s.Weights = s.All.plus(u.Parts), s.Weights+1
	}
	return s
}

// TestSeries: whatever the clock does, series are in order and bounded in number and
// age, end with what was said last, and the mean of a spell is that of its samples.
func TestSeries(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s Series
		at := start
		var all []Sample
		step := rapid.SampledFrom([]time.Duration{Every, Every, Every, Spell - Every, time.Hour / 7, 5 * time.Hour, 0, -Every, -Spell - Every, -2 * time.Hour})
		for range rapid.IntRange(1, 400).Draw(rt, "samples") {
			one := drawSample(rt, at)
			s.Add(one)
			all = append(all, one)
			check(rt, &s, all)
			at = at.Add(step.Draw(rt, "step"))
		}
	})
}

// check compares series with all that they were told.
func check(rt *rapid.T, s *Series, all []Sample) {
	last := all[len(all)-1]
	hour, since := s.Of(false)
	means, _ := s.Of(true)
	earliest := slices.MinFunc(all, func(a, b Sample) int { return a.At.Compare(b.At) }).At
	if !since.Equal(earliest) {
		rt.Fatalf("samples since %s, want %s", since, earliest)
	}
	for _, x := range []struct {
		list []Sample
		span time.Duration
		most int
		end  time.Time
	}{{hour, time.Hour, HourSamples, last.At}, {means, day, DaySamples, last.At.Truncate(Spell)}} {
		if len(x.list) == 0 || len(x.list) > x.most || !x.list[len(x.list)-1].At.Equal(x.end) {
			rt.Fatalf("%d samples in %s, want up to %d that end at %s", len(x.list), x.span, x.most, x.end)
		}
		if !slices.IsSortedFunc(x.list, func(a, b Sample) int { return a.At.Compare(b.At) }) || !x.list[0].At.After(x.end.Add(-x.span)) {
			rt.Fatalf("samples of %s are out of order, or begin at %s", x.span, x.list[0].At)
		}
	}
	// Those of the spell in hand are the last ones with its beginning, one after another.
	var spell []Sample
	for i := len(all) - 1; i >= 0 && all[i].At.Truncate(Spell).Equal(last.At.Truncate(Spell)); i-- {
		spell = append(spell, all[i])
	}
	compareMean(rt, &means[len(means)-1], spell)
}

func compareMean(rt *rapid.T, mean *Sample, list []Sample) {
	var together Parts
	for i := range 5 {
		id := ledger.TenantID(fmt.Sprint("t", i))
		var sum Parts
		entitled, n := 0.0, 0
		for k := range list {
			if u, ok := list[k].Find(id); ok {
				sum, entitled, n = sum.plus(u.Parts), entitled+u.Entitled, n+1
			}
		}
		got, ok := mean.Find(id)
		if ok != (n > 0) || ok && (!near(got.Memory*float64(len(list)), sum.Memory) || !near(got.Rate*float64(len(list)), sum.Rate) ||
			!near(got.Slots*float64(len(list)), sum.Slots) || !near(got.Entitled*float64(n), entitled)) {
			rt.Fatalf("%s has %+v, %t on the average, want %+v / %d, entitled to %g / %d", id, got, ok, sum, len(list), entitled, n)
		}
		together = together.plus(got.Parts)
	}
	if !near(together.Dominant(), mean.All.Dominant()) {
		rt.Fatalf("all together have %+v, want %+v", mean.All, together)
	}
}

// TestFull: series that are told of more than they keep, day in day out, keep the last
// ones, and are as long as they may be.
func TestFull(t *testing.T) {
	var s Series
	for i := range DaySamples * int(Spell/Every) * 5 / 4 {
		s.Add(Sample{At: start.Add(time.Duration(i) * Every)})
	}
	hour, _ := s.Of(false)
	means, _ := s.Of(true)
	if len(hour) != HourSamples || len(means) != DaySamples {
		t.Errorf("%d samples of an hour, %d of a day, want %d, %d", len(hour), len(means), HourSamples, DaySamples)
	}
}

// TestBound: of more tenants than a sample tells apart it keeps those with the largest
// shares, and the others stay in the sums.
func TestBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 2*TenantsMax).Draw(rt, "tenants")
		s := Sample{}
		for i := range n {
			u := Use{Tenant: ledger.TenantID(fmt.Sprintf("t%04d", i)), Parts: Parts{Rate: float64(rapid.IntRange(0, 99).Draw(rt, "rate"))}}
			s.Uses, s.All = append(s.Uses, u), s.All.plus(u.Parts)
		}
		whole := s
		whole.Uses = slices.Clone(s.Uses)
		s.bound()
		if len(s.Uses) != min(n, TenantsMax) || s.LeftOut != n-len(s.Uses) || s.All != whole.All {
			rt.Fatalf("of %d tenants %d are kept and %d left out", n, len(s.Uses), s.LeftOut)
		}
		least := math.Inf(1)
		for _, u := range s.Uses {
			least = min(least, u.Dominant())
		}
		for _, u := range whole.Uses {
			if got, ok := s.Find(u.Tenant); ok && got != u || !ok && u.Dominant() > least {
				rt.Fatalf("%s: %+v, %t, want %+v; the least that is kept is %g", u.Tenant, got, ok, u, least)
			}
		}
	})
}

// TestPoints: what a tenant has and what the others have are all there is; one that is
// not there has nothing, and is told what it would be entitled to; one that was left out
// is not said to have nothing.
func TestPoints(t *testing.T) {
	list := []Sample{
		{At: start, All: Parts{0.5, 0.25, 0.5}, Weights: 3, Uses: []Use{{"a", Parts{0.5, 0, 0.25}, 1. / 3}, {"b", Parts{0, 0.25, 0.25}, 2. / 3}}},
		{At: start.Add(Every), All: Parts{0, 0.5, 0}, Weights: 3, LeftOut: 1, Uses: []Use{{"b", Parts{0, 0.5, 0}, 2. / 3}}},
	}
	tests := []struct {
		tenant ledger.TenantID
		weight uint32
		want   []Point
	}{
		{"a", 1, []Point{{start, Parts{0.5, 0, 0.25}, true, Parts{0, 0.25, 0.25}, 1. / 3}, {start.Add(Every), Parts{}, false, Parts{0, 0.5, 0}, 0.25}}},
		{"b", 2, []Point{{start, Parts{0, 0.25, 0.25}, true, Parts{0.5, 0, 0.25}, 2. / 3}, {start.Add(Every), Parts{0, 0.5, 0}, true, Parts{}, 2. / 3}}},
		{"c", 3, []Point{{start, Parts{}, true, Parts{0.5, 0.25, 0.5}, 0.5}, {start.Add(Every), Parts{}, false, Parts{0, 0.5, 0}, 0.5}}},
	}
	for _, tt := range tests {
		if got := Points(list, tt.tenant, tt.weight); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%+v, want\n%+v", tt.tenant, got, tt.want)
		}
	}
}
