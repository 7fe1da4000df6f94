package jobspec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/nearest"
	"github.com/dugnad/dugnad/runtime/task"
)

// Variables that each task finds in its environment, unless the job sets them.
const (
	EnvironJob     = "DUGNAD_JOB"
	EnvironIndex   = "DUGNAD_TASK_INDEX"
	EnvironCount   = "DUGNAD_TASK_COUNT"
	EnvironAttempt = "DUGNAD_TASK_ATTEMPT"
)

// nameless is the first argument of a program without a name.
const nameless = "module"

// Program is what a node needs to run the tasks of a job. Encode puts it into
// ledger.JobSpec.Payload.
type Program struct {
	// Name is the first argument, "module" when it is empty.
	Name string
	// Args are the arguments after the first, Env is "NAME=value". In Args and in
	// values, {index}, {count}, {job} and {attempt} stand for the task's own.
	Args []string
	Env  []string
	// Secrets are variables whose values are a tenant's secrets, in order of the
	// variables. Task leaves them out.
	Secrets []Secret
	// Stdin may be nil, which is empty.
	Stdin  *Source
	Inputs []Input
	Limits task.Limits
	// RealClock, RealRandom and Seed are those of task.Spec.
	RealClock, RealRandom bool
	Seed                  uint64
	// RetryOn lists the outcomes after which another attempt is wanted; empty is
	// all that another attempt could change.
	RetryOn []string
	// Traceparent is the header of W3C Trace Context that the job was submitted with, by
	// which nodes that trace know the trace that it belongs to; empty is one of its own.
	Traceparent string
	// HTTP is that of task.Spec.
	HTTP *task.HTTP
}

// Secret is a variable whose value is a tenant's secret.
type Secret struct {
	Variable string
	Name     ledger.SecretName
}

// Source is an object of the content store, or what a job has put out.
type Source struct {
	Object [32]byte
	// Job is the job whose tasks' Stream it is, one after another in order of
	// index, when there is no Object.
	Job    ledger.JobID
	Stream Stream
	// Lines says that it is a list of lines of which each task gets its share: see
	// Shares.
	Lines bool
}

// Input is what a task sees at /input/NAME.
type Input struct {
	// Name is one path element.
	Name string
	Source
	// Folder says that the object is a tar archive of a folder.
	Folder bool
}

// SecretNames lists the secrets that tasks are to have, each once, in order.
func (p *Program) SecretNames() (names []ledger.SecretName) {
	for _, s := range p.Secrets {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Task returns what task index of count is to run, at this attempt, of this job.
// Inputs, stdin and secrets are left to the caller, who has the objects and the values.
func (p *Program) Task(job ledger.JobID, index, count, attempt uint32) task.Spec {
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	own := []struct{ environ, value string }{
		{EnvironJob, job.String()},
		{EnvironIndex, number(index)},
		{EnvironCount, number(count)},
		{EnvironAttempt, number(attempt)},
	}
	fill := strings.NewReplacer("{job}", own[0].value, "{index}", own[1].value, "{count}", own[2].value, "{attempt}", own[3].value)
	s := task.Spec{
		Args: make([]string, 1, len(p.Args)+1), Env: make([]string, 0, len(p.Env)+len(own)), Limits: p.Limits,
		RealClock: p.RealClock, RealRandom: p.RealRandom, Seed: p.Seed, HTTP: p.HTTP,
	}
	s.Args[0] = p.Name
	if p.Name == "" {
		s.Args[0] = nameless
	}
	for _, a := range p.Args {
		s.Args = append(s.Args, fill.Replace(a))
	}
	given := map[string]bool{}
	for _, e := range p.Env {
		name, value, _ := strings.Cut(e, "=")
		given[name] = true
		s.Env = append(s.Env, name+"="+fill.Replace(value))
	}
	for _, o := range own {
		if !given[o.environ] {
			s.Env = append(s.Env, o.environ+"="+o.value)
		}
	}
	return s
}

// retryExit in RetryOn is any exit but with 0; with a colon and a number after
// it, it is the exit with that number.
const retryExit = "exit"

// retryKinds are the other outcomes that RetryOn may name.
func retryKinds() []task.Kind {
	return []task.Kind{task.Trapped, task.OutOfFuel, task.DeadlineExceeded, task.OutputLimit, task.ScratchLimit}
}

// RetryOutcomes lists what Retry.On may name, beside exit:N for one exit code.
func RetryOutcomes() []string {
	names := []string{retryExit}
	for _, k := range retryKinds() {
		names = append(names, string(k))
	}
	return names
}

// checkRetryOn says what is wrong with an outcome of RetryOn.
func checkRetryOn(on string) (message, help string) {
	if slices.Contains(RetryOutcomes(), on) {
		return "", ""
	}
	if text, ok := strings.CutPrefix(on, retryExit+":"); ok {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil && n > 0 && text[0] != '0' {
			return "", ""
		}
		return fmt.Sprintf("%s is not an exit code from 1 to %d", quote(text), uint32(math.MaxUint32)), "write one such as exit:75; 0 is success"
	}
	switch task.Kind(on) {
	case task.Refused, task.MemoryLimit:
		return on + " is the same at every attempt", "remove it"
	case task.WorkerLost, task.Cancelled:
		return on + " is not the task's doing: it is repeated anyway", "remove it; retry.losses bounds lost attempts"
	case task.Exited:
		return quote(on) + " is no outcome to repeat", "write exit, or exit:N for one exit code"
	}
	help = "write some of " + strings.Join(RetryOutcomes(), ", ") + ", exit:N"
	if name := nearest.Name(on, RetryOutcomes()); name != "" {
		help = "did you mean " + name + "?"
	}
	return quote(on) + " is not an outcome", help
}

// Terminal reports whether the task is not to be tried again after this outcome:
// it succeeded, another attempt would end alike, or RetryOn does not want one.
// What is not the task's own doing is never terminal.
func (p *Program) Terminal(o task.Outcome) bool {
	switch o.Kind {
	case task.Refused, task.MemoryLimit:
		return true
	case task.WorkerLost, task.Cancelled:
		return false
	case task.Exited:
		if o.ExitCode == 0 {
			return true
		}
	}
	if len(p.RetryOn) == 0 {
		return false
	}
	return !slices.ContainsFunc(p.RetryOn, func(on string) bool {
		if o.Kind == task.Exited {
			return on == retryExit || on == retryExit+":"+strconv.FormatUint(uint64(o.ExitCode), 10)
		}
		return on == string(o.Kind)
	})
}
