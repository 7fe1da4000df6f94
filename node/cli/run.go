package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/outbound"
	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/task"
)

const (
	// environIndex and environCount tell a guest which task it is.
	environIndex = environPrefix + "TASK_INDEX"
	environCount = environPrefix + "TASK_COUNT"
	// tasksMax bounds --count, parallelMax --parallel.
	tasksMax    = 1 << 31
	parallelMax = 256
)

// runFlags are the flags of dugnad run as they were given.
type runFlags struct {
	limits task.Limits
	// fuelGiven says that limits.Fuel is not the default.
	fuelGiven  bool
	env        []string
	stdin      string
	inputs     []string
	output     string
	count      uint64
	parallel   uint64
	realClock  bool
	realRandom bool
	seed       uint64
	json       bool
	// grid says whether the grid runs the tasks, where says who is asked.
	grid  string
	where gridFlags
	// outbound says which HTTP requests the guest may make, hosts to whom.
	outbound outboundFlags
	hosts    []string
	// secrets are variables and what they are given, secretFiles where that is here.
	secrets, secretFiles []string
	// labels are those of the job on the grid.
	labels []string
}

// job is what one dugnad run has to do, checked.
type job struct {
	// path is the module's file; name is how messages call it.
	path, name string
	// spec is the same for every task, save for the task's number.
	spec  task.Spec
	stdin string
	// dialogue lets the guest's reads of stdin return what has arrived: nobody
	// has said with --stdin that it is to be read like a file.
	dialogue bool
	output   string
	count    uint64
	parallel int
	json     bool
	dataDir  string
	// sha256 names the module; it is set when json is and the module was read.
	sha256 string
	// outbound is what the guest may reach when it runs here; it is set when spec.HTTP is.
	outbound outbound.Config
	// secrets are in the environment of each task, and in nothing that is printed;
	// secretFiles has the files of some of them, by name.
	secrets     []guestSecret
	secretFiles map[string]string
	// id is that of the job on the grid, if it runs there, and labels are its own.
	id     string
	labels map[string]string
}

const runLong = `Runs a WebAssembly module (WASI preview 1) in a sandbox of its own and exits
with the guest's exit code. The guest sees its arguments, the environment that
--env gives, its standard streams, read-only inputs at /input/NAME and a scratch
file system in memory. Its clock and its randomness are the same in every run
unless asked otherwise.

A fuel is N or Nk, NM, NG, NT (powers of a thousand), also 1e9. A SIZE is N
bytes or NKiB, NMiB, NGiB. A TIME is 500ms, 30s, 2h; a bare number is seconds.
Without --fuel more than 10,000 tasks share what 10,000 have: of 1,000,000 each may
burn 1T.

When a node runs on this machine the grid runs the tasks, see --grid. The result is
the same, but {index}, {count}, {job} and {attempt} in arguments and environment
stand for the task's own: with --grid auto such a call stays here, and so does one
whose stdin is a terminal or a pipe without --stdin -.

Every setting marked with * can also come from the environment (--max-output is
DUGNAD_MAX_OUTPUT) or from the configuration file (max-output: 1MiB). Flags win
over the environment, the environment over the file.
`

func (a *app) runCommand() *cobra.Command {
	f := runFlags{grid: gridAuto, limits: task.Default(), count: 1, parallel: uint64(min(runtime.NumCPU(), parallelMax))}
	cmd := &cobra.Command{
		Use:   "run MODULE.wasm [flags] [-- ARGS...]",
		Short: "Run a module and exit with its exit code",
		Long:  runLong + "\n" + exitHelp(),
		Example: `  dugnad run hello.wasm
  dugnad run wordcount.wasm --input text=README.md --memory 64MiB --timeout 10s
  dugnad run primes.wasm --count 100 --json -- 1000`,
		Args: func(cmd *cobra.Command, args []string) error {
			before := len(args)
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				before = dash
			}
			switch {
			case before == 0:
				return usageError("run needs the path of a module: dugnad run MODULE.wasm")
			case before > 1:
				return usageError("run takes one module, and %q is too much: arguments for the guest go after --", args[1])
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"wasm"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := a.newJob(&f, args)
			if err != nil {
				return err
			}
			c, err := a.gridOf(cmd.Context(), &f, j)
			if err != nil {
				return err
			}
			if c != nil {
				defer c.Close()
				return explainGrid(a.runOnGrid(cmd.Context(), j, c), f.where, a.Environ)
			}
			if j.dataDir, err = dataDir(a.dataDir, a.Environ); err != nil {
				return err
			}
			return a.runJob(cmd.Context(), j)
		},
	}
	f.register(cmd)
	return cmd
}

