package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
)

const (
	// drainEvery is how often is looked how far a drain is.
	drainEvery = 500 * time.Millisecond
	// drainMax bounds --deadline, as the ledger does.
	drainMax = 30 * 24 * time.Hour
)

// errNotDraining is returned by a drain that somebody has ended.
var errNotDraining = errors.New("the node drains no more")

// drainCommand is dugnad node drain.
func (a *app) drainCommand() *cobra.Command {
	var deadline time.Duration
	cmd := a.gridCommand(&cobra.Command{
		Use:   "drain NODE",
		Short: "Place nothing more on a node",
		Long: "Places nothing more on a node: what it has leased may end.\n\n" +
			"With --deadline the node hands back at once what has not begun, and after that time\n" +
			"what still runs, which begins anew elsewhere. The command waits until nothing is\n" +
			"left. When it is stopped the drain goes on: dugnad node resume ends it.",
	}, func(ctx context.Context, g *grid, args []string) error {
		return g.drain(ctx, args[0], deadline)
	})
	cmd.Flags().DurationVar(&deadline, "deadline", 0, "hand back what still runs after this time, and wait for it")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("deadline") && (deadline <= 0 || deadline > drainMax) {
			return usageError("--deadline is %s, more than 0s and at most %s: use dugnad node drain without it to let what runs end", deadline, drainMax)
		}
		return run(cmd, args)
	}
	return cmd
}

// drain drains the node that word names, and with a deadline waits for it.
func (g *grid) drain(ctx context.Context, word string, deadline time.Duration) error {
	id, err := g.nodeID(ctx, word)
	if err != nil {
		return err
	}
	var n api.Node
	if deadline == 0 {
		n, err = g.client.Drain(ctx, id)
	} else if n, err = g.client.DrainWithin(ctx, id, deadline); err == nil {
		n, err = g.awaitDrained(ctx, n)
	}
	if err != nil {
		return err
	}
	if g.json {
		return g.writeJSON(n)
	}
	return g.printNode(&n)
}

// awaitDrained returns when the node has no lease any more, and shows meanwhile what
// is left. It returns errNotDraining when the node is resumed.
func (g *grid) awaitDrained(ctx context.Context, n api.Node) (api.Node, error) {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	p := drainProgress{grid: g, terminal: isTerminal(g.Err, g.Environ)}
	defer p.end()
	for {
		switch {
		case n.State == "up":
			return n, fmt.Errorf("%w: somebody has resumed it", errNotDraining)
		case n.Leases == 0:
			return n, nil
		}
		p.show(&n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.end()
			g.say("the drain of %s goes on: dugnad node resume %s ends it", printable(n.ID), printable(n.ID))
			return n, context.Cause(ctx)
		}
		next, err := g.client.Node(ctx, n.ID)
		switch {
		case err == nil:
			n = next
		case ctx.Err() == nil:
			return n, err
		}
	}
}

// drainProgress says how far a drain is: in place on a terminal, elsewhere a line for
// each change.
type drainProgress struct {
	*grid
	terminal, shown bool
	leases, slots   uint32
}

func (p *drainProgress) show(n *api.Node) {
	text := drainText(n, p.now())
	switch {
	case p.terminal:
		fmt.Fprintf(p.Err, "%sdugnad: %s", clearLine, text)
	case !p.shown || p.leases != n.Leases || p.slots != n.Reserved.Slots:
		p.say("%s", text)
	}
	p.shown, p.leases, p.slots = true, n.Leases, n.Reserved.Slots
}

func (p *drainProgress) end() {
	if p.terminal && p.shown {
		fmt.Fprint(p.Err, clearLine)
		p.shown = false
	}
}

// drainText says what a node that drains waits for.
func drainText(n *api.Node, now time.Time) string {
	held := plural(uint64(n.Leases), "lease") + " on " + plural(uint64(n.Reserved.Slots), "slot")
	switch {
	case n.Until == nil:
		return "draining: " + held + " left, which may end"
	case n.Until.After(now):
		return fmt.Sprintf("draining: %s left, handed back in %s", held, n.Until.Sub(now).Round(time.Second))
	}
	return "draining: handing back " + held
}
