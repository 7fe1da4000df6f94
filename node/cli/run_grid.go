package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/task"
)

// The values of --grid.
const (
	gridAuto   = "auto"
	gridNever  = "never"
	gridAlways = "always"
)

// gridOf returns who has the grid run the job, or nil when it is to run here.
func (a *app) gridOf(ctx context.Context, f *runFlags, j *job) (*client.Client, error) {
	if f.grid == gridNever || len(f.secretFiles) > 0 {
		return nil, nil
	}
	if f.grid == gridAuto && (j.dialogue && converses(a.In) || j.substituted() || !f.where.answers(ctx, a.Environ)) {
		return nil, nil
	}
	return f.where.client(a)
}

// converses says whether somebody may be at the other end of r: it is no file, and
// not the device that is always empty.
func converses(r io.Reader) bool { return arrives(r) && !isNull(r) }

func isNull(r io.Reader) bool {
	f, ok := r.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	null, wrong := os.Stat(os.DevNull)
	return err == nil && wrong == nil && os.SameFile(info, null)
}

// substituted says whether the grid would replace something in the arguments or the
// environment that stays as it is here.
func (j *job) substituted() bool {
	return slices.ContainsFunc(slices.Concat(j.spec.Args[1:], j.spec.Env), func(s string) bool {
		return slices.ContainsFunc([]string{"{index}", "{count}", "{job}", "{attempt}"}, func(word string) bool { return strings.Contains(s, word) })
	})
}

// runOnGrid has the grid run every task, and then prints as runJob does.
func (a *app) runOnGrid(ctx context.Context, j *job, c *client.Client) (err error) {
	module, err := readModule(ctx, j.path, int(lint.Default().ModuleBytes))
	if err != nil {
		return err
	}
	h := sha256.Sum256(module)
	if j.json {
		j.sha256 = fmt.Sprintf("%x", h)
	}
	out, err := openOutput(j.output)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	spec, err := a.gridJob(ctx, j, c, h)
	if err != nil {
		return err
	}
	if j.id, err = client.NewKey(); err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended {
			a.giveUp(ctx, c, j.id)
		}
	}()
	s, err := submitWithModule(ctx, c, spec, j.id, module)
	if hasCode(err, api.CodeRefused) {
		ended = true
		return a.refused(j, &refusedError{err: err, detail: &refusal{Code: string(api.CodeRefused)}})
	}
	if err != nil {
		return err
	}
	if _, err := a.await(c, j.id, false).run(ctx, client.Fresh{Index: s.Index}); err != nil {
		return err
	}
	ended = true
	w, err := out.begin(a.guest(a.Out))
	if err != nil {
		return err
	}
	return (&series{app: a, job: j, out: w, errs: a.guest(a.Err)}).fetch(ctx, c)
}

// gridJob describes the job for the grid, which gets what the job reads.
func (a *app) gridJob(ctx context.Context, j *job, c *client.Client, module jobspec.Hash) (*jobspec.Job, error) {
	l, spec := j.spec.Limits, jobspec.Default()
	spec.Name, spec.Module.Object, spec.Count, spec.Args = j.name, module, j.count, j.spec.Args[1:]
	spec.Env, spec.Labels = map[string]string{}, j.labels
	for _, e := range j.spec.Env {
		name, value, _ := strings.Cut(e, "=")
		spec.Env[name] = value
	}
	spec.Limits = jobspec.Limits{
		Fuel: jobspec.Fuel(l.Fuel), Memory: jobspec.Size(l.MemoryBytes), Timeout: jobspec.Duration(l.Timeout),
		Output: jobspec.Size(l.OutputBytes), Scratch: jobspec.Size(l.ScratchBytes), ScratchFiles: l.ScratchFiles,
		Stack: jobspec.Size(l.StackBytes), OpenFiles: l.OpenFiles,
	}
	for _, s := range j.secrets {
		if spec.Secrets == nil {
			spec.Secrets = map[string]string{}
		}
		spec.Secrets[s.variable] = s.name
	}
	spec.RealClock, spec.RealRandom, spec.Seed = j.spec.RealClock, j.spec.RealRandom, j.spec.Seed
	if h := j.spec.HTTP; h != nil {
		spec.Capabilities, spec.HTTP.Hosts = []string{abi.CapabilityHTTP}, h.Hosts
	}
	spec.Retry.Attempts = 1 // As here, where an attempt that failed has failed.
	for _, in := range j.spec.Inputs {
		info, err := os.Stat(in.Path)
		if err != nil {
			return nil, fmt.Errorf("reading --input %s: %w", in.Name, err)
		}
		spec.Inputs = append(spec.Inputs, jobspec.Named{Name: in.Name, File: jobspec.File{Path: in.Path}, Folder: info.IsDir()})
	}
	if j.stdin != "" && j.stdin != "-" {
		spec.Stdin = &jobspec.File{Path: j.stdin}
	}
	if err := spec.Validate(); err != nil {
		return nil, usageError("the grid does not take this: %w", err)
	}
	u := &uploads{client: c}
	// A terminal that nobody has named with --stdin is not waited for.
	silent := j.dialogue && (isNull(a.In) || isTerminal(a.In, a.Environ))
	if j.stdin == "-" && !silent {
		h, err := u.object(ctx, a.In)
		if err != nil {
			return nil, fmt.Errorf("uploading stdin: %w", err)
		}
		spec.Stdin = &jobspec.File{Object: h}
	}
	return &spec, u.all(ctx, &spec)
}

