package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// stuck is a sandbox in which one task never ends.
type stuck struct {
	executor.Sandbox
	left  *atomic.Int64
	ended chan error
}

// RunSeries implements executor.Sandbox.
func (s *stuck) RunSeries(ctx context.Context, tenant string, image worker.Image, tasks []worker.Task, ended func(i int, o task.Outcome), back func(from, to int)) {
	if s.left.Add(-1) < 0 {
		s.Sandbox.RunSeries(ctx, tenant, image, tasks, ended, back)
		return
	}
	if len(tasks) > 1 {
		back(1, len(tasks))
	}
	<-ctx.Done()
	s.ended <- context.Cause(ctx)
	ended(0, task.Outcome{Kind: task.Cancelled, Message: "stuck"})
}

// TestSpare: a task hangs on one of three nodes. Another node ends it, the job
// succeeds with each task's output once, and the first node lets go of it.
func TestSpare(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The first task that any node begins hangs.
	var left atomic.Int64
	left.Store(1)
	ended := make(chan error, 1)
	var list []*Node
	for i := range 3 {
		c := testConfig(filepath.Join(t.TempDir(), fmt.Sprint("node", i)))
		c.Host.Name, c.Found = fmt.Sprint("n", i), i == 0
		c.alter = func(part any) {
			if e, ok := part.(*executor.Config); ok {
				e.Sandbox = &stuck{e.Sandbox, &left, ended}
			}
		}
		if i > 0 {
			c.Invitation = invite(ctx, t, list[0])
		}
		list = append(list, openNode(ctx, t, c))
	}
	c := apiOf(t, list[1])
	hello := push(ctx, t, c, "hello")
	s := submit(ctx, t, c, "module: %s\ncount: 20\n", hello)
	var spare api.Event
	if err := c.Watch(ctx, s.ID, 0, func(e api.Event) error {
		if e.Kind == "spare" {
			spare = e
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	j, err := c.Job(ctx, s.ID, client.Fresh{Consistent: true})
	if err != nil || j.State != api.JobSucceeded || j.Tasks != (api.Tasks{Succeeded: 20}) || j.Spares != 0 {
		t.Fatalf("%+v, %v", j, err)
	}
	if spare.Node == "" || spare.Count != 1 {
		t.Errorf("no second attempt: %+v", spare)
	}
	if out := outputs(ctx, t, c, s.ID); out != strings.Repeat("hello\n", 20) {
		t.Errorf("output is %q", out)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the task that hung ended by itself")
		}
	case <-ctx.Done():
		t.Error("the node still runs the task that another has ended")
	}
}
