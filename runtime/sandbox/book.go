package sandbox

import (
	"github.com/dugnad/dugnad/runtime/meter"
)

// cell holds the guest's state, fuel and stack packed as runtime/meter says:
// a global of the guest, or of the host when the guest is not metered.
type cell interface {
	Get() uint64
	Set(uint64)
}

type hostCell struct{ v uint64 }

func (c *hostCell) Get() uint64  { return c.v }
func (c *hostCell) Set(v uint64) { c.v = v }

// book is an attempt's fuel account. Fuel is granted in slices; the guest
// counts down what it has got of its slice, below zero when it overruns between
// two checks.
//
// A slice begins at the first check at which the one before is overrun, and is
// the same in every run. It is handed out in portions, as many as it takes, of
// any size: the last one ends with the slice. So where a slice begins, and what
// a trap is charged, does not depend on portions.
//
// The last slice ends exactly at the budget, so at every check the slice is
// overrun with the budget if and only if used > budget: the size of slices has
// no influence on where an attempt runs out.
type book struct {
	state  cell
	budget uint64
	slice  uint64
	// end is where the slice ends.
	end     uint64
	booked  uint64
	granted uint64
}

// newBook returns an account with a first slice, of which nothing is granted.
func newBook(state cell, budget, slice uint64) book {
	return book{state: state, budget: budget, slice: slice, end: min(slice, budget)}
}

// used returns the fuel burnt so far.
func (b *book) used() uint64 {
	fuel, _ := meter.Unpack(b.state.Get())
	return b.booked + uint64(int64(b.granted)-int64(fuel))
}

// exceeded reports whether the budget is.
func (b *book) exceeded() bool { return b.used() > b.budget }

// take charges n and reports whether the portion is used up.
func (b *book) take(n uint64) (overrun bool) {
	fuel, stack := meter.Unpack(b.state.Get())
	if fuel >= 0 && n <= uint64(fuel) {
		b.state.Set(meter.Pack(fuel-int32(n), stack))
		return false
	}
	// What does not fit into the portion goes straight into the book.
	b.booked = saturatingAdd(b.used(), n)
	b.granted = 0
	b.state.Set(meter.Pack(0, stack))
	return true
}

// grant books what was used, which must be within the budget, begins the next
// slice when this one is overrun, and gives out some portion of it. A portion
// is at most the given fuel, and not much less than the one that follows.
func (b *book) grant(portion uint64) {
	b.booked = b.used()
	if b.booked > b.end {
		b.end = b.booked + min(b.slice, b.budget-b.booked)
	}
	left := b.end - b.booked
	b.granted = left
	if left > portion {
		portions := (left + portion - 1) / portion
		b.granted = (left + portions - 1) / portions
	}
	_, stack := meter.Unpack(b.state.Get())
	b.state.Set(meter.Pack(int32(b.granted), stack))
}

// burn books the whole slice: after a trap the state may be stale.
func (b *book) burn() {
	b.booked = max(b.used(), b.end)
	b.granted = 0
	b.state.Set(0)
}

// stackLeft is the call stack that is left; negative when it overflowed.
func (b *book) stackLeft() int32 {
	_, stack := meter.Unpack(b.state.Get())
	return stack
}

// move makes c the state, with the same fuel and so many bytes of stack.
func (b *book) move(c cell, stack int32) {
	fuel, _ := meter.Unpack(b.state.Get())
	c.Set(meter.Pack(fuel, stack))
	b.state = c
}

func saturatingAdd(a, b uint64) uint64 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint64(0)
}
