package cli

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/quantity"
)

func (a *app) jobShowCommand() *cobra.Command {
	return a.jobLeaf("show", "Show a job, or a standing order with its last runs", "", func(ctx context.Context, g *grid, id string) error {
		j, order, err := orderOr(ctx, id,
			func(ctx context.Context, id string) (api.Job, error) { return g.client.Job(ctx, id, client.Fresh{}) },
			func(ctx context.Context, id string) (api.Order, error) {
				return g.client.Order(ctx, id, client.Fresh{})
			})
		switch {
		case err != nil:
			return err
		case g.json && order != nil:
			return g.writeJSON(order)
		case g.json:
			return g.writeJSON(j)
		case order != nil:
			return g.printOrder(order)
		}
		why := ""
		if j.State == api.JobFailed {
			// What there is to show is shown without it.
			if w, err := g.client.Why(ctx, id); err == nil {
				why = w.Text
			}
		}
		return g.printJob(&j, why)
	})
}

// printJob shows a job, and why it is as it is when there is something to say.
func (g *grid) printJob(j *api.Job, why string) error {
	state := j.State
	if j.Cause != "" {
		state += " (" + j.Cause + ")"
	}
	t := newTable(g.Out)
	t.fact("job", j.ID)
	t.fact("name", j.Name)
	t.fact("tenant", j.Tenant)
	t.fact("module", j.Module)
	t.fact("made by", j.Order)
	t.fact("state", state)
	t.fact("why", why)
	t.fact("because of", j.Blame)
	t.fact("priority", strconv.Itoa(int(j.Band)))
	t.fact("labels", labelTexts(j.Labels))
	t.fact("tasks", taskCounts(j))
	for _, r := range j.Reads {
		t.fact("reads", readText(&r))
	}
	if j.Spares > 0 {
		t.fact("second attempts", strconv.FormatUint(uint64(j.Spares), 10))
	}
	t.fact("created", g.when(&j.Created))
	t.fact("queued", g.when(j.Queued))
	t.fact("placed", g.when(j.Placed))
	t.fact("stopped", g.when(j.Stopped))
	t.fact("finished", g.when(j.Finished))
	switch {
	case j.KeptUntil != nil:
		t.fact("kept", "until "+g.when(j.KeptUntil))
	case j.RetentionSeconds > 0:
		t.fact("kept", quantity.FormatDuration(time.Duration(j.RetentionSeconds)*time.Second)+" when it has ended")
	}
	t.fact("fuel", fuelAmount(j.Usage.Fuel))
	t.fact("time", seconds(j.Usage.WallSeconds))
	return t.flush()
}

// readText says what a job reads of another one.
func readText(r *api.Read) string {
	text := fmt.Sprintf("%s of job %s as ", r.Stream, r.Job)
	if r.Lines {
		text = fmt.Sprintf("lines of %s of job %s as ", r.Stream, r.Job)
	}
	if r.Input == "" {
		return text + "stdin"
	}
	return text + "/input/" + r.Input
}

