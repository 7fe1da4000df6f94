package cli

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/runtime/jail"
	"github.com/dugnad/dugnad/runtime/task"
)

// The states of a check.
const (
	checkOK = "ok"
	// checkWeak: dugnad works, with one layer of protection less.
	checkWeak = "weak"
	// checkFailed: dugnad cannot run modules here.
	checkFailed = "failed"
	// checkSkipped: nothing was found out.
	checkSkipped = "skipped"
)

// check is one line of dugnad doctor.
type check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
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
		Short: "Check what this machine offers, and run a module to prove it",
		Long: "Checks the protection that this kernel offers, the data folder, and runs a small module.\n" +
			"When a node runs here, another member is asked to dial it back, as a stranger would.\n" +
			"Exits with 1 when modules cannot be run here.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := a.diagnose(cmd.Context())
			d.Outside = a.lookOutside(cmd.Context(), dir, &d.Checks)
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
		if _, err := fmt.Fprintf(a.Out, "%-7s %-15s %s\n", c.State, c.Name, c.Detail); err != nil {
			return fmt.Errorf("writing the diagnosis: %w", err)
		}
	}
	return nil
}

func (a *app) diagnose(ctx context.Context) diagnosis {
	d := diagnosis{Jail: jail.Probe()}
	d.Checks = append(d.Checks, checkSystem())
	d.Checks = append(d.Checks, checkJail(d.Jail)...)
	dir, err := dataDir(a.dataDir, a.Environ)
	if err == nil {
		err = makeDataDir(dir)
	}
	if err != nil {
		d.Checks = append(d.Checks, check{"data folder", checkFailed, err.Error()})
	} else {
		d.Checks = append(d.Checks, check{"data folder", checkOK, dir}, a.checkRun(ctx, dir))
	}
	d.OK = true
	for _, c := range d.Checks {
		d.OK = d.OK && c.State != checkFailed
	}
	return d
}

func checkSystem() check {
	detail := fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if runtime.GOOS != "linux" {
		return check{"system", checkWeak, detail + ": worker processes are confined on Linux only"}
	}
	return check{"system", checkOK, detail}
}

func checkJail(r jail.Report) []check {
	layers := []check{
		{"landlock", checkOK, fmt.Sprintf("ABI %d", r.Landlock)},
		{"seccomp", checkOK, "system calls are filtered"},
		{"no_new_privs", checkOK, "set-user-id programs are powerless"},
	}
	for i, there := range []bool{r.FilesConfined(), r.Seccomp, r.NoNewPrivs} {
		if !there {
			layers[i].State, layers[i].Detail = checkWeak, "not offered by this kernel or container"
		}
	}
	for _, m := range r.Missing {
		layers = append(layers, check{"confinement", checkWeak, m})
	}
	return layers
}

// checkRun sends a small module all the way: lint, meter, compiler, worker
// process, outcome.
func (a *app) checkRun(ctx context.Context, dir string) (c check) {
	c = check{Name: "run a module", State: checkFailed}
	start := time.Now()
	r, err := a.open(ctx, runnerConfig{DataDir: dir, Parallel: 1, MemoryBytes: 1 << 20})
	if err != nil {
		c.Detail = fmt.Sprintf("starting the worker process: %v", err)
		return c
	}
	defer func() {
		if err := r.Close(); err != nil {
			c.State, c.Detail = checkFailed, fmt.Sprintf("ending the worker process: %v", err)
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
	c.State, c.Detail = checkOK, fmt.Sprintf("in %.1f ms, compiler, cache and worker process included", float64(time.Since(start).Microseconds())/1000)
	return c
}
