package cli

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/jobspec"
)

const (
	jobA = "0190000000000000000000000000000a"
	jobB = "0191000000000000000000000000000b"
	jobC = "0191000000000000000000000000000c"
)

// full is a grid with jobs, tasks, a module and nodes.
func full(t *testing.T) *fakeGrid {
	f := newFakeGrid(t)
	f.jobs = []api.Job{
		{ID: jobA, Name: "done\x1b[2J", State: api.JobSucceeded, Count: 1, Tasks: api.Tasks{Succeeded: 1}, Created: testTime, Finished: &testTime, Reads: []api.Read{
			{Job: jobB, Stream: "stdout", Input: "counts"}, {Job: jobC, Stream: "stderr", Lines: true},
		}},
		{ID: jobB, Name: "render", State: api.JobActive, Count: 3, Tasks: api.Tasks{Succeeded: 1, Failed: 1, Queued: 1}, Created: testTime, Labels: map[string]string{"team": "a", "purpose": "x"}},
		{ID: jobC, State: api.JobWaiting, Count: 4, Tasks: api.Tasks{Waiting: 4}, Created: testTime},
	}
	f.tasks[jobB] = []fakeTask{
		{api.Task{Index: 0, State: "succeeded", Result: &api.Result{Kind: "exited", Fuel: 1234567, StdoutBytes: 4, WallSeconds: 0.5}}, "one\n", ""},
		{api.Task{Index: 1, State: "queued", Result: &api.Result{Kind: "exited", StdoutBytes: 4}}, "two\n", ""},
		{api.Task{Index: 2, State: "failed", Attempt: 2, Exit: "trap", Result: &api.Result{Kind: "trap", Message: "unreachable", StdoutBytes: 2, StderrBytes: 5}}, "3\n", "oops\n"},
	}
	f.modules["sha256:aa"] = 77
	f.nodes = []api.Node{
		{ID: "12D3Alpha", Name: "hut", State: "up", Since: testTime, Leader: true, Capacity: api.Resources{Slots: 4, MemoryBytes: 4 << 30, FuelRate: 1e9}, Leases: 1},
		{ID: "12D3Beta", Name: "barn", State: "up", Since: testTime},
	}
	f.why = api.Why{State: "active", Text: "1 tasks wait", Nodes: 2, Reasons: []api.Reason{{What: "full-memory", Nodes: 2, Need: 9, Have: 7, Help: "wait"}}}
	return f
}

