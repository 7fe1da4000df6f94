package node

import (
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/observe"
)

var rewrite = flag.Bool("rewrite", false, "write the table of node/observe/METRICS.md anew")

// ownPrefix is how the names of Dugnad's metrics begin, processPrefix those about the
// process, which the catalogue has as well: they are the same everywhere.
const (
	ownPrefix     = "dugnad_"
	processPrefix = "process_"
)

// TestMetrics: the catalogue has what a node that has run a job shows, and nothing else;
// names are as Prometheus wants them; and each limit that is counted is in the table.
func TestMetrics(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n := workedNode(ctx, t)
	list := described(t, n.registry)
	path := filepath.Join("observe", "METRICS.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), observe.Begin)
	_, after, ended := strings.Cut(rest, observe.End)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + observe.Begin + "\n" + observe.Table(list) + observe.End + after
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		b = []byte(want)
	}
	if diff := cmp.Diff(string(b), want); diff != "" {
		t.Errorf("%s is not what a node shows: look at the change, see whether alerts.yaml and dashboard.json name what is gone, and run go test ./node -run TestMetrics -rewrite\n%s", path, diff)
	}
	lintMetrics(t, n.registry, list)
	compareLimits(t, n.registry, list, want)
}

// workedNode returns a node that has run a job, failed one, and answers on a port.
func workedNode(ctx context.Context, t *testing.T) *Node {
	t.Helper()
	c := testConfig(filepath.Join(t.TempDir(), "node"))
	c.Found, c.APIListen, c.Version, c.TraceEndpoint = true, "127.0.0.1:0", "test", newCollector(t).url
	n := openNode(ctx, t, c)
	cl := apiOf(t, n)
	for module, state := range map[string]string{"hello": api.JobSucceeded, "exit2": api.JobFailed} {
		s := submit(ctx, t, cl, "module: %s\ncount: 3\nretry: {attempts: 1}\n", push(ctx, t, cl, module))
		if j, err := cl.Wait(ctx, s.ID, client.Fresh{Index: s.Index}); err != nil || j.State != state {
			t.Fatalf("%+v, %v", j, err)
		}
	}
	return n
}

// description is how client_golang prints a prometheus.Desc.
var description = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: (".*"), unit: "[^"]*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// described lists the metrics of a registry, also those that have no series yet, by name.
func described(t *testing.T, reg *prometheus.Registry) (list []observe.Metric) {
	t.Helper()
	types := map[string]string{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		types[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		reg.Describe(descriptions)
	}()
	for d := range descriptions {
		parts := description.FindStringSubmatch(d.String())
		if parts == nil {
			t.Errorf("description cannot be read: %s", d)
			continue
		}
		m := observe.Metric{Name: parts[1], Type: types[parts[1]], Unit: unitOf(parts[1])}
		if !strings.HasPrefix(m.Name, ownPrefix) && !strings.HasPrefix(m.Name, processPrefix) {
			continue
		}
		if m.Type == "" && strings.HasSuffix(m.Name, "_total") {
			m.Type = "counter"
		}
		if m.Help, err = strconv.Unquote(parts[2]); err != nil || m.Type == "" {
			t.Errorf("%s: its type is not known: it needs a series when a node has run a job, or a name that ends in _total; %v", m.Name, err)
		}
		for _, l := range strings.FieldsFunc(parts[3]+","+parts[4], func(r rune) bool { return r == ',' }) {
			name, _, _ := strings.Cut(l, "=")
			m.Labels = append(m.Labels, name)
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b observe.Metric) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b observe.Metric) bool { return a.Name == b.Name })
}

// unitOf returns the unit that a name says.
func unitOf(name string) string {
	for _, unit := range []string{"bytes", "seconds", "fuel"} {
		if slices.Contains(strings.Split(name, "_"), unit) {
			return unit
		}
	}
	return ""
}

