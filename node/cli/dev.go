package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
)

const (
	// devNodesMax bounds the nodes of a grid in one process.
	devNodesMax = 50
	// devInvitation is how long the grid's own invitation is good.
	devInvitation = time.Hour
)

// devFlags are the flags of dugnad dev.
type devFlags struct {
	nodes     int
	slots     uint32
	memory    uint64
	dir       string
	apiListen string
	outbound  outboundFlags
	// kept says that the folders stay.
	kept bool
}

func (a *app) devCommand() *cobra.Command {
	f := devFlags{memory: machineMemory() / 2}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole grid in one process, to try things",
		Long: "Runs a grid of several nodes in one process, on this machine's loopback, until it is\n" +
			"told to stop. Each node is a real one, with a folder of its own; without --dir they are\n" +
			"forgotten in the end. The first node answers the API. With --allow-http all operators\n" +
			"agree, and so does the admin: a job of the tenant default has only to ask.",
		Example: "  dugnad dev --nodes 3 &\n  dugnad run --api http://127.0.0.1:4611 hello.wasm",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.nodes < 1 || f.nodes > devNodesMax {
				return usageError("--nodes is %d, from 1 to %d", f.nodes, devNodesMax)
			}
			if err := a.dev(cmd.Context(), f); err != nil {
				return &exitError{code: exitFailure, err: err}
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&f.nodes, "nodes", 3, "how many nodes")
	fs.Uint32Var(&f.slots, "slots", 2, "tasks at the same time, on each node")
	fs.StringVar(&f.dir, "dir", "", "`folder` for the nodes' folders, kept (default a new one, removed in the end)")
	fs.StringVar(&f.apiListen, "api-listen", "127.0.0.1:4611", "`address` to answer the HTTP API at")
	f.outbound.register(fs, allowNodesHelp)
	return cmd
}

// dev runs the grid until ctx ends.
func (a *app) dev(ctx context.Context, f devFlags) (err error) {
	level := &slog.LevelVar{}
	level.Set(slog.LevelWarn)
	log := slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: level}))
	p2p.LogLibraries(log.Handler())
	if f.kept = f.dir != ""; !f.kept {
		if f.dir, err = os.MkdirTemp("", "dugnad-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(f.dir)) }()
	}
	var nodes []*node.Node
	defer func() {
		if f.kept {
			departAll(nodes, log)
		}
		level.Set(slog.LevelError) // that they miss each other is no news
		for _, n := range slices.Backward(nodes) {
			err = errors.Join(err, n.Close())
		}
	}()
	opening, stop := context.WithTimeout(ctx, joinTimeout)
	defer stop()
	for i := range f.nodes {
		c, err := f.config(opening, nodes, i)
		if err != nil {
			return err
		}
		c.Log = log
		n, err := node.Open(opening, c)
		if err != nil {
			return fmt.Errorf("open node %d: %w", i+1, err)
		}
		nodes = append(nodes, n)
	}
	if f.outbound.allow {
		if err := nodes[0].AllowDefault(opening, ledger.FeatureHTTP); err != nil {
			return err
		}
	}
	url, _ := nodes[0].APIURL()
	fmt.Fprintf(a.Out, "a grid of %s is up: API at %s, folders in %s\n", plural(uint64(f.nodes), "node"), url, f.dir)
	<-ctx.Done()
	return nil
}

// departAll tells a grid that is kept that its nodes go, while all of them are still
// there to take it down: what runs is handed back, and begins anew when the grid is
// opened again, instead of counting as lost.
func departAll(nodes []*node.Node, log *slog.Logger) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, n := range slices.Backward(nodes) {
		if err := n.Depart(now); err != nil {
			log.Warn("the grid could not be told everything, and will find out", "err", err)
		}
	}
}

// config is that of the next node: the first one founds the grid and invites the
// others.
func (f devFlags) config(ctx context.Context, nodes []*node.Node, i int) (node.Config, error) {
	c := node.Default(filepath.Join(f.dir, fmt.Sprint("node-", i+1)))
	var err error
	if c.Outbound, err = f.outbound.config(); err != nil {
		return c, err
	}
	c.Version, c.Found, c.AllowHTTP = version, i == 0, f.outbound.allow
	c.Offer = capacity.Offer{Slots: f.slots, MemoryBytes: f.memory / uint64(f.nodes)}
	c.Host.Name = filepath.Base(c.Dir)
	c.Host.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	c.Host.AllowLoopback, c.Host.MDNS, c.Host.PortMap = true, false, false
	if i == 0 {
		c.APIListen = f.apiListen
		return c, nil
	}
	// One that is a member learns from it where the first node is now: ports are new.
	text, err := nodes[0].Invite(ctx, control.Invitation{Role: p2p.RoleWorker.String(), Seconds: int64(devInvitation.Seconds()), Uses: 1})
	if err == nil {
		c.Invitation, err = p2p.ParseInvitation(text)
	}
	return c, err
}
