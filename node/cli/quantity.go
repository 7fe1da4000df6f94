package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dugnad/dugnad/node/quantity"
)

// quantityValue is a pflag.Value for a positive amount.
type quantityValue struct {
	to   *uint64
	kind string
	// example ends the message about a value that cannot be read.
	example string
	parse   func(string) (uint64, error)
	format  func(uint64) string
}

func (q quantityValue) Set(s string) error {
	n, err := q.parse(s)
	if errors.Is(err, quantity.ErrNotWhole) {
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

// givenValue also notes that somebody has chosen the amount, in whatever way.
type givenValue struct {
	quantityValue
	given *bool
}

func (g givenValue) Set(s string) error {
	err := g.quantityValue.Set(s)
	*g.given = *g.given || err == nil
	return err
}

func fuelValue(to *uint64) quantityValue {
	return quantityValue{to: to, kind: "N", example: "500M", parse: quantity.ParseFuel, format: formatFuel}
}

func bytesValue(to *uint64) quantityValue {
	return quantityValue{to: to, kind: "SIZE", example: "64MiB", parse: quantity.ParseBytes, format: formatBytes}
}

func countValue(to *uint64) quantityValue {
	return quantityValue{
		to: to, kind: "N", example: "100", parse: quantity.ParseCount,
		format: func(n uint64) string { return strconv.FormatUint(n, 10) },
	}
}

// durationValue is a pflag.Value for a positive time; a bare number is seconds.
type durationValue struct{ to *time.Duration }

func (d durationValue) Set(s string) error {
	v, err := quantity.ParseDuration(s)
	if err != nil {
		return err
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

// patienceValue is a pflag.Value for a time, which may be 0; a bare number is seconds.
type patienceValue struct{ to *time.Duration }

func (p patienceValue) Set(s string) error {
	if d, err := time.ParseDuration(s); err == nil && d == 0 {
		*p.to = 0
		return nil
	}
	return durationValue(p).Set(s)
}

func (p patienceValue) Type() string { return durationValue(p).Type() }

func (p patienceValue) String() string {
	if p.to != nil && *p.to == 0 {
		return "0"
	}
	return durationValue(p).String()
}

func formatBytes(n uint64) string { return quantity.FormatBytes(n) }

func formatFuel(n uint64) string { return quantity.FormatFuel(n) }

func formatDuration(d time.Duration) string { return quantity.FormatDuration(d) }
