package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rules is an alert file.
type rules struct {
	Groups []struct {
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readRules(t *testing.T) (list []rule) {
	t.Helper()
	var r rules
	d := yaml.NewDecoder(bytes.NewReader(Alerts))
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	for _, g := range r.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("no rules")
	}
	return list
}

func catalogue(t *testing.T) map[string]Metric {
	t.Helper()
	list, err := Metrics(Catalogue)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Metric{}
	for _, m := range list {
		out[m.Name] = m
	}
	return out
}

// mentioned are labels in the templates of texts.
var mentioned = regexp.MustCompile(`\{\{ ?(?:\$labels\.)?(\w+) ?\}\}`)

// checkText says which label in a text no metric of its expression has, or no grouping
// has kept.
func checkText(text, expression string, known map[string]Metric) error {
	for _, m := range mentioned.FindAllStringSubmatch(text, -1) {
		kept := regexp.MustCompile(`by \([^)]*\b` + m[1] + `\b[^)]*\)`).MatchString(expression)
		if strings.Contains(expression, "by (") && !kept && !strings.Contains(expression, "on (") {
			return fmt.Errorf("%q: the expression does not keep the label %s", text, m[1])
		}
		if err := check(expression+" and on ("+m[1]+") up", known); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
	}
	return nil
}

// TestAlerts: rules name what there is, and say what it means.
func TestAlerts(t *testing.T) {
	known, names := catalogue(t), map[string]bool{}
	for _, r := range readRules(t) {
		if err := check(r.Expr, known); err != nil {
			t.Errorf("%s: %v: %s", r.Alert, err, r.Expr)
		}
		for _, text := range r.Annotations {
			if err := checkText(text, r.Expr, known); err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
		}
		if !strings.HasPrefix(r.Alert, "Dugnad") || names[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%+v: a name of its own that begins with Dugnad, a summary and a description are needed", r)
		}
		if !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		names[r.Alert] = true
	}
}

// dashboard is what is checked of a dashboard.
type dashboard struct {
	Panels []struct {
		ID          int
		Type, Title string
		Description string
		GridPos     struct{ H, W, X, Y int }
		Targets     []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

// TestDashboard: panels name what there is, say what they show, and do not overlap.
func TestDashboard(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal(Dashboard, &d); err != nil {
		t.Fatal(err)
	}
	known := catalogue(t)
	ids, places := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("%+v: an id of its own, a title, a description and something to show are needed", p)
		}
		ids[p.ID] = true
		for y := range p.GridPos.H {
			for x := range p.GridPos.W {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if places[at] != "" || at[0] >= 24 {
					t.Fatalf("%q and %q are both at %v, or it is outside", places[at], p.Title, at)
				}
				places[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			err := errors.Join(check(target.Expr, known), checkText(target.LegendFormat, target.Expr, known))
			if err != nil {
				t.Errorf("%s: %v: %s", p.Title, err, target.Expr)
			}
		}
	}
	for _, v := range d.Templating.List {
		inner, ok := strings.CutPrefix(v.Definition, "label_values(")
		if err := check(strings.Split(inner, ", ")[0], known); ok && err != nil {
			t.Errorf("variable %s: %v", v.Name, err)
		}
	}
	if len(d.Panels) < 20 {
		t.Errorf("%d panels", len(d.Panels))
	}
}

// TestCheck shows that the check finds what is wrong.
func TestCheck(t *testing.T) {
	known := map[string]Metric{
		"a_total": {Name: "a_total", Type: "counter", Labels: []string{"limit"}},
		"h":       {Name: "h", Type: "histogram"},
	}
	for expression, wrong := range map[string]string{
		`sum by (limit) (rate(a_total{job="x",limit!="y"}[5m])) * 60 > 1`:               "",
		`histogram_quantile(0.99, sum by (le, instance) (rate(h_bucket[$__interval])))`: "",
		`up == 0 unless on (job) h_count > 1e3`:                                         "",
		`rate(b_total[5m])`:                                                             "no metric b_total",
		`a_total{mode="x"}`:                                                             "label mode",
		`sum by (mode) (a_total)`:                                                       "label mode",
		`h > 1`:                                                                         "no metric h",
		`a_total_bucket`:                                                                "no metric a_total_bucket",
		`sum without (le) (a_total)`:                                                    "label le",
		`a_total{limit=~"x"} / ignoring(code) a_total`:                                  "label code",
		`-sum(rate(c{limit="a_total"}[1m])) or vector(1)`:                               "no metric c",
	} {
		err := check(expression, known)
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %v, want %q", expression, err, wrong)
		}
	}
	if err := checkText("{{ $labels.instance }}", "sum by (job) (a_total) > 1", known); err == nil {
		t.Error("a label that a sum has not kept was not found")
	}
	if err := checkText("{{limit}} of {{instance}}", "a_total", known); err != nil {
		t.Error(err)
	}
}

// TestCatalogue: what is written is read again, and what is no catalogue is refused.
func TestCatalogue(t *testing.T) {
	want := []Metric{
		{Name: "a_total", Type: "counter", Help: "With | in it."},
		{Name: "b_bytes", Type: "gauge", Unit: "bytes", Labels: []string{"x", "y"}, Help: "Bytes."},
	}
	got, err := Metrics("text\n" + Begin + "\n" + Table(want) + End + "\n| `c` | gauge | | | Elsewhere. |\n")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", Begin, Begin + "\n" + End, "| `a` | b | c | d | e |"} {
		if list, err := Metrics(text); !errors.Is(err, ErrCatalogue) {
			t.Errorf("%q: %v, %v", text, list, err)
		}
		if list, err := Limits(text); !errors.Is(err, ErrCatalogue) {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
	if list, err := Limits(Catalogue); err != nil || len(list) < 50 {
		t.Errorf("%d limits, %v", len(list), err)
	}
}

// alertCase has series with which an alert fires after so long, and how to change them so
// that it does not: a value for each minute, as promtool writes them.
type alertCase struct {
	after  string
	firing []series
	quiet  []series
	// labels are those of the alert beside severity.
	labels map[string]string
}

type series struct{ name, values string }

// one makes a case of one series of one node.
func one(after, name, firing, quiet string) alertCase {
	full := name + `{job="dugnad",instance="a"}`
	if before, labels, ok := strings.Cut(name, "{"); ok {
		full = before + `{job="dugnad",instance="a",` + labels
	}
	labels := map[string]string{"job": "dugnad", "instance": "a"}
	for _, m := range regexp.MustCompile(`(\w+)="(\w+)"`).FindAllStringSubmatch(full, -1) {
		labels[m[1]] = m[2]
	}
	return alertCase{after, []series{{full, firing}}, []series{{full, quiet}}, labels}
}

// with adds a series that is the same in both.
func (c alertCase) with(name, values string) alertCase {
	s := series{name + `{job="dugnad",instance="a"}`, values}
	c.firing, c.quiet = append(c.firing, s), append(c.quiet, s)
	return c
}

// nodes makes a case of one series of each of several nodes.
func nodes(after, name string, firing, quiet []string, labels map[string]string) alertCase {
	c := alertCase{after: after, labels: labels}
	for i := range firing {
		full := fmt.Sprintf(`%s{job="dugnad",instance="%c"}`, name, 'a'+i)
		c.firing, c.quiet = append(c.firing, series{full, firing[i]}), append(c.quiet, series{full, quiet[i]})
	}
	return c
}

// slow makes a case of a histogram's buckets: all that came was slow, or all was fast.
func slow(after, name string) alertCase {
	c := alertCase{after: after, labels: map[string]string{"job": "dugnad", "instance": "a"}}
	for _, le := range []string{"0.5", "16", "+Inf"} {
		full := fmt.Sprintf(`%s_bucket{job="dugnad",instance="a",le=%q}`, name, le)
		firing := "0+10x60"
		if le == "0.5" {
			firing = "0x60"
		}
		c.firing, c.quiet = append(c.firing, series{full, firing}), append(c.quiet, series{full, "0+10x60"})
	}
	return c
}

var job = map[string]string{"job": "dugnad"}

var alertCases = map[string]alertCase{
	"DugnadNodeDown":        one("5m", "up", "1 0x20", "1 0 1x20"),
	"DugnadNoLeader":        nodes("5m", "dugnad_replica_leads", []string{"1 0x20", "0x20"}, []string{"1 0x20", "0 1x20"}, job),
	"DugnadFewVoters":       nodes("20m", "dugnad_replica_voter", []string{"1x30", "1x30", "0x30"}, []string{"1x30", "1x30", "1x30"}, job),
	"DugnadLedgerStopped":   one("2m", "dugnad_replica_stopped", "0 1x20", "0x20"),
	"DugnadLedgerStalled":   one("4m", "dugnad_replica_stalled", "0 1x20", "0 1 0x20"),
	"DugnadLedgerBehind":    one("15m", "dugnad_replica_lag_entries", "20000x30", "20000x5 9x30"),
	"DugnadLedgerSlow":      slow("20m", "dugnad_replica_proposal_seconds"),
	"DugnadSchedulerSlow":   slow("25m", "dugnad_scheduler_pass_seconds"),
	"DugnadJobsBlocked":     one("65m", "dugnad_scheduler_blocked_jobs", "1x90", "1x30 0 1x90"),
	"DugnadBrake":           one("7m", "dugnad_scheduler_brake", "1x20", "1x3 0x20"),
	"DugnadReportsStuck":    one("25m", "dugnad_executor_outcomes_waiting", "5x40", "5x12 0x40").with("dugnad_executor_reports_total", "7x40"),
	"DugnadResultsLost":     one("10m", `dugnad_executor_limit_reached_total{limit="results"}`, "0x5 1x20", "1x20"),
	"DugnadWorkersLost":     one("15m", "dugnad_worker_losses_total", "0+1x20", "0x5 3x20"),
	"DugnadObjectsMissing":  one("35m", "dugnad_content_missing", "2x40", "2x20 0x40"),
	"DugnadCopiesMissing":   one("65m", "dugnad_keeper_copies_missing", "2x90", "2x30 0x90").with2("dugnad_keeper_copies_missing", "0x90"),
	"DugnadObjectsCorrupt":  one("10m", "dugnad_content_corrupt_total", "0x5 1x20", "1x20"),
	"DugnadDiskFull":        one("10m", "dugnad_content_full_total", "0x5 3x20", "3x20").with("dugnad_store_disk_full_total", "4x20"),
	"DugnadAlone":           one("8m", "dugnad_p2p_members_connected", "0x20", "0x3 1x20").with("dugnad_p2p_members_known", "4x20"),
	"DugnadClocks":          one("10m", `dugnad_p2p_hellos_total{code="clock",side="listener"}`, "0x5 1x20", "1x20"),
	"DugnadRefusesRequests": one("15m", `dugnad_api_limit_reached_total{limit="connections"}`, "0+50x20", "0+1x20").silent(`dugnad_api_limit_reached_total{limit="requests_per_second"`, "0+50000x20"),
	"DugnadClientFloods":    one("80m", `dugnad_api_limit_reached_total{limit="requests_per_second"}`, "0+1000x90", "0+10000x30 300000+10x60").without("limit").silent(`dugnad_api_limit_reached_total{limit="connections"`, "0+50000x90"),
	"DugnadAuditLost":       one("10m", "dugnad_audit_failures_total", "0x5 1x20", "1x20"),
}

// with2 adds a series of a second node.
func (c alertCase) with2(name, values string) alertCase {
	s := series{name + `{job="dugnad",instance="b"}`, values}
	c.firing, c.quiet = append(c.firing, s), append(c.quiet, s)
	return c
}

// silent adds a series that does not make the alert fire, whatever its values.
func (c alertCase) silent(name, values string) alertCase {
	c.quiet = append(c.quiet, series{name + `,job="dugnad",instance="a"}`, values})
	return c
}

// without says that the alert does not keep a label.
func (c alertCase) without(label string) alertCase {
	delete(c.labels, label)
	return c
}

// TestAlertCases: each alert has a case of real metrics.
func TestAlertCases(t *testing.T) {
	known, left := catalogue(t), map[string]bool{}
	for name, c := range alertCases {
		left[name] = true
		for _, s := range append(c.firing, c.quiet...) {
			if err := check(s.name, known); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, r := range readRules(t) {
		if !left[r.Alert] {
			t.Errorf("%s: there is no case in which it fires and one in which it does not", r.Alert)
		}
		delete(left, r.Alert)
	}
	for name := range left {
		t.Errorf("there is no alert %s", name)
	}
}

// TestRules: Prometheus takes the rules and the configuration, and each alert fires when it is to, and not else.
func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not here: install Debian's package prometheus, or Prometheus itself")
	}
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alerts.yaml", Alerts)
	write("prometheus.yml", Scrape)
	write("metrics.key", nil)
	write("api.crt", nil)
	write("cases.yaml", casesFile(t))
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"check", "config", "prometheus.yml"}, {"test", "rules", "cases.yaml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// casesFile writes the cases as promtool reads them.
func casesFile(t *testing.T) []byte {
	t.Helper()
	type input struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	type expected struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	}
	type alert struct {
		Time   string     `yaml:"eval_time"`
		Name   string     `yaml:"alertname"`
		Alerts []expected `yaml:"exp_alerts"`
	}
	type test struct {
		Interval string  `yaml:"interval"`
		Input    []input `yaml:"input_series"`
		Alerts   []alert `yaml:"alert_rule_test"`
	}
	var tests []test
	for _, r := range readRules(t) {
		c := alertCases[r.Alert]
		fires := expected{Labels: map[string]string{"severity": r.Labels["severity"]}, Annotations: map[string]string{}}
		for name, value := range c.labels {
			fires.Labels[name] = value
		}
		for name, text := range r.Annotations {
			fires.Annotations[name] = mentioned.ReplaceAllStringFunc(text, func(m string) string {
				return c.labels[mentioned.FindStringSubmatch(m)[1]]
			})
		}
		for _, list := range [][]series{c.firing, c.quiet} {
			one := test{Interval: "1m", Alerts: []alert{{c.after, r.Alert, nil}}}
			if &list[0] == &c.firing[0] {
				one.Alerts[0].Alerts = []expected{fires}
			}
			for _, s := range list {
				one.Input = append(one.Input, input{s.name, s.values})
			}
			tests = append(tests, one)
		}
	}
	b, err := yaml.Marshal(map[string]any{"rule_files": []string{"alerts.yaml"}, "evaluation_interval": "1m", "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