// TestListings: what is aligned for people, and where they are wrong.
func TestListings(t *testing.T) {
	for _, tt := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{
			args: "job ls", stdout: "JOB                               NAME    STATE    TASKS  CREATED               FINISHED\n" +
				jobB + "  render  active   2/3    2026-03-04T05:06:07Z  -\n" +
				jobC + "  -       waiting  0/4    2026-03-04T05:06:07Z  -\n",
		},
		{
			args: "job ls --all --state succeeded", stdout: "JOB                               NAME      STATE      TASKS  CREATED               FINISHED\n" +
				jobA + "  done?[2J  succeeded  1/1    2026-03-04T05:06:07Z  2026-03-04T05:06:07Z\n",
		},
		{
			args: "job ls --all --label team --label purpose=x", stdout: "JOB                               NAME    STATE   TASKS  CREATED               FINISHED\n" +
				jobB + "  render  active  2/3    2026-03-04T05:06:07Z  -\n",
		},
		{args: "job ls --label team=b", stdout: "JOB  NAME  STATE  TASKS  CREATED  FINISHED\n"},
		{args: "run @/m.wasm --label team", code: 125, stderr: "dugnad: --label team: is not K=V, each 1 to 63 of A-Z, a-z, 0-9, ., _, / and -, a letter or a digit first\n"},
		{args: "run @/m.wasm --label a=b --label a=c", code: 125, stderr: "dugnad: --label a=c: a is given twice\n"},
		{args: "job ls --state dead", code: 125, stderr: "dugnad: --state: \"dead\" is none of waiting, active, stopping, succeeded, failed, killed\n"},
		{
			args: "job show 01910", code: 125,
			stderr: "dugnad: several jobs begin with 01910: write more of the id, such as " + jobB + "\n",
		},
		{args: "job show 02", code: 125, stderr: "dugnad: no job begins with 02: see dugnad job ls --all\n"},
		{args: "job show 0290000000000000000000000000000a", code: 125, stderr: "dugnad: job is not there\n"},
		{
			args: "job show 0190", stdout: "job       " + jobA + "\nname      done?[2J\nstate     succeeded\npriority  0\ntasks     1: 1 succeeded\n" +
				"reads     stdout of job " + jobB + " as /input/counts\nreads     lines of stderr of job " + jobC + " as stdin\ncreated   2026-03-04T05:06:07Z\nfinished  2026-03-04T05:06:07Z\nfuel      0\ntime      0s\n",
		},
		{
			args: "job tasks " + jobB + " --state failed", stdout: "TASK  STATE   RETRIES  NODE  OUTCOME  FUEL  MEMORY   TIME  OUTPUT  MESSAGE\n" +
				"2     failed  2        -     trap     0     0.0 MiB  0s    7       unreachable\n",
		},
		{args: "job why " + jobB, stdout: "1 tasks wait\nNODES  REASON       NEED  MOST  HELP\n2      full-memory  9     7     wait\n"},
		{args: "job show " + jobB, stdout: "job       " + jobB + "\nname      render\nstate     active\npriority  0\nlabels    purpose=x, team=a\ntasks     3: 1 queued, 1 succeeded, 1 failed\ncreated   2026-03-04T05:06:07Z\nfuel      0\ntime      0s\n"},
		{args: "job cancel 0190", stdout: jobA + "\n"},
		{args: "job wait " + jobA},
		{args: "job logs " + jobB, stdout: "one\n3\n", stderr: "oops\n"},
		{args: "job logs -f " + jobB, stdout: "one\ntwo\n3\n", stderr: "oops\n"},
		{
			args: "job logs -f --task 1 " + jobB, stdout: "two\n",
			stderr: "dugnad: output of task 1 is delayed: ?[2Jaway\ndugnad: output of the task ends before the task has ended: trying again for 1m\n" +
				"dugnad: 7 bytes of stderr are left out here\ndugnad: task 1 begins anew, on node n2\n",
		},
		{
			args: "job logs -f " + jobB + "/2", stdout: "3\n",
			stderr: "dugnad: output of task 2 is delayed: ?[2Jaway\ndugnad: output of the task ends before the task has ended: trying again for 1m\n" +
				"dugnad: 7 bytes of stderr are left out here\noops\ndugnad: task 2 begins anew, on node n2\n",
		},
		{args: "job logs " + jobB + "/2", stdout: "3\n", stderr: "oops\n"},
		{args: "job logs -f " + jobB + "/9", code: 125, stderr: "dugnad: task is not there\n"},
		{args: "job logs --task 1 " + jobB + "/2", code: 125, stderr: "dugnad: " + jobB + "/2 names a task, and so does --task\n"},
		{args: "job logs " + jobB + "/two", code: 125, stderr: "dugnad: \"two\" is no number of a task: write JOB/TASK, such as " + jobB + "/0\n"},
		{args: "job results --task 2 " + jobB, stdout: "3\n", stderr: "dugnad: job " + jobB + " has not ended: these are the results of 2 of 3 tasks\n"},
		{
			args: "job results " + jobA, stderr: "dugnad: job " + jobA + " reads stdout of job " + jobB + " as /input/counts\n" +
				"dugnad: job " + jobA + " reads lines of stderr of job " + jobC + " as stdin\n",
		},
		{args: "job results --task -2 " + jobB, code: 125, stderr: "dugnad: --task is -2, from 0 to 2147483647\n"},
		{args: "job sumbit x", code: 125, stderr: "dugnad: there is no command \"sumbit\" (did you mean submit?): see dugnad job --help\n"},
		{args: "job show", code: 125, stderr: "dugnad: 0 arguments, want dugnad job show JOB [flags]\n"},
		{args: "module ls", stdout: "MODULE     BYTES  JOBS  HOLDERS\nsha256:aa  77     0     1\n"},
		{args: "module inspect sha256:aa", stdout: "module  sha256:aa\nbytes   77\njobs    0\nholder  n\n"},
		{args: "module rm sha256:aa"},
		{args: "module rm sha256:bb", code: 125, stderr: "dugnad: module is not there\n"},
		{args: "module push @/m.wasm", stdout: hashed([]byte("module")) + "\n"},
		{args: "module push @/none.wasm", code: 127, stderr: "dugnad: module @/none.wasm not found: there is no such file\n"},
		{
			args: "node ls", stdout: "NODE       NAME  STATE  SINCE                 SLOTS  MEMORY       FUEL  LEASES  ROLE\n" +
				"12D3Alpha  hut   up     2026-03-04T05:06:07Z  0/4    0.0/4.0 GiB  1G/s  1       leader\n" +
				"12D3Beta   barn  up     2026-03-04T05:06:07Z  0/0    0.0/0.0 MiB  0/s   0       -\n",
		},
		{args: "node drain 12D3", code: 125, stderr: "dugnad: 2 nodes are called 12D3: name one by its id, such as 12D3Alpha\n"},
		// The flag says which node is asked, whatever the environment does.
		{args: "node ls --node-dir @/none", code: 125, stderr: "dugnad: no node runs on this folder: @/none: start one with dugnad up, or name another with --api\n"},
		{args: "node show cellar", code: 125, stderr: "dugnad: no node is called cellar: see dugnad node ls\n"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := newTestRun(t)
			r.env = append(r.env, "DUGNAD_API="+full(t).url)
			code := r.run(strings.Fields(tt.args)...)
			want := strings.ReplaceAll(tt.stderr, "@", r.dir)
			if code != tt.code || r.stdout.String() != tt.stdout || r.stderr.String() != want {
				t.Errorf("exit code %d, want %d\nstdout %s\nstderr %s", code, tt.code, cmp.Diff(tt.stdout, r.stdout.String()), cmp.Diff(want, r.stderr.String()))
			}
		})
	}
}

