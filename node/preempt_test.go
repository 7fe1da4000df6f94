package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// TestPreempt: two tasks of a low band that go on and on fill a grid, and a job of a
// higher band comes. The guest that reads its notice ends well; the other is cut short,
// says so, and runs again with no attempt counted.
func TestPreempt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := make(chan string, 1)
	g := &gate{say: func(_ step, key string) { began <- key }}
	config := testConfig(filepath.Join(t.TempDir(), "node"))
	config.Found, config.alter = true, g.alter
	c := apiOf(t, openNode(ctx, t, config))
	notice, spin := push(ctx, t, c, "notice"), push(ctx, t, c, "spin")
	low := func(module string) string {
		id := newKey()
		g.hold(stepRunning, id)
		if _, err := c.Submit(ctx, fmt.Appendf(nil, "module: %s\npriority: 1\nretry:\n  attempts: 1\n", module), id); err != nil {
			t.Fatal(err)
		}
		// A guest that has written has begun, and is not simply handed back.
		select {
		case <-began:
		case <-ctx.Done():
			t.Fatal("the guest has not written anything")
		}
		g.let(stepRunning, id)
		return id
	}
	heeds, ignores := low(notice), low(spin)
	high := submit(ctx, t, c, "module: %s\ncount: 2\npriority: 5\n", spin)
	if j, err := c.Wait(ctx, heeds, client.Fresh{Index: high.Index}); err != nil || j.State != api.JobSucceeded {
		t.Fatalf("%+v, %v", j, err)
	}
	if out := outputs(ctx, t, c, heeds); out != "up\npreempted\n" {
		t.Errorf("who heeds its notice wrote %q", out)
	}
	list := eventsUntil(ctx, t, c, ignores, 0, "requeued")
	told := slices.IndexFunc(list, func(e api.Event) bool { return e.Kind == "notice" })
	back := list[len(list)-1]
	if told < 0 || list[told].Cause != "preempted" || list[told].Band != 5 || list[told].Until == nil || back.Cause != "preempted" || back.Band != 5 {
		t.Errorf("events %+v", list)
	}
	awaitJob(ctx, t, c, high.ID, "it runs", func(j *api.Job) bool { return j.Tasks.Running == 2 })
	if why, err := c.Why(ctx, ignores); err != nil || !strings.Contains(why.Text, "preempted for a job of band 5") {
		t.Errorf("why it waits: %+v, %v", why, err)
	}
	if _, err := c.Cancel(ctx, high.ID); err != nil {
		t.Fatal(err)
	}
	eventsUntil(ctx, t, c, ignores, back.Number, "running")
	if task, err := c.Task(ctx, ignores, 0, client.Fresh{Consistent: true}); err != nil || task.State != "running" || task.Attempt != 0 || task.Losses != 0 {
		t.Errorf("%+v, %v", task, err)
	}
	if why, err := c.Why(ctx, ignores); err != nil || len(why.Reasons) > 0 || !strings.Contains(why.Text, "nothing waits") {
		t.Errorf("why it waits: %+v, %v", why, err)
	}
	if _, err := c.Cancel(ctx, ignores); err != nil {
		t.Error(err)
	}
}

// eventsUntil follows a job's events behind one of them until there is one of a kind.
func eventsUntil(ctx context.Context, t *testing.T, c *client.Client, id string, behind uint32, kind string) (list []api.Event) {
	t.Helper()
	found := errors.New("found")
	err := c.Watch(ctx, id, behind+1, func(e api.Event) error {
		if list = append(list, e); e.Kind == kind {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		t.Fatalf("no %s in %+v: %v", kind, list, err)
	}
	return list
}
