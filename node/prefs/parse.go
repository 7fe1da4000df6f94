package prefs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/nearest"
	"github.com/dugnad/dugnad/node/quantity"
)

// Parse reads a file of preferences. Its error is jobspec.Errors: all mistakes, each
// with its line and column.
func Parse(data []byte) (*Preferences, error) {
	p := Default()
	r := &reader{}
	root, err := mapping(data)
	if err != nil {
		return nil, jobspec.Errors{err}
	}
	if root != nil {
		r.pairs(root, "", p.fields(r))
	}
	if len(r.errs) > 0 {
		slices.SortStableFunc(r.errs, func(a, b *jobspec.Error) int { return (a.Line-b.Line)*1e6 + a.Column - b.Column })
		return nil, r.errs
	}
	return &p, nil
}

func mapping(data []byte) (*yaml.Node, *jobspec.Error) {
	if len(data) > FileBytesMax {
		return nil, &jobspec.Error{Message: fmt.Sprintf("the file has %d bytes, at most %d", len(data), FileBytesMax), Help: "remove what is not needed"}
	}
	return jobspec.Mapping(data, "keep one", "write lines such as cores: 50%")
}

// take reads the value of a key.
type take func(n *yaml.Node, path string)

// fields are the keys of the file.
func (p *Preferences) fields(r *reader) map[string]take {
	return map[string]take{
		"cores":  func(n *yaml.Node, path string) { r.cores(n, path, &p.Cores) },
		"fuel":   func(n *yaml.Node, path string) { r.amount(n, path, &p.FuelRate, quantity.ParseFuel, "2G", 1) },
		"memory": func(n *yaml.Node, path string) { r.amount(n, path, &p.MemoryBytes, quantity.ParseBytes, "4GiB", 1<<20) },
		"memory_in_use": func(n *yaml.Node, path string) {
			r.amount(n, path, &p.MemoryInUseBytes, quantity.ParseBytes, "1GiB", 1<<20)
		},
		"disk":           func(n *yaml.Node, path string) { r.amount(n, path, &p.DiskBytes, quantity.ParseBytes, "10GiB", 1<<20) },
		"download":       func(n *yaml.Node, path string) { r.bandwidth(n, path, &p.DownloadRate) },
		"upload":         func(n *yaml.Node, path string) { r.bandwidth(n, path, &p.UploadRate) },
		"hours":          func(n *yaml.Node, path string) { p.Hours = r.week(n, path) },
		"power_off":      func(n *yaml.Node, path string) { p.PowerOff = r.week(n, path) },
		"timezone":       func(n *yaml.Node, path string) { r.zone(n, path, &p.Zone) },
		"idle_below":     func(n *yaml.Node, path string) { r.part(n, path, &p.IdleBelow) },
		"only_when_idle": func(n *yaml.Node, path string) { r.boolean(n, path, &p.OnlyWhenIdle) },
		"on_battery":     func(n *yaml.Node, path string) { r.boolean(n, path, &p.OnBattery) },
		"hand_back":      func(n *yaml.Node, path string) { r.duration(n, path, &p.HandBack, HandBackLeast, HandBackMost) },
		"capabilities":   func(n *yaml.Node, path string) { p.Allowed = r.chosen(n, path, Capabilities()) },
		"tenants": func(n *yaml.Node, path string) {
			r.pairs(n, path, map[string]take{
				"allow": func(n *yaml.Node, path string) { p.TenantsAllowed = r.tenants(n, path) },
				"deny":  func(n *yaml.Node, path string) { p.TenantsDenied = r.tenants(n, path) },
			})
		},
		"labels": func(n *yaml.Node, path string) {
			r.pairs(n, path, map[string]take{
				"allow": func(n *yaml.Node, path string) { p.LabelsAllowed = r.labels(n, path) },
				"deny":  func(n *yaml.Node, path string) { p.LabelsDenied = r.labels(n, path) },
			})
		},
	}
}

// reader collects what is wrong with a file.
type reader struct{ errs jobspec.Errors }

