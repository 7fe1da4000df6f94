// Package calendar reads schedules of five fields, as crontab(5) has them, and says
// when they are due in a time zone, whatever its clocks do.
package calendar

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // A time zone is known on every machine or on none.
)

// Schedule says at which times of the clock something is due.
type Schedule struct {
	// minutes, hours, days, months and weekdays have a bit for each value.
	minutes, hours, days, months, weekdays uint64
	// eitherDay says that a day of the month or a weekday will do: both were named.
	eitherDay bool
	// everyHour says that the hour was left open: it goes on through changes of the
	// clock as time does.
	everyHour bool
}

// words are schedules with a name.
func words() []struct{ name, fields string } {
	return []struct{ name, fields string }{
		{"@hourly", "0 * * * *"},
		{"@daily", "0 0 * * *"},
		{"@midnight", "0 0 * * *"},
		{"@weekly", "0 0 * * 0"},
		{"@monthly", "0 0 1 * *"},
		{"@yearly", "0 0 1 1 *"},
		{"@annually", "0 0 1 1 *"},
	}
}

// Words lists the schedules with a name.
func Words() (names []string) {
	for _, w := range words() {
		names = append(names, w.name)
	}
	return names
}

// Parse reads a schedule: five fields, minute, hour, day, month and weekday, or one of
// Words. Its error says what is wrong in one sentence.
func Parse(text string) (*Schedule, error) {
	for _, w := range words() {
		if w.name == text {
			text = w.fields
		}
	}
	if strings.HasPrefix(text, "@") {
		return nil, fmt.Errorf("%q is not a schedule", text)
	}
	parts, fields := strings.Fields(text), fields()
	if len(parts) != len(fields) {
		return nil, fmt.Errorf("%q has %d fields, not 5", text, len(parts))
	}
	var sets [5]uint64
	for i, part := range parts {
		for item := range strings.SplitSeq(part, ",") {
			set, err := fields[i].item(item)
			if err != nil {
				return nil, fmt.Errorf("%s of %q: %w", fields[i].name, text, err)
			}
			sets[i] |= set
		}
	}
	sets[4] |= sets[4] >> 7 // Sunday is 0 and 7.
	open := func(i int) bool { return strings.HasPrefix(parts[i], "*") }
	s := &Schedule{
		minutes: sets[0], hours: sets[1], days: sets[2], months: sets[3], weekdays: sets[4],
		eitherDay: !open(2) && !open(4), everyHour: open(1),
	}
	if _, ok := s.match(epoch, epoch+centuries); !ok {
		return nil, fmt.Errorf("%q is a day that never comes", text)
	}
	return s, nil
}

const (
	minute = 60
	day    = 24 * 60 * minute
	// epoch is 2000-01-01, centuries the seconds after which days and weekdays begin
	// anew.
	epoch     = 946_684_800
	centuries = 146_097 * day
	// memory is how long what the clock showed before a change can come again: no two
	// offsets of a zone differ by more.
	memory = 48 * 60 * minute
)

// match returns the first time of the clock from from on, and before end, that the
// schedule names. Times of the clock are in seconds as if it were UTC.
func (s *Schedule) match(from, end int64) (at int64, ok bool) {
	from = ceil(from)
	for at := from - mod(from, day); at < end; {
		t := time.Unix(at, 0).UTC()
		if s.months>>t.Month()&1 == 0 {
			at = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC).Unix()
			continue
		}
		if s.onDay(t) {
			if w, ok := s.within(max(at, from), at); ok {
				return w, w < end
			}
		}
		at += day
	}
	return 0, false
}

// onDay reports whether a day of the right month is one that the schedule names.
func (s *Schedule) onDay(t time.Time) bool {
	date, weekday := s.days>>t.Day()&1 == 1, s.weekdays>>t.Weekday()&1 == 1
	if s.eitherDay {
		return date || weekday
	}
	return date && weekday
}

// within returns the first time from from on of the day that begins at start.
func (s *Schedule) within(from, start int64) (at int64, ok bool) {
	first := (from - start) / minute
	for m := first; m < 24*60; m++ {
		if s.hours>>(m/60)&1 == 0 {
			m += 59 - m%60
			continue
		}
		if s.minutes>>(m%60)&1 == 1 {
			return start + m*minute, true
		}
	}
	return 0, false
}

// mod returns the remainder of n by d, which is not negative.
func mod(n, d int64) int64 { return (n%d + d) % d }

// ceil rounds up to a whole minute.
func ceil(n int64) int64 { return n + mod(-n, minute) }
