package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// oneTask is the flag --task: a task's number, or none.
type oneTask struct{ index int64 }

func (o *oneTask) register(cmd *cobra.Command) {
	cmd.Flags().Int64Var(&o.index, "task", -1, "only the task with this `number`, from 0")
	cmd.Flags().Lookup("task").DefValue = ""
}

// cut takes the task's number off JOB/TASK.
func (o *oneTask) cut(cmd *cobra.Command, text string) (job string, err error) {
	job, number, found := strings.Cut(text, "/")
	if !found {
		return job, nil
	}
	if cmd.Flags().Changed("task") {
		return "", usageError("%s names a task, and so does --task", text)
	}
	if _, err := strconv.ParseUint(number, 10, 63); err != nil {
		return "", usageError("%q is no number of a task: write JOB/TASK, such as %s/0", number, job)
	}
	return job, cmd.Flags().Set("task", number)
}

// bounds returns the tasks that are wanted; an end of 0 is that of the job.
func (o *oneTask) bounds(cmd *cobra.Command) (first, end uint32, err error) {
	if !cmd.Flags().Changed("task") {
		return 0, 0, nil
	}
	if o.index < 0 || o.index >= tasksMax {
		return 0, 0, usageError("--task is %d, from 0 to %d", o.index, tasksMax-1)
	}
	return uint32(o.index), uint32(o.index) + 1, nil
}

func (a *app) jobResultsCommand() *cobra.Command {
	var only oneTask
	var output string
	var cmd *cobra.Command
	cmd = a.jobLeaf("results", "Print what a job's tasks have written to stdout",
		"Prints what the tasks that have ended have written to stdout, in order of their numbers.\n"+
			"With --json it prints one object per task, with its outcome, stdout and stderr.",
		func(ctx context.Context, g *grid, id string) error {
			first, end, err := only.bounds(cmd)
			if err != nil {
				return err
			}
			return g.results(ctx, id, first, end, output)
		})
	only.register(cmd)
	cmd.Flags().StringVar(&output, "output", "", "`file` to write to")
	return cmd
}

func (g *grid) results(ctx context.Context, id string, first, end uint32, output string) (err error) {
	j, err := g.client.Job(ctx, id, client.Fresh{})
	if err != nil {
		return err
	}
	if !j.Final() {
		g.say("job %s has not ended: these are the results of %d of %s", id, j.Tasks.Ended(), plural(uint64(j.Count), "task"))
	}
	for _, r := range j.Reads {
		g.say("job %s reads %s", id, printable(readText(&r)))
	}
	file, err := openOutput(output)
	if err != nil {
		return err
	}
	defer func() {
		if closing := file.close(); err == nil {
			err = closing
		}
	}()
	if g.json {
		w, err := file.begin(g.Out)
		if err != nil {
			return err
		}
		g := *g
		own := *g.app
		own.Out, g.app = w, &own
		return visitTasks(ctx, g.client, id, first, end, g.taskJSON)
	}
	w, err := file.begin(g.guest(g.Out))
	if err != nil {
		return err
	}
	body, err := g.client.Outputs(ctx, id, "stdout", first, end)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("copying the results: %w", err)
	}
	return nil
}

// taskResult is the JSON object of a task with its output. What is not UTF-8
// stands in the _base64 field instead.
type taskResult struct {
	*api.Task
	Stdout       *string `json:"stdout,omitempty"`
	StdoutBase64 *string `json:"stdout_base64,omitempty"`
	Stderr       *string `json:"stderr,omitempty"`
	StderrBase64 *string `json:"stderr_base64,omitempty"`
}

func (g *grid) taskJSON(t *api.Task, stdout, stderr io.Reader) error {
	var out, errs bytes.Buffer
	if _, err := out.ReadFrom(stdout); err != nil {
		return err
	}
	if _, err := errs.ReadFrom(stderr); err != nil {
		return err
	}
	r := taskResult{Task: t}
	r.Stdout, r.StdoutBase64 = encodeText(out.Bytes())
	r.Stderr, r.StderrBase64 = encodeText(errs.Bytes())
	return g.writeJSON(r)
}

