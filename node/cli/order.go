package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// orderOr does what is asked of a job, or the like of a standing order where the id is
// that of one.
func orderOr[T, O any](ctx context.Context, id string, job func(context.Context, string) (T, error), order func(context.Context, string) (O, error)) (j T, o *O, err error) {
	j, err = job(ctx, id)
	if !hasCode(err, api.CodeIsOrder) {
		return j, nil, err
	}
	found, err := order(ctx, id)
	return j, &found, err
}

// either is orderOr where both give the same.
func either[T any](ctx context.Context, id string, job, order func(context.Context, string) (T, error)) (T, error) {
	v, o, err := orderOr(ctx, id, job, order)
	if o != nil {
		v = *o
	}
	return v, err
}

func (a *app) jobPauseCommand() *cobra.Command {
	return a.orderLeaf("pause", "Let a standing order make no jobs for a while",
		"Lets a standing order (a job file of kind cron or daemon) make no more jobs until it is\nresumed. The jobs that it made go on.", (*client.Client).PauseOrder)
}

func (a *app) jobResumeCommand() *cobra.Command {
	return a.orderLeaf("resume", "Let a standing order make jobs again",
		"Lets a standing order that was paused make jobs again. Times that have passed meanwhile\nare not made up for.", (*client.Client).ResumeOrder)
}

// orderLeaf is a command that changes a standing order.
func (a *app) orderLeaf(name, short, long string, do func(c *client.Client, ctx context.Context, id string) (api.Submitted, error)) *cobra.Command {
	return a.jobLeaf(name, short, long, func(ctx context.Context, g *grid, id string) error {
		s, err := do(g.client, ctx, id)
		if err != nil {
			return err
		}
		return g.printSubmitted(s)
	})
}

func (g *grid) printSubmitted(s api.Submitted) error {
	if g.json {
		return g.writeJSON(s)
	}
	_, err := fmt.Fprintln(g.Out, s.ID)
	return err
}

// orders lists the standing orders that have not ended, and with ended the others too,
// in order of id.
func (g *grid) orders(ctx context.Context, ended bool) (out []api.Order, err error) {
	for _, over := range []bool{false, true}[:1+btoi(ended)] {
		for p := (client.Page{Limit: api.PageMax}); ; {
			list, err := g.client.Orders(ctx, over, p)
			if err != nil {
				return nil, err
			}
			out = append(out, list.Orders...)
			if p.After = list.Next; p.After == "" {
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b api.Order) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b api.Order) bool { return a.ID == b.ID }), nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// printOrders lists standing orders, with when they run next and how the last run went.
func (g *grid) printOrders(list []api.Order) error {
	t := newTable(g.Out, "ORDER", "NAME", "KIND", "STATE", "WHEN", "NEXT", "OPEN", "LAST")
	for i := range list {
		o := &list[i]
		last := ""
		if n := len(o.Runs); n > 0 {
			last = o.Runs[n-1].State
			if last == "" {
				last = o.Runs[n-1].Result
			}
		}
		t.row(o.ID, o.Name, o.Kind, o.State, rhythm(o), g.when(o.Next), strconv.FormatUint(uint64(o.Open), 10), last)
	}
	return t.flush()
}

// rhythm says when an order runs.
func rhythm(o *api.Order) string {
	switch o.Timezone {
	case "", "UTC":
		return o.Schedule
	}
	return o.Schedule + " " + o.Timezone
}

// runsShown is how many of an order's last runs are shown.
const runsShown = 8

func (g *grid) printOrder(o *api.Order) error {
	t := newTable(g.Out)
	t.fact("order", o.ID)
	t.fact("name", o.Name)
	t.fact("tenant", o.Tenant)
	t.fact("kind", o.Kind)
	t.fact("module", o.Module)
	t.fact("state", o.State)
	t.fact("schedule", rhythm(o))
	t.fact("overlap", o.Overlap)
	t.fact("catch up", o.CatchUp)
	t.fact("labels", labelTexts(o.Labels))
	t.fact("created", g.when(&o.Created))
	t.fact("next run", g.when(o.Next))
	t.fact("jobs", orderCounts(o))
	if err := t.flush(); err != nil {
		return err
	}
	if o.Kind == "daemon" {
		return g.printSeats(o.Seats)
	}
	if len(o.Runs) == 0 {
		return nil
	}
	t = newTable(g.Out, "RUN", "JOB", "STATE", "ENDED")
	for _, r := range o.Runs[max(0, len(o.Runs)-runsShown):] {
		state := r.State
		if r.Job == "" {
			state = "not made: " + r.Result
		}
		t.row(g.when(&r.At), r.Job, state, g.when(r.Ended))
	}
	return t.flush()
}

func (g *grid) printSeats(list []api.Seat) error {
	if len(list) == 0 {
		return nil
	}
	t := newTable(g.Out, "NODE", "JOB", "RUNS", "SINCE", "JOBS", "NOT BEFORE")
	for _, s := range list {
		runs := "no"
		if s.Open {
			runs = "yes"
		}
		t.row(s.Node, s.Job, runs, g.when(s.Since), strconv.FormatUint(uint64(s.Jobs), 10), g.when(s.NotBefore))
	}
	return t.flush()
}

// orderCounts says what became of an order's runs.
func orderCounts(o *api.Order) string {
	parts := []string{fmt.Sprintf("%d made", o.Made)}
	for _, c := range []struct {
		n    uint64
		name string
	}{
		{uint64(o.Open), "open"},
		{o.Succeeded, "succeeded"},
		{o.Failed, "failed"},
		{o.Killed, "killed"},
		{o.Skipped, "skipped"},
		{o.Refused, "refused"},
		{o.Missed, "missed"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	return strings.Join(parts, ", ")
}
