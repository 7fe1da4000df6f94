package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
)

const (
	// joinTimeout bounds how long a node looks for members before it gives up.
	joinTimeout = 2 * time.Minute
	// goMemoryBytes is what the garbage collector keeps the heap below, if it
	// can: most of it is the ledger's tables, which come and go.
	goMemoryBytes = 256 << 20
)

// upFlags are the flags of dugnad up.
type upFlags struct {
	dir, join, name string
	listen          []string
	announce        []string
	loopback        bool
	slots           uint32
	neverVote       bool
}

func (a *app) upCommand() *cobra.Command {
	f := upFlags{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a node: found a grid, or join one",
		Long: "Runs a node until it is told to stop. The first one founds a grid. Another one joins\n" +
			"it with an invitation, which `dugnad invite` makes on the founder's node:\n\n" +
			"  dugnad up --join INVITATION\n\n" +
			"A node that has joined once needs no invitation any more.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.up(cmd, f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.dir, "node-dir", "", nodeDirHelp)
	fs.StringVar(&f.join, "join", "", "`invitation` to join a grid with")
	fs.StringVar(&f.name, "name", "", "* what to call this node (default the host's name)")
	fs.StringSliceVar(&f.listen, "listen", nil, "* `multiaddr` to listen on, can be repeated (default every address, port 4610)")
	fs.StringSliceVar(&f.announce, "announce", nil, "* further `multiaddr` at which this node is reached, such as a forwarded port")
	fs.BoolVar(&f.loopback, "loopback", false, "* announce addresses of this machine, for several nodes on one")
	fs.Uint32Var(&f.slots, "slots", uint32(runtime.NumCPU()), "* tasks to offer room for at the same time")
	fs.BoolVar(&f.neverVote, "never-vote", false, "* stay out of the ledger's quorum")
	setting(fs, "node-dir", "name", "listen", "announce", "loopback", "slots", "never-vote")
	return cmd
}

func (a *app) up(cmd *cobra.Command, f upFlags) error {
	dir, err := nodeDir(f.dir, a.Environ)
	if err != nil {
		return &exitError{code: exitFailure, err: err}
	}
	config := node.Default(dir)
	config.Log = slog.New(slog.NewTextHandler(a.Err, nil))
	config.Version, config.NeverVote, config.Found = version, f.neverVote, f.join == ""
	config.Offer = capacity.Offer{Slots: f.slots, MemoryBytes: freeMemory()}
	config.Host.Name, config.Host.Announce, config.Host.AllowLoopback = f.name, f.announce, f.loopback
	if f.name == "" {
		config.Host.Name, _ = os.Hostname()
	}
	if len(f.listen) > 0 {
		config.Host.Listen = f.listen
	}
	if f.join != "" {
		if config.Invitation, err = p2p.ParseInvitation(f.join); err != nil {
			return &exitError{code: exitFailure, err: fmt.Errorf("--join: %w", err)}
		}
	}
	debug.SetMemoryLimit(goMemoryBytes)
	ctx, stop := context.WithTimeout(cmd.Context(), joinTimeout)
	n, err := node.Open(ctx, config)
	stop()
	if err != nil {
		return &exitError{code: exitFailure, err: explainUp(err)}
	}
	s := n.Status()
	fmt.Fprintf(a.Out, "node %s is up in grid %s as %s\n", s.Node, s.Grid, s.Role)
	<-cmd.Context().Done()
	if err := n.Close(); err != nil {
		return &exitError{code: exitFailure, err: err}
	}
	return nil
}

// explainUp adds what to do to the errors that an operator can do something about.
func explainUp(err error) error {
	if errors.Is(err, p2p.ErrWrongGrid) && !errors.As(err, new(*p2p.Refusal)) {
		return fmt.Errorf("%w: name another folder with --node-dir, or join its own grid", err)
	}
	code := p2p.CodeOf(err)
	if code == p2p.CodeOther || code.Help() == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, code.Help())
}

const nodeDirHelp = "* the node's data `folder` (default ~/.local/share/dugnad)"

// nodeDir is where a node keeps its key, its ledger and its objects.
func nodeDir(flag string, environ []string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if data := lookup(environ, "XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "dugnad"), nil
	}
	if home := lookup(environ, "HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "dugnad"), nil
	}
	return "", errors.New("there is no place for the node: neither HOME nor XDG_DATA_HOME is set: name a folder with --node-dir")
}

// freeMemory is what the system says can be had without swapping.
func freeMemory() uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	var kib uint64
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
