package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/ledger/store"
	"github.com/dugnad/dugnad/node"
	"github.com/dugnad/dugnad/node/book"
)

// ledgerReport is what a command on a ledger has to say.
type ledgerReport struct {
	book.Report
	// Grid is the one that restore has founded.
	Grid string `json:"grid,omitempty"`
	// next is what to do then.
	next string
}

// ledgerWork is what a command does with the ledger in the folder args[0].
type ledgerWork func(ctx context.Context, args []string, log *slog.Logger) (ledgerReport, error)

// ledgerCommand has what is done to a node's ledger from outside.
func (a *app) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Check, back up, restore or recover a node's ledger",
		Long: "Works on the ledger in a node's data folder; backup also while the node runs.\n" +
			"The ledger is the grid's book of record; each node has a replica of it.",
		Args: noOther,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.ledgerLeaf("check FOLDER", "Read a stopped node's ledger whole and verify that it fits together",
			"Reads every file and every record. Nothing is changed. Exits with 125 when something is wrong.",
			reported(book.Check)),
		a.ledgerLeaf("backup FOLDER FILE", backupShort, backupLong, backUp),
		a.ledgerLeaf("restore FOLDER FILE", restoreShort, restoreLong, restoreLedger),
		a.ledgerLeaf("recover FOLDER", "Go on with one node's ledger after most voters are lost for good",
			"For when so many voters are gone for good that the others can no longer agree.\n\n"+
				"1. Stop all nodes. Run dugnad ledger check on each that is left, and choose the\n"+
				"   one with the highest index: what only lost nodes had is lost.\n"+
				"2. Run dugnad ledger recover on that one, and on no other.\n"+
				"3. Start it, then the others: they take over its ledger.\n\n"+
				"It is safe to run twice, and to run again after it was interrupted.",
			reported(node.Recover)),
	)
	return cmd
}

// The texts of backup and restore, as commands of their own and of dugnad ledger.
const (
	backupShort = "Write the grid's ledger to a file"
	backupLong  = `Writes the ledger of the node's folder to FILE, with checksums, and reads it again.
A node that runs on the folder serves meanwhile. FILE must not exist; it is there
when it is whole, and called FILE.part-… until then.

In it: jobs with their tasks and events, what their outputs are called, tenants with
their accounts, modules by their hashes, and nodes. Any node of the grid has all of
that. Not in it: keys and invitations, for which node.key and grid.key are to be kept
from the founder's folder, and the bytes of objects: modules, inputs and outputs.`
	restoreShort = "Found a new grid with the ledger of a backup"
	restoreLong  = `Makes the node's folder that of a new node, the founder of a new grid with keys of
its own, with the ledger that dugnad backup wrote to FILE. The folder must be new, or
no node's. Nothing else is needed, on any machine. Then:

1. Start the node: dugnad up.
2. Upload the modules that jobs name, and their inputs, which a backup does not hold:
   dugnad module push, dugnad object put. Jobs wait for them.
3. Invite other nodes anew, with new folders.

The backup's nodes are forgotten: they are members of the old grid, and what they
ran goes back to the queue. What the old grid did after the backup is not in the new
one. It can be run again after it was interrupted.`
)

func (a *app) backupCommand() *cobra.Command {
	return a.ledgerHere("backup FILE", backupShort, backupLong, backUp)
}

func (a *app) restoreCommand() *cobra.Command {
	return a.ledgerHere("restore FILE", restoreShort, restoreLong, restoreLedger)
}

// ledgerHere is a command that does something with the ledger in the folder of the
// node on this machine.
func (a *app) ledgerHere(use, short, long string, do ledgerWork) *cobra.Command {
	var dir string
	cmd := a.ledgerLeaf(use, short, long, do)
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		folder, err := nodeDir(dir, a.Environ)
		if err != nil {
			return err
		}
		return run(cmd, append([]string{folder}, args...))
	}
	cmd.Flags().StringVar(&dir, "node-dir", "", nodeDirHelp)
	setting(cmd.Flags(), "node-dir")
	return cmd
}

// reported is the work of a function of book on one folder.
func reported(do func(ctx context.Context, dataDir string, log *slog.Logger) (book.Report, error)) ledgerWork {
	return func(ctx context.Context, args []string, log *slog.Logger) (ledgerReport, error) {
		r, err := do(ctx, args[0], log)
		return ledgerReport{Report: r}, err
	}
}

// ledgerLeaf is a command that does something with the ledger in the folder args[0].
func (a *app) ledgerLeaf(use, short, long string, do ledgerWork) *cobra.Command {
	var asJSON bool
	names := len(strings.Fields(use)) - 1
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != names {
				return usageError("%d arguments, want %s", len(args), cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			log := slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
			report, err := do(cmd.Context(), args, log)
			if err != nil {
				return &exitError{code: exitFailure, err: explainLedger(err, args[0])}
			}
			if asJSON {
				return a.writeJSON(report)
			}
			_, err = fmt.Fprintf(a.Out, "%s: ledger of %s at index %d%s\n", cmd.Name(), report.ID, report.Index, report.next)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// explainLedger adds what to do to the errors that a user can do something about.
func explainLedger(err error, folder string) error {
	var damaged *store.FormatError
	switch {
	case errors.Is(err, store.ErrVersion):
		return fmt.Errorf("%w: use the dugnad that wrote it, or a newer one", err)
	case errors.As(err, &damaged):
		return fmt.Errorf("%w: this is no whole backup, use another one", err)
	case errors.Is(err, store.ErrLocked):
		return fmt.Errorf("%w: stop the node on %s first", err, folder)
	case errors.Is(err, node.ErrInUse):
		return fmt.Errorf("%w: name a folder that no node has used", err)
	case errors.Is(err, node.ErrTaken):
		return fmt.Errorf("%w: start it with dugnad up --node-dir, or name a folder that no node has used", err)
	case errors.Is(err, book.ErrNone):
		return fmt.Errorf("%w: name a node's data folder", err)
	case errors.Is(err, store.ErrCorrupt):
		return fmt.Errorf("%w: if other nodes have the ledger, join them with a new folder and an invitation; if none has, use dugnad ledger restore with a backup", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run this as the user who owns it", err)
	}
	return err
}
