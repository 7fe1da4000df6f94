package calendar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustParse(t testing.TB, text string) *Schedule {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// TestNext goes through changes of the clock and rare days.
func TestNext(t *testing.T) {
	for _, tt := range []struct{ name, schedule, zone, after, want string }{
		{"weekday or day", "0 12 13 * fri", "UTC", "2026-02-01T00:00:00Z", "2026-02-06T12:00 2026-02-13T12:00 2026-02-20T12:00 2026-02-27T12:00 2026-03-06T12:00 2026-03-13T12:00"},
		{"weekday and a day that is open", "0 0 */7 * mon", "UTC", "2026-05-20T00:00:00Z", "2026-06-01T00:00 2026-06-08T00:00 2026-06-15T00:00"},
		{"a leap day on a Monday", "0 0 29 2 */7", "UTC", "2026-01-01T00:00:00Z", "2032-02-29T00:00 2060-02-29T00:00"},
		{"a word", "@weekly", "UTC", "2026-11-23T00:00:00Z", "2026-11-29T00:00 2026-12-06T00:00"},
		{"Sunday is 7", "0 0 * * 7", "UTC", "2026-11-23T00:00:00Z", "2026-11-29T00:00"},
		{"on the minute itself is over", "* * * * *", "UTC", "2026-11-23T10:00:00Z", "2026-11-23T10:01 2026-11-23T10:02"},
		{"just before it is not", "* * * * *", "UTC", "2026-11-23T09:59:59.999Z", "2026-11-23T10:00"},

		{"a time that is left out", "30 2 * * *", "Europe/Oslo", "2026-03-28T12:00:00Z", "2026-03-29T03:00 2026-03-30T02:30"},
		{"several of them", "*/15 2 * * *", "Europe/Oslo", "2026-03-28T12:00:00Z", "2026-03-29T03:00 2026-03-30T02:00"},
		{"and when the clock goes on", "0,30 2,3 * * *", "Europe/Oslo", "2026-03-28T12:00:00Z", "2026-03-29T03:00 2026-03-29T03:30 2026-03-30T02:00"},
		{"every hour goes on", "30 * * * *", "Europe/Oslo", "2026-03-29T00:00:00Z", "2026-03-29T01:30 2026-03-29T03:30"},
		{"a time that comes twice", "30 2 * * *", "Europe/Oslo", "2026-10-24T12:00:00Z", "2026-10-25T02:30+02:00 2026-10-26T02:30"},
		{"is over after the first", "30 2 * * *", "Europe/Oslo", "2026-10-25T00:45:00Z", "2026-10-26T02:30"},
		{"every hour is twice", "30 */1 * * *", "Europe/Oslo", "2026-10-25T00:00:00Z", "2026-10-25T02:30+02:00 2026-10-25T02:30+01:00 2026-10-25T03:30"},
		{"half an hour", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-05T01:45+11:00 2026-04-06T01:45"},
		{"a day that begins at one", "0 0 * * *", "Africa/Cairo", "2026-04-23T00:00:00Z", "2026-04-24T01:00 2026-04-25T00:00"},
		{"a day that never was", "0 12 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", "2011-12-31T00:00 2012-01-30T12:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, zone := mustParse(t, tt.schedule), mustZone(t, tt.zone)
			at, err := time.Parse(time.RFC3339Nano, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			for want := range strings.FieldsSeq(tt.want) {
				at = s.Next(at, zone)
				layout := "2006-01-02T15:04"
				if len(want) > len(layout) {
					layout += "-07:00"
				}
				if got := at.Format(layout); got != want {
					t.Fatalf("due at %s, want %s", at, want)
				}
			}
		})
	}
}

// naive says whether a schedule is due at a minute, by the definition: shown is the
// time up to which the clock had shown everything before.
func naive(s *Schedule, clock, shown int64) bool {
	if s.everyHour {
		shown = clock - minute
	}
	for w := max(shown+minute, clock-3*day); w <= clock; w += minute {
		t := time.Unix(w, 0).UTC()
		if s.minutes>>t.Minute()&1 == 1 && s.hours>>t.Hour()&1 == 1 && s.months>>t.Month()&1 == 1 && s.onDay(t) {
			return true
		}
	}
	return false
}

// someZones change their clocks in many ways, at many times of the day and year.
var someZones = []string{
	"UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo", "Pacific/Apia",
	"Asia/Tehran", "Antarctica/Troll", "Africa/Casablanca", "Asia/Kathmandu", "America/St_Johns", "Asia/Gaza",
}

// TestNaive compares with a search minute by minute through weeks around each change
// of the clock of some years.
func TestNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone, err := Zone(rapid.SampledFrom(someZones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		text := drawSchedule(t)
		s, err := Parse(text)
		if err != nil {
			t.Skip(err)
		}
		from := time.Date(rapid.IntRange(1985, 2036).Draw(t, "year"), 1, 1, rapid.IntRange(0, 8760).Draw(t, "hour"), 0, 0, 0, time.UTC)
		if _, end := from.In(zone).ZoneBounds(); !end.IsZero() && rapid.IntRange(0, 4).Draw(t, "change") > 0 {
			from = end.Add(-time.Duration(rapid.IntRange(0, 30).Draw(t, "before")) * time.Hour)
		}
		from = from.Truncate(time.Minute)
		next := s.Next(from, zone)
		shown := int64(-never)
		// What was shown before is known after some days.
		for m := from.Unix() - memory; m < from.Unix()+5*day; m += minute {
			_, offset := time.Unix(m, 0).In(zone).Zone()
			clock := m + int64(offset)
			due := shown > -never && naive(s, clock, max(shown, clock-3*day))
			if m > from.Unix() && due != (next.Unix() == m) {
				t.Fatalf("%q in %s: at %s due %v, next after %s is %s", text, zone, time.Unix(m, 0).In(zone), due, from.In(zone), next)
			}
			if m > from.Unix() && due {
				next = s.Next(time.Unix(m, 0), zone)
			}
			shown = max(shown, clock)
		}
	})
}

func drawSchedule(t *rapid.T) string {
	pick := func(label string, low, high int) string {
		n := func(what string) int { return rapid.IntRange(low, high).Draw(t, label+" "+what) }
		switch rapid.IntRange(0, 4).Draw(t, label) {
		case 0:
			return "*"
		case 1:
			return fmt.Sprintf("*/%d", max(n("step"), 1))
		case 2:
			a, b := n("first"), n("last")
			return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
		case 3:
			return fmt.Sprintf("%d,%d", n("one"), n("other"))
		default:
			return fmt.Sprint(n("only"))
		}
	}
	hour := pick("hour", 0, 23)
	if rapid.Bool().Draw(t, "night") {
		hour = pick("hour", 0, 3)
	}
	day, month, weekday := "*", "*", "*"
	if rapid.IntRange(0, 2).Draw(t, "days") == 0 {
		day, month, weekday = pick("day", 1, 31), pick("month", 1, 12), pick("weekday", 0, 7)
	}
	return strings.Join([]string{pick("minute", 0, 59), hour, day, month, weekday}, " ")
}

func TestZone(t *testing.T) {
	for _, name := range []string{"Local", "Mars/Olympus", "../etc/passwd", "CEST "} {
		if _, err := Zone(name); err == nil {
			t.Errorf("%q is a zone", name)
		}
	}
}

// FuzzParse reads any text: what is a schedule is due some day, after what it was asked
// for and not before it.
func FuzzParse(f *testing.F) {
	f.Add("*/5 0-6/2 1,15 * mon")
	f.Add("@weekly")
	f.Add("0 0 29 2 */7")
	oslo := mustZone(f, "Europe/Oslo")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		after := time.Unix(1_800_000_000, 0)
		if next := s.Next(after, oslo); !next.After(after) {
			t.Errorf("%q is due at %s", text, next)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	s, zone := mustParse(b, "30 4 29 2 *"), mustZone(b, "Europe/Oslo")
	for b.Loop() {
		s.Next(time.Unix(1_800_000_000, 0), zone)
	}
}