func (f *runFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.Var(givenValue{fuelValue(&f.limits.Fuel), &f.fuelGiven}, "fuel", "* most work that the guest may do, each task for itself")
	fs.Var(bytesValue(&f.limits.MemoryBytes), "memory", "* most memory: linear memory and tables together")
	fs.Var(durationValue{&f.limits.Timeout}, "timeout", "* longest time from start to end")
	fs.Var(bytesValue(&f.limits.OutputBytes), "max-output", "* most output: stdout and stderr together")
	fs.Var(bytesValue(&f.limits.ScratchBytes), "scratch", "* most data in the guest's own files")
	fs.Var(countValue(&f.limits.ScratchFiles), "scratch-files", "* most files and folders of the guest's own")
	fs.Var(bytesValue(&f.limits.StackBytes), "stack", "* deepest call stack")
	fs.Var(countValue(&f.limits.OpenFiles), "open-files", "* most files open at the same time")
	fs.StringArrayVar(&f.env, "env", nil, "`K=V` in the guest's environment; K alone takes its value from here (repeatable)")
	fs.StringArrayVar(&f.secrets, "secret", nil, "`VARIABLE=SECRET`: the guest's variable is a secret: on the grid one that dugnad secret set has kept, here a variable or --secret-file; the name alone is both (repeatable)")
	fs.StringArrayVar(&f.secretFiles, "secret-file", nil, "`SECRET=FILE`: run here, with the file's content for a secret, without the newline at its end (repeatable)")
	fs.StringVar(&f.stdin, "stdin", "", "`file` for the guest's stdin, or - for dugnad's own, read like a file (default dugnad's own as it arrives, or nothing with --count)")
	fs.StringArrayVar(&f.inputs, "input", nil, "`NAME=PATH`: the guest may read the file or folder PATH at /input/NAME (repeatable)")
	fs.StringVar(&f.output, "output", "", "`file` for the guest's stdout")
	fs.Var(countValue(&f.count), "count", "how many tasks to run; each finds its number, from 0, in "+environIndex)
	fs.Var(countValue(&f.parallel), "parallel", "* how many tasks to run at the same time")
	fs.BoolVar(&f.realClock, "real-clock", false, "* give the guest this machine's clock")
	fs.BoolVar(&f.realRandom, "real-random", false, "* give the guest this machine's randomness")
	fs.Uint64Var(&f.seed, "seed", 0, "* choose stream `N` of deterministic randomness")
	f.outbound.register(fs, allowRunHelp)
	fs.StringSliceVar(&f.hosts, "http-host", nil, "`host` that the guest may reach with --allow-http, *.NAME for all below one; can be repeated (default any of the public internet)")
	fs.StringArrayVar(&f.labels, "label", nil, "`K=V`: what the job is to those who give machines to the grid (repeatable)")
	fs.BoolVar(&f.json, "json", false, "* print one JSON object per attempt, with outcome, usage and output")
	choiceFlag(cmd, &f.grid, "grid", "* `WHEN` to run on the grid: auto, never or always; auto is when a node runs here and stdin is no dialogue", []string{gridAuto, gridNever, gridAlways})
	f.where.register(fs)
	setting(fs, "grid", "fuel", "memory", "timeout", "max-output", "scratch", "scratch-files", "stack", "open-files",
		"parallel", "real-clock", "real-random", "seed", "json")
}

// newJob checks the flags against each other and against what exists.
func (a *app) newJob(f *runFlags, args []string) (*job, error) {
	j := &job{
		path: args[0], name: filepath.Base(args[0]), stdin: f.stdin, output: f.output,
		count: f.count, parallel: int(min(f.parallel, f.count, parallelMax)), json: f.json,
	}
	if args[0] == "-" {
		return nil, usageError("a module cannot be read from stdin, which is the guest's: give the path of a file")
	}
	if j.stdin == "" && j.count == 1 {
		j.stdin, j.dialogue = "-", true
	}
	switch {
	case j.count > tasksMax:
		return nil, usageError("--count is %d, at most %d", j.count, tasksMax)
	case f.parallel > parallelMax:
		return nil, usageError("--parallel is %d, at most %d", f.parallel, parallelMax)
	case j.stdin == "-" && j.count > 1:
		return nil, usageError("--stdin - cannot be shared by %s: give a file", plural(j.count, "task"))
	}
	var err error
	j.spec = task.Spec{
		Args: append([]string{j.name}, args[1:]...), Limits: f.limits,
		RealClock: f.realClock, RealRandom: f.realRandom, Seed: f.seed,
	}
	if !f.fuelGiven {
		j.spec.Limits.Fuel = uint64(jobspec.DefaultFuel(j.count)) // as in a job file
	}
	if j.spec.Env, err = guestEnv(f.env, a.Environ); err != nil {
		return nil, err
	}
	if j.labels, err = jobLabels(f.labels); err != nil {
		return nil, err
	}
	if j.spec.Inputs, err = guestInputs(f.inputs); err != nil {
		return nil, err
	}
	if f.outbound.allow {
		j.spec.HTTP = &task.HTTP{Hosts: f.hosts}
	} else if len(f.hosts) > 0 {
		return nil, usageError("--http-host narrows --allow-http, which is not given")
	}
	if j.outbound, err = f.outbound.config(); err != nil {
		return nil, err
	}
	if j.secrets, err = guestSecrets(f.secrets, j.spec.Env); err != nil {
		return nil, err
	}
	if j.secretFiles, err = secretFiles(f.secretFiles, j.secrets); err != nil {
		return nil, err
	}
	if len(f.secretFiles) > 0 && f.grid == gridAlways {
		return nil, usageError("--secret-file is for what runs here: on the grid a secret is what dugnad secret set has kept")
	}
	if err := j.spec.Validate(); err != nil {
		return nil, usageError("%w", err)
	}
	return j, nil
}

