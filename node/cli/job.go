package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/quantity"
)

// jobCommand has what is done with jobs of the grid.
func (a *app) jobCommand() *cobra.Command {
	return group("job", "Submit jobs to the grid, follow them, get their results",
		a.jobSubmitCommand(), a.jobListCommand(), a.jobShowCommand(), a.jobWaitCommand(), a.jobWhyCommand(),
		a.jobTasksCommand(), a.jobResultsCommand(), a.jobLogsCommand(), a.jobCancelCommand(),
		a.jobPauseCommand(), a.jobResumeCommand())
}

// jobLeaf is a command on one job, which args[0] names.
func (a *app) jobLeaf(name, short, long string, do func(ctx context.Context, g *grid, id string) error) *cobra.Command {
	return a.gridCommand(&cobra.Command{Use: name + " JOB", Short: short, Long: long}, func(ctx context.Context, g *grid, args []string) error {
		id, err := g.jobID(ctx, args[0])
		if err != nil {
			return err
		}
		return do(ctx, g, id)
	})
}

const submitLong = `Submits the job that a file describes, in YAML or JSON, and prints its id. Files
that it names by path (a module, stdin, inputs) are uploaded before; paths are
relative to the job file. A FILE of - is stdin. When the id is printed the job is
not lost any more, whatever happens to nodes.

A file of kind cron or daemon makes a standing order, which makes jobs: its id is
printed, and show, why, cancel, pause and resume take it. --dry-run says when it
would run.

With --wait the exit code is 0 if the job succeeded, and 125 if it did not. Ctrl-C
ends the waiting, not the job.`

func (a *app) jobSubmitCommand() *cobra.Command {
	var dry, wait bool
	var key string
	cmd := a.gridCommand(&cobra.Command{
		Use: "submit FILE", Short: "Submit a job", Long: submitLong,
		Example: "  dugnad job submit render.yaml --wait\n  dugnad job submit render.yaml --dry-run",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}, func(ctx context.Context, g *grid, args []string) error {
		job, err := a.readJobFile(args[0])
		if err != nil {
			return err
		}
		if wait && job.Standing() {
			return usageError("--wait: a job of kind %s does not end: wait for one of those that it makes", job.Kind)
		}
		u := uploads{client: g.client, dry: dry, dir: filepath.Dir(args[0])}
		if err := u.all(ctx, job); err != nil {
			return err
		}
		if dry {
			return g.plan(ctx, job)
		}
		return g.submit(ctx, job, key, wait)
	})
	fs := cmd.Flags()
	fs.BoolVar(&dry, "dry-run", false, "only say what would become of the job; nothing is uploaded")
	fs.BoolVar(&wait, "wait", false, "wait until the job has ended")
	fs.StringVar(&key, "key", "", "`text` that makes the job the same however often it is submitted")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "wait")
	return cmd
}

func (g *grid) submit(ctx context.Context, job *jobspec.Job, key string, wait bool) error {
	s, err := submit(ctx, g.client, job, key)
	if err != nil {
		return err
	}
	switch {
	case !g.json:
		_, err = fmt.Fprintln(g.Out, s.ID)
	case !wait:
		return g.writeJSON(s)
	}
	if err != nil || !wait {
		return err
	}
	return g.wait(ctx, s.ID, client.Fresh{Index: s.Index})
}

// wait waits for a job and fails unless it succeeded.
func (g *grid) wait(ctx context.Context, id string, f client.Fresh) error {
	j, err := g.await(g.client, id, true).run(ctx, f)
	if err != nil {
		if ctx.Err() != nil {
			g.say("job %s goes on; dugnad job cancel %s stops it", shortID(id), shortID(id))
		}
		return err
	}
	if g.json {
		if err := g.writeJSON(j); err != nil {
			return err
		}
	}
	if j.State == api.JobSucceeded {
		return nil
	}
	text := fmt.Sprintf("job %s %s", id, j.State)
	if j.State == api.JobKilled {
		text = fmt.Sprintf("job %s was killed", id)
	}
	if j.Cause != "" {
		text += ": " + j.Cause
	}
	if bad := j.Tasks.Ended() - j.Tasks.Succeeded; bad > 0 {
		text += fmt.Sprintf(": %d of %s did not end well: see dugnad job tasks %s", bad, plural(uint64(j.Count), "task"), id)
	}
	return &exitError{code: exitFailure, err: fmt.Errorf("%s", printable(text))}
}

func (g *grid) plan(ctx context.Context, job *jobspec.Job) error {
	file, err := json.Marshal(job)
	if err != nil {
		return err
	}
	p, err := g.client.Plan(ctx, file)
	if err != nil {
		return err
	}
	if g.json {
		if err := g.writeJSON(p); err != nil {
			return err
		}
	} else if err := g.printPlan(&p, job); err != nil {
		return err
	}
	if p.Refused != "" {
		return &exitError{code: exitFailure, err: fmt.Errorf("the job would be refused: %s", printable(p.Refused))}
	}
	return nil
}

