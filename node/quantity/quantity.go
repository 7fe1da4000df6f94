// Package quantity reads and writes amounts of fuel, sizes and times as people
// do: "500M", "64MiB", "1h30m". Flags and job files share it, so that what works
// in one works in the other.
package quantity

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// unit is a suffix and what it multiplies by.
type unit struct {
	suffix string
	factor uint64
}

// fuelUnits are powers of a thousand; longer suffixes come first.
func fuelUnits() []unit {
	return []unit{
		{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"P", 1e15},
	}
}

// byteUnits are powers of 1024, save for those that say B without i. A bare
// letter is a power of 1024, as in ulimit, Java and Docker.
func byteUnits() []unit {
	return []unit{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"TiB", 1 << 40},
		{"KB", 1e3},
		{"kB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"TB", 1e12},
		{"K", 1 << 10},
		{"k", 1 << 10},
		{"M", 1 << 20},
		{"m", 1 << 20},
		{"G", 1 << 30},
		{"g", 1 << 30},
		{"T", 1 << 40},
		{"B", 1},
	}
}

// The mistakes in a quantity. Their texts go on where the quantity ends: "1.5 is
// not a whole number of at least 1".
var (
	// ErrNotWhole is returned for what is no positive whole number.
	ErrNotWhole = errors.New("is not a whole number of at least 1")
	// ErrTooLarge is returned for what does not fit into 64 bits.
	ErrTooLarge = errors.New("is too large: more than 64 bits hold")
	// ErrDuration is returned for what is no time above zero.
	ErrDuration = errors.New("is not a time above zero, such as 500ms, 30s or 2h")
)

// parse reads a positive whole number with an optional suffix: "500M",
// "1e9", "1.5G", "1_000_000". A fraction must come out whole after the suffix.
func parse(s string, units []unit) (uint64, error) {
	number, factor := strings.TrimSpace(s), uint64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	number = strings.ReplaceAll(number, "_", "")
	if number == "" || strings.Trim(number, "0123456789.eE+") != "" {
		return 0, ErrNotWhole
	}
	if n, err := strconv.ParseUint(number, 10, 64); err == nil {
		switch {
		case n == 0:
			return 0, ErrNotWhole
		case n > math.MaxUint64/factor:
			return 0, ErrTooLarge
		}
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, ErrNotWhole
	}
	f *= float64(factor)
	switch whole := math.Round(f); {
	case f >= 1<<63:
		return 0, ErrTooLarge
	case whole < 1 || math.Abs(f-whole) > whole*1e-12:
		return 0, ErrNotWhole
	default:
		return uint64(whole), nil
	}
}

// ParseFuel reads an amount of fuel: a positive whole number, with a suffix that
// is a power of a thousand.
func ParseFuel(s string) (uint64, error) { return parse(s, fuelUnits()) }

// ParseCount reads a number of things, written as fuel is.
func ParseCount(s string) (uint64, error) { return parse(s, fuelUnits()) }

// ParseBytes reads a size: a positive whole number, with a suffix that is a
// power of 1024, or of a thousand when it says B without i.
func ParseBytes(s string) (uint64, error) { return parse(s, byteUnits()) }

// ParseDuration reads a time above zero; a bare number is seconds.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if strings.Trim(s, "0123456789.") == "" {
		s += "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return 0, ErrDuration
	}
	return v, nil
}

// FormatBytes gives n in the largest unit that divides it, else in bytes with
// the size in that unit rounded to a tenth: "64MiB", "1000001 bytes".
func FormatBytes(n uint64) string {
	for _, u := range []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.factor && n%u.factor == 0 {
			return fmt.Sprintf("%d%s", n/u.factor, u.suffix)
		}
	}
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// FormatFuel gives n in the largest unit that divides it.
func FormatFuel(n uint64) string {
	for _, u := range []unit{{"P", 1e15}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}} {
		if n >= u.factor && n%u.factor == 0 {
			return fmt.Sprintf("%d%s", n/u.factor, u.suffix)
		}
	}
	return strconv.FormatUint(n, 10)
}

// FormatDuration is time.Duration's form without trailing zero units.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
