package jobspec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dugnad/dugnad/node/nearest"
)

// cronWords are schedules with a name.
func cronWords() []string {
	return []string{"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}
}

// cronField is one of the five fields of a schedule.
type cronField struct {
	name      string
	low, high int
	// words stand for low, low+1 and so on.
	words []string
}

func cronFields() []cronField {
	return []cronField{
		{name: "minute", low: 0, high: 59},
		{name: "hour", low: 0, high: 23},
		{name: "day", low: 1, high: 31},
		{name: "month", low: 1, high: 12, words: strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
		// Sunday is 0 and 7.
		{name: "weekday", low: 0, high: 7, words: strings.Fields("sun mon tue wed thu fri sat")},
	}
}

// checkCron says what is wrong with a schedule: five fields as crontab(5) has
// them, or one of cronWords.
func checkCron(schedule string) (message, help string) {
	const example = `write minute, hour, day, month and weekday, such as "30 4 * * mon-fri"`
	if strings.HasPrefix(schedule, "@") {
		if words := cronWords(); !slices.Contains(words, schedule) {
			if word := nearest.Name(schedule, words); word != "" {
				return quote(schedule) + " is not a schedule", "did you mean " + word + "?"
			}
			return quote(schedule) + " is not a schedule", "write one of " + strings.Join(words, ", ") + ", or five fields"
		}
		return "", ""
	}
	parts, fields := strings.Fields(schedule), cronFields()
	if strings.Contains(schedule, "TZ=") {
		return "a schedule names no time zone", "write timezone: Europe/Oslo beside it"
	}
	if len(parts) != len(fields) {
		return fmt.Sprintf("%s has %d fields, not 5", quote(schedule), len(parts)), example
	}
	var sets [5]uint64
	for i, part := range parts {
		for _, item := range strings.Split(part, ",") {
			set, problem := fields[i].item(item)
			if problem != "" {
				return fmt.Sprintf("%s of %s: %s", fields[i].name, quote(schedule), problem), example
			}
			sets[i] |= set
		}
	}
	// A weekday makes up for a day that no month has.
	if parts[4] == "*" && !someDay(sets[2], sets[3]) {
		return quote(schedule) + " is a day that never comes", example
	}
	return "", ""
}

// item reads *, a value or a range, with or without a step, into a set of bits.
func (f *cronField) item(item string) (set uint64, problem string) {
	values, step, stepped := strings.Cut(item, "/")
	every := 1
	if stepped {
		n, err := strconv.ParseUint(step, 10, 8)
		if err != nil || n == 0 {
			return 0, quote(step) + " is not a step of at least 1"
		}
		every = int(n)
	}
	low, high := f.low, f.high
	if values != "*" {
		first, last, ranged := strings.Cut(values, "-")
		if low, problem = f.value(first); problem != "" {
			return 0, problem
		}
		switch {
		case ranged:
			if high, problem = f.value(last); problem != "" {
				return 0, problem
			}
			if high < low {
				return 0, fmt.Sprintf("the range %s ends before it begins", quote(values))
			}
		case !stepped:
			high = low
		}
	}
	for i := low; i <= high; i += every {
		set |= 1 << i
	}
	return set, ""
}

func (f *cronField) value(text string) (n int, problem string) {
	if i := slices.Index(f.words, strings.ToLower(text)); i >= 0 {
		return f.low + i, ""
	}
	v, err := strconv.ParseUint(text, 10, 8)
	if err != nil || int(v) < f.low || int(v) > f.high {
		return 0, fmt.Sprintf("%s is not a number from %d to %d", quote(text), f.low, f.high)
	}
	return int(v), ""
}

// someDay reports whether one of the months has one of the days in some year.
func someDay(days, months uint64) bool {
	length := [...]int{1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
	for month := 1; month <= 12; month++ {
		if months&(1<<month) != 0 && days&(1<<(length[month]+1)-1) != 0 {
			return true
		}
	}
	return false
}
