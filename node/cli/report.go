package cli

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dugnad/dugnad/runtime/task"
)

// framesMax bounds the guest calls that a message shows; --json has them all.
const framesMax = 32

// record is the JSON object of one attempt.
type record struct {
	Index  uint64 `json:"index"`
	Count  uint64 `json:"count"`
	Module string `json:"module"`
	SHA256 string `json:"sha256,omitempty"`
	// Job is the grid's job, if the grid ran it.
	Job      string `json:"job,omitempty"`
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
		} else if s.job.count > 1 && o.ExitCode != 0 {
			s.say("%s exited with %d", who, o.ExitCode)
		}
	}
	if o.Kind == task.Trapped || o.Kind == task.ScratchLimit {
		s.printStack(o.Stack)
	}
	if exitCode(o) == exitOK {
		return
	}
	for _, hit := range o.LimitsHit {
		if line := explainHit(who, hit, o); line != "" {
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
		return fmt.Sprintf("%s trapped: %s", who, explainTrap(o, l))
	case task.OutOfFuel:
		return fmt.Sprintf("%s ran out of fuel: it used up all %s: raise it with --fuel", who, formatFuel(l.Fuel))
	case task.DeadlineExceeded:
		return fmt.Sprintf("%s was still running after its deadline of %s: raise it with --timeout", who, formatDuration(l.Timeout))
	case task.OutputLimit:
		return fmt.Sprintf("%s wrote more than %s to stdout and stderr: raise it with --max-output", who, formatBytes(l.OutputBytes))
	case task.ScratchLimit:
		return explainScratch(who, o.LimitsHit, l)
	case task.MemoryLimit:
		return fmt.Sprintf("%s needs more than %s of memory to start: raise it with --memory", who, formatBytes(l.MemoryBytes))
	case task.Refused:
		return fmt.Sprintf("module %s refused: %s", who, o.Message)
	case task.WorkerLost:
		return fmt.Sprintf("%s was running when its worker process died: %s", who, o.Message)
	case task.Cancelled:
		return fmt.Sprintf("%s was cancelled", who)
	default:
		return fmt.Sprintf("%s ended in a way that this dugnad does not know: %s", who, o.Kind)
	}
}

// explainScratch says which limit of its scratch space the guest reached.
func explainScratch(who string, hits []task.LimitHit, l task.Limits) string {
	for _, hit := range hits {
		switch hit.Name {
		case "scratch":
			return fmt.Sprintf("%s filled its scratch space of %s: raise it with --scratch", who, formatBytes(hit.Max))
		case "scratch-files":
			return fmt.Sprintf("%s made %s, as many as its scratch space may hold: raise it with --scratch-files", who, plural(hit.Max, "file"))
		}
	}
	return fmt.Sprintf("%s filled its scratch space of %s in %s: raise it with --scratch or --scratch-files",
		who, formatBytes(l.ScratchBytes), plural(l.ScratchFiles, "file"))
}

// explainTrap says what rule the guest broke.
func explainTrap(o task.Outcome, l task.Limits) string {
	switch {
	case o.Trap != nil && o.Trap.Kind == task.TrapStack:
		return fmt.Sprintf("its calls nest deeper than %s of stack: raise it with --stack, or look for recursion without end", formatBytes(l.StackBytes))
	case o.Message == "" && o.Trap != nil:
		return o.Trap.Message
	}
	return o.Message
}

// printStack shows the guest's calls, the innermost first; a function that
// called itself is shown once.
func (s *series) printStack(frames []task.Frame) {
	lines := 0
	for len(frames) > 0 && lines < framesMax {
		same := 1
		for same < len(frames) && frames[same] == frames[0] {
			same++
		}
		times := ""
		if same > 1 {
			times = fmt.Sprintf(" (%d times)", same)
		}
		at := "at "
		if strings.HasPrefix(frames[0].Function, "…") {
			at = ""
		}
		fmt.Fprintf(s.Err, "    %s%s%s\n", at, printable(frames[0].Function), times)
		frames = frames[same:]
		lines++
	}
	if len(frames) > 0 {
		fmt.Fprintf(s.Err, "    and %s more\n", plural(uint64(len(frames)), "call"))
	}
}

// explainHit is the sentence for a limit that the guest ran into on the way to
// its end, or nothing when that is what ended it and was said already.
func explainHit(who string, hit task.LimitHit, o task.Outcome) string {
	flag, amount := "--"+hit.Name, formatBytes(hit.Max)
	said := map[string]task.Kind{
		"fuel": task.OutOfFuel, "timeout": task.DeadlineExceeded, "memory": task.MemoryLimit,
		"output": task.OutputLimit, "scratch": task.ScratchLimit, "scratch-files": task.ScratchLimit,
	}
	if said[hit.Name] == o.Kind || hit.Name == "stack" && o.Trap != nil && o.Trap.Kind == task.TrapStack {
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
