package calendar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// field is one of the five fields of a schedule.
type field struct {
	name      string
	low, high int
	// words stand for low, low+1 and so on.
	words []string
}

func fields() []field {
	return []field{
		{name: "minute", low: 0, high: 59},
		{name: "hour", low: 0, high: 23},
		{name: "day", low: 1, high: 31},
		{name: "month", low: 1, high: 12, words: strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
		// Sunday is 0 and 7.
		{name: "weekday", low: 0, high: 7, words: strings.Fields("sun mon tue wed thu fri sat")},
	}
}

// item reads *, a value or a range, with or without a step, into a set of bits.
func (f *field) item(item string) (set uint64, err error) {
	values, step, stepped := strings.Cut(item, "/")
	every := 1
	if stepped {
		n, err := strconv.ParseUint(step, 10, 8)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%q is not a step of at least 1", step)
		}
		every = int(n)
	}
	low, high := f.low, f.high
	if values != "*" {
		first, last, ranged := strings.Cut(values, "-")
		if low, err = f.value(first); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if high, err = f.value(last); err != nil {
				return 0, err
			}
			if high < low {
				return 0, fmt.Errorf("the range %q ends before it begins", values)
			}
		case !stepped:
			high = low
		}
	}
	for i := low; i <= high; i += every {
		set |= 1 << i
	}
	return set, nil
}

func (f *field) value(text string) (n int, err error) {
	if i := slices.Index(f.words, strings.ToLower(text)); i >= 0 {
		return f.low + i, nil
	}
	v, err := strconv.ParseUint(text, 10, 8)
	if err != nil || int(v) < f.low || int(v) > f.high {
		return 0, fmt.Errorf("%q is not a number from %d to %d", text, f.low, f.high)
	}
	return int(v), nil
}
