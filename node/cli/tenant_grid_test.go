package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
)

// TestTenantQuota: the operator bounds a tenant, which is refused above that and hears
// why; what its jobs have cost agrees however it is asked for, and doctor finds that the
// book is sound.
func TestTenantQuota(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, 1)
	acme, dir := g.create("acme"), g.nodes[0].dir
	operator := func(args ...string) ended { return runDugnad(t, append(args, "--node-dir", dir)...) }
	for _, c := range []struct {
		says string
		args []string
	}{
		{"not a whole number", []string{"--jobs", "-1"}},
		{"too large", []string{"--fuel", "99999999999999999999"}},
		{"at most 7", []string{"--band-max", "8"}},
		{"at most 1048576", []string{"--weight", "0"}},
		{"at most 4294967295", []string{"--jobs", "4294967296"}},
		{"unknown flag", []string{"--cores", "2"}},
	} {
		if e := operator(append([]string{"tenant", "quota", "acme"}, c.args...)...); e.code != exitFailure || !strings.Contains(e.stderr, c.says) {
			t.Errorf("%v: exit code %d, %q, want %q", c.args, e.code, e.stderr, c.says)
		}
	}
	if e := operator("tenant", "quota", "nobody", "--jobs", "1"); e.code == 0 || !strings.Contains(e.stderr, "nobody") {
		t.Errorf("an unknown tenant: %d, %q", e.code, e.stderr)
	}
	if e := operator("tenant", "quota", "acme", "--fuel-per-day", "1P", "--queued-tasks", "3", "--jobs", "none", "--band-max", "3"); e.code != 0 {
		t.Fatalf("quota: %d, %q", e.code, e.stderr)
	}
	if e := g.run(acme, 0, "tenant", "quota", "acme", "--queued-tasks", "none"); e.code == 0 || !strings.Contains(e.stderr, "only the node's operator") {
		t.Errorf("the tenant raises its quota: %d, %q", e.code, e.stderr)
	}
	file := func(more string) string {
		module, err := filepath.Abs(helloFile)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "job.yaml")
		if err := os.WriteFile(name, []byte("module: "+module+"\n"+more), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for says, more := range map[string]string{
		"3 queued_tasks, and would hold 4: 1 too many, since 2": "count: 4\n",
		"1000000000000000 fuel_per_day, and would hold":         "limits:\n  fuel: 2P\n",
		"band is 5, from 0 to 3":                                "priority: 5\n",
	} {
		if e := g.run(acme, 0, "job", "submit", file(more)); e.code == 0 || !strings.Contains(e.stderr, says) {
			t.Errorf("%q: exit code %d, %q, want %q", more, e.code, e.stderr, says)
		}
	}
	for range 2 {
		if e := g.run(acme, 0, "run", helloFile); e.code != 0 || e.stdout != "hello\n" {
			t.Fatalf("run: %d, %q, %q", e.code, e.stdout, e.stderr)
		}
	}
	g.agree(acme, operator)
	if e := operator("doctor", "--json"); !soundBook(t, e.stdout) {
		t.Errorf("doctor: %d, %q, %q", e.code, e.stdout, e.stderr)
	}
}

// agree verifies that usage by day, module and job is the same sum.
func (g *guarded) agree(token string, operator func(args ...string) ended) {
	g.Helper()
	totals := map[api.Usage]bool{}
	for by, parts := range map[string]int{api.UsageByDay: 1, api.UsageByModule: 1, api.UsageByJob: 2} {
		for _, e := range []ended{g.run(token, 0, "tenant", "usage", "--by", by, "--json"), operator("tenant", "usage", "acme", "--by", by, "--json")} {
			var r api.UsageReport
			// At midnight there may be another day.
			if err := json.Unmarshal([]byte(e.stdout), &r); err != nil || len(r.Parts) < parts || r.Tenant != "acme" || r.Unsigned != nil {
				g.Fatalf("usage by %s: %v, %q, %q", by, err, e.stdout, e.stderr)
			}
			r.Total.WallSeconds = 0 // a sum of other fractions
			totals[r.Total] = true
		}
	}
	if len(totals) != 1 || totals[api.Usage{}] {
		g.Errorf("the sums are %+v", totals)
	}
	e := operator("tenant", "usage", "acme", "--by", "job")
	if lines := strings.Count(e.stdout, "\n"); e.code != 0 || lines != 4 || !strings.Contains(e.stdout, "total") {
		g.Errorf("usage by job: %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	if e := g.run(token, 0, "tenant", "ls"); e.code != 0 || !strings.Contains(e.stdout, "acme") || strings.Contains(e.stdout, "default") {
		g.Errorf("ls: %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	if e := g.run(token, 0, "tenant", "show"); e.code != 0 || !strings.Contains(e.stdout, "0 of 3") {
		g.Errorf("show: %d, %q, %q", e.code, e.stdout, e.stderr)
	}
}

// soundBook reports whether doctor has checked the book of the running node and found
// nothing.
func soundBook(t *testing.T, output string) bool {
	t.Helper()
	var d diagnosis
	if err := json.Unmarshal([]byte(output), &d); err != nil {
		t.Error(err)
	}
	for _, c := range d.Checks {
		if c.Name == "book" {
			return c.State == checkOK
		}
	}
	return false
}