// submitWithModule submits a job, and its module when the grid does not know it.
// That is found out by submitting: most times it is known.
func submitWithModule(ctx context.Context, c *client.Client, job *jobspec.Job, key string, module []byte) (api.Submitted, error) {
	s, err := submit(ctx, c, job, key)
	if !hasCode(err, api.CodeModuleUnknown) {
		return s, err
	}
	if err := (&uploads{client: c}).push(ctx, module); err != nil {
		return s, err
	}
	return submit(ctx, c, job, key)
}

// giveUpTimeout bounds the attempt to stop a job that nobody waits for any more.
const giveUpTimeout = 10 * time.Second

// giveUp stops a job that may have been submitted.
func (a *app) giveUp(ctx context.Context, c *client.Client, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTimeout)
	defer cancel()
	_, err := c.Cancel(ctx, id)
	if err == nil {
		a.say("job %s was stopped on the grid", shortID(id))
		return
	}
	if !hasCode(err, api.CodeNotFound) && !hasCode(err, api.CodeJobState) {
		a.say("job %s may go on: stopping it: %s", id, inner(err))
	}
}

// fetch prints the outputs and outcomes of the job's tasks, in order.
func (s *series) fetch(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := tally{}
	err := visitTasks(ctx, c, s.job.id, 0, 0, func(k *api.Task, stdout, stderr io.Reader) error {
		at := &attempt{index: uint64(k.Index), outcome: outcomeOf(k, s.job.spec.Limits)}
		out, errOut := s.out, s.errs
		if s.job.json {
			out, errOut = &at.stdout, &at.stderr
		}
		if err := copyOutput(out, stdout); err != nil {
			return err
		}
		if err := copyOutput(errOut, stderr); err != nil {
			return err
		}
		if !s.job.json {
			s.explainNoResult(k, at)
		}
		err := s.print(at)
		t.add(at, err)
		return err
	})
	if err != nil {
		return err
	}
	if t.total != s.job.count {
		return fmt.Errorf("the grid has told of %d of %s: see dugnad job tasks %s", t.total, plural(s.job.count, "task"), s.job.id)
	}
	return t.result(ctx, s)
}

func copyOutput(w io.Writer, r io.Reader) error {
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("printing the guest's output: %w", err)
	}
	return nil
}

// explainNoResult says what only happens on a grid.
func (s *series) explainNoResult(k *api.Task, at *attempt) {
	if at.outcome.Kind != task.Cancelled {
		return
	}
	who := s.job.name
	if s.job.count > 1 {
		who = fmt.Sprintf("%s, task %d,", s.job.name, k.Index)
	}
	s.say("%s was stopped on the grid: %s", who, at.outcome.Message)
}

// outcomeOf is what a task's end would have been called here.
func outcomeOf(k *api.Task, l task.Limits) task.Outcome {
	r := k.Result
	switch {
	case r == nil && k.State == "succeeded":
		return task.Outcome{Kind: task.Exited} // It had nothing to say.
	case r == nil && k.State == "killed":
		return task.Outcome{Kind: task.Cancelled, Message: printable(k.Cause)}
	case r == nil:
		o := task.Outcome{Kind: task.WorkerLost, Message: printable(fmt.Sprintf("no result is kept: %s %s %s", k.State, k.Exit, k.Cause))}
		if slices.Contains(task.Kinds(), task.Kind(k.Exit)) {
			o.Kind = task.Kind(k.Exit)
		}
		return o
	}
	o := task.Outcome{
		Kind: task.Kind(r.Kind), ExitCode: r.ExitCode, Message: printable(r.Message),
		Usage: task.Usage{
			Fuel: r.Fuel, MemoryPeakBytes: r.MemoryBytes, WallTime: time.Duration(r.WallSeconds * float64(time.Second)),
			OutputBytes: uint64(r.StdoutBytes + r.StderrBytes), EgressBytes: r.EgressBytes,
		},
	}
	if r.Trap != "" {
		o.Trap = &task.Trap{Kind: task.TrapKind(r.Trap), Message: o.Message}
	}
	for _, function := range r.Stack {
		o.Stack = append(o.Stack, task.Frame{Function: printable(function)})
	}
	for _, name := range r.LimitsHit {
		o.LimitsHit = append(o.LimitsHit, task.LimitHit{Name: printable(name), Max: limitNamed(name, l)})
	}
	return o
}

// limitNamed returns a limit by its name in task.LimitHit.
func limitNamed(name string, l task.Limits) uint64 {
	return map[string]uint64{
		"fuel": l.Fuel, "memory": l.MemoryBytes, "timeout": uint64(l.Timeout), "output": l.OutputBytes, "scratch": l.ScratchBytes,
		"scratch-files": l.ScratchFiles, "stack": l.StackBytes, "open-files": l.OpenFiles,
	}[name]
}
