// Package observe has what an operator needs to watch nodes: the list of their metrics,
// alert rules for Prometheus and a dashboard for Grafana. It knows no node: tests compare
// it with a running one.
package observe

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

// Catalogue is METRICS.md: every metric, and every limit that one counts.
//
//go:embed METRICS.md
var Catalogue string

// Alerts are rules for Prometheus, in its format.
//
//go:embed alerts.yaml
var Alerts []byte

// Scrape is a configuration for Prometheus, in its format, that scrapes nodes of this and
// of other machines.
//
//go:embed prometheus.yml
var Scrape []byte

// Dashboard is a dashboard for Grafana, in its format.
//
//go:embed dashboard.json
var Dashboard []byte

// Begin and End are the lines of the catalogue between which its table of metrics is,
// which is made by a test.
const (
	Begin = "<!-- metrics: made by go test ./node -run TestMetrics -rewrite -->"
	End   = "<!-- end of metrics -->"
)

// ErrCatalogue is returned for a catalogue in which no metrics are found.
var ErrCatalogue = errors.New("catalogue has no table of metrics")

// Metric is one row of the catalogue.
type Metric struct {
	Name string `json:"name"`
	// Type is counter, gauge or histogram.
	Type string `json:"type"`
	// Unit is bytes, seconds or fuel; empty is a number of things.
	Unit   string   `json:"unit,omitempty"`
	Labels []string `json:"labels,omitempty"`
	Help   string   `json:"help"`
}

// Row returns a metric as the catalogue has it.
func (m *Metric) Row() string {
	labels := ""
	if len(m.Labels) > 0 {
		labels = "`" + strings.Join(m.Labels, "`, `") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |", m.Name, m.Type, m.Unit, labels, strings.ReplaceAll(m.Help, "|", "\\|"))
}

// Table returns rows with their header.
func Table(list []Metric) string {
	var b strings.Builder
	b.WriteString("| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n")
	for i := range list {
		b.WriteString(list[i].Row() + "\n")
	}
	return b.String()
}

// Metrics reads a catalogue.
func Metrics(catalogue string) (list []Metric, err error) {
	_, table, begun := strings.Cut(catalogue, Begin)
	table, _, ended := strings.Cut(table, End)
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), "\\|", "\x00"), "|")
		if len(cells) != 7 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|")
		}
		m := Metric{Name: strings.Trim(cells[1], "`"), Type: cells[2], Unit: cells[3], Help: cells[5]}
		for _, l := range strings.Split(cells[4], ", ") {
			if l = strings.Trim(l, "`"); l != "" {
				m.Labels = append(m.Labels, l)
			}
		}
		list = append(list, m)
	}
	if !begun || !ended || len(list) == 0 {
		return nil, ErrCatalogue
	}
	return list, nil
}

// Limit is one value of the label limit, or a metric that counts one limit only.
type Limit struct {
	Metric string `json:"metric"`
	// Name is the label's value, empty for a metric without the label.
	Name string `json:"limit,omitempty"`
	// Bounds says what the limit bounds.
	Bounds string `json:"bounds"`
}

// limits is the heading of the table of limits.
const limits = "\n## Limits\n"

// Limits reads a catalogue's table of limits.
func Limits(catalogue string) (list []Limit, err error) {
	_, table, _ := strings.Cut(catalogue, limits)
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		list = append(list, Limit{
			Metric: strings.Trim(cells[1], " `"), Name: strings.Trim(cells[2], " `"), Bounds: strings.TrimSpace(cells[3]),
		})
	}
	if len(list) == 0 {
		return nil, ErrCatalogue
	}
	return list, nil
}
