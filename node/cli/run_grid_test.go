package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/jobspec"
)

// TestGridRequests: a job of one task takes few requests, and the module goes up
// only when it is not known.
func TestGridRequests(t *testing.T) {
	f := newFakeGrid(t)
	f.attempt = func(j *jobspec.Job, _ uint32) fakeTask {
		return fakeTask{api.Task{State: "succeeded", Result: &api.Result{Kind: "exited"}}, strings.Join(j.Args, " ") + j.Env["K"] + "\n", ""}
	}
	for _, want := range [][]string{
		{"POST jobs", "POST modules", "POST jobs", "GET jobs/ID", "GET jobs/ID/tasks", "GET jobs/ID/stdout"},
		{"POST jobs", "GET jobs/ID", "GET jobs/ID/tasks", "GET jobs/ID/stdout"},
	} {
		r := newTestRun(t)
		f.requests = nil
		code := r.run("run", "@/m.wasm", "--grid", "always", "--api", f.url, "--env", "K=v", "--label", "team=a", "--label", "purpose=x", "--count", "1", "--input", "i=@/in.txt", "--", "a", "b")
		if code != 0 || r.stdout.String() != "a bv\n" || len(r.runner.specs) != 0 {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, r.stdout.String(), r.stderr.String())
		}
		id := f.jobs[len(f.jobs)-1].ID
		var got []string
		for _, q := range f.requests {
			if q != "POST objects" {
				got = append(got, strings.ReplaceAll(q, id, "ID"))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("requests %q, want %q", got, want)
		}
	}
	j := f.specs[0]
	if j.Labels["team"] != "a" || len(j.Labels) != 2 || j.Name != "m.wasm" || j.Retry.Attempts != 1 || string(f.objects[j.Inputs[0].Object.String()]) != "input" {
		t.Errorf("submitted %+v", j)
	}
}

// TestGridAsHere: outcomes on the grid are told as those here are.
func TestGridAsHere(t *testing.T) {
	result := func(kind string, code uint32) *api.Result { return &api.Result{Kind: kind, ExitCode: code} }
	for _, tt := range []struct {
		task   api.Task
		code   int
		stderr string
	}{
		{api.Task{State: "succeeded"}, 0, ""},
		{api.Task{State: "failed", Result: result("exited", 7)}, 7, ""},
		{
			api.Task{State: "failed", Result: &api.Result{Kind: "trap", Trap: "unreachable", Message: "unreachable\x1b[1m", Stack: []string{"inner", "outer"}}},
			122, "dugnad: m.wasm trapped: unreachable?[1m\n    at inner\n    at outer\n",
		},
		{api.Task{State: "failed", Result: result("out_of_fuel", 0)}, 123, "dugnad: m.wasm ran out of fuel: it used up all 2G: raise it with --fuel\n"},
		{api.Task{State: "failed", Result: &api.Result{Kind: "exited", ExitCode: 1, LimitsHit: []string{"memory"}}}, 1, "dugnad: m.wasm asked for more than its memory limit of 256MiB: raise it with --memory\n"},
		{api.Task{State: "killed", Cause: "cancelled"}, 125, "dugnad: m.wasm was stopped on the grid: cancelled\n"},
		{api.Task{State: "failed", Exit: "worker_lost", Cause: "losses"}, 125, "dugnad: m.wasm was running when its worker process died: no result is kept: failed worker_lost losses\n"},
	} {
		f, r := newFakeGrid(t), newTestRun(t)
		f.attempt = func(*jobspec.Job, uint32) fakeTask { return fakeTask{Task: tt.task} }
		code := r.run("run", "@/m.wasm", "--fuel", "2G", "--grid", "always", "--api", f.url, "--stdin", "@/in.txt")
		if code != tt.code || r.stderr.String() != tt.stderr {
			t.Errorf("%+v: exit code %d, stderr %q, want %d, %q", tt.task, code, r.stderr.String(), tt.code, tt.stderr)
		}
		if j := f.specs[0]; j.Stdin == nil || string(f.objects[j.Stdin.Object.String()]) != "input" {
			t.Errorf("stdin %+v", j.Stdin)
		}
	}
}

// TestGridSeries: many tasks are printed in order, over several pages, and the
// first that did not end well gives the exit code.
func TestGridSeries(t *testing.T) {
	f := newFakeGrid(t)
	f.attempt = func(_ *jobspec.Job, i uint32) fakeTask {
		k := fakeTask{api.Task{State: "succeeded", Result: &api.Result{Kind: "exited"}}, fmt.Sprintf("out %d\n", i), fmt.Sprintf("err %d\n", i)}
		if i == 3 {
			k.State, k.Result.ExitCode = "failed", 9
		}
		return k
	}
	r := newTestRun(t)
	code := r.run("run", "@/m.wasm", "--count", "5", "--api", f.url)
	if code != 9 || r.stdout.String() != "out 0\nout 1\nout 2\nout 3\nout 4\n" {
		t.Errorf("exit code %d, stdout %q", code, r.stdout.String())
	}
	if want := "err 0\nerr 1\nerr 2\nerr 3\ndugnad: m.wasm, task 3, exited with 9\nerr 4\n" +
		"dugnad: 1 of 5 tasks did not end well: 3; run one alone with --env DUGNAD_TASK_INDEX=3\n"; r.stderr.String() != want {
		t.Errorf("stderr %q\n want %q", r.stderr.String(), want)
	}
	r = newTestRun(t)
	if code := r.run("run", "@/m.wasm", "--count", "5", "--json", "--api", f.url); code != 9 || !strings.Contains(r.stdout.String(), `"index":4,"count":5`) || !strings.Contains(r.stdout.String(), `"stdout":"out 4\n"`) {
		t.Errorf("exit code %d, stdout %q", code, r.stdout.String())
	}
}

