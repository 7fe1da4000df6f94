package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
)

const moduleText = "a module, as far as this test looks"

// load runs the program against a grid, and returns what it prints and its exit code.
func load(ctx context.Context, t *testing.T, url string, args ...string) (r report, code int, errOut string) {
	t.Helper()
	module := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(module, []byte(moduleText), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = start(ctx, append([]string{"-api", url, "-module", module}, args...), &out, &errs)
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Errorf("%v: %s", err, out.String())
		}
	}
	return r, code, errs.String()
}

// TestScenarios: each scenario submits what it should, and says that all went well.
func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		jobs int // that are submitted
		most int // of them open at a time
		ok   func(r report) bool
	}{
		{"run", nil, 7, 1, func(r report) bool { return r.P50 > 0 && r.Concurrency == 0 }},
		{"jobs", []string{"-concurrency", "3"}, 7, 3, func(r report) bool { return r.P50 > 0 && r.Concurrency == 3 }},
		{"array", nil, 1, 1, func(r report) bool { return r.P50 == 0 && r.OutputSHA256 == "" }},
		{"array", []string{"-outputs"}, 1, 1, func(r report) bool {
			sum := sha256.Sum256([]byte(strings.Repeat("hello\n", 7)))
			return r.OutputBytes == 42 && r.OutputSHA256 == hex.EncodeToString(sum[:])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeGrid(t)
			r, code, errOut := load(t.Context(), t, f.URL, append(c.args, "-scenario", c.name, "-count", "7")...)
			if code != 0 || errOut != "" || r.Scenario != c.name || r.Count != 7 || r.Failed != 0 || r.PerSecond <= 0 || !c.ok(r) {
				t.Errorf("exit code %d, %+v, %q", code, r, errOut)
			}
			if len(f.counts) != c.jobs || f.top > c.most || f.module != moduleText {
				t.Errorf("%d jobs, %d at a time, of module %q", len(f.counts), f.top, f.module)
			}
		})
	}
}

// TestFlood: half of the jobs are run alone, the others while somebody else floods; who
// floods is refused, and that is told.
func TestFlood(t *testing.T) {
	t.Setenv(environFlood, warranttest.New(t).Token(t, "flood", warrant.Limits{}).Text())
	f := newFakeGrid(t)
	f.state = func(number int) string {
		if number == 3 { // the first of the second half
			<-f.flood
		}
		return api.JobSucceeded
	}
	r, code, errOut := load(t.Context(), t, f.URL, "-scenario", "flood", "-count", "6", "-concurrency", "2", "-tasks", "5")
	if code != 0 || errOut != "" || r.Failed != 0 || r.Before == nil || r.Flood == nil || r.Before.P99 <= 0 || r.P99 <= 0 || r.Ratio <= 0 {
		t.Fatalf("exit code %d, %+v, %q", code, r, errOut)
	}
	if n := r.Flood; n.Submitted < floodsWanted-1 || n.Accepted < 3 || n.Refused["quota_queued"]+n.Accepted != n.Submitted || n.Lost != 0 {
		t.Errorf("the flood was %+v", n)
	}
	if len(f.counts) != 6 || f.top != 1 {
		t.Errorf("%d jobs, %d at a time", len(f.counts), f.top)
	}
}

// TestSubmissions: a flood of so many has that many, and jobs are run as long as it takes.
func TestSubmissions(t *testing.T) {
	t.Setenv(environFlood, warranttest.New(t).Token(t, "flood", warrant.Limits{}).Text())
	f := newFakeGrid(t)
	for _, rest := range []string{"0s", "1ns"} {
		r, code, errOut := load(t.Context(), t, f.URL, "-scenario", "flood", "-count", "2", "-submissions", "300", "-rest", rest)
		if code != 0 || errOut != "" || r.Failed != 0 || r.Flood == nil || r.Count < 2 || r.P99 <= 0 {
			t.Fatalf("exit code %d, %+v, %q", code, r, errOut)
		}
		if n := r.Flood; n.Submitted != 300 || n.Accepted != 100 || n.Refused["quota_queued"] != 200 || n.Lost != 0 {
			t.Errorf("the flood was %+v", n)
		}
		if len(f.counts) != r.Count || f.top != 1 {
			t.Errorf("%d jobs, %d of them told, %d at a time", len(f.counts), r.Count, f.top)
		}
		f.counts = nil
	}
}

// TestFailures: a job that fails is counted, named and no reason to stop, and the
// exit code says that not all went well.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		scenario string
		failed   int
		says     string
	}{
		{"run", 2, "2 of 7 failed, the first one: job 2 is failed"},
		{"jobs", 2, "2 of 7 failed, the first one: job "},
	} {
		f := newFakeGrid(t)
		f.state = func(number int) string {
			if number == 2 || number == 5 {
				return api.JobFailed
			}
			return api.JobSucceeded
		}
		r, code, errOut := load(t.Context(), t, f.URL, "-scenario", c.scenario, "-count", "7")
		if code != exitFailed || r.Failed != c.failed || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: exit code %d, %+v, %q", c.scenario, code, r, errOut)
		}
	}
	f := newFakeGrid(t)
	f.state = func(int) string { return api.JobFailed }
	r, code, errOut := load(t.Context(), t, f.URL, "-scenario", "array", "-count", "7", "-outputs")
	if want := "job 0 is failed: of its 7 tasks 6 have succeeded, 1 have failed"; code != exitFailed || r.Failed != 1 || !strings.Contains(errOut, want) {
		t.Errorf("array: exit code %d, %+v, %q", code, r, errOut)
	}
}

