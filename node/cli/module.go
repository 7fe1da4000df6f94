package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/runtime/lint"
)

// moduleCommand has what is done with modules of the grid.
func (a *app) moduleCommand() *cobra.Command {
	push := a.gridCommand(&cobra.Command{
		Use: "push FILE", Short: "Make a module known to the grid, and print its hash",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"wasm"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}, pushModule)
	list := a.gridCommand(&cobra.Command{Use: "ls", Short: "List the modules that the grid knows"}, listModules)
	remove := a.gridCommand(&cobra.Command{Use: "rm MODULE", Short: "Forget a module that no job names"}, removeModule)
	return group("module", "Push modules to the grid, list and forget them", push, list, a.inspectCommand(), remove)
}

func pushModule(ctx context.Context, g *grid, args []string) error {
	module, err := readModule(ctx, args[0], int(lint.Default().ModuleBytes))
	if err != nil {
		return err
	}
	m, err := g.client.PushModule(ctx, strings.NewReader(string(module)))
	if hasCode(err, api.CodeRefused) {
		return &exitError{exitRefused, fmt.Errorf("module %s refused: %w", args[0], err)}
	}
	if err != nil {
		return err
	}
	if g.json {
		return g.writeJSON(m)
	}
	_, err = fmt.Fprintln(g.Out, m.Module)
	return err
}

func (g *grid) modules(ctx context.Context) (out api.Modules, err error) {
	out.Modules = []api.Module{}
	for p := (client.Page{Limit: api.PageMax}); ; {
		list, err := g.client.Modules(ctx, p)
		if err != nil {
			return out, err
		}
		out.Modules, out.Index = append(out.Modules, list.Modules...), list.Index
		if p.After = list.Next; p.After == "" {
			return out, nil
		}
	}
}

// moduleID completes a hash that is abbreviated to its beginning.
func (g *grid) moduleID(ctx context.Context, word string) (string, error) {
	digits := strings.ToLower(strings.TrimPrefix(word, modulePrefix))
	if len(digits) < nodePartMin || len(digits) >= moduleIDDigits || strings.Trim(digits, "0123456789abcdef") != "" {
		return word, nil // The node says what is wrong with it.
	}
	list, err := g.modules(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, m := range list.Modules {
		if strings.HasPrefix(m.Module, modulePrefix+digits) {
			found = append(found, m.Module)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no module begins with %s: see dugnad module ls", digits)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("several modules begin with %s: write more of the hash, such as %s", digits, found[0])
}

func listModules(ctx context.Context, g *grid, _ []string) error {
	out, err := g.modules(ctx)
	if err != nil {
		return err
	}
	if g.json {
		return g.writeJSON(out)
	}
	t := newTable(g.Out, "MODULE", "BYTES", "JOBS", "HOLDERS")
	for _, m := range out.Modules {
		t.row(m.Module, strconv.FormatUint(m.Bytes, 10), strconv.FormatUint(m.Jobs, 10), strconv.Itoa(len(m.Holders)))
	}
	return t.flush()
}

func inspectModule(ctx context.Context, g *grid, args []string) error {
	id, err := g.moduleID(ctx, args[0])
	if err != nil {
		return err
	}
	m, err := g.client.Module(ctx, id)
	if err != nil {
		return err
	}
	if g.json {
		return g.writeJSON(m)
	}
	t := newTable(g.Out)
	t.fact("module", m.Module)
	t.fact("bytes", strconv.FormatUint(m.Bytes, 10))
	t.fact("jobs", strconv.FormatUint(m.Jobs, 10))
	for _, h := range m.Holders {
		t.fact("holder", h)
	}
	return t.flush()
}

func removeModule(ctx context.Context, g *grid, args []string) error {
	id, err := g.moduleID(ctx, args[0])
	if err != nil {
		return err
	}
	if err := g.client.RemoveModule(ctx, id); err != nil {
		return err
	}
	if g.json {
		return g.writeJSON(struct {
			Removed string `json:"removed"`
		}{id})
	}
	return nil
}