func (r *reader) fail(n *yaml.Node, path, message, help string) {
	if len(r.errs) < jobspec.ErrorsMax {
		r.errs = append(r.errs, &jobspec.Error{Line: n.Line, Column: n.Column, Field: path, Message: message, Help: help})
	}
}

// pairs visits the pairs of a mapping, whose keys are those of fields.
func (r *reader) pairs(n *yaml.Node, path string, fields map[string]take) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "is no mapping", "write NAME: value lines below it, further to the right")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+shown(key.Value), ".")
		take, known := fields[key.Value]
		switch first, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode || !known:
			r.unknown(key, at, slices.Sorted(maps.Keys(fields)))
		case twice:
			r.fail(key, at, fmt.Sprintf("is given a second time, first in line %d", first), "remove one")
		default:
			seen[key.Value] = key.Line
			take(value, at)
		}
	}
}

// shown is a key as a message has it.
func shown(key string) string {
	const most = 40
	if quoted := strconv.Quote(key); key == "" || len(key) > most || quoted != `"`+key+`"` {
		return strconv.Quote(key[:min(len(key), most)])
	}
	return key
}

func (r *reader) unknown(key *yaml.Node, path string, names []string) {
	help := "there are " + strings.Join(names, ", ")
	if name := nearest.Name(key.Value, names); name != "" {
		help = "did you mean " + name + "?"
	}
	r.fail(key, path, "is not known", help)
}

// text returns the text of a scalar.
func (r *reader) text(n *yaml.Node, path, help string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.fail(n, path, "is no single value", help)
	case n.ShortTag() == "!!null":
		r.fail(n, path, "has no value", help)
	default:
		return n.Value, true
	}
	return "", false
}

// ratio reads 25% or 0.25.
func (r *reader) ratio(n *yaml.Node, path string, low, high float64, help string) (float64, bool) {
	text, ok := r.text(n, path, help)
	if !ok {
		return 0, false
	}
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= low && f <= high) {
		r.fail(n, path, fmt.Sprintf("%s is not from %g %% to %g %%", shown(text), 100*low, 100*high), help)
		return 0, false
	}
	return f, true
}

func (r *reader) cores(n *yaml.Node, path string, to *float64) {
	if f, ok := r.ratio(n, path, CoresMin, CoresMax, "write a number of cores such as 1.5, or a part of one such as 25%"); ok {
		*to = f
	}
}

func (r *reader) part(n *yaml.Node, path string, to *float64) {
	if f, ok := r.ratio(n, path, 0.01, 1, "write a part of all processors such as 25%"); ok {
		*to = f
	}
}

func (r *reader) amount(n *yaml.Node, path string, to *uint64, parse func(string) (uint64, error), example string, low uint64) {
	help := "write an amount such as " + example
	text, ok := r.text(n, path, help)
	if !ok {
		return
	}
	v, err := parse(text)
	switch {
	case err != nil:
		r.fail(n, path, shown(text)+" "+err.Error(), help)
	case v < low:
		r.fail(n, path, fmt.Sprintf("%s is less than %d", shown(text), low), help)
	default:
		*to = min(v, 1<<62)
	}
}

// bandwidth reads bytes per second, of which 0 is no bound.
func (r *reader) bandwidth(n *yaml.Node, path string, to *uint64) {
	const help = "write an amount per second such as 5MiB, or 0 for no bound"
	text, ok := r.text(n, path, help)
	if !ok {
		return
	}
	v, err := quantity.ParseBytes(text)
	switch {
	case text == "0":
		*to = 0
	case err != nil:
		r.fail(n, path, shown(text)+" "+err.Error(), help)
	case v < BandwidthMin:
		r.fail(n, path, fmt.Sprintf("%s a second is less than %dKiB", shown(text), BandwidthMin>>10), help)
	default:
		*to = min(v, 1<<62)
	}
}

func (r *reader) duration(n *yaml.Node, path string, to *time.Duration, low, high time.Duration) {
	help := "write a time such as 30s or 5m"
	text, ok := r.text(n, path, help)
	if !ok {
		return
	}
	v, err := quantity.ParseDuration(text)
	if err != nil || v < low || v > high {
		r.fail(n, path, fmt.Sprintf("%s is not from %s to %s", shown(text), low, high), help)
		return
	}
	*to = v
}

