package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/ledger/store"
	"github.com/dugnad/dugnad/node/book"
)

// ledgerCommand has what is done to a node's ledger while the node is stopped.
func (a *app) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Check, back up or recover the ledger of a stopped node",
		Long: "Works on the ledger in a node's data folder while no node runs on it.\n" +
			"The ledger is the grid's book of record; each node has a replica of it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.offlineCommand("check FOLDER", "Read a ledger whole and verify that it fits together",
			"Reads every file and every record. Nothing is changed. Exits with 125 when something is wrong.",
			func(ctx context.Context, args []string, log *slog.Logger) (book.Report, error) {
				return book.Check(ctx, args[0], log)
			}),
		a.offlineCommand("backup FOLDER FILE", "Write a ledger to a file",
			"Writes the ledger's state to FILE, with checksums. FILE must not exist.",
			func(ctx context.Context, args []string, log *slog.Logger) (book.Report, error) {
				return backUp(ctx, args[0], args[1], log)
			}),
		a.offlineCommand("recover FOLDER", "Go on with one node's ledger after most voters are lost for good",
			"For when so many voters are gone for good that the others can no longer agree.\n\n"+
				"1. Stop all nodes. Run dugnad ledger check on each that is left, and choose the\n"+
				"   one with the highest index: what only lost nodes had is lost.\n"+
				"2. Run dugnad ledger recover on that one, and on no other.\n"+
				"3. Start it, then the others: they take over its ledger.\n\n"+
				"It is safe to run twice, and to run again after it was interrupted.",
			func(ctx context.Context, args []string, log *slog.Logger) (book.Report, error) {
				return book.Recover(ctx, args[0], log)
			}),
	)
	return cmd
}

// offlineCommand is a command on the ledger in the folder args[0].
func (a *app) offlineCommand(use, short, long string, do func(ctx context.Context, args []string, log *slog.Logger) (book.Report, error)) *cobra.Command {
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
			_, err = fmt.Fprintf(a.Out, "%s: ledger of %s at index %d\n", cmd.Name(), report.ID, report.Index)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// explainLedger adds what to do to the errors that a user can do something about.
func explainLedger(err error, folder string) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return fmt.Errorf("%w: stop the node on %s first", err, folder)
	case errors.Is(err, book.ErrNone):
		return fmt.Errorf("%w: name a node's data folder", err)
	case errors.Is(err, store.ErrCorrupt):
		return fmt.Errorf("%w: remove the folder's ledger and join the grid again, or restore a backup", err)
	}
	return err
}

// backUp writes to a new file, which is removed again when that fails.
func backUp(ctx context.Context, folder, name string, log *slog.Logger) (report book.Report, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	report, err = book.Backup(ctx, folder, f, log)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return report, errors.Join(err, os.Remove(name))
	}
	return report, nil
}