const logsLong = `Prints what the tasks that have ended have written, in order of their numbers: stdout to
stdout, stderr to stderr. With -f it goes on until the job has ended, and shows what
one task writes as it comes: the job's only one, or the one that --task or JOB/TASK
names. With --json it prints one object per task.`

func (a *app) jobLogsCommand() *cobra.Command {
	var only oneTask
	var follow bool
	var cmd *cobra.Command
	cmd = a.gridCommand(&cobra.Command{
		Use: "logs JOB", Short: "Print all that a job's tasks have written", Long: logsLong,
		Example: "  dugnad job logs 0191\n  dugnad job logs -f 0191/3",
	}, func(ctx context.Context, g *grid, args []string) error {
		job, err := only.cut(cmd, args[0])
		if err != nil {
			return err
		}
		id, err := g.jobID(ctx, job)
		if err != nil {
			return err
		}
		first, end, err := only.bounds(cmd)
		if err != nil {
			return err
		}
		l := &logs{grid: g, id: id, next: first, end: end, out: g.guest(g.Out), errs: g.guest(g.Err)}
		if follow {
			return l.follow(ctx)
		}
		return visitTasks(ctx, g.client, id, first, end, func(t *api.Task, stdout, stderr io.Reader) error {
			if !taskEnded(t) {
				return nil
			}
			return l.print(t, stdout, stderr)
		})
	})
	only.register(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended, or the one task")
	return cmd
}

// logs prints what tasks have written.
type logs struct {
	*grid
	id string
	// next is the first task that was not printed, end is behind the last that is
	// wanted; 0 is the job's end.
	next, end uint32
	out, errs io.Writer
}

func taskEnded(t *api.Task) bool {
	switch t.State {
	case "succeeded", "failed", "killed", "refused":
		return true
	}
	return false
}

// eventEnded is the kind of events that tell of tasks that have ended.
const eventEnded = "ended"

// follow prints tasks as they end, in order, and one alone as it writes.
func (l *logs) follow(ctx context.Context) error {
	j, err := l.client.Job(ctx, l.id, client.Fresh{})
	if err != nil {
		return err
	}
	if !l.json && (l.end > 0 || j.Count == 1) {
		return l.live(ctx, l.next)
	}
	if done, err := l.advance(ctx); done || err != nil || j.Final() {
		return err
	}
	err = l.client.Watch(ctx, l.id, j.Events+1, func(e api.Event) error {
		// Its tasks need not be consecutive: only an event of one says which.
		if e.Kind != eventEnded || e.Count == 1 && e.First != l.next {
			return nil
		}
		done, err := l.advance(ctx)
		if err == nil && done {
			err = errUnwaited
		}
		return err
	})
	if err != nil && !errors.Is(err, errUnwaited) {
		return err
	}
	_, err = l.advance(ctx)
	return err
}

// errUnwaited ends a watch of which nothing more is wanted.
var errUnwaited = errors.New("nothing more is waited for")

// advance prints from next on up to the first task that has not ended, and reports
// whether that was all that is wanted.
func (l *logs) advance(ctx context.Context) (done bool, err error) {
	if l.end > 0 && l.next >= l.end {
		return true, nil
	}
	err = visitTasks(ctx, l.client, l.id, l.next, l.end, func(t *api.Task, stdout, stderr io.Reader) error {
		if t.Index != l.next || !taskEnded(t) {
			return errUnwaited
		}
		l.next++
		return l.print(t, stdout, stderr)
	})
	if errors.Is(err, errUnwaited) {
		err = nil
	}
	return l.end > 0 && l.next >= l.end, err
}

func (l *logs) print(t *api.Task, stdout, stderr io.Reader) error {
	if l.json {
		return l.taskJSON(t, stdout, stderr)
	}
	if _, err := io.Copy(l.out, stdout); err != nil {
		return fmt.Errorf("printing a task's output: %w", err)
	}
	if _, err := io.Copy(l.errs, stderr); err != nil {
		return fmt.Errorf("printing a task's output: %w", err)
	}
	return nil
}
