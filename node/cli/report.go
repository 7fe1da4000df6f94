package cli

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/dugnad/dugnad/runtime/task"
)

// framesMax bounds the guest calls that a message shows; --json has them all.
const framesMax = 32

// record is the JSON object of one attempt.
type record struct {
	Index    uint64 `json:"index"`
	Count    uint64 `json:"count"`
	Module   string `json:"module"`
	SHA256   string `json:"sha256,omitempty"`
	ExitCode int    `json:"exit_code"`
	// Outcome is how the attempt ended and what it used.
	Outcome task.Outcome `json:"outcome"`
	// Refusal says which limit a refused module is beyond, and where.
	Refusal *refusal `json:"refusal,omitempty"`
	// Output that is not UTF-8 stands in the _base64 field instead.
	Stdout       *string `json:"stdout,omitempty"`
	StdoutBase64 *string `json:"stdout_base64,omitempty"`
	Stderr       *string `json:"stderr,omitempty"`
	StderrBase64 *string `json:"stderr_base64,omitempty"`

	stdout, stderr bytes.Buffer
}

func (r *record) encodeOutput() {
	r.Stdout, r.StdoutBase64 = encodeText(r.stdout.Bytes())
	r.Stderr, r.StderrBase64 = encodeText(r.stderr.Bytes())
}

func encodeText(b []byte) (text, encoded *string) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

// refused reports a module that never ran. An error of another kind comes back
// as it is.
func (a *app) refused(j *job, err error) error {
	var r *refusedError
	if !errors.As(err, &r) {
		return err
	}
	if !j.json {
		return &exitError{exitRefused, fmt.Errorf("module %s refused: %w", j.path, err)}
	}
	o := task.Outcome{Kind: task.Refused, Message: r.Error()}
	if err := a.printRecord(&record{
		Count: j.count, Module: j.name, SHA256: j.sha256, ExitCode: exitCode(o), Outcome: o, Refusal: r.detail,
	}); err != nil {
		return err
	}
	return &exitError{code: exitRefused}
}

// explain says on stderr why an attempt did not end as the guest wanted. It
// says nothing of an attempt that exited by itself without hitting a limit.
func (s *series) explain(at *attempt) {
	o, who := at.outcome, s.job.name
	if s.job.count > 1 {
		who = fmt.Sprintf("%s, task %d,", s.job.name, at.index)
	}
	if at.err == nil && o.Kind != task.Cancelled {
		if line := explainKind(who, o, s.job.spec.Limits); line != "" {
			s.say("%s", line)
		}
	}
	if o.Kind == task.Trapped {
		for _, f := range o.Stack[:min(len(o.Stack), framesMax)] {
			fmt.Fprintf(s.Err, "    at %s\n", f.Function)
		}
		if more := len(o.Stack) - framesMax; more > 0 {
			fmt.Fprintf(s.Err, "    and %s more\n", plural(uint64(more), "call"))
		}
	}
	if exitCode(o) == exitOK {
		return
	}
	for _, hit := range o.LimitsHit {
		if line := explainHit(who, hit, o.Kind); line != "" {
			s.say("%s", line)
		}
	}
}

// explainKind is the sentence for an outcome: what, where, the limit, and what
// to do.
func explainKind(who string, o task.Outcome, l task.Limits) string {
	switch o.Kind {
	case task.Exited:
		if o.ExitCode > exitGuestMax {
			return fmt.Sprintf("%s exited with %d, given as %d", who, o.ExitCode, exitGuestMax)
		}
		return ""
	case task.Trapped:
		what := o.Message
		if o.Trap != nil && what == "" {
			what = o.Trap.Message
		}
		return fmt.Sprintf("%s trapped: %s", who, what)
	case task.OutOfFuel:
		return fmt.Sprintf("%s ran out of fuel: it used up all %s: raise it with --fuel", who, formatFuel(l.Fuel))
	case task.DeadlineExceeded:
		return fmt.Sprintf("%s was still running after its deadline of %s: raise it with --timeout", who, formatDuration(l.Timeout))
	case task.OutputLimit:
		return fmt.Sprintf("%s wrote more than %s to stdout and stderr: raise it with --max-output", who, formatBytes(l.OutputBytes))
	case task.ScratchLimit:
		return fmt.Sprintf("%s filled its scratch space of %s in %s: raise it with --scratch or --scratch-files",
			who, formatBytes(l.ScratchBytes), plural(l.ScratchFiles, "file"))
	case task.MemoryLimit:
		return fmt.Sprintf("%s needs more than %s of memory to start: raise it with --memory", who, formatBytes(l.MemoryBytes))
	case task.Refused:
		return fmt.Sprintf("%s was refused: %s", who, o.Message)
	case task.WorkerLost:
		return fmt.Sprintf("%s was running when its worker process died: %s", who, o.Message)
	case task.Cancelled:
		return fmt.Sprintf("%s was cancelled", who)
	default:
		return fmt.Sprintf("%s ended in a way that this dugnad does not know: %s", who, o.Kind)
	}
}

// explainHit is the sentence for a limit that the guest ran into on the way to
// its end, or nothing when that is what ended it and was said already.
func explainHit(who string, hit task.LimitHit, kind task.Kind) string {
	flag, amount := "--"+hit.Name, formatBytes(hit.Max)
	said := map[string]task.Kind{
		"fuel": task.OutOfFuel, "timeout": task.DeadlineExceeded, "memory": task.MemoryLimit,
		"output": task.OutputLimit, "scratch": task.ScratchLimit, "scratch-files": task.ScratchLimit,
	}
	if said[hit.Name] == kind {
		return ""
	}
	switch hit.Name {
	case "output":
		flag = "--max-output"
	case "fuel":
		amount = formatFuel(hit.Max)
	case "timeout":
		amount = formatDuration(time.Duration(min(hit.Max, math.MaxInt64)))
	case "scratch-files", "open-files":
		amount = plural(hit.Max, "file")
	}
	return fmt.Sprintf("%s asked for more than its %s limit of %s: raise it with %s", who, hit.Name, amount, flag)
}
