package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/prefs"
)

// The wills of an operator, as node/steward knows them.
const (
	willGive  = "give"
	willPause = "pause"
	willStop  = "stop"
)

// errEditor is returned when the editor did not end well.
var errEditor = errors.New("the editor did not end well: the preferences stay as they are")

// willCommand tells the node on this machine what to give from now on.
func (a *app) willCommand(name, short, long, will string) *cobra.Command {
	return a.nodeCommand(&cobra.Command{Use: name, Short: short, Long: long}, 0,
		func(cmd *cobra.Command, c *control.Client, _ []string) error { return a.tell(cmd.Context(), c, will) })
}

func (a *app) tell(ctx context.Context, c *control.Client, will string) error {
	p, err := c.Tell(ctx, will)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.Out, printable(gives(p.Withheld)))
	return err
}

func (a *app) pauseCommand() *cobra.Command {
	return a.willCommand("pause", "Freeze what runs on this machine's node, at once",
		"Freezes what guests of the grid run on this machine, at once, and takes nothing more.\n"+
			"They keep their memory, and the time does not count for their timeouts. After\n"+
			"hand_back of the preferences (1m by default) they begin anew on other nodes. It lasts\n"+
			"until dugnad node resume, over restarts, too.", willPause)
}

func (a *app) stopCommand() *cobra.Command {
	return a.willCommand("stop", "Hand back all that runs on this machine's node, at once",
		"Hands all that guests of the grid run on this machine to other nodes, where it begins\n"+
			"anew, and takes nothing more. The node itself goes on: it keeps its part of the\n"+
			"ledger. It lasts until dugnad node resume, over restarts, too.", willStop)
}

// resumeCommand is for another node by its name, which was drained, or without one for
// the node on this machine, which was paused or stopped.
func (a *app) resumeCommand() *cobra.Command {
	cmd := a.nodeLeaf("resume", "Give again what was paused, stopped or drained",
		"Without a name: ends what dugnad node pause or stop began on this machine's node.\n"+
			"With one: ends what dugnad node drain began.", (*client.Client).Resume)
	here := a.willCommand("resume", "", "", willGive)
	cmd.Use = "resume [NODE]"
	other, count := cmd.RunE, cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return count(cmd, args)
	}
	if f := here.Flags().Lookup("node-dir"); cmd.Flags().Lookup("node-dir") == nil {
		cmd.Flags().AddFlag(f)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return other(cmd, args)
		}
		if dir := cmd.Flags().Lookup("node-dir").Value.String(); dir != "" {
			if err := here.Flags().Set("node-dir", dir); err != nil {
				return err
			}
		}
		here.SetContext(cmd.Context())
		return here.RunE(here, nil)
	}
	return cmd
}

// prefsCommand is dugnad node prefs.
func (a *app) prefsCommand() *cobra.Command {
	var edit, asJSON bool
	show := func(cmd *cobra.Command, c *control.Client, _ []string) error {
		p, err := c.Preferences(cmd.Context())
		switch {
		case err != nil:
			return err
		case asJSON:
			return a.writeJSON(p)
		case edit:
			return a.edit(cmd.Context(), c, &p)
		}
		return a.printPreferences(&p)
	}
	const long = "Preferences are a file in the node's folder, " + prefs.FileName + ": how much of the\n" +
		"processors, memory, disk and bandwidth the grid may have, when, for whom, and whether only\n" +
		"while nobody else uses the machine. It has a comment for each. The node reads it again\n" +
		"within a second of a change; while it has mistakes what was before stays in force."
	cmd := a.nodeCommand(&cobra.Command{Use: "prefs", Short: "Show or change what this machine gives", Long: long}, 0, show)
	cmd.Flags().BoolVar(&edit, "edit", false, "open the file in $EDITOR, and put it in force when it has no mistakes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	shown := a.nodeCommand(&cobra.Command{Use: "show", Short: "Show what this machine gives, and why not more"}, 0, show)
	shown.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	set := a.nodeCommand(&cobra.Command{
		Use: "set FILE", Short: "Put another file of preferences in force",
		Long: "Puts a file (- is stdin) in the place of the node's preferences, unless it has mistakes.",
	}, 1, func(cmd *cobra.Command, c *control.Client, args []string) error {
		text, err := a.readPreferences(args[0])
		if err != nil {
			return err
		}
		return a.setPreferences(cmd.Context(), c, text)
	})
	check := &cobra.Command{
		Use: "check FILE", Short: "Look for mistakes in a file of preferences",
		Long: "Looks for mistakes in a file (- is stdin). It needs no node, and changes nothing.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("%d arguments, want %s", len(args), cmd.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := a.readPreferences(args[0])
			if err == nil {
				_, err = prefs.Parse(text)
			}
			if err != nil {
				return &exitError{code: exitFailure, err: err}
			}
			_, err = fmt.Fprintln(a.Out, "no mistakes")
			return err
		},
	}
	cmd.AddCommand(shown, set, check)
	return cmd
}

