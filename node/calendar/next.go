package calendar

import (
	"fmt"
	"time"
)

// horizon bounds the search for the next time: the rarest schedule, a 29th of February
// on one weekday, comes within 40 years.
const horizon = 50 * 366 * day

// Zone returns a time zone by its name, such as Europe/Oslo or UTC. The zone of the
// machine has no name that means the same elsewhere: it is an error.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone", name)
	}
	return zone, nil
}

// Next returns the first moment after after at which the schedule is due in a zone;
// zero when there is none within 50 years.
//
// A schedule with an open hour ("*" or "*/n") is due at every minute at which the clock
// shows what it names: it goes on every hour, also through one that the clock shows
// twice. Any other is due the first time that the clock shows a named time or a later
// one: a time that comes twice is due once, and one that the clock leaves out is due
// when it goes on. All that fall on one moment are due once.
func (s *Schedule) Next(after time.Time, zone *time.Location) time.Time {
	first := after.Unix() + 1
	for at := first; at < first+horizon; {
		p := periodOf(at, zone)
		if w, ok := s.inPeriod(p, at, zone); ok {
			return time.Unix(w-p.offset, 0).In(zone)
		}
		at = p.end
	}
	return time.Time{}
}

// inPeriod returns the first time of the clock that is due within a period of one
// offset, from moment at on.
func (s *Schedule) inPeriod(p period, at int64, zone *time.Location) (clock int64, ok bool) {
	from, end := at+p.offset, min(p.end, at+horizon)+p.offset
	if s.everyHour {
		return s.match(from, end)
	}
	shown := p.shown(zone)
	begin := p.start + p.offset
	if at == p.start && shown < begin {
		// What the clock has left out is due now.
		if _, ok := s.match(shown, begin); ok {
			return begin, true
		}
	}
	return s.match(max(from, shown), end)
}

// period is the time from start to before end, both moments, through which the clock
// of a zone is offset seconds ahead of UTC.
type period struct{ start, end, offset int64 }

const never = 1 << 60

func periodOf(at int64, zone *time.Location) period {
	t := time.Unix(at, 0).In(zone)
	_, offset := t.Zone()
	p := period{-never, never, int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		p.start = start.Unix()
	}
	if !end.IsZero() {
		p.end = end.Unix()
	}
	return p
}

// shown returns the time of the clock before which everything was shown, or left out,
// before the period began.
func (p period) shown(zone *time.Location) int64 {
	shown := int64(-never)
	if p.start == -never {
		return shown
	}
	for earlier := p; earlier.start > p.start-memory; {
		earlier = periodOf(earlier.start-1, zone)
		shown = max(shown, ceil(earlier.end+earlier.offset))
	}
	return shown
}
