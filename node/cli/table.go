package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

const (
	// shownIDDigits is how much is shown of a job's or module's id where there is no
	// room for all of it, shownNodeDigits the same from the end of a node's: all
	// begin alike. Commands take these for the whole.
	shownIDDigits, shownNodeDigits = 12, 8
	// cellMin is the least that a cell is shortened to.
	cellMin = 8
	// columnGap is between two columns.
	columnGap = 2
)

// table aligns the columns of a listing.
type table struct {
	out io.Writer
	// columns is the width that rows are made to fit, 0 for any.
	columns int
	rows    *[][]string
}

// newTable begins a table; without a header it is a list of facts. A table with a
// header is made to fit the terminal, if out is one.
func newTable(out io.Writer, header ...string) table {
	t := table{out: out, rows: new([][]string)}
	if len(header) > 0 {
		t.columns = columns(out, nil)
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
	*t.rows = append(*t.rows, shown)
}

// fact adds a line with a name and a value, unless the value is empty.
func (t table) fact(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

func (t table) flush() error {
	if t.columns > 0 {
		fit(*t.rows, t.columns)
	}
	w := tabwriter.NewWriter(t.out, 0, 0, columnGap, ' ', 0)
	for _, r := range *t.rows {
		// tabwriter keeps the error for Flush.
		_, _ = fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}

// fit shortens cells until rows have room in so many columns: ids first, then what
// is in the widest column.
func fit(rows [][]string, columns int) {
	widths := cellWidths(rows)
	if excess(widths, columns) <= 0 {
		return
	}
	for _, r := range rows {
		for i := range r {
			r[i] = shortID(r[i])
		}
	}
	for widths = cellWidths(rows); excess(widths, columns) > 0; {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= cellMin {
			return
		}
		widths[widest]--
	}
	for _, r := range rows {
		for i := range r {
			r[i] = shorten(r[i], widths[i])
		}
	}
}

// excess is how much wider a row is than a terminal, whose last column stays empty.
func excess(widths []int, columns int) int {
	sum := 1 - columnGap
	for _, w := range widths {
		sum += w + columnGap
	}
	return sum - columns
}

// cellWidths returns the width of each column.
func cellWidths(rows [][]string) (widths []int) {
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// shorten cuts a text to so many characters, of which the last two say so.
func shorten(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-2]) + ".."
}

// shortID shortens the id of a node, a job or a module, and nothing else.
func shortID(s string) string {
	digits := strings.TrimPrefix(s, modulePrefix)
	hexadecimal := strings.Trim(digits, "0123456789abcdef") == ""
	switch {
	case strings.HasPrefix(s, nodePrefix) && len(s) == nodeIDDigits:
		return s[len(s)-shownNodeDigits:]
	case hexadecimal && len(digits) == moduleIDDigits && len(s) > len(digits), hexadecimal && len(s) == jobIDDigits:
		return digits[:shownIDDigits]
	}
	return s
}

const (
	// nodePrefix and nodeIDDigits are how the ids of nodes begin, whose keys are of
	// one kind, and how long they are.
	nodePrefix   = "12D3KooW"
	nodeIDDigits = 52
	// modulePrefix and moduleIDDigits are the same for modules.
	modulePrefix   = "sha256:"
	moduleIDDigits = 64
)

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
