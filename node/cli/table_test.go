package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dugnad/dugnad/node/api"
)

const testNode = "12D3KooWMNKhtp836McFQHCqVpk8YeM8ixuYa6o7GKHmJnPoCxMJ"

// TestTableFits: on a terminal no line is wider than it is, whatever is in it, as
// long as there is room for the least of each cell; elsewhere nothing is cut.
func TestTableFits(t *testing.T) {
	rows := [][]string{
		{"NODE", "JOB", "MODULE", "NAME", "MESSAGE"},
		{testNode, strings.Repeat("ab", jobIDDigits/2), modulePrefix + strings.Repeat("c", moduleIDDigits), "a", "it was nöt there, and nobody knew where it had been before"},
	}
	for _, tt := range []struct {
		columns int
		want    string
	}{
		{0, testNode + "  abababababababababababababababab  " + modulePrefix + strings.Repeat("c", moduleIDDigits) + "  a     " + rows[1][4]},
		{200, "JnPoCxMJ  abababababab  cccccccccccc  a     " + rows[1][4]},
		{80, "JnPoCxMJ  abababababab  cccccccccccc  a     it was nöt there, and nobody knew.."},
		{50, "JnPoCxMJ  abababa..  cccccccc..  a     it was n.."},
		{10, "JnPoCxMJ  abababababab  cccccccccccc  a     " + rows[1][4]}, // no use
	} {
		var out bytes.Buffer
		table := newTable(&out)
		table.columns = tt.columns
		for _, r := range rows {
			table.row(r...)
		}
		if err := table.flush(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if lines[1] != tt.want {
			t.Errorf("%d columns: %q, want %q", tt.columns, lines[1], tt.want)
		}
		if wide := utf8.RuneCountInString(lines[1]); tt.columns >= 50 && wide >= tt.columns {
			t.Errorf("%d columns: a line of %d", tt.columns, wide)
		}
	}
}

func TestShortID(t *testing.T) {
	for id, want := range map[string]string{
		testNode: "JnPoCxMJ", testNode[:20]: testNode[:20], "": "", "-": "-", "cafe": "cafe", "sha256:": "sha256:",
		strings.Repeat("f", 32): "ffffffffffff", strings.Repeat("f", 64): strings.Repeat("f", 64),
		modulePrefix + strings.Repeat("f", 64): "ffffffffffff", strings.Repeat("g", 32): strings.Repeat("g", 32),
	} {
		if got := shortID(id); got != want {
			t.Errorf("%q is shown as %q, want %q", id, got, want)
		}
	}
}

// TestComplete: a shell is offered jobs, nodes and modules by what commands take for
// them, and nothing, without a message, when there is no grid.
func TestComplete(t *testing.T) {
	f := full(t)
	f.nodes = []api.Node{{ID: testNode, Name: "kitchen\x1b[2J", State: "up"}, {ID: testNode[:51] + "X", State: "gone"}}
	offered := func(url string, args ...string) (list []string) {
		r := newTestRun(t)
		if code := r.run(append([]string{"__complete", args[0], args[1], "--api", url}, args[2:]...)...); code != 0 || strings.Contains(r.stderr.String(), "dugnad:") {
			t.Errorf("%q: exit code %d, stderr %q", args, code, r.stderr.String())
		}
		for line := range strings.Lines(r.stdout.String()) {
			list = append(list, strings.TrimSuffix(line, "\n"))
		}
		return list
	}
	var jobs []string
	for _, j := range f.jobs {
		jobs = append(jobs, j.ID)
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"job", "show", jobs[0][:8]}, []string{jobs[0]}},
		{[]string{"job", "show", "nonsense"}, nil},
		{[]string{"job", "show", jobs[0], ""}, nil},
		{[]string{"node", "drain", ""}, []string{"kitchen?[2J", testNode[:51] + "X"}},
		{[]string{"node", "show", "kit"}, []string{"kitchen?[2J"}},
		{[]string{"job", "ls", ""}, nil},
	} {
		var got []string
		for _, line := range offered(f.url, tt.args...) {
			if choice, _, _ := strings.Cut(line, "\t"); !strings.HasPrefix(line, ":") && !strings.HasPrefix(line, "Completion ended") {
				got = append(got, choice)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: offered %q, want %q", tt.args, got, tt.want)
		}
	}
	if got := offered("http://127.0.0.1:1", "node", "show", ""); fmt.Sprint(got) != "[:4]" {
		t.Errorf("without a grid: %q", got)
	}
}
