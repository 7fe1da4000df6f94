package cli

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

var (
	errQuantity = errors.New("is not a whole number of at least 1")
	errTooLarge = errors.New("is too large")
)

// parseQuantity reads a positive whole number with an optional suffix: "500M",
// "1e9", "1.5G", "1_000_000". A fraction must come out whole after the suffix.
func parseQuantity(s string, units []unit) (uint64, error) {
	number, factor := strings.TrimSpace(s), uint64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	number = strings.ReplaceAll(number, "_", "")
	if number == "" || strings.Trim(number, "0123456789.eE+") != "" {
		return 0, errQuantity
	}
	if n, err := strconv.ParseUint(number, 10, 64); err == nil {
		switch {
		case n == 0:
			return 0, errQuantity
		case n > math.MaxUint64/factor:
			return 0, errTooLarge
		}
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errQuantity
	}
	f *= float64(factor)
	switch whole := math.Round(f); {
	case f >= 1<<63:
		return 0, errTooLarge
	case whole < 1 || math.Abs(f-whole) > whole*1e-12:
		return 0, errQuantity
	default:
		return uint64(whole), nil
	}
}

// quantityValue is a pflag.Value for a positive amount.
type quantityValue struct {
	to   *uint64
	kind string
	// example ends the message about a value that cannot be read.
	example string
	units   func() []unit
	format  func(uint64) string
}

func (q quantityValue) Set(s string) error {
	n, err := parseQuantity(s, q.units())
	if errors.Is(err, errQuantity) {
		return fmt.Errorf("%w, such as %s", err, q.example)
	}
	if err != nil {
		return err
	}
	*q.to = n
	return nil
}

func (q quantityValue) Type() string { return q.kind }

func (q quantityValue) String() string {
	if q.to == nil {
		return ""
	}
	return q.format(*q.to)
}

func fuelValue(to *uint64) quantityValue {
	return quantityValue{to: to, kind: "N", example: "500M", units: fuelUnits, format: formatFuel}
}

func bytesValue(to *uint64) quantityValue {
	return quantityValue{to: to, kind: "SIZE", example: "64MiB", units: byteUnits, format: formatBytes}
}

func countValue(to *uint64) quantityValue {
	return quantityValue{
		to: to, kind: "N", example: "100", units: fuelUnits,
		format: func(n uint64) string { return strconv.FormatUint(n, 10) },
	}
}

// durationValue is a pflag.Value for a positive time; a bare number is seconds.
type durationValue struct{ to *time.Duration }

func (d durationValue) Set(s string) error {
	s = strings.TrimSpace(s)
	if strings.Trim(s, "0123456789.") == "" {
		s += "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return errors.New("is not a time above zero, such as 500ms, 30s or 2h")
	}
	*d.to = v
	return nil
}

func (d durationValue) Type() string { return "TIME" }

func (d durationValue) String() string {
	if d.to == nil {
		return ""
	}
	return formatDuration(*d.to)
}

// formatBytes gives n in the largest unit that divides it, else in bytes with
// the size in that unit rounded to a tenth: "64MiB", "1000001 bytes".
func formatBytes(n uint64) string {
	for _, u := range []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.factor && n%u.factor == 0 {
			return fmt.Sprintf("%d%s", n/u.factor, u.suffix)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// formatFuel gives n in the largest unit that divides it.
func formatFuel(n uint64) string {
	for _, u := range []unit{{"P", 1e15}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}} {
		if n >= u.factor && n%u.factor == 0 {
			return fmt.Sprintf("%d%s", n/u.factor, u.suffix)
		}
	}
	return strconv.FormatUint(n, 10)
}

// formatDuration is time.Duration's form without trailing zero units.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