// lintMetrics holds names and texts to the conventions: Prometheus' and the house's.
func lintMetrics(t *testing.T, reg *prometheus.Registry, list []observe.Metric) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := families[:0]
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), ownPrefix) {
			own = append(own, f)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(own).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, m := range list {
		if !strings.HasPrefix(m.Name, ownPrefix) {
			continue
		}
		if first := m.Help[:min(1, len(m.Help))]; !strings.HasSuffix(m.Help, ".") || first != strings.ToUpper(first) {
			t.Errorf("%s: %q is no sentence", m.Name, m.Help)
		}
		if m.Unit != "" && !strings.HasSuffix(strings.TrimSuffix(m.Name, "_total"), "_"+m.Unit) {
			t.Errorf("%s: the unit goes last, before _total", m.Name)
		}
		if (m.Type == "counter") != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s is a %s: counters, and they alone, end in _total", m.Name, m.Type)
		}
	}
}

// limitCounters says which metric counts the limits that a folder's code names.
var limitCounters = map[string]string{
	"node/audit": "dugnad_audit_limit_reached_total", "node/executor": "dugnad_executor_limit_reached_total",
	"node/httpd": "dugnad_api_limit_reached_total", "node/turnstile": "dugnad_api_limit_reached_total",
	"node/custodian": "dugnad_custodian_limit_reached_total",
	"node/keeper":    "dugnad_keeper_limit_reached_total", "node/pool": "dugnad_pool_limit_reached_total",
	"node/span": "dugnad_span_limit_reached_total", "node/outbound": "dugnad_outbound_limit_reached_total",
	"p2p": "dugnad_p2p_limit_reached_total", "p2p/rpc": "dugnad_rpc_limit_reached_total",
	"ledger/replica": "dugnad_replica_limit_reached_total", "runtime/worker": "dugnad_worker_limit_reached_total",
}

// compareLimits compares the catalogue's table of limits with the code, where they are
// counted, and with what a node shows.
func compareLimits(t *testing.T, reg *prometheus.Registry, list []observe.Metric, catalogue string) {
	t.Helper()
	table, err := observe.Limits(catalogue)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range list {
		known[m.Name] = true
	}
	counted, words := limitsInCode(t)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "limit" {
					counted[f.GetName()+" "+l.GetValue()] = "a running node"
				}
			}
		}
	}
	for _, l := range table {
		key := l.Metric + " " + l.Name
		if !known[l.Metric] || l.Bounds == "" || l.Name != "" && counted[key] == "" && !words[l.Name] {
			t.Errorf("the table of limits in METRICS.md has %s %q, which nothing counts", l.Metric, l.Name)
		}
		delete(counted, key)
	}
	for key, where := range counted {
		t.Errorf("%s counts the limit %s, which the table of limits in METRICS.md does not have: add a row that says what it bounds", where, key)
	}
}

// limitsInCode returns the limits that are counted, as metric and name, with a place
// where; and all words in quotes.
func limitsInCode(t *testing.T) (counted map[string]string, words map[string]bool) {
	t.Helper()
	counted, words = map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if word, ok := literal(n); ok {
				words[word] = true
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			name, ok := literal(call.Args[0])
			if to, is := call.Fun.(*ast.SelectorExpr); ok && is && countsLimit(to) {
				metric := limitCounters[s.folder]
				if metric == "" {
					t.Errorf("%s counts a limit: say in limitCounters which metric that is", s.file)
				}
				counted[metric+" "+name] = s.file
			}
			return true
		})
	}
	return counted, words
}

// countsLimit recognizes metrics.limit(…), limitReached(…) and limits.WithLabelValues(…).
func countsLimit(to *ast.SelectorExpr) bool {
	switch to.Sel.Name {
	case "limit", "limitReached":
		return true
	case "WithLabelValues":
		of, ok := to.X.(*ast.SelectorExpr)
		return ok && of.Sel.Name == "limits"
	}
	return false
}

func literal(n ast.Node) (string, bool) {
	l, ok := n.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// TestMetricsRegistered: what the process is doing is told by each of its nodes, once.
func TestMetricsRegistered(t *testing.T) {
	reg := prometheus.NewRegistry()
	if err := observed(reg, "v1"); err != nil {
		t.Fatal(err)
	}
	if err := observed(reg, "v1"); err == nil {
		t.Error("registered twice")
	}
	text := fmt.Sprint(reg.Gather())
	for _, want := range []string{`dugnad_build_info`, `v1`, "process_resident_memory_bytes", "go_goroutines"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not there", want)
		}
	}
}
