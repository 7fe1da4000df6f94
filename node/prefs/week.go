package prefs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// dayMinutes is a day of the clock on the wall, on which some days have an hour more
// or less.
const dayMinutes = 24 * 60

// Week has spans of each day, by the clock on the wall. One that ends before it begins
// ends on the next day.
type Week struct{ days [7][]span }

// span is from one minute of a day to another, from 0 to dayMinutes.
type span struct{ from, to int }

// over reports whether the span ends on the next day.
func (s span) over() bool { return s.to <= s.from }

// has reports whether a time is in a span.
func (w *Week) has(now time.Time) bool {
	minute, today := now.Hour()*60+now.Minute(), now.Weekday()
	return slices.ContainsFunc(w.days[today], func(s span) bool {
		return minute >= s.from && (s.over() || minute < s.to)
	}) || slices.ContainsFunc(w.days[(today+6)%7], func(s span) bool {
		return s.over() && minute < s.to
	})
}

// next returns when the next span begins after a time; zero when there is none. An
// hour that the clock leaves out begins an hour later.
func (w *Week) next(now time.Time) (first time.Time) {
	for ahead := range 8 {
		day := time.Date(now.Year(), now.Month(), now.Day()+ahead, 0, 0, 0, 0, now.Location())
		for _, s := range w.days[day.Weekday()] {
			at := time.Date(day.Year(), day.Month(), day.Day(), 0, s.from, 0, 0, now.Location())
			if at.After(now) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		if !first.IsZero() {
			return first
		}
	}
	return first
}

// dayNames are the keys of days, with the days that each stands for.
var dayNames = map[string][]time.Weekday{
	"monday": {1}, "tuesday": {2}, "wednesday": {3}, "thursday": {4}, "friday": {5}, "saturday": {6}, "sunday": {0},
	"weekdays": {1, 2, 3, 4, 5}, "weekend": {6, 0}, "every_day": {0, 1, 2, 3, 4, 5, 6},
}

var spanText = regexp.MustCompile(`^ *(\d\d?):(\d\d) *- *(\d\d?):(\d\d) *$`)

// parseSpan reads 18:00-08:00.
func parseSpan(text string) (span, error) {
	m := spanText.FindStringSubmatch(text)
	if m == nil {
		return span{}, fmt.Errorf("%q is not a span such as 18:00-08:00", text)
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // two digits
	}
	s := span{n[0]*60 + n[1], n[2]*60 + n[3]}
	if n[1] > 59 || n[3] > 59 || s.from >= dayMinutes || s.to > dayMinutes {
		return span{}, fmt.Errorf("%q has a time that no clock shows", text)
	}
	return s, nil
}