func (r *reader) boolean(n *yaml.Node, path string, to *bool) {
	const help = "write true or false"
	text, ok := r.text(n, path, help)
	if ok && text != "true" && text != "false" {
		r.fail(n, path, shown(text)+" is neither true nor false", help)
	}
	*to = text == "true"
}

func (r *reader) zone(n *yaml.Node, path string, to **time.Location) {
	const help = "write a name such as Europe/Oslo, or UTC"
	text, ok := r.text(n, path, help)
	if !ok {
		return
	}
	zone, err := time.LoadLocation(text)
	if err != nil || text == "" {
		r.fail(n, path, shown(text)+" is no time zone", help)
		return
	}
	*to = zone
}

// list reads a list of texts; a single one needs no brackets.
func (r *reader) list(n *yaml.Node, path string, most int, help string) (items []*yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		if _, ok := r.text(n, path, help); !ok {
			return nil
		}
		return []*yaml.Node{n}
	}
	if len(n.Content) > most {
		r.fail(n, path, fmt.Sprintf("has %d entries, at most %d", len(n.Content), most), "remove some")
		return nil
	}
	for i, item := range n.Content {
		if _, ok := r.text(item, fmt.Sprintf("%s[%d]", path, i), help); ok {
			items = append(items, item)
		}
	}
	return items
}

// chosen reads a list of some names.
func (r *reader) chosen(n *yaml.Node, path string, names []string) (list []string) {
	for _, item := range r.list(n, path, len(names), "write a list of "+strings.Join(names, ", ")) {
		if !slices.Contains(names, item.Value) {
			r.unknown(item, path+": "+shown(item.Value), names)
			continue
		}
		list = append(list, item.Value)
	}
	return list
}

// tenants reads a list of tenants' names.
func (r *reader) tenants(n *yaml.Node, path string) (list []string) {
	const help = "write a list such as [acme, default]"
	for _, item := range r.list(n, path, ListMax, help) {
		if strings.Trim(item.Value, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || item.Value == "" || len(item.Value) > 64 {
			r.fail(item, path, shown(item.Value)+" is no tenant's name: 1 to 64 of a-z, 0-9 and -", help)
			continue
		}
		list = append(list, item.Value)
	}
	return list
}

// labels reads a list of labels of jobs, with values or without.
func (r *reader) labels(n *yaml.Node, path string) (list []string) {
	const help = "write a list such as [purpose=research, team]"
	for _, item := range r.list(n, path, LabelsMax, help) {
		name, value, given := strings.Cut(item.Value, "=")
		if !jobspec.ValidLabel(name) || given && !jobspec.ValidLabel(value) {
			r.fail(item, path, shown(item.Value)+" is no label of a job: NAME or NAME=VALUE, each "+jobspec.LabelForm, help)
			continue
		}
		list = append(list, item.Value)
	}
	return list
}

// week reads the spans of days.
func (r *reader) week(n *yaml.Node, path string) *Week {
	w := &Week{}
	fields := map[string]take{}
	for name, days := range dayNames {
		fields[name] = func(n *yaml.Node, path string) { r.day(w, days, n, path) }
	}
	r.pairs(n, path, fields)
	return w
}

// day reads the spans of some days: a list, or one of them, or always or never.
func (r *reader) day(w *Week, days []time.Weekday, n *yaml.Node, path string) {
	const help = "write a span such as 18:00-08:00, a list of them, always or never"
	var spans []span
	for _, item := range r.list(n, path, SpansMax, help) {
		switch item.Value {
		case "always":
			spans = append(spans, span{0, dayMinutes})
			continue
		case "never":
			continue
		}
		s, err := parseSpan(item.Value)
		if err != nil {
			r.fail(item, path, err.Error(), help)
			continue
		}
		spans = append(spans, s)
	}
	for _, day := range days {
		w.days[day] = append(w.days[day], spans...)
	}
}
