package placement

import (
	"math"

	"github.com/dugnad/dugnad/ledger"
)

// use is what a tenant holds and has held. It is a function of what it is told, and
// of the times at which it is told.
type use struct {
	// at is the time for which recent and past hold.
	at ledger.Time
	// leased is what its leases hold since, recent and past what they held on the
	// average, where the half-lives of Params.RecentNanos and PastNanos make older
	// times count less.
	leased, recent, past amounts
	// pass is the last pass that has asked.
	pass uint64
}

// amounts are resources of which there are averages: bytes, fuel per second, slots.
type amounts struct {
	memory, rate, slots float64
}

func amountsOf(r *ledger.Resources) amounts {
	return amounts{float64(r.MemoryBytes), float64(r.FuelRate), float64(r.Slots)}
}

// toward returns what is left of a when part of it was replaced by b.
func (a amounts) toward(b amounts, part float64) amounts {
	return amounts{
		a.memory + (b.memory-a.memory)*part,
		a.rate + (b.rate-a.rate)*part,
		a.slots + (b.slots-a.slots)*part,
	}
}

// share returns the largest share that the amounts are of all.
func (a amounts) share(all *total) uint64 {
	share := 0.0
	for _, d := range [...]struct {
		have float64
		all  uint64
	}{{a.memory, all.memory}, {a.rate, all.rate}, {a.slots, all.slots}} {
		if d.have > 0 {
			share = max(share, min(d.have/float64(max(d.all, 1)), 1))
		}
	}
	return uint64(share * ShareMax)
}

// wait lets time go by until now, during which the tenant held what it holds. A time
// that has been is none: a clock that was set back stops nothing for longer than
// that.
func (u *use) wait(now ledger.Time, params *Params) {
	if passed := int64(now - u.at); passed > 0 {
		u.recent = u.recent.toward(u.leased, faded(passed, params.RecentNanos))
		u.past = u.past.toward(u.leased, faded(passed, params.PastNanos))
	}
	u.at = now
}

// spend adds to the past what was used from one time to another, as if it had been
// used evenly. Neither is after u.at.
func (u *use) spend(used *ledger.Usage, from, to ledger.Time, params *Params) {
	if to <= from {
		return
	}
	// Of an average over all times this is the part that lies between the two.
	part := faded(int64(to-from), params.PastNanos) * (1 - faded(int64(u.at-to), params.PastNanos))
	perSecond := part / (float64(to-from) / 1e9)
	u.past.memory += float64(used.MemoryByteSeconds) * perSecond
	u.past.rate += float64(used.Fuel) * perSecond
	u.past.slots += float64(used.WallNanos) / 1e9 * perSecond
}

// faded returns what part of something has gone after a time, of which half goes in
// each half-life.
func faded(passed, half int64) float64 {
	return -math.Expm1(-math.Ln2 * float64(passed) / float64(half))
}

const dayNanos = ledger.Time(24 * 3600 * 1e9)

// halvesRead is how many half-lives accounts are read back: what is older counts less
// than a sixty-fourth.
const halvesRead = 6

// newUse works out what a tenant has used from its daily accounts. It is taken to have
// held for a while what it holds.
func newUse(tx ledger.Tx, t *ledger.Tenant, now ledger.Time, params *Params) (*use, error) {
	u := &use{at: now, leased: amountsOf(&t.Leased)}
	u.recent = u.leased
	first := max(now-ledger.Time(halvesRead*params.PastNanos), 0) / dayNanos
	for day := first; day*dayNanos <= now; day++ {
		a, err := ledger.FindAccount(tx, t.ID, uint32(day))
		if err != nil {
			return nil, err
		}
		u.spend(&a.Usage, day*dayNanos, min((day+1)*dayNanos, now), params)
	}
	return u, nil
}
