package node

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// lasting is a sandbox in which tasks begin when they are let, and wait until then.
type lasting struct {
	executor.Sandbox
	let chan struct{}
}

// RunSeries implements executor.Sandbox.
func (s *lasting) RunSeries(ctx context.Context, tenant string, image worker.Image, tasks []worker.Task, ended func(i int, o task.Outcome), back func(from, to int)) {
	if len(tasks) > 1 {
		back(1, len(tasks))
	}
	select {
	case <-s.let:
		s.Sandbox.RunSeries(ctx, tenant, image, tasks[:1], ended, nil)
	case <-ctx.Done():
		ended(0, task.Outcome{Kind: task.Cancelled, Message: "cut short"})
	}
}

// TestPreempt: tasks of a low band that go on and on fill a grid. A job of a higher band
// comes and runs; what gave way to it says so, and ends later, with no attempt counted.
func TestPreempt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	let := make(chan struct{})
	config := testConfig(filepath.Join(t.TempDir(), "node"))
	config.Found = true
	config.alter = func(part any) {
		if e, ok := part.(*executor.Config); ok {
			e.Sandbox = &lasting{e.Sandbox, let}
		}
	}
	c := apiOf(t, openNode(ctx, t, config))
	hello := push(ctx, t, c, "hello")
	low := submit(ctx, t, c, "module: %s\ncount: 2\npriority: 1\nretry:\n  attempts: 1\n", hello)
	awaitJob(ctx, t, c, low.ID, "the grid is full", func(j *api.Job) bool { return j.Tasks.Running == 2 })
	high := submit(ctx, t, c, "module: %s\npriority: 5\n", hello)
	awaitJob(ctx, t, c, high.ID, "it runs", func(j *api.Job) bool { return j.Tasks.Running == 1 })
	why, err := c.Why(ctx, low.ID)
	if err != nil || !strings.Contains(why.Text, "preempted for a job of band 5") {
		t.Errorf("why it waits: %q, %v", why.Text, err)
	}
	close(let)
	var notice, back api.Event
	for _, id := range []string{high.ID, low.ID} {
		if err := c.Watch(ctx, id, 0, func(e api.Event) error {
			switch e.Kind {
			case "notice":
				notice = e
			case "requeued":
				back = e
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		j, err := c.Job(ctx, id, client.Fresh{Consistent: true})
		if err != nil || j.State != api.JobSucceeded {
			t.Errorf("%+v, %v", j, err)
		}
	}
	if notice.Cause != "preempted" || notice.Band != 5 || notice.Until == nil || back.Cause != "preempted" || back.Band != 5 {
		t.Errorf("events %+v and %+v", notice, back)
	}
}
