package jobspec

import (
	"testing"

	"github.com/dugnad/dugnad/node/nearest"
)

func TestCron(t *testing.T) {
	for schedule, want := range map[string]string{
		"* * * * *":           "",
		"*/5 0-6/2 1,15 * 7":  "",
		"5/10 * * JAN-mar Su": `weekday of "5/10 * * JAN-mar Su": "Su" is not a number from 0 to 7`,
		"0 0 * * fri-sun":     `weekday of "0 0 * * fri-sun": the range "fri-sun" ends before it begins`,
		"0 0 * * 5-7":         "",
		"0 0 * feb Mon":       "",
		"0 0 31 2,4 *":        `"0 0 31 2,4 *" is a day that never comes`,
		"0 0 29 2 *":          "",
		"0 0 31 2 mon":        "",
		"60 * * * *":          `minute of "60 * * * *": "60" is not a number from 0 to 59`,
		"* 24 * * *":          `hour of "* 24 * * *": "24" is not a number from 0 to 23`,
		"* * 0 * *":           `day of "* * 0 * *": "0" is not a number from 1 to 31`,
		"* * * 13 *":          `month of "* * * 13 *": "13" is not a number from 1 to 12`,
		"*/0 * * * *":         `minute of "*/0 * * * *": "0" is not a step of at least 1`,
		"1-2-3 * * * *":       `minute of "1-2-3 * * * *": "2-3" is not a number from 0 to 59`,
		", * * * *":           `minute of ", * * * *": "" is not a number from 0 to 59`,
		"-1 * * * *":          `minute of "-1 * * * *": "" is not a number from 0 to 59`,
		"* * * *":             `"* * * *" has 4 fields, not 5`,
		"0 * * * * *":         `"0 * * * * *" has 6 fields, not 5`,
		"":                    `"" has 0 fields, not 5`,
		"TZ=UTC * * * * *":    "a schedule names no time zone",
		"@daily":              "",
		"@dayly":              `"@dayly" is not a schedule`,
		"@every 1h":           `"@every 1h" is not a schedule`,
	} {
		got, help := checkCron(schedule)
		if got != want || (help == "") != (want == "") {
			t.Errorf("%q: %s (%s), want %s", schedule, got, help, want)
		}
	}
}

func FuzzCron(f *testing.F) {
	f.Add("*/5 0-6/2 1,15 * mon")
	f.Fuzz(func(t *testing.T, schedule string) {
		message, help := checkCron(schedule)
		if (message == "") != (help == "") || len(message) > 400 {
			t.Errorf("%q: %q, %q", schedule, message, help)
		}
	})
}

func TestNearest(t *testing.T) {
	names := fieldsOf[Limits]()
	for word, want := range map[string]string{"feul": "fuel", "memroy": "memory", "time_out": "timeout", "zebra": "", "": ""} {
		if got := nearest.Name(word, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
