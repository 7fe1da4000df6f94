package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/inspection"
	"github.com/dugnad/dugnad/runtime/lint"
)

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
	report, result, err := inspection.Of(module)
	if err != nil {
		return &exitError{exitRefused, fmt.Errorf("module %s refused: %w", path, err)}
	}
	if wat != "" {
		return showFunction(ctx, a.guest(a.Out), wat, module, report, result)
	}
	facts, err := inspection.Facts(module, report, result)
	if err != nil {
		return err
	}
	if asJSON {
		return a.writeJSON(facts)
	}
	return a.showInspection(&facts)
}

// showInspection prints facts, then the classes.
func (a *app) showInspection(x *api.Inspection) error {
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