// TestGridJSON: every command prints JSON that has what it is about.
func TestGridJSON(t *testing.T) {
	for args, want := range map[string]string{
		"job ls": `"id":"` + jobB, "job show 0190": `"state":"succeeded"`, "job tasks " + jobB: `"kind":"trap"`,
		"job why " + jobB: `"what":"full-memory"`, "job cancel 0190": `"id":"` + jobA, "job wait 0190": `"state":"succeeded"`,
		"job results 0191000000000000000000000000000b": `"index":0,"state":"succeeded"`, "job logs -f " + jobB: `"stdout":"two\n"`,
		"module ls": `"bytes":77`, "module inspect sha256:aa": `"bytes":77`, "module rm sha256:aa": `"removed":"sha256:aa"`,
		"module push @/m.wasm": `"bytes":6`, "node ls": `"name":"barn"`, "node show hut": `"id":"12D3Alpha"`,
		"node drain barn": `"state":"draining"`, "node resume 12D3Beta": `"state":"up"`,
	} {
		r := newTestRun(t)
		if code := r.run(append(strings.Fields(args), "--json", "--api", full(t).url)...); code != 0 || !strings.Contains(r.stdout.String(), want) {
			t.Errorf("%s: exit code %d, stdout %s, stderr %s", args, code, r.stdout.String(), r.stderr.String())
		}
	}
}

// TestNoNode: without a node every command says so.
func TestNoNode(t *testing.T) {
	for _, args := range []string{"job ls", "module ls", "node ls", "job submit @/job.yaml", "run --grid always --count 2 @/m.wasm"} {
		r := newTestRun(t)
		r.write(t, "job.yaml", "module: m.wasm\n")
		code := r.run(append(strings.Fields(args), "--node-dir", "@/node")...)
		for _, want := range []string{"no node runs on this folder", "start one with dugnad up, or name another with --api"} {
			if code != 125 || !strings.Contains(r.stderr.String(), want) {
				t.Errorf("%s: exit code %d, stderr %s", args, code, r.stderr.String())
			}
		}
	}
}

