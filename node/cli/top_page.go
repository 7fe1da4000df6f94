package cli

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// topPage is what dugnad top shows: facts, then tables below one another.
type topPage struct {
	facts  []string
	tables []topTable
}

// topTable is one of them. It is never without columns.
type topTable struct {
	columns []topColumn
	rows    [][]topCell
	// none is said when there are no rows.
	none string
	// sort is the column by which the rows are sorted at first.
	sort int
}

// topColumn is a column. Those with the largest drop are left out first where there
// is no room; one with 0 never is. One that is flex has texts of any length.
type topColumn struct {
	title string
	right bool
	flex  bool
	drop  int
}

// topCell is what is shown, and by what it is sorted: by the number, descending, and
// where that is the same by the text, ascending.
type topCell struct {
	text  string
	order float64
}

// topNumber is a cell that is sorted by n.
func topNumber[N ~int | ~uint32 | ~uint64 | ~float64](n N, text string) topCell {
	return topCell{text, float64(n)}
}

// topCount is a cell that shows n.
func topCount[N ~int | ~uint32 | ~uint64](n N) topCell {
	return topNumber(n, strconv.FormatUint(uint64(n), 10))
}

// topAge is a cell that shows how long something takes; clocks may differ.
func topAge(d time.Duration) topCell {
	return topNumber(d.Seconds(), roughly(max(d, 0)))
}

// sorted returns the rows in the order of a column.
func (t *topTable) sorted(column int, reverse bool) [][]topCell {
	rows := slices.Clone(t.rows)
	slices.SortStableFunc(rows, func(a, b []topCell) int {
		d := cmp.Or(cmp.Compare(b[column].order, a[column].order), cmp.Compare(a[column].text, b[column].text))
		if reverse {
			d = -d
		}
		return cmp.Or(d, cmp.Compare(a[0].text, b[0].text))
	})
	return rows
}

// topGap is between two columns, topFlexMin what texts of any length are not made
// narrower than.
const (
	topGap     = 1
	topFlexMin = 8
)

// topSortMark stands behind the title of the column that rows are sorted by.
const topSortMark = "*"

// layout returns the header and the rows as lines of at most width cells. sort is the
// marked column, -1 is none.
func (t *topTable) layout(rows [][]topCell, sort, width int) (header string, lines []string) {
	shown := make([]int, len(t.columns))
	widths := make([]int, len(t.columns))
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		shown[i], titles[i] = i, c.title
		if i == sort {
			titles[i] += topSortMark
		}
		widths[i] = textCells(titles[i])
		for _, r := range rows {
			widths[i] = max(widths[i], textCells(topClean(r[i].text)))
		}
	}
	shown = t.fit(shown, widths, width)
	line := func(text func(i int) string) string {
		var b strings.Builder
		for n, i := range shown {
			if n > 0 {
				b.WriteString(strings.Repeat(" ", topGap))
			}
			b.WriteString(padCells(text(i), widths[i], t.columns[i].right))
		}
		return cutCells(strings.TrimRight(b.String(), " "), width)
	}
	for _, r := range rows {
		lines = append(lines, line(func(i int) string { return r[i].text }))
	}
	return line(func(i int) string { return titles[i] }), lines
}

// fit makes texts of any length narrower where there is no room, leaves out columns
// until the others have room, and gives what is left to those texts again.
func (t *topTable) fit(shown, widths []int, width int) []int {
	natural := slices.Clone(widths)
	room := func() int {
		left := width + topGap
		for _, i := range shown {
			left -= widths[i] + topGap
		}
		return left
	}
	if room() >= 0 {
		return shown
	}
	for i := range widths {
		if t.columns[i].flex {
			widths[i] = min(widths[i], topFlexMin)
		}
	}
	for room() < 0 {
		worst := 0
		for n, i := range shown {
			if t.columns[i].drop > t.columns[shown[worst]].drop {
				worst = n
			}
		}
		if t.columns[shown[worst]].drop == 0 {
			break
		}
		shown = slices.Delete(shown, worst, worst+1)
	}
	for _, i := range shown {
		widths[i] += max(min(natural[i]-widths[i], room()), 0)
	}
	return shown
}

// topClean makes a text harmless and of known width: what printable leaves, without
// marks that are put on top of the character before.
func topClean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Me) {
			return -1
		}
		return r
	}, printable(s))
}

// wideRunes are those that take two cells, as far as that is the same everywhere.
var wideRunes = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1},
		{Lo: 0x2e80, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1},
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1},
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1},
		{Lo: 0x1f900, Hi: 0x1faff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

func runeCells(r rune) int {
	if unicode.Is(wideRunes, r) {
		return 2
	}
	return 1
}

// textCells is how many cells of a terminal a clean text takes.
func textCells(s string) (n int) {
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// cutCells cuts a clean text to a width; the last cell of one that was cut is a tilde.
func cutCells(s string, width int) string {
	if textCells(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeCells(r); n > width-1 {
			return s[:i] + strings.Repeat("~", min(max(width, 0), 1))
		}
	}
	return s
}

// padCells makes a text clean and so many cells wide.
func padCells(s string, width int, right bool) string {
	s = cutCells(topClean(s), width)
	space := strings.Repeat(" ", max(width-textCells(s), 0))
	if right {
		return space + s
	}
	return s + space
}