// TestFuelOfMany: by default many tasks share what 10,000 have, on the grid and here;
// fuel that somebody has chosen is for each, or is refused.
func TestFuelOfMany(t *testing.T) {
	for _, tt := range []struct {
		count uint64
		env   string
		want  jobspec.Fuel
	}{
		{10_000, "", 100_000_000_000_000},
		{184_467, "", 5_420_000_000_000},
		{184_468, "", 5_420_000_000_000},
		{1_000_000, "", 1_000_000_000_000},
		{200_000, "DUGNAD_FUEL=2G", 2_000_000_000},
	} {
		f, r := newFakeGrid(t), newTestRun(t)
		f.refusal = api.NewProblem("quota_queued", "so much for so many", "")
		r.env = append(r.env, tt.env)
		r.run("run", "@/m.wasm", "--count", fmt.Sprint(tt.count), "--grid", "always", "--api", f.url)
		if len(f.specs) == 0 || f.specs[0].Limits.Fuel != tt.want || f.specs[0].Count != tt.count {
			t.Errorf("%d tasks, %s: submitted %+v, want %d fuel for each; stderr %q", tt.count, tt.env, f.specs, tt.want, r.stderr.String())
		}
	}
	f, r := newFakeGrid(t), newTestRun(t)
	code := r.run("run", "@/m.wasm", "--count", "200000", "--fuel", "100T", "--grid", "always", "--api", f.url)
	if want := "limits.fuel: is 100T for each of 200000 tasks, at most 92200G for so many"; code != exitFailure || !strings.Contains(r.stderr.String(), want) {
		t.Errorf("exit code %d, stderr %q, want %q", code, r.stderr.String(), want)
	}
}

// TestTasksSpare: a second attempt has a line of its own in the list of tasks.
func TestTasksSpare(t *testing.T) {
	f, r := newFakeGrid(t), newTestRun(t)
	f.attempt = func(_ *jobspec.Job, i uint32) fakeTask {
		k := fakeTask{Task: api.Task{State: "running", Node: "one"}}
		if i == 1 {
			k.SpareNode, k.SpareEpoch = "two", 7
		}
		return k
	}
	r.run("run", "@/m.wasm", "--count", "2", "--grid", "always", "--api", f.url)
	r = newTestRun(t)
	code := r.run("job", "tasks", f.jobs[0].ID, "--api", f.url)
	var rows []string
	for line := range strings.Lines(r.stdout.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	if want := []string{"0 running 0 one - - - - - -", "1 running 0 one - - - - - -", "1 spare 0 two - - - - - -"}; code != 0 || len(rows) != 4 || !slices.Equal(rows[1:], want) {
		t.Errorf("exit code %d, rows %q, stderr %q, want %q", code, rows, r.stderr.String(), want)
	}
}

// TestGridRefused: a module that the grid refuses ends as one that is refused here.
func TestGridRefused(t *testing.T) {
	f, r := newFakeGrid(t), newTestRun(t)
	r.write(t, "m.wasm", "bad")
	if code := r.run("run", "@/m.wasm", "--grid", "always", "--api", f.url); code != 126 || !strings.Contains(r.stderr.String(), "m.wasm refused: no module: build it") {
		t.Errorf("exit code %d, stderr %q", code, r.stderr.String())
	}
}

// TestGridGivenUp: a job that nobody waits for any more is stopped.
func TestGridGivenUp(t *testing.T) {
	f, r := newFakeGrid(t), newTestRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.ctx = ctx
	f.attempt = func(*jobspec.Job, uint32) fakeTask {
		cancel()
		return fakeTask{Task: api.Task{State: "succeeded"}}
	}
	code := r.run("run", "@/m.wasm", "--count", "1", "--grid", "always", "--api", f.url)
	f.mu.Lock()
	defer f.mu.Unlock()
	if code != 125 || len(f.jobs) != 1 || !slices.Contains(f.requests, "POST jobs/"+f.jobs[0].ID+"/cancel") {
		t.Errorf("exit code %d, stderr %q, requests %q", code, r.stderr.String(), f.requests)
	}
}

// TestGridAuto: without a node, or where the grid would not do the same, tasks run
// here.
func TestGridAuto(t *testing.T) {
	for _, tt := range []struct {
		args string
		env  string
		here bool
	}{
		{args: "run @/m.wasm --count 2 --api http://127.0.0.1:1", here: true},
		{args: "run @/m.wasm --count 2 --node-dir @/none", here: true},
		{args: "run @/m.wasm --count 2 --api URL"},
		{args: "run @/m.wasm --count 2 --api URL", env: "DUGNAD_GRID=never", here: true},
		{args: "run @/m.wasm --count 2 --api URL -- {index}", here: true},
	} {
		f, r := newFakeGrid(t), newTestRun(t)
		r.env = append(r.env, tt.env)
		code := r.run(strings.Fields(strings.ReplaceAll(tt.args, "URL", f.url))...)
		if here := len(r.runner.specs) == 2; code != 0 || here != tt.here || (len(f.jobs) == 0) != tt.here {
			t.Errorf("%s %s: exit code %d, here %v, stderr %s", tt.env, tt.args, code, here, r.stderr.String())
		}
	}
}