func (r *testRun) write(t *testing.T, name, content string) {
	t.Helper()
	name = filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSubmit: files go up, the job names the objects, and --wait ends as the job.
func TestSubmit(t *testing.T) {
	f, r := newFakeGrid(t), newTestRun(t)
	r.write(t, "job/job.yaml", "module: ../m.wasm\ncount: 3\nstdin: {path: ../in.txt, lines: true}\ninputs:\n- {name: d, path: data, folder: true}\n")
	r.write(t, "job/data/a.txt", "A")
	if code := r.run("job", "submit", "@/job/job.yaml", "--dry-run", "--api", f.url); code != 0 || len(f.objects)+len(f.modules)+len(f.jobs) != 0 {
		t.Fatalf("dry run: exit code %d, %s", code, r.stderr.String())
	}
	r.stdout.Reset()
	if code := r.run("job", "submit", "@/job/job.yaml", "--wait", "--key", "k", "--api", f.url); code != 0 || len(f.jobs) != 1 || r.stdout.String() != f.jobs[0].ID+"\n" {
		t.Fatalf("exit code %d, stdout %s, stderr %s", code, r.stdout.String(), r.stderr.String())
	}
	j := f.specs[0]
	if string(f.objects[j.Stdin.Object.String()]) != "input" || f.objects[j.Inputs[0].Object.String()] == nil || j.Count != 3 || !j.Inputs[0].Folder {
		t.Errorf("submitted %+v with %v", j, f.objects)
	}
	f.attempt = func(*jobspec.Job, uint32) fakeTask { return fakeTask{Task: api.Task{State: "failed"}} }
	r.stderr.Reset()
	if code := r.run("job", "submit", "@/job/job.yaml", "--wait", "--api", f.url); code != 125 || !strings.Contains(r.stderr.String(), "failed: 3 of 3 tasks did not end well") {
		t.Errorf("exit code %d, stderr %s", code, r.stderr.String())
	}
}

// TestJobFileMistakes: all are told at once, with their places.
func TestJobFileMistakes(t *testing.T) {
	r := newTestRun(t)
	r.write(t, "j.yaml", "module: m.wasm\ncuont: 3\nlimits:\n  fuel: much\n")
	code := r.run("job", "submit", "@/j.yaml", "--api", "http://127.0.0.1:1")
	for _, want := range []string{"the job file has 2 mistakes:\n", r.dir + "/j.yaml:2:1: cuont: unknown field: did you mean count?", r.dir + "/j.yaml:4:9: limits.fuel"} {
		if code != 125 || !strings.Contains(r.stderr.String(), want) {
			t.Errorf("exit code %d, stderr %s, want %s", code, r.stderr.String(), want)
		}
	}
}

// TestPlan: a dry run says where tasks would go, and fails for a job that would be
// refused.
func TestPlan(t *testing.T) {
	f, r := newFakeGrid(t), newTestRun(t)
	r.write(t, "job.yaml", "module: m.wasm\n")
	f.plan = api.Plan{Starts: 3, Waits: 1, Nodes: map[string]int{"b": 1, "a": 2}, Job: api.Why{Text: "1 waits"}}
	if code := r.run("job", "submit", "@/job.yaml", "--dry-run", "--api", f.url); code != 0 ||
		r.stdout.String() != "3 tasks would start at once, 1 would wait\nNODE  TASKS\na     2\nb     1\n1 waits\n" {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, r.stdout.String(), r.stderr.String())
	}
	r.write(t, "many.yaml", "module: m.wasm\ncount: 1000000\n")
	f.plan = api.Plan{Starts: 4, Waits: 0}
	if code := r.run("job", "submit", "@/many.yaml", "--dry-run", "--api", f.url); code != 0 ||
		!strings.Contains(r.stdout.String(), "each of 1000000 tasks may burn 1T fuel, the default for so many") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, r.stdout.String(), r.stderr.String())
	}
	f.plan = api.Plan{Refused: "too many jobs"}
	if code := r.run("job", "submit", "@/job.yaml", "--dry-run", "--api", f.url); code != 125 || r.stderr.String() != "dugnad: the job would be refused: too many jobs\n" {
		t.Errorf("exit code %d, stderr %s", code, r.stderr.String())
	}
}

