package node

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/client"
)

const (
	// orphanTasks are under way on the node whose process is killed.
	orphanTasks = 3
	// orphanBytes is what each copies from stdin to stdout: more than is on its way
	// at any time, so that none ends while nobody takes its output.
	orphanBytes = 600_000
)

// TestRestartRunning: the process of a node is killed in the middle of tasks, and
// started again: the tasks go on in the process of their own, which was started once,
// and nothing of their output is missing or there twice.
func TestRestartRunning(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	p := startLong(ctx, t, gridPatience, 3)
	leader := p.leader(ctx)
	s := p.nodes[slices.IndexFunc(p.nodes, func(c *child) bool { return c != leader })]
	p.only(ctx, t, s)
	var line []byte
	for i := 0; len(line) < orphanBytes; i++ {
		line = fmt.Appendf(line, "%d\n", i)
	}
	object, err := s.client.PutObject(ctx, bytes.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	id := newKey()
	for i := range orphanTasks {
		s.hold(ctx, stepRunning, taskKey(id, i))
	}
	file := fmt.Appendf(nil, "module: %s\ncount: %d\nstdin: {object: %s}\nlimits: {fuel: 100M}\nretry: {loss_grace: 0s}\n",
		push(ctx, t, s.client, "cat"), orphanTasks, object.Object)
	if _, err := s.client.Submit(ctx, file, id); err != nil {
		t.Fatal(err)
	}
	for i := range orphanTasks {
		s.reached(ctx, stepRunning, taskKey(id, i))
	}
	s.kill()
	s.start().up(ctx)
	if on := oncePerTask(ctx, t, s.client, id, orphanTasks); !maps.Equal(on, map[string]bool{s.id: true}) {
		t.Errorf("tasks have ended on %v, want %s", on, s.id)
	}
	for i := range uint32(orphanTasks) {
		task, err := s.client.Task(ctx, id, i, client.Fresh{})
		if err != nil || task.Attempt != 0 || task.Losses != 0 {
			t.Errorf("task %d: %+v, %v, want its first attempt", i, task, err)
		}
	}
	if out := outputs(ctx, t, s.client, id); out != strings.Repeat(string(line), orphanTasks) {
		t.Errorf("%d bytes of output, want %d", len(out), orphanTasks*len(line))
	}
	for name, want := range map[string]int{
		"dugnad_worker_starts_total": 0, "dugnad_worker_adoptions_total": 1,
		"dugnad_worker_adopted_tasks_total": orphanTasks, "dugnad_executor_kept_tasks_total": orphanTasks,
	} {
		s.tell("count", name)
		if n := s.await(ctx, "count "+name+" "); n != fmt.Sprint("count ", name, " ", want) {
			t.Errorf("%s, want %d", n, want)
		}
	}
	p.resume(ctx, t, s.client)
	p.whole(ctx)
	p.alike(ctx)
}
