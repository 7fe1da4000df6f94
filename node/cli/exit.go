package cli

import (
	"fmt"
	"strings"

	"github.com/dugnad/dugnad/runtime/task"
)

// The exit codes that dugnad itself gives. Codes from 0 to 120 are always the
// guest's own; a guest may use the others too, and then the absence of a
// message on stderr, or the outcome of --json, tells them apart.
const (
	exitOK       = 0
	exitOutput   = 121
	exitTrap     = 122
	exitFuel     = 123
	exitDeadline = 124
	exitFailure  = 125
	exitRefused  = 126
	exitNotFound = 127
	exitSignal   = 128
	exitGuestMax = 255
)

// exitRow is one line of the table that --help and README.md show.
type exitRow struct {
	code    string
	meaning string
}

// exitTable is the one list of what the codes mean.
func exitTable() []exitRow {
	return []exitRow{
		{"0–255", "the guest's own exit code; a larger one is given as 255"},
		{"121", "the guest reached its output or scratch limit (--max-output, --scratch)"},
		{"122", "the guest trapped: it broke a rule of WebAssembly"},
		{"123", "the guest used up its fuel (--fuel)"},
		{"124", "the guest reached its deadline (--timeout)"},
		{"125", "dugnad itself failed, or was called wrongly"},
		{"126", "the module was refused: it is not a module, or is beyond a limit"},
		{"127", "the module was not found"},
		{"128+n", "dugnad was stopped by signal n: 130 for Ctrl-C"},
	}
}

// exitHelp renders exitTable for a terminal.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, r := range exitTable() {
		fmt.Fprintf(&b, "  %-6s %s\n", r.code, r.meaning)
	}
	return b.String()
}

// exitCode translates an outcome. A cancelled attempt is exitFailure here: the
// caller knows whether a signal was the cause.
func exitCode(o task.Outcome) int {
	switch o.Kind {
	case task.Exited:
		return int(min(o.ExitCode, exitGuestMax))
	case task.OutputLimit, task.ScratchLimit:
		return exitOutput
	case task.Trapped:
		return exitTrap
	case task.OutOfFuel:
		return exitFuel
	case task.DeadlineExceeded:
		return exitDeadline
	case task.Refused, task.MemoryLimit:
		return exitRefused
	case task.Cancelled, task.WorkerLost:
		return exitFailure
	default:
		return exitFailure
	}
}

// exitError carries an exit code through cobra. A nil err means that
// everything there is to say was said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is a call that cannot be understood; it ends with exitFailure.
func usageError(format string, args ...any) error {
	return &exitError{code: exitFailure, err: fmt.Errorf(format, args...)}
}