// TestInterrupted: what was measured until somebody loses patience is printed.
func TestInterrupted(t *testing.T) {
	f := newFakeGrid(t)
	f.hang = 3
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-f.asked
		cancel()
	}()
	r, code, errOut := load(ctx, t, f.URL, "-count", "7")
	if code != exitFailed || r.Failed != 4 || r.P50 == 0 || !strings.Contains(errOut, "3 of 7 succeeded: context canceled") {
		t.Errorf("exit code %d, %+v, %q", code, r, errOut)
	}
}

// TestNobodyThere: an address at which nothing answers is named.
func TestNobodyThere(t *testing.T) {
	f := newFakeGrid(t)
	f.Close()
	r, code, errOut := load(t.Context(), t, f.URL)
	if code != exitFailed || r.Scenario != "" || !strings.Contains(errOut, "push module: no node answers at "+f.URL) {
		t.Errorf("exit code %d, %+v, %q", code, r, errOut)
	}
}

// TestFlags: flags that make no sense are refused before anything is asked.
func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"-scenario loops", `-scenario: there is no "loops", only run, jobs, array, idle`},
		{"-module=", "-module: scenario run needs a WebAssembly file to run"},
		{"-scenario idle", "-pids: scenario idle needs the processes to measure"},
		{"-count 0", "-count: 0, from 1"},
		{"-count many", `invalid value "many" for flag -count`},
		{"-concurrency -1", "-concurrency: -1, from 1"},
		{"-timeout 0s", "-timeout: 0s, more than 0"},
		{"-span -1s", "-span: -1s, more than 0"},
		{"-outputs", "-outputs: scenario run has none that are read in the end, only array"},
		{"-pids 1,x", `-pids: "x" is not a process id`},
		{"-pids 0", `-pids: "0" is not a process id`},
		{"-submissions -1", "-submissions: -1, from 0"},
		{"-submissions 5", "-submissions: scenario run has none, only flood"},
		{"-rest -1s", "-rest: -1s, from 0"},
		{"-speed 9", "flag provided but not defined: -speed"},
		{"array", `"array" is no flag: the flags are in -help`},
	} {
		_, code, errOut := load(t.Context(), t, "http://127.0.0.1:1", strings.Fields(c.args)...)
		if code != exitUsage || !strings.HasPrefix(errOut, "loadtest: "+c.says) {
			t.Errorf("%s: exit code %d, %q", c.args, code, errOut)
		}
	}
	if _, code, errOut := load(t.Context(), t, "", "-help"); code != 0 || !strings.Contains(errOut, "-concurrency") {
		t.Errorf("-help: exit code %d, %q", code, errOut)
	}
	_, code, errOut := load(t.Context(), t, "nowhere", "-count", "1")
	if code != exitFailed || !strings.Contains(errOut, `-api: node's address "nowhere" is not http://HOST:PORT`) {
		t.Errorf("-api: exit code %d, %q", code, errOut)
	}
	_, code, errOut = load(t.Context(), t, "", "-module", "/is/not/there")
	if code != exitFailed || !strings.Contains(errOut, "-module: open /is/not/there") {
		t.Errorf("-module: exit code %d, %q", code, errOut)
	}
}

// TestQuantile compares with what can be counted off.
func TestQuantile(t *testing.T) {
	times := func(n int) (list []time.Duration) {
		for i := range n {
			list = append(list, time.Duration(i+1)*time.Millisecond)
		}
		return list
	}
	for _, c := range []struct{ n, percent, want int }{
		{0, 50, 0},
		{1, 50, 1},
		{1, 99, 1},
		{2, 50, 1},
		{3, 50, 2},
		{10, 90, 9},
		{11, 90, 10},
		{200, 50, 100},
		{200, 99, 198},
		{201, 99, 199},
		{200, 100, 200},
	} {
		if got := quantile(times(c.n), c.percent); got != float64(c.want) {
			t.Errorf("%d%% of 1 to %d are not above %v, want %d", c.percent, c.n, got, c.want)
		}
	}
}

// TestProcesses: a process is measured while a scenario runs, and one that is not
// there is an error, at the beginning and in the end.
func TestProcesses(t *testing.T) {
	self := os.Getpid()
	r, code, errOut := load(t.Context(), t, "", "-scenario", "idle", "-span", "50ms", "-pids", fmt.Sprintf("%d,%d", self, self))
	if code != 0 || errOut != "" || len(r.Processes) != 2 || r.Count != 0 || r.Failed != 0 || r.Seconds < 0.05 {
		t.Fatalf("exit code %d, %+v, %q", code, r, errOut)
	}
	for _, p := range r.Processes {
		if p.PID != self || p.Begin <= 0 || p.End <= 0 || p.Peak < p.End || p.FilesBegin < 3 || p.FilesEnd < 3 || p.CPU < 0 {
			t.Errorf("%+v", p)
		}
	}
	const nobody = 1 << 30 // above the largest id that Linux gives
	_, code, errOut = load(t.Context(), t, "", "-scenario", "idle", "-pids", fmt.Sprint(nobody))
	if code != exitFailed || !strings.Contains(errOut, "measure process: open /proc/1073741824/status") {
		t.Errorf("exit code %d, %q", code, errOut)
	}
	p := process{PID: nobody}
	if err := p.end(time.Second); err == nil || !strings.Contains(err.Error(), "measure process") {
		t.Errorf("a process that is gone: %v", err)
	}
}