// guestEnv turns K=V and K into the guest's environment; the last of a name
// counts.
func guestEnv(flags, environ []string) ([]string, error) {
	var out []string
	for _, e := range flags {
		name, _, ok := strings.Cut(e, "=")
		if !ok {
			i := slices.IndexFunc(environ, func(h string) bool { return strings.HasPrefix(h, name+"=") })
			if i < 0 || name == "" {
				return nil, usageError("--env %s: there is no such variable here: give %s=VALUE", e, e)
			}
			e = name + "=" + lookup(environ, name)
		}
		out = slices.DeleteFunc(out, func(o string) bool { return strings.HasPrefix(o, name+"=") })
		out = append(out, e)
	}
	return out, nil
}

// jobLabels turns K=V into a job's labels.
func jobLabels(flags []string) (map[string]string, error) {
	if len(flags) == 0 {
		return nil, nil
	}
	labels := map[string]string{}
	for _, l := range flags {
		name, value, _ := strings.Cut(l, "=")
		_, twice := labels[name]
		switch {
		case !jobspec.ValidLabel(name) || !jobspec.ValidLabel(value):
			return nil, usageError("--label %s: is not K=V, each %s", l, jobspec.LabelForm)
		case twice:
			return nil, usageError("--label %s: %s is given twice", l, name)
		}
		labels[name] = value
	}
	return labels, nil
}

// guestInputs turns NAME=PATH into inputs with absolute paths that exist.
func guestInputs(flags []string) ([]task.Input, error) {
	var out []task.Input
	for _, v := range flags {
		name, path, ok := strings.Cut(v, "=")
		if !ok || path == "" {
			return nil, usageError("--input %s: is not NAME=PATH; the guest finds it at /input/NAME", v)
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("finding --input %s: %w", v, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, usageError("--input %s: %w", v, err)
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return nil, usageError("--input %s: is neither a file nor a folder", v)
		}
		out = append(out, task.Input{Name: name, Path: path})
	}
	return out, nil
}

// taskSpec is j.spec for the task with the given index. A number that --env
// gives stands, so that one task of many can be run again alone.
func (j *job) taskSpec(index uint64) task.Spec {
	spec := j.spec
	spec.Env = slices.Clone(spec.Env)
	for _, v := range []struct {
		name  string
		value uint64
	}{{environIndex, index}, {environCount, j.count}} {
		if !slices.ContainsFunc(spec.Env, func(e string) bool { return strings.HasPrefix(e, v.name+"=") }) {
			spec.Env = append(spec.Env, fmt.Sprintf("%s=%d", v.name, v.value))
		}
	}
	return spec
}

// readOnly lists the host paths that the worker must be able to read.
func (j *job) readOnly() []string {
	var out []string
	for _, in := range j.spec.Inputs {
		out = append(out, in.Path)
	}
	return out
}

// runJob prepares the module and runs every task.
func (a *app) runJob(ctx context.Context, j *job) (err error) {
	env, err := a.secretEnv(j)
	if err != nil {
		return err
	}
	j.spec.Env = append(slices.Clone(j.spec.Env), env...)
	if err := j.spec.Validate(); err != nil {
		return usageError("%w", err)
	}
	if err := makeDataDir(j.dataDir); err != nil {
		return err
	}
	// The worker process starts up while the module is read and prepared.
	r, err := a.open(ctx, runnerConfig{
		DataDir: j.dataDir, Parallel: j.parallel,
		MemoryBytes: j.spec.Limits.MemoryBytes, ReadOnly: j.readOnly(), Outbound: j.outbound,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	module, err := readModule(ctx, j.path, int(lint.Default().ModuleBytes))
	if err != nil {
		return err
	}
	if j.json {
		j.sha256 = fmt.Sprintf("%x", sha256.Sum256(module))
	}
	out, err := openOutput(j.output)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	if err := a.prepare(ctx, j, r, module); err != nil {
		return a.refused(j, err)
	}
	w, err := out.begin(a.guest(a.Out))
	if err != nil {
		return err
	}
	s := series{app: a, job: j, runner: r, out: w, errs: a.guest(a.Err)}
	return s.run(ctx)
}

// prepare makes the module ready to run and shows how that goes.
func (a *app) prepare(ctx context.Context, j *job, r runner, module []byte) error {
	p := newProgress(a.Err, isTerminal(a.Err, a.Environ), j.name)
	defer p.stop()
	return r.Prepare(ctx, module, p.compiling)
}
