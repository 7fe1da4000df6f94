package wasmtest

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Value is an argument or an expected result of a script.
type Value struct {
	Type string `json:"type"`
	// LaneType is the type of the lanes of a v128.
	LaneType string `json:"lane_type"`
	// Value is a decimal number, the bits of a float included, a kind of NaN,
	// "null", or for a v128 a list of these; absent it stands for anything of
	// its type.
	Value json.RawMessage `json:"value"`
}

// laneBits is the width of a type in bits.
var laneBits = map[string]int{"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f32": 32, "f64": 64}

// words returns the value's numbers, one for each lane, as the script has them.
func (v *Value) words() ([]string, error) {
	if len(v.Value) == 0 {
		return nil, nil
	}
	if v.Type == "v128" {
		var list []string
		err := json.Unmarshal(v.Value, &list)
		if err == nil && len(list)*laneBits[v.LaneType] != 128 {
			err = fmt.Errorf("%d lanes of %q", len(list), v.LaneType)
		}
		return list, err
	}
	var one string
	err := json.Unmarshal(v.Value, &one)
	return []string{one}, err
}

// number reads one word. An external reference n is n+1 to wazero, which takes
// zero for null.
func (v *Value) number(word string) (uint64, error) {
	switch {
	case word == "null":
		return 0, nil
	case v.Type == "externref":
		n, err := strconv.ParseUint(word, 10, 64)
		return n + 1, err
	case strings.HasPrefix(word, "-"):
		n, err := strconv.ParseInt(word, 10, 64)
		if strings.HasSuffix(v.Type, "32") {
			return uint64(uint32(n)), err
		}
		return uint64(n), err
	}
	return strconv.ParseUint(word, 10, 64)
}

// Bits returns the value as wazero passes it: one word, or two for a v128.
func (v *Value) Bits() ([]uint64, error) {
	words, err := v.words()
	if err != nil {
		return nil, err
	}
	if v.Type != "v128" {
		if len(words) == 0 {
			return []uint64{0}, nil
		}
		n, err := v.number(words[0])
		return []uint64{n}, err
	}
	out, width := make([]uint64, 2), laneBits[v.LaneType]
	for i, word := range words {
		n, err := v.number(word)
		if err != nil {
			return nil, err
		}
		at := i * width
		out[at/64] |= n & (math.MaxUint64 >> (64 - width)) << (at % 64)
	}
	return out, nil
}

// Match takes the value's part off the front of results and reports whether it
// is what the script expects. A NaN need only be of the expected kind.
func (v *Value) Match(results []uint64) (ok bool, rest []uint64) {
	size := 1
	if v.Type == "v128" {
		size = 2
	}
	if len(results) < size {
		return false, nil
	}
	rest = results[size:]
	words, err := v.words()
	if err != nil {
		return false, rest
	}
	if words == nil {
		return true, rest
	}
	if v.Type != "v128" {
		return v.matchWord(words[0], v.Type, results[0]), rest
	}
	width := laneBits[v.LaneType]
	for i, word := range words {
		at := i * width
		lane := results[at/64] >> (at % 64) & (math.MaxUint64 >> (64 - width))
		if !v.matchWord(word, v.LaneType, lane) {
			return false, rest
		}
	}
	return true, rest
}

func (v *Value) matchWord(word, typ string, got uint64) bool {
	if width, ok := laneBits[typ]; ok {
		got &= math.MaxUint64 >> (64 - width)
	}
	if kind, ok := strings.CutPrefix(word, "nan:"); ok {
		return isNaN(kind, typ, got)
	}
	want, err := v.number(word)
	if width, ok := laneBits[typ]; ok {
		want &= math.MaxUint64 >> (64 - width)
	}
	return err == nil && got == want
}

// isNaN reports whether bits are a canonical NaN, of either sign, or an
// arithmetic one, whose quiet bit is set (Core Specification 2.0, 2.2.3).
func isNaN(kind, typ string, bits uint64) bool {
	exponent, quiet := uint64(0x7ff)<<52, uint64(1)<<51
	magnitude := bits &^ (1 << 63)
	if typ == "f32" {
		exponent, quiet = 0xff<<23, 1<<22
		magnitude = bits &^ (1 << 31)
	}
	if kind == "canonical" {
		return magnitude == exponent|quiet
	}
	return magnitude&(exponent|quiet) == exponent|quiet
}
