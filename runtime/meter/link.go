package meter

import "math/bits"

// link is a charge, or several, that are not needed when what is charged ahead at
// junction a is more than that at b by so much.
type link struct {
	a, b, more int32
	// weight is how much is saved then.
	weight int64
}

// links is a set of them, without two of the same a, b and more: their weights
// are added.
type links struct {
	list, sorted []link
	// slots is a hash table of 1 + indices.
	slots []int32
}

// reset makes room for two links for each of so many segments.
func (l *links) reset(segments int) {
	l.list = l.list[:0]
	size := 1 << bits.Len(uint(4*segments))
	if cap(l.slots) < size {
		l.slots = make([]int32, size)
	}
	l.slots = l.slots[:size]
	clear(l.slots)
}

func (l *links) add(x link) {
	const odd = 0x9e3779b97f4a7c15
	mask := uint64(len(l.slots) - 1)
	hash := ((uint64(x.a)*odd^uint64(x.b))*odd ^ uint64(uint32(x.more))) * odd
	for i := hash >> 32; ; i++ {
		slot := &l.slots[i&mask]
		if *slot == 0 {
			l.list = append(l.list, x)
			*slot = int32(len(l.list))
			return
		}
		if y := &l.list[*slot-1]; y.a == x.a && y.b == x.b && y.more == x.more {
			y.weight += x.weight
			return
		}
	}
}

// weightClasses is the number of classes of weight, four for each power of two.
const weightClasses = 4 * 64

func weightClass(weight int64) int {
	n := bits.Len64(uint64(weight))
	return 4*n + int(uint64(weight)<<(64-n)>>61&3)
}

// heaviestFirst returns the links by falling class of weight, and in the order
// in which they were added within a class.
func (l *links) heaviestFirst() []link {
	var from [weightClasses + 4]int
	for i := range l.list {
		from[weightClass(l.list[i].weight)]++
	}
	at := 0
	for c := len(from) - 1; c >= 0; c-- {
		from[c], at = at, at+from[c]
	}
	if cap(l.sorted) < at {
		l.sorted = make([]link, at+at/2)
	}
	l.sorted = l.sorted[:at]
	for _, x := range l.list {
		c := weightClass(x.weight)
		l.sorted[from[c]] = x
		from[c]++
	}
	return l.sorted
}
