package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/runtime/jail"
	"github.com/dugnad/dugnad/runtime/task"
)

// The states of a check.
const (
	checkOK = "ok"
	// checkWeak: dugnad works, with one layer of protection less, or not as well as it
	// could.
	checkWeak = "weak"
	// checkFailed: dugnad cannot run modules here, or what the grid relies on is broken.
	checkFailed = "failed"
	// checkSkipped: nothing was found out.
	checkSkipped = "skipped"
)

// check is one line of dugnad doctor.
type check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	// Means is what follows from it and Advice what to do about it, for a check that is
	// weak or has failed.
	Means  string `json:"means,omitempty"`
	Advice string `json:"advice,omitempty"`
}

// found is a check that is weak or has failed.
func found(name, state, detail, means, advice string) check {
	return check{Name: name, State: state, Detail: detail, Means: means, Advice: advice}
}

// fine is a check with nothing to say against.
func fine(name, format string, args ...any) check {
	return check{Name: name, State: checkOK, Detail: fmt.Sprintf(format, args...)}
}

// skipped is a check that could not be made.
func skipped(name, format string, args ...any) check {
	return check{Name: name, State: checkSkipped, Detail: fmt.Sprintf(format, args...)}
}

// diagnosis is what dugnad doctor --json prints.
type diagnosis struct {
	OK     bool        `json:"ok"`
	Checks []check     `json:"checks"`
	Jail   jail.Report `json:"jail"`
	// Outside is what was found out with a running node, nil without one.
	Outside *outside `json:"outside,omitempty"`
}

// doctorModule exports _start, which writes "ok\n" and returns.
var doctorModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x0c\x02\x60\x00\x00\x60\x04\x7f\x7f\x7f\x7f\x01\x7f" + // types
	"\x02\x23\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x01" + // import
	"\x03\x02\x01\x00" + // function
	"\x05\x03\x01\x00\x01" + // memory of one page
	"\x07\x13\x02\x06_start\x00\x01\x06memory\x02\x00" + // exports
	"\x0a\x0f\x01\x0d\x00\x41\x01\x41\x00\x41\x01\x41\x0c\x10\x00\x1a\x0b" + // code
	"\x0b\x11\x01\x00\x41\x00\x0b\x0b\x08\x00\x00\x00\x03\x00\x00\x00ok\n") // data

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	var dir string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine, its node and the node's ledger, with advice",
		Long: "Checks the protection that this kernel offers, limits of files, processes and memory,\n" +
			"the disk, and runs a small module. When a node runs here, another member is asked to\n" +
			"dial it back, as a stranger would, clocks and versions are compared with those of\n" +
			"connected members, and the node's copy of the ledger is read whole and checked, as is\n" +
			"that of a node which is stopped. Each line is ok, weak, failed or skipped; what is weak\n" +
			"or has failed comes with what that means and what to do.\n" +
			"Exits with 1 when a check has failed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := a.diagnose(cmd.Context())
			d.Outside = a.lookOutside(cmd.Context(), dir, &d.Checks)
			d.OK = !slices.ContainsFunc(d.Checks, func(c check) bool { return c.State == checkFailed })
			if err := a.printDiagnosis(d, asJSON); err != nil {
				return err
			}
			if !d.OK {
				return &exitError{code: 1}
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&asJSON, "json", false, "print a JSON object")
	fs.StringVar(&dir, "node-dir", "", nodeDirHelp)
	setting(fs, "node-dir")
	return cmd
}

func (a *app) printDiagnosis(d diagnosis, asJSON bool) error {
	if asJSON {
		return a.writeJSON(d)
	}
	for _, c := range d.Checks {
		text := fmt.Sprintf("%-7s %-15s %s\n", c.State, c.Name, printable(c.Detail))
		if c.Means != "" {
			text += fmt.Sprintf("%-23s that means: %s\n", "", printable(c.Means))
		}
		if c.Advice != "" {
			text += fmt.Sprintf("%-23s to do: %s\n", "", printable(c.Advice))
		}
		if _, err := io.WriteString(a.Out, text); err != nil {
			return fmt.Errorf("writing the diagnosis: %w", err)
		}
	}
	return nil
}

