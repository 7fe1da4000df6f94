package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
)

// TestDrain: with a deadline the command waits until the node has no lease, and says
// how far that is; without one it does not.
func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string
		request        string
	}{
		{args: "node drain hut", stdout: "state    draining", request: "POST nodes/12D3Alpha/drain"},
		{
			args: "node drain hut --deadline 10m", stdout: "until    2026-03-04T05:06:07Z", request: "GET nodes/12D3Alpha",
			stderr: "dugnad: draining: handing back 2 leases on 0 slots\ndugnad: draining: handing back 1 lease on 0 slots\n",
		},
		{args: "node drain hut --deadline 0s", code: 125, stderr: "dugnad: --deadline is 0s, more than 0s and at most 720h0m0s"},
		{args: "node drain hut --deadline 721h", code: 125, stderr: "dugnad: --deadline is 721h0m0s, more than 0s"},
		{args: "node drain hut --deadline soon", code: 125, stderr: "dugnad: --deadline: \"soon\""},
		{args: "node drain nobody --deadline 1s", code: 125, stderr: "dugnad: no node is called nobody"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := newTestRun(t)
			f := full(t)
			f.nodes[0].Leases = 2
			r.env = append(r.env, "DUGNAD_API="+f.url)
			code := r.run(strings.Fields(tt.args)...)
			if code != tt.code || !strings.Contains(r.stdout.String(), tt.stdout) || !strings.HasPrefix(r.stderr.String(), tt.stderr) {
				t.Errorf("exit code %d, want %d\nstdout %s\nstderr %s", code, tt.code, r.stdout.String(), r.stderr.String())
			}
			if last := append(f.requests, "")[max(len(f.requests)-1, 0)]; tt.request != "" && last != tt.request {
				t.Errorf("the last request is %s, want %s", last, tt.request)
			}
		})
	}
}

// TestDrainText: what is said while a node drains.
func TestDrainText(t *testing.T) {
	later := testTime.Add(90 * time.Second)
	for want, n := range map[string]api.Node{
		"draining: 2 leases on 3 slots left, handed back in 1m30s": {Leases: 2, Reserved: api.Resources{Slots: 3}, Until: &later},
		"draining: handing back 1 lease on 1 slot":                 {Leases: 1, Reserved: api.Resources{Slots: 1}, Until: &testTime},
		"draining: 1 lease on 0 slots left, which may end":         {Leases: 1},
	} {
		if got := drainText(&n, testTime); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
