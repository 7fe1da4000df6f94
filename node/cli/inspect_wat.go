package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// disassembler is the tool that writes a module as text, wabtPackage what it
// comes with.
const (
	disassembler = "wasm2wat"
	wabtPackage  = "wabt"
)

// showFunction prints one function of a module as it was and as the meter has
// made it. which is a number, imported functions counted first, a name of the
// name section or the name of an export.
func showFunction(ctx context.Context, out io.Writer, which string, module []byte, report *lint.Report, result *meter.Result) error {
	tool, err := exec.LookPath(disassembler)
	if err != nil {
		return fmt.Errorf("%s is not installed: it comes with the package %s, such as `apt install %s`", disassembler, wabtPackage, wabtPackage)
	}
	number, err := strconv.Atoi(which)
	if err != nil {
		number = -1
	}
	imported := report.ImportedFunctions
	if number >= 0 && (number < imported || number >= imported+report.Functions) {
		return usageError("there is no function %d with a body: they are %d to %d", number, imported, imported+report.Functions-1)
	}
	before, number, err := functionText(ctx, tool, module, which, number, imported)
	if err != nil {
		return err
	}
	if before == "" {
		return usageError("there is no function %s with a body, neither in the name section nor among the exports", which)
	}
	after, _, err := functionText(ctx, tool, result.Module, "", number+result.FunctionShift, imported+result.FunctionShift)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, ";; function %d, before metering\n%s\n;; function %d, after metering\n%s", number, before, number+result.FunctionShift, after)
	return err
}

// functionText has the tool write a module and returns the text of the function
// with the number, or, when that is negative, with the name, and its number.
func functionText(ctx context.Context, tool string, module []byte, name string, number, imported int) (string, int, error) {
	file, err := os.CreateTemp("", "dugnad-inspect-*.wasm")
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(module)
	if err := errors.Join(err, file.Close()); err != nil {
		return "", 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, tool, file.Name())
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	text, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, fmt.Errorf("start %s: %w", disassembler, err)
	}
	found, number, alias, err := findFunction(text, name, number, imported)
	if found != "" || err != nil {
		stop() // The rest is of no interest.
		_ = cmd.Wait()
		return found, number, err
	}
	if err := cmd.Wait(); err != nil {
		return "", 0, fmt.Errorf("run %s: %w: %s", disassembler, err, strings.TrimSpace(complaint.String()))
	}
	if alias == "" || number >= 0 || alias == "$"+name {
		return "", 0, nil
	}
	// An export stands behind the function, which has been read over.
	if number, err = strconv.Atoi(alias); err != nil {
		number = -1
	}
	if number >= 0 && number < imported {
		return "", 0, nil
	}
	return functionText(ctx, tool, module, strings.TrimPrefix(alias, "$"), number, imported)
}

// findFunction reads wabt's text, in which every function with a body begins
// with a line of its own, two blanks deep, in the order of their numbers. Where
// there is none of the name, alias is the function that is exported under it.
func findFunction(text io.Reader, name string, number, imported int) (body string, n int, alias string, err error) {
	lines := bufio.NewReader(text)
	var found strings.Builder
	inside := false
	for next := imported; ; {
		line, err := lines.ReadString('\n')
		if field := strings.HasPrefix(line, "  ("); field && inside {
			return found.String(), number, "", nil
		} else if rest, ok := strings.CutPrefix(line, fmt.Sprintf("  (export %q (func ", name)); ok {
			alias, _, _ = strings.Cut(rest, ")")
		} else if rest, ok := strings.CutPrefix(line, "  (func "); ok && field {
			symbol, _, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), " ")
			if inside = next == number || number < 0 && symbol == "$"+name; inside {
				number = next
			}
			next++
		}
		if inside {
			found.WriteString(line)
		}
		switch {
		case errors.Is(err, io.EOF) && inside:
			return strings.TrimSuffix(found.String(), ")\n") + "\n", number, "", nil
		case errors.Is(err, io.EOF):
			return "", number, alias, nil
		case err != nil:
			return "", number, "", fmt.Errorf("read from %s: %w", disassembler, err)
		}
	}
}
