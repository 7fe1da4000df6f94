package content

import "math/bits"

// bitmap is a set of chunks, the first one in the lowest bit of the first byte.
type bitmap []byte

func newBitmap(n int) bitmap { return make(bitmap, (n+7)/8) }

func (b bitmap) has(k int) bool { return b[k>>3]&(1<<(k&7)) != 0 }

func (b bitmap) set(k int) { b[k>>3] |= 1 << (k & 7) }

func (b bitmap) clear(k int) { b[k>>3] &^= 1 << (k & 7) }

func (b bitmap) count() (n int) {
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}
