package sandbox

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/task"
)

// TestPortionsChangeNothing plays the same guest twice, with its slices whole
// and in portions of any size: it runs out of fuel at the same point, and wherever
// it traps it is charged the same, at most a slice more than it has used.
func TestPortionsChangeNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2_000 {
		slice, budget := 1+rng.Uint64N(2_000), rng.Uint64N(20_000)
		whole, parts := newBook(&hostCell{}, budget, slice), newBook(&hostCell{}, budget, slice)
		whole.grant(math.MaxUint64)
		parts.grant(1 + rng.Uint64N(300))
		for step := uint64(0); ; step++ {
			n, host := rng.Uint64N(100), rng.Uint64N(4) == 0
			if rng.Uint64N(50) == 0 {
				n *= 50
			}
			for b, portion := range map[*book]uint64{&whole: math.MaxUint64, &parts: 1 + rng.Uint64N(300)} {
				if spend(b, n, host) && !b.exceeded() {
					b.grant(portion)
				}
			}
			if whole.used() != parts.used() || whole.exceeded() != parts.exceeded() {
				t.Fatalf("step %d: used %d whole and %d in portions, exceeded %t and %t", step, whole.used(), parts.used(), whole.exceeded(), parts.exceeded())
			}
			if whole.exceeded() {
				break
			}
			w, p := trapped(whole), trapped(parts)
			if used := whole.used(); w != p || w < used || w > used+slice {
				t.Fatalf("step %d: a trap after %d costs %d whole, %d in portions, slices are %d", step, used, w, p, slice)
			}
		}
	}
}

// spend burns fuel as a guest does that checks behind it, or as a host call, and
// reports whether it has to be refilled.
func spend(b *book, n uint64, host bool) bool {
	if host {
		return b.take(n)
	}
	fuel, stack := meter.Unpack(b.state.Get())
	fuel -= int32(n)
	b.state.Set(meter.Pack(fuel, stack))
	return fuel < 0
}

// trapped is what a copy of the account has booked after a trap.
func trapped(b book) uint64 {
	b.state = &hostCell{b.state.Get()}
	b.burn()
	return b.booked
}

// TestPaceFollowsTheGuest: a portion takes portionTime of a guest that goes at
// one speed, less before the deadline, and is at most twice the last one when it
// becomes faster.
func TestPaceFollowsTheGuest(t *testing.T) {
	const most = 12_000_000
	p, fuel, cpu := pace{}, uint64(0), time.Duration(0)
	burn := func(picosPerFuel, times int) uint64 {
		portion := p.next(fuel, cpu, time.Hour, most)
		for range times {
			fuel += portion
			cpu += time.Duration(portion) * time.Duration(picosPerFuel) / 1000
			next := p.next(fuel, cpu, time.Hour, most)
			if next > portion*portionGrowth || next > most {
				t.Fatalf("%d follow a portion of %d", next, portion)
			}
			portion = next
		}
		return portion
	}
	for _, tt := range []struct {
		picosPerFuel int
		want         uint64
	}{{50, most}, {500, 2_500_000}, {40_000, 31_250}, {10_000_000, portionFuelMin}, {1_000, 1_250_000}, {50, most}} {
		if got := burn(tt.picosPerFuel, 30); got < tt.want*99/100 || got > tt.want*101/100 {
			t.Errorf("at %d ps a unit the portion is %d, want %d", tt.picosPerFuel, got, tt.want)
		}
	}
	// A portion that is hardly begun says nothing.
	before := p
	if p.next(fuel+10, cpu+time.Second, time.Hour, most); p != before {
		t.Errorf("got %+v, had %+v", p, before)
	}
	for left, want := range map[time.Duration]uint64{time.Second: most, portionTime / 2: most / 2, portionTime / 100: most / portionShare, -1: most / portionShare} {
		if got := p.next(fuel, cpu, left, most); got != want {
			t.Errorf("%s before the deadline the portion is %d, want %d", left, got, want)
		}
	}
}

// TestTrapChargeIsTheSame: how fast the host is has no influence on what a trap
// costs.
func TestTrapChargeIsTheSame(t *testing.T) {
	p := priceProgram{before: counted(4_000_000, "local.get 1\ni32.const 7\ni32.mul\nlocal.set 1") + "\nunreachable"}
	m := load(t, open(t, nil), metered(t, p.bytes()))
	var fuel uint64
	for range 10 {
		o, _, _ := capture(t.Context(), m, task.Spec{}, Streams{})
		if o.Kind != task.Trapped || fuel != 0 && o.Usage.Fuel != fuel {
			t.Fatalf("got %+v, fuel was %d", o, fuel)
		}
		fuel = o.Usage.Fuel
	}
	if fuel < 2*SliceFuelDefault {
		t.Errorf("fuel is %d, want several slices", fuel)
	}
}
