package sandbox

import "time"

// portionTime is the processor time between two looks around: a slice that
// takes longer is handed out in portions.
const portionTime = 1250 * time.Microsecond

const (
	// portionFuelFirst is the first portion, when nobody knows yet how fast the
	// guest burns it: a fraction of a millisecond for most.
	portionFuelFirst = 1_000_000
	// portionFuelMin is a millisecond of a guest that misses every cache with
	// every second instruction. In smaller portions looking around would take
	// longer than the guest.
	portionFuelMin = 1 << 13
	// portionGrowth bounds how much larger than the last one a portion is, as a
	// guest that was fast may not be so for long.
	portionGrowth = 2
	// portionShare bounds how much smaller the portions before the deadline are.
	portionShare = 10
)

// pace chooses portions by how long the ones before took. It looks at a clock,
// so nothing that a guest or a receipt shows may depend on it.
type pace struct {
	portion uint64
	// fuel and cpu are what the attempt had used when portion was chosen.
	fuel uint64
	cpu  time.Duration
}

// next returns the fuel of the next portion, at most most. fuel is all that
// the attempt has used, cpu the processor time that it took, left the time to its
// deadline: the last portions are short, so that one ends there.
func (p *pace) next(fuel uint64, cpu, left time.Duration, most uint64) uint64 {
	p.learn(fuel, cpu, most)
	if left >= portionTime {
		return p.portion
	}
	left = max(left, portionTime/portionShare)
	return min(max(p.portion*uint64(left)/uint64(portionTime), portionFuelMin), most)
}

func (p *pace) learn(fuel uint64, cpu time.Duration, most uint64) {
	if p.portion == 0 {
		p.portion = min(portionFuelFirst, most)
		return
	}
	// What is less than that tells more of the look around than of the guest.
	if fuel < p.fuel+portionFuelMin {
		return
	}
	right := float64(fuel-p.fuel) * float64(portionTime) / float64(max(cpu-p.cpu, 1))
	right = max(min(right, float64(p.portion*portionGrowth)), portionFuelMin)
	p.portion, p.fuel, p.cpu = min(uint64(right), most), fuel, cpu
}