func (a *app) diagnose(ctx context.Context) diagnosis {
	d := diagnosis{Jail: jail.Probe()}
	d.Checks = append(d.Checks, checkSystem())
	d.Checks = append(d.Checks, checkJail(d.Jail)...)
	d.Checks = append(d.Checks, checkMachine("/")...)
	dir, err := dataDir(a.dataDir, a.Environ)
	if err == nil {
		err = makeDataDir(dir)
	}
	if err != nil {
		d.Checks = append(d.Checks, found("data folder", checkFailed, err.Error(),
			"compiled modules can be kept nowhere, so none can be run", "name a folder that you may write to with --data-dir"))
		return d
	}
	d.Checks = append(d.Checks, fine("data folder", "%s", dir))
	d.Checks = append(d.Checks, checkDisk(dir)...)
	d.Checks = append(d.Checks, a.checkRun(ctx, dir))
	return d
}

func checkSystem() check {
	detail := fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if runtime.GOOS != "linux" {
		return found("system", checkWeak, detail, "worker processes are confined on Linux only", "run nodes on Linux, in a virtual machine for example")
	}
	return fine("system", "%s", detail)
}

// jailLayers are the layers of protection around a worker process.
var jailLayers = []struct {
	name          string
	there         func(r jail.Report) (bool, string)
	means, advice string
}{
	{
		"landlock", func(r jail.Report) (bool, string) { return r.FilesConfined(), fmt.Sprintf("ABI %d", r.Landlock) },
		"a guest that broke out of the sandbox could read this user's files", "use Linux 5.13 or newer with landlock in the kernel's lsm= list, and allow it in the container",
	},
	{
		"seccomp", func(r jail.Report) (bool, string) { return r.Seccomp, "system calls are filtered" },
		"a guest that broke out of the sandbox could make any system call", "use a kernel with CONFIG_SECCOMP_FILTER, and allow the seccomp system call in the container",
	},
	{
		"no_new_privs", func(r jail.Report) (bool, string) { return r.NoNewPrivs, "set-user-id programs are powerless" },
		"a guest that broke out of the sandbox could start set-user-id programs", "use Linux 3.5 or newer, and allow prctl in the container",
	},
}

func checkJail(r jail.Report) (layers []check) {
	for _, layer := range jailLayers {
		if there, detail := layer.there(r); there {
			layers = append(layers, fine(layer.name, "%s", detail))
			continue
		}
		layers = append(layers, found(layer.name, checkWeak, "not offered by this kernel or container", layer.means, layer.advice))
	}
	for _, m := range r.Missing {
		layers = append(layers, found("confinement", checkWeak, m, "worker processes have one layer of protection less", "use a newer kernel, or allow it in the container"))
	}
	return layers
}

// checkRun sends a small module all the way: lint, meter, compiler, worker
// process, outcome.
func (a *app) checkRun(ctx context.Context, dir string) (c check) {
	c = found("run a module", checkFailed, "",
		"this machine runs no tasks", "free memory and disk, look at the other checks, and report this with the line above if it stays")
	start := time.Now()
	r, err := a.open(ctx, runnerConfig{DataDir: dir, Parallel: 1, MemoryBytes: 1 << 20})
	if err != nil {
		c.Detail = fmt.Sprintf("starting the worker process: %v", err)
		return c
	}
	defer func() {
		if err := r.Close(); err != nil {
			c = found(c.Name, checkFailed, fmt.Sprintf("ending the worker process: %v", err), "processes of tasks may be left behind", "look for them with ps, and report this")
		}
	}()
	if err := r.Prepare(ctx, doctorModule, func(time.Duration) {}); err != nil {
		c.Detail = fmt.Sprintf("compiling: %v", err)
		return c
	}
	var stdout, stderr bytes.Buffer
	spec := task.Spec{Args: []string{"doctor.wasm"}, Limits: task.Limits{MemoryBytes: 1 << 20, Timeout: time.Minute}.WithDefaults()}
	o := r.Run(ctx, spec, streams{In: &bytes.Buffer{}, Out: &stdout, Err: &stderr})
	if o.Kind != task.Exited || o.ExitCode != 0 || stdout.String() != "ok\n" {
		c.Detail = fmt.Sprintf("the outcome is %s, exit code %d, output %q: %s", o.Kind, o.ExitCode, stdout.String(), o.Message)
		return c
	}
	return fine(c.Name, "in %.1f ms, compiler, cache and worker process included", float64(time.Since(start).Microseconds())/1000)
}
