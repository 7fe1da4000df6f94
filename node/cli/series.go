package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/dugnad/dugnad/runtime/task"
)

// unprintedMax bounds the attempts that have ended or run while an earlier one
// still keeps their output from being printed.
const unprintedMax = 256

// series runs the tasks of a job and prints their outputs whole, in order of
// index. The output of a single task is printed while it runs.
type series struct {
	*app
	job    *job
	runner runner
	// out and errs take what guests put out.
	out, errs io.Writer
}

// attempt is one try at a task. The fields below done may be read when done is
// closed.
type attempt struct {
	index  uint64
	stdout spool
	stderr spool

	done    chan struct{}
	outcome task.Outcome
	// err is dugnad's own failure, not the guest's.
	err error
}

func (s *series) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.job.count == 1 && !s.job.json {
		return s.runOne(ctx, cancel)
	}
	queue := make(chan *attempt, unprintedMax)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.start(ctx, queue, &running) })
	t := tally{}
	for at := range queue {
		<-at.done
		err := s.print(at)
		if err != nil {
			cancel(err)
		}
		t.add(at, err)
	}
	return t.result(ctx, s)
}

// start begins the attempts in order of index, no more than job.parallel at
// the same time, and closes queue after the last.
func (s *series) start(ctx context.Context, queue chan<- *attempt, running *sync.WaitGroup) {
	defer close(queue)
	free := make(chan struct{}, s.job.parallel)
	for i := range s.job.count {
		at := &attempt{index: i, done: make(chan struct{})}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case queue <- at:
		case <-ctx.Done():
			return
		}
		running.Go(func() {
			defer close(at.done)
			at.outcome, at.err = s.try(ctx, i, &at.stdout, &at.stderr)
			<-free
		})
	}
}

// runOne runs the only task with its output printed as it comes.
func (s *series) runOne(ctx context.Context, cancel context.CancelCauseFunc) error {
	failed := func(err error) { cancel(fmt.Errorf("writing the guest's output: %w", err)) }
	out := &sink{w: s.out, failed: failed}
	errOut := &sink{w: s.errs, failed: failed}
	at := &attempt{}
	at.outcome, at.err = s.try(ctx, 0, out, errOut)
	t := tally{}
	s.explain(at)
	t.add(at, nil)
	return t.result(ctx, s)
}

// try makes one attempt.
func (s *series) try(ctx context.Context, index uint64, stdout, stderr io.Writer) (task.Outcome, error) {
	stdin, err := s.job.openStdin(s.In)
	if err != nil {
		return task.Outcome{Kind: task.Cancelled}, err
	}
	defer stdin.Close()
	o := s.runner.Run(ctx, s.job.taskSpec(index), streams{In: stdin, Out: stdout, Err: stderr, Interactive: s.job.dialogue && arrives(stdin)})
	return o, nil
}

// print shows a finished attempt: its outputs and what there is to say of its
// outcome, or one JSON object.
func (s *series) print(at *attempt) error {
	if s.job.json {
		return s.printJSON(at)
	}
	if err := at.stdout.drain(s.out); err != nil {
		return fmt.Errorf("writing the guest's output: %w", err)
	}
	if err := at.stderr.drain(s.errs); err != nil {
		return fmt.Errorf("writing the guest's output: %w", err)
	}
	s.explain(at)
	return nil
}

func (s *series) printJSON(at *attempt) error {
	r := record{
		Index: at.index, Count: s.job.count, Module: s.job.name, SHA256: s.job.sha256, Job: s.job.id,
		ExitCode: exitCode(at.outcome), Outcome: at.outcome,
	}
	if s.job.output != "" {
		if err := at.stdout.drain(s.out); err != nil {
			return fmt.Errorf("writing the guest's output: %w", err)
		}
	} else if err := at.stdout.drain(&r.stdout); err != nil {
		return err
	}
	if err := at.stderr.drain(&r.stderr); err != nil {
		return err
	}
	return s.printRecord(&r)
}

func (a *app) printRecord(r *record) error {
	r.encodeOutput()
	e := json.NewEncoder(a.jsonOut())
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing the outcome: %w", err)
	}
	return nil
}

// tally gathers what decides a run's exit code.
type tally struct {
	total, failed uint64
	first         *attempt
	// bad are the indices of the first of those that did not end well.
	bad []string
	err error
}

// badMax bounds the indices that the last message lists.
const badMax = 20

func (t *tally) add(at *attempt, printing error) {
	t.total++
	if t.err == nil {
		t.err = errors.Join(at.err, printing)
	}
	if exitCode(at.outcome) == exitOK {
		return
	}
	if t.failed++; t.failed <= badMax {
		t.bad = append(t.bad, strconv.FormatUint(at.index, 10))
	}
	if t.first == nil {
		t.first = at
	}
}

// result is the run's end: the exit code of the first task, in order of index,
// that did not end well.
func (t *tally) result(ctx context.Context, s *series) error {
	var sig signalError
	switch cause := context.Cause(ctx); {
	case t.err != nil:
		return t.err
	case errors.As(cause, &sig):
		return &exitError{code: exitSignal + int(sig.signal)}
	case cause != nil:
		return cause
	case t.first == nil:
		return nil
	}
	if t.total > 1 && !s.job.json {
		more := ""
		if t.failed > badMax {
			more = fmt.Sprintf(" and %d more", t.failed-badMax)
		}
		s.say("%d of %s did not end well: %s%s; run one alone with --env %s=%d",
			t.failed, plural(s.job.count, "task"), strings.Join(t.bad, ", "), more, environIndex, t.first.index)
	}
	return &exitError{code: exitCode(t.first.outcome)}
}
