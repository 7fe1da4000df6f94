package node

import (
	"context"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/control"
)

// TestActivity: a node says what runs for whom, what waits, and which process runs it.
func TestActivity(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	list, c := grid(ctx, t, 2)
	if a, err := list[0].Activity(); err != nil || a.Slots != 2 || len(a.Jobs)+len(a.Workers)+len(a.Queues) > 0 || a.Members != 1 || a.SentBytes == 0 || a.ReceivedBytes == 0 {
		t.Errorf("at rest: %+v, %v", a, err)
	}
	s := submit(ctx, t, c[0], "module: %s\ncount: 7\nname: spinner\n", push(ctx, t, c[0], "spin"))
	awaitJob(ctx, t, c[0], s.ID, "placed", func(j *api.Job) bool { return j.Tasks.Running == 4 })
	for i, n := range list {
		// That a lease runs says that the node works on it, which may be preparing.
		a := awaitWork(ctx, t, n)
		if len(a.Jobs) != 1 || len(a.Workers) != 1 || a.State != "up" {
			t.Fatalf("node %d: %+v", i, a)
		}
		if j := a.Jobs[0]; j.Job != s.ID || j.Name != "spinner" || j.Tenant != string(DefaultTenant) || j.Running != 2 || j.MemoryBytes == 0 || j.Since.IsZero() {
			t.Errorf("node %d: job %+v", i, j)
		}
		if w := a.Workers[0]; w.PID == 0 || w.Tasks != 2 || w.MemoryBytes == 0 {
			t.Errorf("node %d: worker %+v", i, w)
		}
	}
	a, err := list[0].Activity()
	if err != nil || len(a.Queues) != 1 || a.Queues[0].Jobs != 1 || a.Queues[0].Tasks != 3 || a.Queues[0].Oldest.IsZero() || a.Queues[0].More {
		t.Errorf("queue: %+v, %v", a.Queues, err)
	}
	if _, err := c[0].Cancel(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	awaitJob(ctx, t, c[0], s.ID, "cancelled", func(j *api.Job) bool { return j.Final() })
}

// awaitWork asks a node until two series of tasks are with its worker.
func awaitWork(ctx context.Context, t *testing.T, n *Node) control.Activity {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := n.Activity()
		if err == nil && a.SlotsUsed == 2 && len(a.Workers) == 1 && a.Workers[0].Tasks == 2 {
			return a
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the node does not work: %+v, %v", a, err)
		}
	}
}
