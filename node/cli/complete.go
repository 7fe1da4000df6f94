package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

const (
	// completeTimeout bounds how long a shell waits for the names of the grid.
	completeTimeout = 2 * time.Second
	// completeMax bounds the names that a shell is given.
	completeMax = 200
)

// completer lists what an argument may be, each with what it is.
// begun is what of it is there already.
type completer func(ctx context.Context, g *grid, begun string) ([]cobra.Completion, error)

// completers are those of the words that stand for an argument in a command's use.
var completers = map[string]completer{"JOB": completeJobs, "NODE": completeNodes, "MODULE": completeModules}

// complete has the shell offer what is in the grid for the argument of a command.
// Without a grid there is nothing to offer, which is no error.
func (a *app) complete(where *gridFlags, list completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 || configure(cmd, a.Environ) != nil {
			return nil, none
		}
		c, err := where.client(a)
		if err != nil {
			return nil, none
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		all, err := list(ctx, &grid{app: a, client: c, now: time.Now}, begun)
		if err != nil {
			return nil, none
		}
		var fit []cobra.Completion
		for _, s := range all {
			if strings.HasPrefix(s, begun) && len(fit) < completeMax {
				fit = append(fit, s)
			}
		}
		return fit, none
	}
}

// completion is what to write and what it is.
func completion(choice, what string) cobra.Completion {
	return cobra.CompletionWithDesc(printable(choice), printable(what))
}

// completeJobs offers the jobs whose ids begin so, or those that have not ended and
// those of the last day.
func completeJobs(ctx context.Context, g *grid, begun string) (out []cobra.Completion, err error) {
	const recent = 24 * time.Hour
	add := func(list []api.Job) {
		for i := range list {
			j := &list[i]
			what := j.State
			if j.Name != "" {
				what = j.Name + ", " + j.State
			}
			if c := completion(j.ID, what); !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	from := begun
	if begun == "" {
		open, err := g.jobs(ctx, []string{api.JobWaiting, api.JobActive, api.JobStopping})
		if err != nil {
			return nil, err
		}
		add(open.Jobs[:min(len(open.Jobs), completeMax)])
		from = fmt.Sprintf("%012x", g.now().Add(-recent).UnixMilli())
	}
	if len(from) > jobIDDigits || strings.Trim(from, "0123456789abcdef") != "" {
		return out, nil
	}
	list, err := g.client.Jobs(ctx, "", client.Page{After: from + strings.Repeat("0", jobIDDigits-len(from)), Limit: completeMax})
	add(list.Jobs)
	return out, err
}

// completeNodes offers the nodes by their names, those without one by their ids.
func completeNodes(ctx context.Context, g *grid, _ string) (out []cobra.Completion, err error) {
	list, err := g.nodes(ctx)
	for i := range list.Nodes {
		n := &list.Nodes[i]
		what := fmt.Sprintf("%s, %s", n.State, shortID(n.ID))
		if n.Name == "" {
			out = append(out, completion(n.ID, n.State))
			continue
		}
		out = append(out, completion(n.Name, what))
	}
	return out, err
}

// completeModules offers the modules, abbreviated.
func completeModules(ctx context.Context, g *grid, _ string) (out []cobra.Completion, err error) {
	list, err := g.modules(ctx)
	for i := range list.Modules {
		m := &list.Modules[i]
		out = append(out, completion(shortID(m.Module), fmt.Sprintf("%s, %s", roundBytes(m.Bytes), plural(m.Jobs, "job"))))
	}
	return out, err
}
