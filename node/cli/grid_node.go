package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// gridNodeCommand has what is done with the grid's nodes.
func (a *app) gridNodeCommand() *cobra.Command {
	list := a.gridCommand(&cobra.Command{Use: "ls", Short: "List the nodes that run tasks"}, listNodes)
	return group("node", "List the grid's nodes, drain and resume them, and say what this one gives", list,
		a.nodeLeaf("show", "Show a node", "", (*client.Client).Node),
		a.drainCommand(),
		a.resumeCommand(), a.pauseCommand(), a.stopCommand(), a.prefsCommand(),
	)
}

// nodeLeaf is a command on one node, which args[0] names by its id, its name or
// the beginning or end of its id, and which it shows.
func (a *app) nodeLeaf(name, short, long string, do func(c *client.Client, ctx context.Context, id string) (api.Node, error)) *cobra.Command {
	return a.gridCommand(&cobra.Command{Use: name + " NODE", Short: short, Long: long}, func(ctx context.Context, g *grid, args []string) error {
		id, err := g.nodeID(ctx, args[0])
		if err != nil {
			return err
		}
		n, err := do(g.client, ctx, id)
		if err != nil {
			return err
		}
		if g.json {
			return g.writeJSON(n)
		}
		return g.printNode(&n)
	})
}

func (g *grid) nodes(ctx context.Context) (out api.Nodes, err error) {
	out.Nodes = []api.Node{}
	for p := (client.Page{Limit: api.PageMax}); ; {
		list, err := g.client.Nodes(ctx, p)
		if err != nil {
			return out, err
		}
		out.Nodes, out.Index = append(out.Nodes, list.Nodes...), list.Index
		if p.After = list.Next; p.After == "" {
			return out, nil
		}
	}
}

// nodeID finds the node that somebody means.
func (g *grid) nodeID(ctx context.Context, word string) (string, error) {
	list, err := g.nodes(ctx)
	if err != nil {
		return "", err
	}
	var named []string
	for _, n := range list.Nodes {
		switch {
		case n.ID == word:
			return word, nil
		case n.Name == word || len(word) >= nodePartMin && (strings.HasPrefix(n.ID, word) || strings.HasSuffix(n.ID, word)):
			named = append(named, n.ID)
		}
	}
	switch len(named) {
	case 0:
		return "", fmt.Errorf("no node is called %s: see dugnad node ls", printable(word))
	case 1:
		return named[0], nil
	}
	return "", fmt.Errorf("%d nodes are called %s: name one by its id, such as %s", len(named), printable(word), named[0])
}

// nodePartMin is the least of a node's id that stands for it.
const nodePartMin = 4

func listNodes(ctx context.Context, g *grid, _ []string) error {
	list, err := g.nodes(ctx)
	if err != nil {
		return err
	}
	if g.json {
		return g.writeJSON(list)
	}
	t := newTable(g.Out, "NODE", "NAME", "STATE", "SINCE", "SLOTS", "MEMORY", "FUEL", "LEASES", "ROLE")
	for i := range list.Nodes {
		n := &list.Nodes[i]
		t.row(n.ID, n.Name, n.State, g.when(&n.Since),
			fmt.Sprintf("%d/%d", n.Reserved.Slots, n.Capacity.Slots), partBytes(n.Reserved.MemoryBytes, n.Capacity.MemoryBytes),
			fuelAmount(n.Capacity.FuelRate)+"/s", strconv.FormatUint(uint64(n.Leases), 10), nodeRoles(n))
	}
	return t.flush()
}

// partBytes shows how much of something is used, in the unit of the whole.
func partBytes(used, whole uint64) string {
	unit, name := uint64(1<<20), "MiB"
	if whole >= 1<<30 {
		unit, name = 1<<30, "GiB"
	}
	return fmt.Sprintf("%.1f/%.1f %s", float64(used)/float64(unit), float64(whole)/float64(unit), name)
}

// nodeRoles says what a node is in the ledger.
func nodeRoles(n *api.Node) string {
	var roles []string
	if n.Leader {
		roles = append(roles, "leader")
	}
	if n.Voter {
		roles = append(roles, "voter")
	}
	if n.Self {
		roles = append(roles, "answers")
	}
	return strings.Join(roles, ", ")
}

func (g *grid) printNode(n *api.Node) error {
	t := newTable(g.Out)
	t.fact("node", n.ID)
	t.fact("name", n.Name)
	t.fact("state", n.State)
	t.fact("since", g.when(&n.Since))
	t.fact("gives", gives(n.Withheld))
	t.fact("until", g.when(n.Until))
	t.fact("role", nodeRoles(n))
	t.fact("slots", fmt.Sprintf("%d of %d reserved", n.Reserved.Slots, n.Capacity.Slots))
	t.fact("memory", fmt.Sprintf("%s of %s reserved", roundBytes(n.Reserved.MemoryBytes), roundBytes(n.Capacity.MemoryBytes)))
	t.fact("scratch", fmt.Sprintf("%s of %s reserved", roundBytes(n.Reserved.ScratchBytes), roundBytes(n.Capacity.ScratchBytes)))
	t.fact("fuel", fuelAmount(n.Capacity.FuelRate)+" per second")
	t.fact("leases", strconv.FormatUint(uint64(n.Leases), 10))
	if n.Download != nil && n.Upload != nil {
		t.row("download", bandwidth(control.Bandwidth(*n.Download)))
		t.row("upload", bandwidth(control.Bandwidth(*n.Upload)))
	}
	for _, name := range slices.Sorted(maps.Keys(n.Labels)) {
		t.fact("label", name+"="+n.Labels[name])
	}
	t.fact("features", strings.Join(n.Features, ", "))
	return t.flush()
}
