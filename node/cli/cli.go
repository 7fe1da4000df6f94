// Package cli is dugnad's command line: it reads flags, environment and
// configuration file, calls the parts that do the work, and turns what
// happened into messages and exit codes. It is the only package that reads
// them, and the only one that writes to a terminal.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dugnad/dugnad/node/warrant"
)

// helpColumns is the width of --help.
const helpColumns = 80

// Stdio is what a process has from its caller.
type Stdio struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Environ are NAME=value pairs.
	Environ []string
}

// Main runs the command that args name (args[0] is the program) and returns
// the process's exit code: see exitTable. SIGINT, SIGTERM and SIGHUP (except for a
// node, see dugnad up) end the running attempts in good order, and so does a pipe at Stdio.Out or Err that
// nobody reads any more; a second signal ends the process at once.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	defer survivePipes()()
	hangups := &hangups{}
	ctx, stop := withSignals(ctx, hangups)
	defer stop()
	if f, ok := stdio.Out.(*os.File); ok {
		stdio.Out = outlet{f}
	}
	if f, ok := stdio.Err.(*os.File); ok {
		stdio.Err = outlet{f}
	}
	return (&app{Stdio: stdio, open: openLocal, hangups: hangups}).run(ctx, args)
}

// app is what the commands share.
type app struct {
	Stdio
	open opener
	// hangups is nil where no signals are waited for.
	hangups *hangups
	// dataDir and config are persistent flags.
	dataDir string
	config  string
	// spellings may hold the beginning of a character.
	spellings []*spelling
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	for _, s := range a.spellings {
		s.flush()
	}
	code := exitOK
	if err != nil {
		code = exitFailure
	}
	var coded *exitError
	if errors.As(err, &coded) {
		code, err = coded.code, coded.err
	}
	var sig signalError
	if errors.As(context.Cause(ctx), &sig) && code != exitOK {
		a.say("stopped by %s", sig)
		return exitSignal + int(sig.signal)
	}
	if errors.Is(err, errReaderGone) {
		return exitSignal + int(syscall.SIGPIPE)
	}
	if err != nil {
		a.say("%s", err)
	}
	return code
}

// say writes one message for people to stderr.
func (a *app) say(format string, args ...any) {
	// A token that was given where none belongs is not shown to whoever reads this.
	fmt.Fprintln(a.Err, harmless(warrant.Redact(fmt.Sprintf("dugnad: "+format, args...))))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "dugnad",
		Short: "Run WebAssembly modules that strangers wrote, within limits",
		Long: "Dugnad runs WebAssembly modules that strangers wrote, each in a sandbox with\n" +
			"limits on fuel, memory, time and output, and tells exactly how each ended and\n" +
			"what it used.",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return configure(cmd, a.Environ)
		},
		Args: noOther,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", helpColumns)))
	fs := root.PersistentFlags()
	fs.StringVar(&a.dataDir, "data-dir", "", "* `folder` for compiled modules (default ~/.cache/dugnad)")
	fs.StringVar(&a.config, "config", "", "configuration `file` (default ~/.config/dugnad/config.yaml)")
	setting(fs, "data-dir")
	root.AddCommand(
		a.runCommand(), a.jobCommand(), a.moduleCommand(), a.gridNodeCommand(), a.tenantCommand(), a.secretCommand(), a.webCommand(), a.upCommand(), a.devCommand(), a.inviteCommand(), a.statusCommand(), a.topCommand(), a.expelCommand(), a.objectCommand(), a.backupCommand(), a.restoreCommand(), a.ledgerCommand(), a.auditCommand(), a.observeCommand(), a.doctorCommand(), a.versionCommand(),
	)
	return root
}

// noOther refuses the name of a command that a command does not have.
func noOther(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return usageError("there is no command %q%s: see %s --help", args[0], didYouMean(args[0], "", names), cmd.CommandPath())
}

// flagError adds to pflag's message what the caller may have meant.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usageError("--%s: %q %w", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || errors.Is(err, pflag.ErrHelp) {
		return &exitError{code: exitFailure, err: err}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	hint := ""
	if name := unknown.GetSpecifiedName(); len(name) > 1 {
		hint = didYouMean(name, "--", names)
	}
	if cmd.Name() == "run" {
		hint += ": arguments for the guest go after --"
	}
	return usageError("%w%s", err, hint)
}

// plural gives "1 task", "2 tasks".
func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, strings.TrimSuffix(noun, "s"))
}