func (g *grid) printPlan(p *api.Plan, job *jobspec.Job) error {
	if p.Refused != "" {
		return nil // The error says all there is.
	}
	if fuel := job.Limits.Fuel; job.Count > 1 && fuel < jobspec.DefaultFuel(1) && fuel == jobspec.DefaultFuel(job.Count) {
		if _, err := fmt.Fprintf(g.Out, "each of %s may burn %s fuel, the default for so many: limits.fuel changes that\n",
			plural(job.Count, "task"), quantity.FormatFuel(uint64(fuel))); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(g.Out, "%s would start at once, %d would wait\n", plural(p.Starts, "task"), p.Waits); err != nil {
		return err
	}
	if len(p.Nodes) > 0 {
		t := newTable(g.Out, "NODE", "TASKS")
		for _, node := range sortedKeys(p.Nodes) {
			t.row(node, strconv.Itoa(p.Nodes[node]))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if p.Waits > 0 {
		if err := g.printWhy(&p.Job); err != nil {
			return err
		}
	}
	for i := range p.Next {
		if _, err := fmt.Fprintf(g.Out, "would run at %s\n", p.Next[i].Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) jobListCommand() *cobra.Command {
	var state string
	var all bool
	var labels []string
	cmd := a.gridCommand(&cobra.Command{
		Use: "ls", Short: "List the jobs and standing orders that have not ended",
	}, func(ctx context.Context, g *grid, _ []string) error {
		states := []string{api.JobWaiting, api.JobActive, api.JobStopping}
		switch {
		case state != "":
			states = []string{state}
		case all:
			states = []string{""}
		}
		var list listing
		var err error
		if list.Jobs, err = g.jobs(ctx, states, labels...); err != nil {
			return err
		}
		if state == "" {
			if list.Orders, err = g.orders(ctx, all); err != nil {
				return err
			}
			list.Orders = slices.DeleteFunc(list.Orders, func(o api.Order) bool { return !labelled(o.Labels, labels) })
		}
		return g.printListing(&list)
	})
	states := []string{api.JobWaiting, api.JobActive, api.JobStopping, api.JobSucceeded, api.JobFailed, api.JobKilled}
	fs := cmd.Flags()
	choiceFlag(cmd, &state, "state", "only jobs in this `state`: "+strings.Join(states, ", "), states)
	fs.BoolVar(&all, "all", false, "also the jobs that have ended")
	fs.StringSliceVar(&labels, "label", nil, "only jobs with this label, as `K` or K=V (repeatable: all of them)")
	return cmd
}

// labelled reports whether labels are among those of a job, each asked for as K or K=V.
func labelled(of map[string]string, labels []string) bool {
	return !slices.ContainsFunc(labels, func(l string) bool {
		name, value, given := strings.Cut(l, "=")
		have, ok := of[name]
		return !ok || given && have != value
	})
}

// labelTexts are labels as they are written, in order.
func labelTexts(of map[string]string) string {
	list := make([]string, 0, len(of))
	for _, name := range sortedKeys(of) {
		list = append(list, name+"="+of[name])
	}
	return strings.Join(list, ", ")
}

// listing is jobs, and the standing orders that make some of them.
type listing struct {
	api.Jobs
	Orders []api.Order `json:"orders,omitempty"`
}

func (g *grid) printListing(list *listing) error {
	if g.json {
		return g.writeJSON(list)
	}
	if len(list.Orders) > 0 {
		if err := g.printOrders(list.Orders); err != nil {
			return err
		}
		if len(list.Jobs.Jobs) == 0 {
			return nil
		}
		if _, err := fmt.Fprintln(g.Out); err != nil {
			return err
		}
	}
	t := newTable(g.Out, "JOB", "NAME", "STATE", "TASKS", "CREATED", "FINISHED")
	for i := range list.Jobs.Jobs {
		j := &list.Jobs.Jobs[i]
		t.row(j.ID, j.Name, j.State, fmt.Sprintf("%d/%d", j.Tasks.Ended(), j.Count), g.when(&j.Created), g.when(j.Finished))
	}
	return t.flush()
}

// jobs lists the jobs in some states and with all of the labels, in order of id.
func (g *grid) jobs(ctx context.Context, states []string, labels ...string) (out api.Jobs, err error) {
	out.Jobs = []api.Job{}
	for _, state := range states {
		for p := (client.Page{Limit: api.PageMax}); ; {
			list, err := g.client.Jobs(ctx, state, p, labels...)
			if err != nil {
				return out, err
			}
			out.Jobs, out.Index = append(out.Jobs, list.Jobs...), list.Index
			if p.After = list.Next; p.After == "" {
				break
			}
		}
	}
	slices.SortFunc(out.Jobs, func(a, b api.Job) int { return cmp.Compare(a.ID, b.ID) })
	// One may have changed its state between the lists.
	out.Jobs = slices.CompactFunc(out.Jobs, func(a, b api.Job) bool { return a.ID == b.ID })
	return out, nil
}

func (a *app) jobWaitCommand() *cobra.Command {
	return a.jobLeaf("wait", "Wait until a job has ended",
		"Waits until a job has ended and shows how it goes. The exit code is 0 if it succeeded,\nand 125 if it did not. Ctrl-C ends the waiting, not the job.",
		func(ctx context.Context, g *grid, id string) error {
			f := client.Fresh{}
			// A job that another node has just accepted may not be known here yet.
			if _, err := g.client.Job(ctx, id, f); hasCode(err, api.CodeNotFound) {
				f.Consistent = true
			}
			return g.wait(ctx, id, f)
		})
}

func (a *app) jobCancelCommand() *cobra.Command {
	return a.jobLeaf("cancel", "Stop a job, or end a standing order",
		"Stops a job: its tasks that run are killed, the others never start. A standing order\n(a job file of kind cron or daemon) is ended, and the jobs that it made are stopped.",
		func(ctx context.Context, g *grid, id string) error {
			s, err := either(ctx, id, g.client.Cancel, g.client.EndOrder)
			if err != nil {
				return err
			}
			return g.printSubmitted(s)
		})
}
