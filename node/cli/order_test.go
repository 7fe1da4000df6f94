package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/node/api"
)

const (
	orderA = "0192000000000000000000000000000a"
	orderB = "0193000000000000000000000000000b"
	orderC = "0193000000000000000000000000000c"
)

// ordered is a grid with standing orders.
func ordered(t *testing.T) *fakeGrid {
	f := full(t)
	next := testTime.Add(time.Hour)
	f.orders = []api.Order{
		{
			ID: orderA, Name: "night\x1b", Kind: "cron", State: api.OrderActive, Schedule: "30 4 * * *", Timezone: "Europe/Oslo", Overlap: "skip", CatchUp: "none",
			Created: testTime, Next: &next, Open: 1, Made: 2, Failed: 1, Skipped: 1,
			Runs: []api.Run{
				{At: testTime, Result: "ok", Job: jobA, State: "failed", Ended: &next},
				{At: testTime, Result: "ok", Job: jobB, State: "active"},
				{At: next, Result: "run_overlap"},
			},
		},
		{
			ID: orderB, Kind: "daemon", State: api.OrderPaused, Created: testTime, Open: 1, Made: 3,
			Seats: []api.Seat{{Node: "n1", Job: jobB, Open: true, Since: &testTime, Jobs: 1}, {Node: "n2", Job: jobA, Jobs: 2, NotBefore: &next}},
		},
		{ID: orderC, Kind: "cron", State: api.OrderEnded, Schedule: "@daily", Timezone: "UTC", Created: testTime},
	}
	return f
}

// TestOrders: what people see of standing orders.
func TestOrders(t *testing.T) {
	const jobs = "\nJOB                               NAME    STATE    TASKS  CREATED               FINISHED\n" +
		jobB + "  render  active   2/3    2026-03-04T05:06:07Z  -\n" +
		jobC + "  -       waiting  0/4    2026-03-04T05:06:07Z  -\n"
	for _, tt := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{
			args: "job ls", stdout: "ORDER                             NAME    KIND    STATE   WHEN                    NEXT                  OPEN  LAST\n" +
				orderA + "  night?  cron    active  30 4 * * * Europe/Oslo  2026-03-04T06:06:07Z  1     run_overlap\n" +
				orderB + "  -       daemon  paused  -                       -                     1     -\n" + jobs,
		},
		{
			args: "job show 0192", stdout: "order     " + orderA + "\nname      night?\nkind      cron\nstate     active\nschedule  30 4 * * * Europe/Oslo\n" +
				"overlap   skip\ncatch up  none\ncreated   2026-03-04T05:06:07Z\nnext run  2026-03-04T06:06:07Z\njobs      2 made, 1 open, 1 failed, 1 skipped\n" +
				"RUN                   JOB                               STATE                  ENDED\n" +
				"2026-03-04T05:06:07Z  " + jobA + "  failed                 2026-03-04T06:06:07Z\n" +
				"2026-03-04T05:06:07Z  " + jobB + "  active                 -\n" +
				"2026-03-04T06:06:07Z  -                                 not made: run_overlap  -\n",
		},
		{
			args: "job show " + orderB, stdout: "order    " + orderB + "\nkind     daemon\nstate    paused\ncreated  2026-03-04T05:06:07Z\njobs     3 made, 1 open\n" +
				"NODE  JOB                               RUNS  SINCE                 JOBS  NOT BEFORE\n" +
				"n1    " + jobB + "  yes   2026-03-04T05:06:07Z  1     -\n" +
				"n2    " + jobA + "  no    -                     2     2026-03-04T06:06:07Z\n",
		},
		{args: "job show 0193", code: 125, stderr: "dugnad: several jobs begin with 0193: write more of the id, such as " + orderB + "\n"},
		{args: "job why 0192", stdout: "the next run is soon\n"},
		{args: "job pause 0192", stdout: orderA + "\n"},
		{args: "job resume " + orderB, stdout: orderB + "\n"},
		{args: "job cancel 0192", stdout: orderA + "\n"},
		{args: "job pause 0190", code: 125, stderr: "dugnad: order is not there\n"},
		{args: "job cancel 0199000000000000000000000000000a", code: 125, stderr: "dugnad: job is not there\n"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := newTestRun(t)
			r.env = append(r.env, "DUGNAD_API="+ordered(t).url)
			code := r.run(strings.Fields(tt.args)...)
			if code != tt.code || r.stdout.String() != tt.stdout || r.stderr.String() != tt.stderr {
				t.Errorf("exit code %d, want %d\nstdout %s\nstderr %s", code, tt.code, cmp.Diff(tt.stdout, r.stdout.String()), cmp.Diff(tt.stderr, r.stderr.String()))
			}
		})
	}
}

// TestOrderJSON: every command prints JSON that has what it is about.
func TestOrderJSON(t *testing.T) {
	for args, want := range map[string]string{
		"job ls": `"orders":[{"id":"` + orderA, "job ls --all": `"id":"` + orderC, "job show 0192": `"result":"run_overlap"`, "job why 0192": `"text":"the next`,
		"job cancel 0192": `"kind":"cron"`, "job pause 0192": `"kind":"cron"`,
	} {
		r := newTestRun(t)
		if code := r.run(append(strings.Fields(args), "--json", "--api", ordered(t).url)...); code != 0 || !strings.Contains(r.stdout.String(), want) {
			t.Errorf("%s: exit code %d, stdout %s, stderr %s", args, code, r.stdout.String(), r.stderr.String())
		}
	}
}

// TestSubmitOrder: a file of kind cron makes an order, and a dry run says when.
func TestSubmitOrder(t *testing.T) {
	f, r := newFakeGrid(t), newTestRun(t)
	r.write(t, "cron.yaml", "kind: cron\nmodule: m.wasm\nschedule: \"@daily\"\n")
	f.plan = api.Plan{Starts: 1, Next: []time.Time{testTime, testTime.Add(time.Hour)}}
	if code := r.run("job", "submit", "@/cron.yaml", "--dry-run", "--api", f.url); code != 0 ||
		r.stdout.String() != "1 task would start at once, 0 would wait\nwould run at 2026-03-04T05:06:07Z\nwould run at 2026-03-04T06:06:07Z\n" {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, r.stdout.String(), r.stderr.String())
	}
	if code := r.run("job", "submit", "@/cron.yaml", "--wait", "--api", f.url); code != 125 || !strings.Contains(r.stderr.String(), "does not end") || len(f.modules) != 0 {
		t.Errorf("exit code %d, stderr %s", code, r.stderr.String())
	}
	r.stdout.Reset()
	if code := r.run("job", "submit", "@/cron.yaml", "--api", f.url); code != 0 || len(f.orders) != 1 || r.stdout.String() != f.orders[0].ID+"\n" {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, r.stdout.String(), r.stderr.String())
	}
}
