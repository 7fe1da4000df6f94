package cli

import (
	"fmt"
	"slices"
	"strings"
)

// topStyle is how a line looks.
type topStyle int

const (
	topPlain topStyle = iota
	topHeader
	topFocus
	topWarning
	topHint
)

// topLine is a line of a frame: text that is harmless and fits.
type topLine struct {
	text  string
	style topStyle
}

const (
	// topRowsMin is what the table that is looked at gets at least, topRowsSide what
	// another one gets unless there is room for more; both with their header.
	topRowsMin  = 4
	topRowsSide = 4
	// topColumnsLeast is the width below which nothing sensible is shown.
	topColumnsLeast = 16
)

// topModel is what dugnad top shows and how: a function of pages and keys.
type topModel struct {
	columns, rows int
	page          *topPage
	// problem is why there is no newer page.
	problem      string
	paused, help bool
	// focus is the table that keys are about; of each table, sort is the column, and
	// first the row that is shown first.
	focus int
	views []topView
}

type topView struct {
	sort    int
	reverse bool
	first   int
}

// show takes in a page, or why there is none. While it is paused nothing changes.
func (m *topModel) show(p *topPage, err error) {
	if m.paused {
		return
	}
	if err != nil {
		m.problem = err.Error()
		return
	}
	m.page, m.problem = p, ""
	for i := len(m.views); i < len(p.tables); i++ {
		m.views = append(m.views, topView{sort: p.tables[i].sort})
	}
}

// topHelp says what keys do.
var topHelp = []string{
	"< >  or left, right   sort by another column",
	"r                     turn the order round",
	"tab                   go to the next table",
	"up, down, pgup, pgdn  move in the table",
	"p  or space           pause, go on",
	"h  or ?               this help",
	"q  or Ctrl-C          quit",
	"",
	"FUEL/S is about: processor time of the tenant's worker, by how fast this machine",
	"burns fuel. What an attempt has burnt is known when it ends.",
}

// key does what a key is for, and reports whether that is to quit.
func (m *topModel) key(k string) (quit bool) {
	switch k {
	case "q", "Q", "ctrl-c":
		return true
	case "h", "?", "H":
		m.help = !m.help
		return false
	case "esc":
		m.help = false
		return false
	case "p", "P", " ":
		m.paused = !m.paused
		return false
	}
	if m.page == nil || len(m.page.tables) == 0 {
		return false
	}
	t, v := &m.page.tables[m.focus], &m.views[m.focus]
	most := len(t.columns)
	switch k {
	case "<", "left":
		v.sort = (v.sort + most - 1) % most
	case ">", "right":
		v.sort = (v.sort + 1) % most
	case "r", "R":
		v.reverse = !v.reverse
	case "tab":
		m.focus = (m.focus + 1) % len(m.page.tables)
	case "up", "k":
		v.first--
	case "down", "j":
		v.first++
	case "pgup":
		v.first -= max(m.rows/2, 1)
	case "pgdn":
		v.first += max(m.rows/2, 1)
	case "home":
		v.first = 0
	case "end":
		v.first = len(t.rows)
	}
	v.first = min(max(v.first, 0), max(len(t.rows)-1, 0))
	return false
}

// frame returns what the terminal is to show: as many lines as it has rows, each at
// most as wide as it has columns.
func (m *topModel) frame() []topLine {
	var out []topLine
	switch {
	case m.columns < topColumnsLeast || m.rows < 2:
		out = []topLine{{text: "too small"}}
	case m.help:
		for _, line := range topHelp {
			out = append(out, topLine{text: line})
		}
	case m.page == nil:
		out = []topLine{{text: "asking..."}}
	default:
		out = m.body(m.rows - 1)
	}
	out = out[:min(len(out), max(m.rows-1, 0))]
	for len(out) < m.rows-1 {
		out = append(out, topLine{})
	}
	if m.rows > 0 {
		out = append(out, m.footer())
	}
	for i := range out {
		out[i].text = cutCells(topClean(out[i].text), m.columns)
	}
	return out
}

// footer is the last line.
func (m *topModel) footer() topLine {
	switch {
	case m.paused:
		return topLine{"PAUSED: p goes on", topWarning}
	case m.problem != "":
		return topLine{"old: " + m.problem, topWarning}
	case m.help:
		return topLine{"h goes back", topHint}
	}
	return topLine{"q quit  < > sort  r reverse  tab table  p pause  h help", topHint}
}

// body is the facts and the tables, in so many lines.
func (m *topModel) body(lines int) (out []topLine) {
	for _, text := range wrapFacts(m.page.facts, m.columns) {
		out = append(out, topLine{text: text})
	}
	// Facts do not push the tables out of a small terminal.
	if most := max(lines-topRowsMin, 1); len(out) > most {
		out = out[:most]
	}
	m.focus = min(m.focus, len(m.page.tables)-1)
	heights := m.heights(lines - len(out))
	for i := range m.page.tables {
		if heights[i] > 0 {
			out = append(out, m.table(i, heights[i])...)
		}
	}
	return out
}

// heights shares lines among the tables: the one in focus is served first.
func (m *topModel) heights(lines int) []int {
	out := make([]int, len(m.page.tables))
	need := func(i int) int { return 1 + max(len(m.page.tables[i].rows), 1) }
	give := func(i, most int) {
		n := min(most, need(i)-out[i], lines)
		out[i] += n
		lines -= n
	}
	if m.focus < 0 {
		return out
	}
	give(m.focus, topRowsMin)
	for i := range out {
		if i != m.focus && lines >= min(need(i), topRowsSide) {
			give(i, topRowsSide)
		}
	}
	give(m.focus, lines)
	for i := range out {
		if out[i] > 0 {
			give(i, lines)
		}
	}
	return out
}

// table is the header and the rows of a table that have room.
func (m *topModel) table(i, lines int) []topLine {
	t, v := &m.page.tables[i], &m.views[i]
	rows := t.sorted(min(v.sort, len(t.columns)-1), v.reverse)
	first := min(v.first, max(len(rows)-(lines-1), 0))
	visible := rows[first:min(first+lines-1, len(rows))]
	style, mark := topHeader, -1
	if i == m.focus {
		style, mark = topFocus, v.sort
	}
	header, texts := t.layout(visible, mark, m.columns)
	if hidden := len(rows) - len(visible); hidden > 0 {
		header = withCount(header, fmt.Sprintf("%d-%d/%d", first+1, first+len(visible), len(rows)), m.columns)
	}
	out := []topLine{{header, style}}
	for _, text := range texts {
		out = append(out, topLine{text: text})
	}
	if len(rows) == 0 {
		out = append(out, topLine{text: t.none})
	}
	return out[:min(len(out), lines)]
}

// withCount puts a count at the right end of a header that has room for it.
func withCount(header, count string, width int) string {
	space := width - textCells(header) - textCells(count)
	if space < 1 {
		return header
	}
	return header + strings.Repeat(" ", space) + count
}

// factGap is between two facts on a line.
const factGap = "  "

// wrapFacts puts facts on lines.
func wrapFacts(facts []string, width int) (lines []string) {
	for _, f := range facts {
		f = topClean(f)
		last := len(lines) - 1
		if last >= 0 && textCells(lines[last])+len(factGap)+textCells(f) <= width {
			lines[last] += factGap + f
			continue
		}
		lines = append(lines, f)
	}
	return slices.Clip(lines)
}
