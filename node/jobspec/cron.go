package jobspec

import (
	"strings"

	"github.com/dugnad/dugnad/node/calendar"
	"github.com/dugnad/dugnad/node/nearest"
)

// checkCron says what is wrong with a schedule: see calendar.Parse.
func checkCron(schedule string) (message, help string) {
	if strings.Contains(schedule, "TZ=") {
		return "a schedule names no time zone", "write timezone: Europe/Oslo beside it"
	}
	_, err := calendar.Parse(schedule)
	words := calendar.Words()
	switch {
	case err == nil:
		return "", ""
	case !strings.HasPrefix(schedule, "@"):
		help = `write minute, hour, day, month and weekday, such as "30 4 * * mon-fri"`
	case nearest.Name(schedule, words) != "":
		help = "did you mean " + nearest.Name(schedule, words) + "?"
	default:
		help = "write one of " + strings.Join(words, ", ") + ", or five fields"
	}
	return err.Error(), help
}
