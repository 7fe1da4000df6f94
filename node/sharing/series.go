package sharing

import (
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

const (
	// Every is the time between two samples.
	Every = 10 * time.Second
	// HourSamples is how many samples there are of the last hour, one by one.
	HourSamples = int(time.Hour / Every)
	// Spell is the time of which one sample of the last day is the mean, DaySamples how
	// many there are.
	Spell      = 5 * time.Minute
	DaySamples = int(day / Spell)

	day = 24 * time.Hour
)

// Series are the samples of the last hour, and their means over the last day. The zero
// value is empty, and any number of goroutines may use it.
type Series struct {
	mu          sync.Mutex
	since       time.Time
	hour, means []Sample
	spell       spell
}

// Add adds a sample; they are to come Every after one another. Of times that the clock
// goes through once more only what is said last is kept.
func (s *Series) Add(one Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() || one.At.Before(s.since) {
		s.since = one.At
	}
	s.hour = push(s.hour, one, time.Hour, HourSamples)
	if from := one.At.Truncate(Spell); !from.Equal(s.spell.from) {
		s.spell = spell{from: from, sums: map[ledger.TenantID]*sum{}}
	}
	s.spell.add(&one)
	s.means = push(s.means, s.spell.mean(), day, DaySamples)
}

// push puts a sample behind those before it, and drops what is too old or too much.
func push(list []Sample, one Sample, span time.Duration, samplesMax int) []Sample {
	for len(list) > 0 && !list[len(list)-1].At.Before(one.At) {
		list = list[:len(list)-1]
	}
	list = append(list, one)
	old := max(len(list)-samplesMax, 0)
	for !list[old].At.After(one.At.Add(-span)) {
		old++
	}
	return slices.Delete(list, 0, old)
}

// Of returns the samples of the last hour, or of the last day, the earlier ones first,
// and since when there are any; the zero time is that there are none.
func (s *Series) Of(ofDay bool) (list []Sample, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list = s.hour
	if ofDay {
		list = s.means
	}
	return slices.Clone(list), s.since
}

// spell adds up the samples of a Spell.
type spell struct {
	from    time.Time
	n       int
	sums    map[ledger.TenantID]*sum
	all     Parts
	weights float64
	leftOut int
}

// sum is what a tenant had in those n samples of a spell in which it was.
type sum struct {
	Parts
	entitled float64
	n        int
}

func (s *spell) add(one *Sample) {
	s.n++
	s.all = s.all.plus(one.All)
	s.weights += one.Weights
	s.leftOut = max(s.leftOut, one.LeftOut)
	for _, u := range one.Uses {
		t := s.sums[u.Tenant]
		if t == nil {
			t = &sum{}
			s.sums[u.Tenant] = t
		}
		t.Parts = t.plus(u.Parts)
		t.entitled += u.Entitled
		t.n++
	}
}

// mean is what tenants had on the average, and what they were entitled to while they
// wanted anything.
func (s *spell) mean() Sample {
	out := Sample{At: s.from, LeftOut: s.leftOut, All: s.all.over(s.n), Weights: s.weights / float64(s.n), Uses: make([]Use, 0, len(s.sums))}
	for id, t := range s.sums {
		out.Uses = append(out.Uses, Use{id, t.over(s.n), t.entitled / float64(t.n)})
	}
	out.sort()
	out.bound()
	return out
}

// Point is what one tenant had beside the others.
type Point struct {
	At time.Time
	// Own is what it had. Known is false where it was left out for having little.
	Own   Parts
	Known bool
	// Others is what all others had together.
	Others Parts
	// Entitled is the part that its weight was of all, or would have been had it wanted
	// anything.
	Entitled float64
}

// Points returns what a tenant of a weight had in each sample.
func Points(list []Sample, id ledger.TenantID, weight uint32) []Point {
	out := make([]Point, len(list))
	for i := range list {
		s := &list[i]
		u, found := s.Find(id)
		if !found {
			w := float64(max(weight, 1))
			u.Entitled = w / (s.Weights + w)
		}
		out[i] = Point{At: s.At, Own: u.Parts, Known: found || s.LeftOut == 0, Others: s.All.Minus(u.Parts), Entitled: u.Entitled}
	}
	return out
}
