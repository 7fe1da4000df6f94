package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// errCutOff is returned when there is less of an output than its task's result
// says.
var errCutOff = errors.New("the output is cut off")

// visitTask takes a task, and what it wants of its output.
type visitTask func(t *api.Task, stdout, stderr io.Reader) error

// visitTasks calls visit with the results of the tasks from first to end-1 in
// order of index, and with readers of what each has put out, of which visit takes
// what it wants. An end of 0 is that of the job.
func visitTasks(ctx context.Context, c *client.Client, id string, first, end uint32, visit visitTask) error {
	for {
		limit := api.PageMax
		if end > 0 {
			limit = int(min(end-first, api.PageMax))
		}
		list, err := c.Tasks(ctx, id, client.TaskQuery{From: first, Limit: limit, Results: true})
		if err != nil {
			return err
		}
		if err := visitPage(ctx, c, id, list.Tasks, visit); err != nil {
			return err
		}
		if list.Next == nil || end > 0 && *list.Next >= end {
			return nil
		}
		first = *list.Next
	}
}

// visitPage asks for the outputs of those tasks in a row that have ended, which stay
// as they are.
func visitPage(ctx context.Context, c *client.Client, id string, tasks []api.Task, visit visitTask) error {
	for len(tasks) > 0 {
		n := 1
		for n < len(tasks) && taskEnded(&tasks[n]) == taskEnded(&tasks[0]) && tasks[n].Index == tasks[n-1].Index+1 {
			n++
		}
		if err := visitRun(ctx, c, id, tasks[:n], visit); err != nil {
			return err
		}
		tasks = tasks[n:]
	}
	return nil
}

func visitRun(ctx context.Context, c *client.Client, id string, tasks []api.Task, visit visitTask) (err error) {
	open := func(stream string) *outputs {
		return &outputs{client: c, id: id, stream: stream, first: tasks[0].Index, end: tasks[len(tasks)-1].Index + 1}
	}
	out, errs := open("stdout"), open("stderr")
	defer func() { err = errors.Join(err, out.close(), errs.close()) }()
	for i := range tasks {
		t := &tasks[i]
		var outBytes, errBytes int64
		if t.Result != nil && taskEnded(t) {
			outBytes, errBytes = t.Result.StdoutBytes, t.Result.StderrBytes
		}
		mine, mineErr := out.next(ctx, t.Index, outBytes), errs.next(ctx, t.Index, errBytes)
		if err := visit(t, mine, mineErr); err != nil {
			return err
		}
		if err := errors.Join(mine.skip(), mineErr.skip()); err != nil {
			return err
		}
	}
	return nil
}

// outputs is a stream of several tasks, one after another, which is asked for when
// the first of its bytes is read.
type outputs struct {
	client     *client.Client
	id, stream string
	first, end uint32
	body       io.ReadCloser
}

// next returns what the task has put out, of which the last one's must have been
// read or skipped.
func (o *outputs) next(ctx context.Context, index uint32, size int64) *taskOutput {
	return &taskOutput{outputs: o, ctx: ctx, index: index, left: size}
}

func (o *outputs) close() error {
	if o.body == nil {
		return nil
	}
	return o.body.Close()
}

// taskOutput reads one task's share of outputs.
type taskOutput struct {
	*outputs
	ctx   context.Context //nolint:containedctx // it lives as long as the call that it is for
	index uint32
	left  int64
}

func (t *taskOutput) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	if t.body == nil {
		body, err := t.client.Outputs(t.ctx, t.id, t.stream, t.first, t.end)
		if err != nil {
			return 0, err
		}
		t.body = body
	}
	n, err := t.body.Read(p[:min(int64(len(p)), t.left)])
	if t.left -= int64(n); t.left > 0 && err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%s of task %d: %w", t.stream, t.index, errCutOff)
		}
		return n, err
	}
	return n, nil
}

// skip passes what was not read.
func (t *taskOutput) skip() error {
	_, err := io.Copy(io.Discard, t)
	return err
}
