package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// table aligns the columns of a listing.
type table struct{ w *tabwriter.Writer }

// newTable begins a table; without a header it is a list of facts.
func newTable(out io.Writer, header ...string) table {
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	if len(header) > 0 {
		t.row(header...)
	}
	return t
}

// row adds a line. An empty cell is shown as -.
func (t table) row(cells ...string) {
	shown := make([]string, len(cells))
	for i, c := range cells {
		if shown[i] = printable(c); shown[i] == "" {
			shown[i] = "-"
		}
	}
	// tabwriter keeps the error for Flush.
	_, _ = fmt.Fprintln(t.w, strings.Join(shown, "\t"))
}

// fact adds a line with a name and a value, unless the value is empty.
func (t table) fact(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

func (t table) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}

// printable makes a text of the grid, which anybody may have written, one that
// does nothing to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r):
			return '?'
		}
		return r
	}, s)
}

// when shows a time: how long ago on a terminal, RFC 3339 elsewhere.
func (g *grid) when(t *time.Time) string {
	switch {
	case t == nil || t.IsZero():
		return ""
	case !isTerminal(g.Out, g.Environ):
		return t.UTC().Format(time.RFC3339)
	}
	return ago(g.now().Sub(*t))
}

// ago shows how long something is over, or ahead, in its largest unit.
func ago(d time.Duration) string {
	if d < 0 {
		return "in " + roughly(-d)
	}
	return roughly(d) + " ago"
}

// roughly rounds a span down to its largest unit.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}

// seconds shows a duration as nodes report it.
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

// fuelAmount shows an amount of fuel, rounded to three digits.
func fuelAmount(n uint64) string {
	units := []string{"", "k", "M", "G", "T", "P", "E"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.3g%s", v, units[i])
}