func (a *app) readPreferences(name string) ([]byte, error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, prefs.FileBytesMax+1))
}

// setPreferences puts a text in force and shows what follows.
func (a *app) setPreferences(ctx context.Context, c *control.Client, text []byte) error {
	// Here its mistakes are told with all their lines.
	if _, err := prefs.Parse(text); err != nil {
		return fmt.Errorf("the preferences stay as they are:\n%w", err)
	}
	p, err := c.SetPreferences(ctx, string(text))
	if err != nil {
		return err
	}
	return a.printPreferences(&p)
}

// edit lets the operator change a copy of the file.
func (a *app) edit(ctx context.Context, c *control.Client, p *control.Preferences) error {
	text, err := os.ReadFile(p.File)
	if err != nil {
		text = []byte(p.Text)
	}
	dir, err := os.MkdirTemp("", "dugnad-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	name := filepath.Join(dir, prefs.FileName)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return err
	}
	editor := strings.Fields(lookup(a.Environ, "EDITOR"))
	if len(editor) == 0 {
		editor = []string{"vi"}
	}
	run := exec.CommandContext(ctx, editor[0], append(editor[1:], name)...)
	run.Stdin, run.Stdout, run.Stderr, run.Env = a.In, a.Out, a.Err, a.Environ
	if err := run.Run(); err != nil {
		return fmt.Errorf("%w: %w", errEditor, err)
	}
	if text, err = a.readPreferences(name); err != nil {
		return err
	}
	return a.setPreferences(ctx, c, text)
}

// gives says in a line whether a node gives anything.
func gives(withheld string) string {
	if withheld == "" {
		return "what it has"
	}
	return "nothing: " + withheld
}

// bandwidth says what users of the grid move over the network in a direction.
func bandwidth(b control.Bandwidth) string {
	bound := "without a bound"
	if b.Bound > 0 {
		bound = "of " + roundBytes(b.Bound) + " at most"
	}
	text := fmt.Sprintf("%s per second %s, %s since the node started", roundBytes(b.BytesPerSecond), bound, roundBytes(b.Bytes))
	if b.Waiting > 0 {
		text += ", " + plural(uint64(b.Waiting), "stream") + " held up"
	}
	return text
}

func (a *app) printPreferences(p *control.Preferences) error {
	t := newTable(a.Out)
	t.row("file", p.File)
	t.row("gives", gives(p.Withheld)+", since "+clock(p.Since))
	t.row("running", "tasks on "+plural(uint64(p.Slots), "slot"))
	cores := "all"
	if p.Cores > 0 {
		cores = fmt.Sprintf("%.0f %% of one", 100*p.Cores)
	}
	t.row("cores", cores)
	if p.MemoryBytes > 0 {
		t.row("memory", roundBytes(p.MemoryBytes))
	}
	t.row("download", bandwidth(p.Download))
	t.row("upload", bandwidth(p.Upload))
	if p.Until != nil {
		t.row("off from", clock(*p.Until))
	}
	if p.OtherLoad > 0 {
		t.row("others", fmt.Sprintf("%.0f %% of the processors", 100*p.OtherLoad))
	}
	t.fact("sensors", p.Sensors)
	if err := t.flush(); err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimRight(p.Text, "\n"), "\n") {
		if line != "" && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			fmt.Fprintln(a.Out, "  "+printable(line))
		}
	}
	if p.Problem != "" {
		fmt.Fprintf(a.Out, "\nthe file has mistakes, and what is above stays in force:\n%s\n", harmless(p.Problem))
	}
	return nil
}