// taskCounts says how many tasks are in which state.
func taskCounts(j *api.Job) string {
	parts := []string{strconv.FormatUint(uint64(j.Count), 10)}
	for _, c := range []struct {
		n    uint32
		name string
	}{
		{j.Tasks.Waiting, "waiting"},
		{j.Tasks.Queued, "queued"},
		{j.Tasks.Leased, "leased"},
		{j.Tasks.Running, "running"},
		{j.Tasks.Unreachable, "unreachable"},
		{j.Tasks.Succeeded, "succeeded"},
		{j.Tasks.Failed, "failed"},
		{j.Tasks.Killed, "killed"},
		{j.Tasks.Refused, "refused"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	return parts[0] + ": " + strings.Join(parts[1:], ", ")
}

func (a *app) jobWhyCommand() *cobra.Command {
	return a.jobLeaf("why", "Say what a job waits for",
		"Says what a job waits for: the jobs that it comes after, or why nodes were passed over and\nwhat would help; of a standing order, when it runs next.",
		func(ctx context.Context, g *grid, id string) error {
			w, err := either(ctx, id, g.client.Why, g.client.WhyOrder)
			if err != nil {
				return err
			}
			if g.json {
				return g.writeJSON(w)
			}
			return g.printWhy(&w)
		})
}

func (g *grid) printWhy(w *api.Why) error {
	text := printable(w.Text)
	if w.Since != nil {
		text += ", since " + g.when(w.Since)
	}
	if text != "" {
		if _, err := fmt.Fprintln(g.Out, text); err != nil {
			return err
		}
	}
	for _, id := range w.After {
		if _, err := fmt.Fprintf(g.Out, "after %s\n", printable(id)); err != nil {
			return err
		}
	}
	if w.FreeAt != nil {
		if _, err := fmt.Fprintf(g.Out, "room is expected: %s\n", g.when(w.FreeAt)); err != nil {
			return err
		}
	}
	if len(w.Reasons) == 0 {
		return nil
	}
	t := newTable(g.Out, "NODES", "REASON", "NEED", "MOST", "HELP")
	for _, r := range w.Reasons {
		what := r.What
		if r.Detail != "" {
			what += " " + r.Detail
		}
		need, have := amount(r.Need), amount(r.Have)
		if r.What == "power-off" {
			need, have = inSeconds(r.Need), inSeconds(r.Have)
		}
		t.row(strconv.FormatUint(uint64(r.Nodes), 10), what, need, have, r.Help)
	}
	return t.flush()
}

// inSeconds writes a number of seconds as a time.
func inSeconds(n uint64) string {
	return quantity.FormatDuration(time.Duration(min(n, math.MaxInt64/uint64(time.Second))) * time.Second)
}

// amount is a number, or nothing for 0.
func amount(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// taskStates are what --state of job tasks may be.
var taskStates = []string{"waiting", "queued", "leased", "running", "unreachable", "succeeded", "failed", "killed", "refused"}

func (a *app) jobTasksCommand() *cobra.Command {
	var state string
	cmd := a.jobLeaf("tasks", "List a job's tasks", "Lists a job's tasks with how they ended and what they used. A second attempt that runs\nbeside the first has a line of its own, as spare.",
		func(ctx context.Context, g *grid, id string) error { return g.tasks(ctx, id, state) })
	choiceFlag(cmd, &state, "state", "only tasks in this `state`: "+strings.Join(taskStates, ", "), taskStates)
	return cmd
}

func (g *grid) tasks(ctx context.Context, id, state string) error {
	t := newTable(g.Out, "TASK", "STATE", "RETRIES", "NODE", "OUTCOME", "FUEL", "MEMORY", "TIME", "OUTPUT", "MESSAGE")
	all := api.TaskList{Tasks: []api.Task{}}
	for q := (client.TaskQuery{State: state, Results: true, Limit: api.PageMax}); ; {
		list, err := g.client.Tasks(ctx, id, q)
		if err != nil {
			return err
		}
		all.Index = list.Index
		for i := range list.Tasks {
			if g.json {
				all.Tasks = append(all.Tasks, list.Tasks[i])
			} else {
				g.taskRow(t, &list.Tasks[i])
			}
		}
		if list.Next == nil {
			break
		}
		q.From = *list.Next
	}
	if g.json {
		return g.writeJSON(all)
	}
	return t.flush()
}

func (g *grid) taskRow(t table, k *api.Task) {
	cells := []string{
		strconv.FormatUint(uint64(k.Index), 10), k.State, strconv.FormatUint(uint64(k.Attempt)+uint64(k.Losses), 10), k.Node,
		k.Exit, "", "", "", "", k.Cause,
	}
	if r := k.Result; r != nil {
		cells[4] = r.Kind
		if r.Kind == "exited" {
			cells[4] = fmt.Sprintf("exit %d", r.ExitCode)
		}
		cells[5], cells[6], cells[7] = fuelAmount(r.Fuel), roundBytes(r.MemoryBytes), seconds(r.WallSeconds)
		cells[8] = strconv.FormatInt(r.StdoutBytes+r.StderrBytes, 10)
		if r.Message != "" {
			cells[9] = r.Message
		}
	}
	t.row(cells...)
	if k.SpareNode != "" { // a second attempt beside the first
		t.row(cells[0], "spare", cells[2], k.SpareNode, "", "", "", "", "", "")
	}
}
