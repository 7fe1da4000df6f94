package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/audit"
)

const (
	// auditLines is how many of the last lines dugnad audit shows.
	auditLines = 100
	// auditPoll is how often dugnad audit -f looks for more.
	auditPoll = 300 * time.Millisecond
)

// auditFlags are the flags of dugnad audit.
type auditFlags struct {
	dir            string
	follow, asJSON bool
	lines          uint32
}

func (a *app) auditCommand() *cobra.Command {
	f := auditFlags{lines: auditLines}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who did what on this machine's node, and whom it refused",
		Long: "Shows the audit log of the node on this machine, which need not run: each operation\n" +
			"that changes something, of the API and of the operator, and everybody who was refused,\n" +
			"with time, who it was, from where, what it was done to, and how it ended. A node notes\n" +
			"what it was asked itself. There are ids in it and no secrets.\n\n" +
			"The log is in the folder audit of the node's, a JSON object a line, in files of at most\n" +
			"8 MiB: four of what the operator did, operator.jsonl, and four of all else, others.jsonl.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.audit(cmd.Context(), f); err != nil {
				return &exitError{code: exitFailure, err: err}
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.dir, "node-dir", "", nodeDirHelp)
	fs.BoolVarP(&f.follow, "follow", "f", false, "go on showing what is noted, until stopped")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object a line")
	fs.Uint32VarP(&f.lines, "lines", "n", f.lines, "how many of the last `lines` to show; 0 is all")
	setting(fs, "node-dir")
	return cmd
}

func (a *app) audit(ctx context.Context, f auditFlags) error {
	dir, err := nodeDir(f.dir, a.Environ)
	if err != nil {
		return err
	}
	r, err := audit.OpenReader(dir)
	if err != nil {
		return fmt.Errorf("%w: %s", err, dir)
	}
	defer func() { _ = r.Close() }()
	list, err := lastRecords(ctx, r, int(f.lines))
	if err == nil {
		err = a.showRecords(list, f.asJSON)
	}
	if n := r.Damaged(); err == nil && n > 0 {
		a.say("%s of the audit log cannot be read", plural(uint64(n), "line"))
	}
	if err != nil || !f.follow {
		return err
	}
	tick := time.NewTicker(auditPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		list, err := lastRecords(ctx, r, 0)
		if err == nil {
			err = a.showRecords(list, f.asJSON)
		}
		if err != nil {
			return err
		}
	}
}

// lastRecords reads what is there, and returns the last of it; 0 is all.
func lastRecords(ctx context.Context, r *audit.Reader, most int) (list []audit.Record, err error) {
	for {
		some, err := r.Next()
		if err = errors.Join(err, ctx.Err()); err != nil || len(some) == 0 {
			return list, err
		}
		if list = append(list, some...); most > 0 && len(list) > most {
			list = append([]audit.Record(nil), list[len(list)-most:]...)
		}
	}
}

// showRecords prints records: as JSON, or as the rows of a table without a header.
func (a *app) showRecords(list []audit.Record, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(a.jsonOut())
		for i := range list {
			if err := out.Encode(&list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(a.Out)
	for _, r := range list {
		t.row(r.Time.UTC().Format(time.RFC3339), r.Who, r.From, r.Operation, r.Object, r.Detail, r.Code)
	}
	return t.flush()
}