func TestAwait(t *testing.T) {
	j := api.Job{ID: "x", State: api.JobActive, Count: 100, Tasks: api.Tasks{Running: 4, Succeeded: 40, Failed: 10}}
	text := "50 of 100 tasks, 12/s, about 5s left, 10 not well, 4 running"
	for _, tt := range []struct {
		columns int
		want    string
	}{
		{200, "dugnad: [###############---------------] " + text},
		{0, "dugnad: [###---] " + text},
		{80, "dugnad: [###---] " + text},
		{79, "dugnad: [##---] " + text},
		{78, text},
		{63, text},
		{20, text[:17]},
		{1, ""},
	} {
		if got := awaitBar(&j, 12.5, tt.columns); got != tt.want {
			t.Errorf("%d columns: %q, want %q", tt.columns, got, tt.want)
		}
	}
	j = api.Job{ID: "x", State: api.JobActive, Count: 1, Tasks: api.Tasks{Queued: 1}}
	if got := awaitText(&j, 0); got != "0 of 1 task, 1 queued: see dugnad job why" {
		t.Error(got)
	}
	var p pace
	if first, second := p.add(testTime, 10), p.add(testTime.Add(2*time.Second), 30); first != 0 || second != 10 {
		t.Errorf("rates %g, %g", first, second)
	}
	if late := p.add(testTime.Add(time.Hour), 30); late != 0 {
		t.Errorf("rate %g after an hour without an end", late)
	}
}

// TestAwaitShows: a pipe gets a line when something has changed, a terminal one
// that goes away.
func TestAwaitShows(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		f := full(t)
		c, err := client.Open(client.Config{URL: f.url})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var out bytes.Buffer
		ticks := make(chan time.Time)
		a := await{client: c, id: jobB, w: &out, terminal: terminal, plain: true, ticks: ticks, columns: func() int { return 200 }}
		ended := make(chan error, 1)
		go func() {
			_, err := a.run(t.Context(), client.Fresh{})
			ended <- err
		}()
		ticks <- testTime
		ticks <- testTime
		ticks <- testTime // The second has been shown, or found to be the same.
		f.mu.Lock()
		f.jobs[1].State = api.JobSucceeded
		f.mu.Unlock()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		line, got := "2 of 3 tasks, 1 not well, 1 queued: see dugnad job why", out.String()
		if !terminal && got != "dugnad: job "+jobB+": "+line+"\n" || terminal && (!strings.Contains(got, "["+strings.Repeat("#", 20)) || !strings.HasSuffix(got, "\r\x1b[K")) {
			t.Errorf("shown %q", got)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		3*time.Minute + 59*time.Second: "3m ago", 9 * time.Second: "9s ago", 47 * time.Hour: "47h ago", 49 * time.Hour: "2d ago", -time.Minute: "in 1m",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}

// TestPack: an archive depends on names and contents only, and has nothing from
// outside of the folder.
func TestPack(t *testing.T) {
	pack2 := func(mode os.FileMode) []byte {
		dir := t.TempDir()
		for _, name := range []string{"b", "a/x"} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(name), mode)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("b", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := pack(&out, dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/hostname", filepath.Join(dir, "outside")); err != nil {
			t.Fatal(err)
		}
		if err := pack(io.Discard, dir); err == nil {
			t.Error("a link to the outside was followed")
		}
		return out.Bytes()
	}
	first := pack2(0o600)
	if !bytes.Equal(first, pack2(0o644)) {
		t.Error("the same folder gives different archives")
	}
	var got []string
	for r := tar.NewReader(bytes.NewReader(first)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name+"="+string(content))
	}
	if !slices.Equal(got, []string{"a/=", "a/x=a/x", "b=b", "link=b"}) {
		t.Errorf("%q", got)
	}
}
