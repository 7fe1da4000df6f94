package jobspec

import "math/bits"

// Shares returns the lines, from and up to but not including to, that task index
// of count gets of a list. The shares of all tasks are the list, in order, and
// differ by at most one line. The index must be below count.
func Shares(lines uint64, count, index uint32) (from, to uint64) {
	return part(lines, index, count), part(lines, index+1, count)
}

// part returns lines * n / count, for n up to count, without overflow.
func part(lines uint64, n, count uint32) uint64 {
	high, low := bits.Mul64(lines, uint64(n))
	if n == count {
		return lines
	}
	quotient, _ := bits.Div64(high, low, uint64(count))
	return quotient
}
