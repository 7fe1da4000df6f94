package report

import (
	"errors"
	"fmt"
	"strings"
)

// The lines between which Splice writes.
const (
	Begin = "<!-- bench-meter: written by make bench-meter -->"
	End   = "<!-- bench-meter: end -->"
)

// ErrMarkers is wrapped by the error of Splice when the text has no place to
// write to.
var ErrMarkers = errors.New("no place for the table")

// Splice returns text with everything between the line Begin and the line End
// replaced by section. Both markers must be there once, in this order.
func Splice(text, section string) (string, error) {
	if strings.Count(text, Begin) != 1 || strings.Count(text, End) != 1 {
		return "", fmt.Errorf("%w: it needs the line %q and below it %q, each once", ErrMarkers, Begin, End)
	}
	before, rest, _ := strings.Cut(text, Begin)
	_, after, ok := strings.Cut(rest, End)
	if !ok {
		return "", fmt.Errorf("%w: %q stands above %q", ErrMarkers, End, Begin)
	}
	return before + Begin + "\n\n" + strings.Trim(section, "\n") + "\n\n" + End + after, nil
}
