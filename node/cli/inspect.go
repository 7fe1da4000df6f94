package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// inspection is what lint and the meter say of a module in a file.
type inspection struct {
	Module string `json:"module"`
	Bytes  int    `json:"bytes"`
	// Functions and Loops are the module's own; Unrolled are the loops that the
	// meter repeats.
	Functions int `json:"functions"`
	Loops     int `json:"loops"`
	Unrolled  int `json:"unrolled"`
	// Straightened are the jumps by way of a table that go straight.
	Straightened int `json:"straightened"`
	// Blocks is the number of block, loop and if instructions, Charges that of
	// the straight pieces of code that are charged, Checks that of the places
	// where the guest may be stopped.
	Blocks       int     `json:"blocks"`
	Instructions int     `json:"instructions"`
	Charges      int     `json:"charges"`
	Checks       int     `json:"checks"`
	MeteredBytes int     `json:"metered_bytes"`
	Growth       float64 `json:"growth"`
	// StartFuel is what an attempt pays before its first instruction.
	StartFuel uint64 `json:"start_fuel"`
	// MeterVersion is that of the cost table and the rewriting.
	MeterVersion int `json:"meter_version"`
	LintVersion  int `json:"lint_version"`
	// Classes are the rows of the cost table that the module has instructions
	// of, the dearest together first.
	Classes []classShare `json:"classes"`
	// CompileNanos is the estimated processor time of compiling, in nanoseconds
	// of the reference machine, CompileBytes the memory that it takes.
	CompileNanos int64  `json:"compile_nanos"`
	CompileBytes uint64 `json:"compile_bytes"`
	// Costliest is the function that takes longest to compile.
	Costliest int `json:"costliest_function"`
}

// classShare is how many instructions of a class stand in a module, and what
// each costs when it runs, without what depends on a length.
type classShare struct {
	Class        string `json:"class"`
	Fuel         uint64 `json:"fuel"`
	Instructions int    `json:"instructions"`
}

func (c classShare) together() uint64 { return c.Fuel * uint64(c.Instructions) }

// inspectCommand shows a module of the grid, or what the meter makes of a file.
func (a *app) inspectCommand() *cobra.Command {
	var wat string
	cmd := a.gridCommand(&cobra.Command{
		Use: "inspect MODULE", Short: "Show a module of the grid, or what the meter makes of one in a file",
	}, inspectModule)
	inGrid := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !isModuleFile(args[0]) {
			if wat != "" {
				return usageError("--wat wants a module in a file, %s is one of the grid", args[0])
			}
			return inGrid(cmd, args)
		}
		asJSON, err := cmd.Flags().GetBool("json")
		if err != nil {
			return err
		}
		if wat != "" && asJSON {
			return usageError("--wat prints text: leave out --json")
		}
		return a.inspectFile(cmd.Context(), args[0], wat, asJSON)
	}
	complete := cmd.ValidArgsFunction
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if found, directive := complete(cmd, args, begun); len(found) > 0 {
			return found, directive
		}
		return []string{"wasm"}, cobra.ShellCompDirectiveFilterFileExt
	}
	cmd.Flags().StringVar(&wat, "wat", "", "show one function, by its name or number, before and after metering (needs wabt's wasm2wat)")
	return cmd
}

// isModuleFile reports whether a word means a file and not a hash: it has the
// form of a path, or there is such a file.
func isModuleFile(word string) bool {
	if strings.HasSuffix(word, ".wasm") || strings.ContainsRune(word, os.PathSeparator) {
		return true
	}
	info, err := os.Stat(word)
	return err == nil && info.Mode().Type()&fs.ModeDir == 0
}

func (a *app) inspectFile(ctx context.Context, path, wat string, asJSON bool) error {
	module, err := readModule(ctx, path, int(lint.Default().ModuleBytes))
	if err != nil {
		return err
	}
	report, result, err := lintAndMeter(module)
	if err != nil {
		return &exitError{exitRefused, fmt.Errorf("module %s refused: %w", path, err)}
	}
	if wat != "" {
		return showFunction(ctx, a.Out, wat, module, report, result)
	}
	facts := inspect(module, report, result)
	if facts.Classes, err = classShares(module); err != nil {
		return err
	}
	if asJSON {
		return a.writeJSON(facts)
	}
	return a.showInspection(&facts)
}

func lintAndMeter(module []byte) (*lint.Report, *meter.Result, error) {
	report, err := lint.Check(module, lint.Default())
	var r *lint.Refusal
	if errors.As(err, &r) {
		return nil, nil, r
	}
	if err != nil {
		return nil, nil, err
	}
	result, err := meter.Rewrite(module)
	if err != nil {
		return nil, nil, err
	}
	return &report, &result, nil
}

func inspect(module []byte, report *lint.Report, result *meter.Result) inspection {
	return inspection{
		Module: fmt.Sprintf("%s%x", modulePrefix, sha256.Sum256(module)), Bytes: len(module),
		Functions: report.Functions, Loops: report.Loops, Unrolled: result.Unrolled, Straightened: result.Straightened,
		Blocks: report.Blocks, Instructions: report.Instructions,
		Charges: result.Charges, Checks: result.Checks,
		MeteredBytes: len(result.Module), Growth: float64(len(result.Module)) / float64(len(module)),
		StartFuel: result.StartFuel, MeterVersion: meter.Version, LintVersion: lint.Version,
		CompileNanos: report.CompileCost.Nanoseconds(), CompileBytes: report.CompileBytes,
		Costliest: report.CostliestFunction,
	}
}

func classShares(module []byte) ([]classShare, error) {
	counts, err := meter.Mix(module)
	if err != nil {
		return nil, err
	}
	shares := []classShare{}
	for i, c := range meter.Classes() {
		if counts[i] > 0 {
			shares = append(shares, classShare{c.String(), c.Fuel(), counts[i]})
		}
	}
	slices.SortStableFunc(shares, func(x, y classShare) int { return cmp.Compare(y.together(), x.together()) })
	return shares, nil
}

// showInspection prints facts, then the classes.
func (a *app) showInspection(x *inspection) error {
	t := newTable(a.Out)
	t.fact("module", x.Module)
	t.fact("bytes", fmt.Sprintf("%d, metered %d (%.2f times)", x.Bytes, x.MeteredBytes, x.Growth))
	t.fact("functions", strconv.Itoa(x.Functions))
	t.fact("instructions", strconv.Itoa(x.Instructions))
	t.fact("blocks", strconv.Itoa(x.Blocks))
	t.fact("loops", fmt.Sprintf("%d, of them repeated %d", x.Loops, x.Unrolled))
	t.fact("table jumps", fmt.Sprintf("%d go straight", x.Straightened))
	t.fact("charges", strconv.Itoa(x.Charges))
	t.fact("checks", strconv.Itoa(x.Checks))
	t.fact("start fuel", strconv.FormatUint(x.StartFuel, 10))
	t.fact("cost table", fmt.Sprintf("version %d", x.MeterVersion))
	t.fact("compiling", fmt.Sprintf("about %s of processor time and %s", time.Duration(x.CompileNanos).Round(100*time.Microsecond), formatBytes(x.CompileBytes>>20<<20)))
	if x.Functions > 0 {
		t.fact("costliest", fmt.Sprintf("function %d", x.Costliest))
	}
	if err := t.flush(); err != nil || len(x.Classes) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(a.Out); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	t = newTable(a.Out, "CLASS", "FUEL", "INSTRUCTIONS")
	for _, c := range x.Classes {
		t.row(c.Class, strconv.FormatUint(c.Fuel, 10), strconv.Itoa(c.Instructions))
	}
	return t.flush()
}
