package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/dugnad/dugnad/ledger"
)

// Filter is a Bloom filter of modules. It never misses a module that was added
// and errs the other way for about 1 in 100 as made by NewFilter. A module's
// bytes are a SHA-256 and serve as their own hash. The zero value is empty.
type Filter struct {
	// bits is what was decoded, without its header: it is not copied.
	bits   []byte
	probes uint32
}

// FilterBytesMax bounds an encoded filter: about 13,000 modules at 1 in 100.
const FilterBytesMax = 16 << 10

const (
	filterVersion   = 1
	filterHeader    = 2
	filterProbes    = 7
	filterProbesMax = 16
	filterModule    = 10 // bits per module
	filterSizeMin   = 16 // bytes; smaller ones err more often
)

// ErrFilter is returned by DecodeFilter for bytes that are no filter.
var ErrFilter = errors.New("module filter is malformed")

// ErrFilterSaturated is returned by DecodeFilter for a filter that claims more
// than half of all modules that exist: it would draw all work to its node.
var ErrFilterSaturated = errors.New("module filter is saturated")

// NewFilter returns an empty filter for n modules. Beyond what fits into
// FilterBytesMax it errs more often.
func NewFilter(n int) Filter {
	size := FilterBytesMax - filterHeader
	if n < size*8/filterModule {
		size = max((n*filterModule+7)/8, filterSizeMin)
	}
	return Filter{bits: make([]byte, size), probes: filterProbes}
}

// DecodeFilter reads what Encode made. No bytes are the empty filter. The
// filter refers to b.
func DecodeFilter(b []byte) (Filter, error) {
	if len(b) == 0 {
		return Filter{}, nil
	}
	if len(b) <= filterHeader || len(b) > FilterBytesMax {
		return Filter{}, fmt.Errorf("%w: %d bytes, %d to %d are allowed", ErrFilter, len(b), filterHeader+1, FilterBytesMax)
	}
	if b[0] != filterVersion {
		return Filter{}, fmt.Errorf("%w: version %d is unknown", ErrFilter, b[0])
	}
	if b[1] < 1 || b[1] > filterProbesMax {
		return Filter{}, fmt.Errorf("%w: %d probes, 1 to %d are allowed", ErrFilter, b[1], filterProbesMax)
	}
	f := Filter{bits: b[filterHeader:], probes: uint32(b[1])}
	if f.saturated() {
		return Filter{}, ErrFilterSaturated
	}
	return f, nil
}

// Encode returns the filter's bytes, at most FilterBytesMax.
func (f Filter) Encode() []byte {
	if len(f.bits) == 0 {
		return nil
	}
	return append([]byte{filterVersion, byte(f.probes)}, f.bits...)
}

// Add puts m into a filter that NewFilter made.
func (f Filter) Add(m ledger.ModuleID) {
	h := hashModule(m)
	for range f.probes {
		bit := h.next(len(f.bits))
		f.bits[bit/8] |= 1 << (bit % 8)
	}
}

// Holds reports whether m was added, or looks as if.
func (f Filter) Holds(m ledger.ModuleID) bool {
	return len(f.bits) > 0 && f.holds(hashModule(m))
}

func (f Filter) holds(h moduleHash) bool {
	for range f.probes {
		bit := h.next(len(f.bits))
		if f.bits[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// saturated reports whether a random module is held with more than 1 in 2: the
// share of bits set to the power of probes, in 1/1024 rounded up.
func (f Filter) saturated() bool {
	ones := 0
	for _, b := range f.bits {
		ones += bits.OnesCount8(b)
	}
	all := len(f.bits) * 8
	share := 1024
	for range f.probes {
		share = (share*ones + all - 1) / all
	}
	return share > 1024/2
}

// moduleHash walks the bits of a module by double hashing (Kirsch and
// Mitzenmacher, 2006).
type moduleHash struct {
	at, step uint64
}

func hashModule(m ledger.ModuleID) moduleHash {
	return moduleHash{binary.LittleEndian.Uint64(m[:8]), binary.LittleEndian.Uint64(m[8:16]) | 1}
}

// next returns a bit of a filter of n bytes.
func (h *moduleHash) next(n int) uint64 {
	bit, _ := bits.Mul64(h.at, uint64(n)*8)
	h.at += h.step
	return bit
}
