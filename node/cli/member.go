package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/control"
)

// nodeCommand is a command that asks the node which runs on a folder. Its
// arguments are the words of use behind the first.
func (a *app) nodeCommand(cmd *cobra.Command, arguments int, do func(cmd *cobra.Command, c *control.Client, args []string) error) *cobra.Command {
	var dir string
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != arguments {
			return usageError("%d arguments, want %s", len(args), cmd.UseLine())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := nodeDir(dir, a.Environ)
		if err == nil {
			err = do(cmd, control.NewClient(dir), args)
		}
		if errors.Is(err, control.ErrNotRunning) {
			err = explainNotRunning(err, dir)
		}
		if err != nil {
			return &exitError{code: exitFailure, err: err}
		}
		return nil
	}
	fs := cmd.Flags()
	fs.StringVar(&dir, "node-dir", "", nodeDirHelp)
	setting(fs, "node-dir")
	return cmd
}

func (a *app) inviteCommand() *cobra.Command {
	i := control.Invitation{}
	var life time.Duration
	var asJSON bool
	cmd := a.nodeCommand(&cobra.Command{
		Use:   "invite",
		Short: "Make an invitation to the grid",
		Long: "Prints an invitation: one word, to be given to `dugnad up --join` on another machine.\n" +
			"Whoever has it can join until it expires or is used up. Works on the founder's node\n" +
			"and on those of admins; only the founder's can invite admins.",
	}, 0, func(cmd *cobra.Command, c *control.Client, _ []string) error {
		i.Seconds = int64(life / time.Second)
		made, err := c.Invite(cmd.Context(), i)
		if err != nil {
			return err
		}
		if asJSON {
			return a.writeJSON(made)
		}
		_, err = fmt.Fprintln(a.Out, printable(made.Text))
		return err
	})
	fs := cmd.Flags()
	fs.StringVar(&i.Role, "role", "worker", "what who joins may do: `client`, worker or admin")
	fs.IntVar(&i.Uses, "uses", 1, "how many nodes may join with it")
	fs.DurationVar(&life, "expires", 24*time.Hour, "how long it is good for")
	fs.BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (a *app) expelCommand() *cobra.Command {
	return a.nodeCommand(&cobra.Command{
		Use:   "expel NODE",
		Short: "Put a node out of the grid, for ever",
		Long:  "Every member ends its connections with the node, and speaks with it no more.",
	}, 1, func(cmd *cobra.Command, c *control.Client, args []string) error {
		return c.Expel(cmd.Context(), args[0])
	})
}

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := a.nodeCommand(&cobra.Command{
		Use:   "status",
		Short: "Show the node on this machine and the members that it knows",
	}, 0, func(cmd *cobra.Command, c *control.Client, _ []string) error {
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON {
			return a.writeJSON(s)
		}
		return printStatus(a.Out, s)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printStatus(out io.Writer, s control.Status) error {
	t := newTable(out)
	leader := s.Ledger.Leader
	switch leader {
	case "":
		leader = "none"
	case s.Node:
		leader = "this node"
	}
	t.row("node", s.Node)
	t.fact("name", s.Name)
	t.row("grid", s.Grid)
	t.row("role", s.Role)
	if s.Expelled != nil {
		t.row("expelled", "at "+clock(*s.Expelled))
	}
	t.row("leader", leader)
	t.row("ledger", fmt.Sprintf("index %d", s.Ledger.Applied))
	t.fact("problem", s.Ledger.Problem)
	t.row("reach", fmt.Sprintf("%s, %d addresses reached from outside, %d not", s.Reach.Public, len(s.Reach.Reachable), len(s.Reach.Unreachable)))
	t.fact("API", s.API.URL)
	t.fact("API's key", s.API.PublicKey)
	for _, o := range s.Offers {
		if o.Node == s.Node {
			t.row("offer", fmt.Sprintf("%s, %s, %s of memory, %s of disk", plural(uint64(o.Slots), "slot"), fuelRate(o.FuelRate), roundBytes(o.MemoryBytes), roundBytes(o.DiskBytes)))
		}
	}
	t.fact("gives", gives(s.Withheld))
	t.row("download", bandwidth(s.Download))
	t.row("upload", bandwidth(s.Upload))
	t.fact("mistakes", strings.ReplaceAll(s.PreferencesProblem, "\n", "; "))
	t.row("objects", fmt.Sprintf("%d, %s", s.Objects.Count, roundBytes(uint64(s.Objects.Bytes))))
	if err := t.flush(); err != nil {
		return err
	}
	if len(s.Members) == 0 {
		_, err := fmt.Fprintln(out, "\nno other member is known: dugnad invite makes an invitation")
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	// Their ids are shown whole: dugnad expel wants them so.
	t = newTable(out)
	t.row("MEMBER", "NAME", "ROLE", "SEEN")
	for _, m := range s.Members {
		seen := "connected"
		if !m.Connected {
			seen = time.Since(m.Seen).Round(time.Second).String() + " ago"
		}
		t.row(m.Node, m.Name, m.Role, seen)
	}
	return t.flush()
}

// fuelRate gives what an offer says, rounded.
func fuelRate(perSecond uint64) string {
	if perSecond == 0 {
		return "fuel rate not known yet"
	}
	return fmt.Sprintf("%.1fG fuel/s", float64(perSecond)/1e9)
}

// roundBytes gives n with one digit behind the point, in the unit that fits.
func roundBytes(n uint64) string {
	switch {
	case n >= 1<<40:
		return fmt.Sprintf("%.1f TiB", float64(n)/(1<<40))
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// objectCommand has what puts objects into the grid and gets them out.
func (a *app) objectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "object",
		Short: "Put an object into the grid, or get one",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	put := a.nodeCommand(&cobra.Command{
		Use:   "put FILE",
		Short: "Keep a file on this node, pinned, and print its hash",
	}, 1, func(cmd *cobra.Command, c *control.Client, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		o, err := c.PutObject(cmd.Context(), f)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.Out, printable(o.Hash))
		return err
	})
	get := a.nodeCommand(&cobra.Command{
		Use:   "get HASH",
		Short: "Write an object to stdout, fetched from whoever has it",
	}, 1, func(cmd *cobra.Command, c *control.Client, args []string) error {
		return c.GetObject(cmd.Context(), args[0], a.guest(a.Out))
	})
	cmd.AddCommand(put, get)
	return cmd
}
