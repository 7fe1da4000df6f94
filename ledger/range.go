package ledger

import (
	"fmt"
	"math/bits"
)

// Range is a set of tasks of a job: all of First to End-1, or with a mask some
// of them. The zero Range is empty. A Range is kept tight: First and End-1 are
// always in it, so that two ranges of disjoint sets never begin alike. Only
// ranges of at most LeaseTasksMax have masks. Ranges are values: no method
// changes its receiver.
type Range struct {
	// First is the first task, End the one after the last.
	First, End uint32
	// mask has a bit per task from First rounded down to a multiple of 64;
	// nil means all tasks.
	mask []uint64
}

// Tasks returns the range of all tasks from first to end-1.
func Tasks(first, end uint32) Range {
	if first >= end {
		return Range{}
	}
	return Range{First: first, End: end}
}

// Empty reports whether r has no task.
func (r Range) Empty() bool { return r.First == r.End }

// Whole reports whether r has every task from First to End-1.
func (r Range) Whole() bool { return r.mask == nil }

// Count returns the number of tasks.
func (r Range) Count() uint32 {
	if r.mask == nil {
		return r.End - r.First
	}
	n := 0
	for _, w := range r.mask {
		n += bits.OnesCount64(w)
	}
	return uint32(n)
}

// Has reports whether the task is in r.
func (r Range) Has(task uint32) bool {
	if task < r.First || task >= r.End {
		return false
	}
	if r.mask == nil {
		return true
	}
	at := task - base(r.First)
	return r.mask[at/64]>>(at%64)&1 == 1
}

// Split returns the first n tasks of r and the others.
func (r Range) Split(n uint32) (first, rest Range) {
	if n == 0 {
		return Range{}, r
	}
	if r.mask == nil {
		cut := r.First + min(n, r.End-r.First)
		return Tasks(r.First, cut), Tasks(cut, r.End)
	}
	cut := r.End
	for i, w := range r.mask {
		ones := uint32(bits.OnesCount64(w))
		if n >= ones {
			n -= ones
			continue
		}
		for ; n > 0; n-- {
			w &= w - 1
		}
		cut = base(r.First) + uint32(i*64+bits.TrailingZeros64(w))
		break
	}
	return r.Within(r.First, cut), r.Within(cut, r.End)
}

// Within returns the tasks of r from first to end-1.
func (r Range) Within(first, end uint32) Range {
	first, end = max(first, r.First), min(end, r.End)
	if first >= end {
		return Range{}
	}
	if r.mask == nil {
		return Range{First: first, End: end}
	}
	if first == r.First && end == r.End {
		return r
	}
	words := newWords(first, end)
	from := (base(first) - base(r.First)) / 64
	copy(words, r.mask[from:])
	words[0] &= ^uint64(0) << (first % 64)
	if tail := end % 64; tail != 0 {
		words[len(words)-1] &= 1<<tail - 1
	}
	return tight(words, base(first))
}

// Union returns the tasks that are in r or s. When the result is not whole it
// must not span more than LeaseTasksMax.
func (r Range) Union(s Range) Range {
	switch {
	case r.Empty():
		return s
	case s.Empty():
		return r
	case r.mask == nil && s.mask == nil && r.First <= s.End && s.First <= r.End:
		return Range{First: min(r.First, s.First), End: max(r.End, s.End)}
	}
	first, end := min(r.First, s.First), max(r.End, s.End)
	words := newWords(first, end)
	r.fill(words, base(first))
	s.fill(words, base(first))
	return tight(words, base(first))
}

// Minus returns the tasks of r that are not in s. The result must not need a
// mask that spans more than LeaseTasksMax.
func (r Range) Minus(s Range) Range {
	s = s.Within(r.First, r.End)
	if s.Empty() {
		return r
	}
	if s.mask == nil && s.First == r.First {
		return r.Within(s.End, r.End)
	}
	if s.mask == nil && s.End == r.End {
		return r.Within(r.First, s.First)
	}
	words := newWords(r.First, r.End)
	r.fill(words, base(r.First))
	gone := newWords(r.First, r.End)
	s.fill(gone, base(r.First))
	for i := range words {
		words[i] &^= gone[i]
	}
	return tight(words, base(r.First))
}

// Contains reports whether every task of s is in r.
func (r Range) Contains(s Range) bool {
	if s.Empty() {
		return true
	}
	if s.First < r.First || s.End > r.End {
		return false
	}
	if r.mask == nil {
		return true
	}
	return r.Within(s.First, s.End).Minus(s).Count() == r.Within(s.First, s.End).Count()-s.Count()
}

// Runs calls visit with each stretch of consecutive tasks, first to end-1, in
// ascending order.
func (r Range) Runs(visit func(first, end uint32)) {
	if r.mask == nil {
		if !r.Empty() {
			visit(r.First, r.End)
		}
		return
	}
	from := base(r.First)
	for at := r.First; at < r.End; {
		end := r.next(at, from, false)
		visit(at, end)
		if end >= r.End {
			return
		}
		at = r.next(end, from, true)
	}
}

// String returns the stretches, such as "0-4,7".
func (r Range) String() string {
	if r.Empty() {
		return "none"
	}
	text := ""
	r.Runs(func(first, end uint32) {
		if text != "" {
			text += ","
		}
		text += fmt.Sprint(first)
		if end-first > 1 {
			text += fmt.Sprint("-", end-1)
		}
	})
	return text
}

// next returns the first task from at on whose being in r is want, or End.
func (r Range) next(at, from uint32, want bool) uint32 {
	for at < r.End {
		w := r.mask[(at-from)/64]
		if !want {
			w = ^w
		}
		if w >>= (at - from) % 64; w != 0 {
			return min(at+uint32(bits.TrailingZeros64(w)), r.End)
		}
		at = (at | 63) + 1
	}
	return r.End
}

// equal reports whether r and other are the same tasks.
func (r Range) equal(other Range) bool { return r.Contains(other) && other.Contains(r) }

// fill sets r's bits in words, which begin at task from.
func (r Range) fill(words []uint64, from uint32) {
	if r.mask != nil {
		shift := (base(r.First) - from) / 64
		for i, w := range r.mask {
			words[int(shift)+i] |= w
		}
		return
	}
	for at := r.First; at < r.End; {
		next := min((at|63)+1, r.End)
		run := ^uint64(0) >> (64 - (next - at))
		words[(at-from)/64] |= run << (at % 64)
		at = next
	}
}

// base rounds a task down to where its word begins.
func base(task uint32) uint32 { return task &^ 63 }

func newWords(first, end uint32) []uint64 {
	if end-first > LeaseTasksMax {
		panic(fmt.Sprintf("ledger: a mask over %d tasks, %d at most", end-first, LeaseTasksMax))
	}
	return make([]uint64, (end-base(first)+63)/64)
}

// tight makes a range of the bits in words, the first of which is task from.
func tight(words []uint64, from uint32) Range {
	lo, hi := 0, len(words)
	for lo < hi && words[lo] == 0 {
		lo++
	}
	for hi > lo && words[hi-1] == 0 {
		hi--
	}
	if lo == hi {
		return Range{}
	}
	r := Range{
		First: from + uint32(lo*64+bits.TrailingZeros64(words[lo])),
		End:   from + uint32(hi*64-bits.LeadingZeros64(words[hi-1])),
		mask:  words[lo:hi],
	}
	if r.Count() == r.End-r.First {
		r.mask = nil
	}
	return r
}
