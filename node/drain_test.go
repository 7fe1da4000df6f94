package node

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// awaitJob asks for a job until it is as wanted.
func awaitJob(ctx context.Context, t *testing.T, c *client.Client, id, what string, ok func(j *api.Job) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		j, err := c.Job(ctx, id, client.Fresh{})
		if err == nil && ok(&j) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: the job is %+v, %v", what, j, err)
		}
	}
}

// awaitSlots asks for a node until its leases take so many slots.
func awaitSlots(ctx context.Context, t *testing.T, c *client.Client, id, what string, slots uint32) api.Node {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := c.Node(ctx, id)
		if err == nil && n.Reserved.Slots == slots {
			return n
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: the node is %+v, %v, want %d slots in use", what, n, err, slots)
		}
	}
}

// awaitStarted waits until a node runs so many tasks.
func awaitStarted(ctx context.Context, t *testing.T, n *Node, tasks uint32) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		started := uint32(0)
		for _, a := range n.executor.Activity() {
			started += a.Running
		}
		if started == tasks {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the node runs %d tasks, want %d", started, tasks)
		}
	}
}

// sayings passes on what a node logs.
type sayings struct{ heard chan string }

func (*sayings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (s *sayings) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "this node drains") || strings.HasPrefix(r.Message, "this node takes") {
		s.heard <- r.Message
	}
	return nil
}

func (s *sayings) WithAttrs([]slog.Attr) slog.Handler { return s }
func (s *sayings) WithGroup(string) slog.Handler      { return s }

func (s *sayings) await(ctx context.Context, t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s.heard:
		if got != want {
			t.Fatalf("the node says %q, want %q", got, want)
		}
	case <-ctx.Done():
		t.Fatalf("the node does not say %q", want)
	}
}

// TestDrainDeadline: a node that drains with a deadline hands back what runs when that
// has passed by its clock, and not before; one that is resumed keeps what it runs. The
// deadline outlives the process.
func TestDrainDeadline(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	var ahead atomic.Int64
	config := testConfig(filepath.Join(t.TempDir(), "node"))
	config.Found, config.Host.Name = true, "n0"
	said := &sayings{heard: make(chan string, 64)}
	config.Log = slog.New(said)
	config.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	n, err := Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	c, id := apiOf(t, n), string(n.self())
	awaitSlots(ctx, t, c, id, "before", 0)
	spin := push(ctx, t, c, "spin")
	s := submit(ctx, t, c, "module: %s\ncount: 2\n", spin)
	awaitJob(ctx, t, c, s.ID, "placed", func(j *api.Job) bool { return j.Tasks.Running == 2 })
	// The ledger counts a lease as a whole: the second of its tasks may be about to start.
	awaitStarted(ctx, t, n, 2)

	drain := func(within time.Duration) {
		t.Helper()
		if d, err := c.DrainWithin(ctx, id, within); err != nil || d.State != "draining" || d.Until == nil {
			t.Fatalf("drain: %+v, %v", d, err)
		}
		said.await(ctx, t, "this node drains")
	}
	resume := func() {
		t.Helper()
		if d, err := c.Resume(ctx, id); err != nil || d.State != "up" || d.Until != nil {
			t.Fatalf("resume: %+v, %v", d, err)
		}
		said.await(ctx, t, "this node takes tasks again")
	}
	drain(time.Hour)
	if j, err := c.Job(ctx, s.ID, client.Fresh{Consistent: true}); err != nil || j.Tasks.Running != 2 {
		t.Errorf("drained with an hour left: %+v, %v", j.Tasks, err)
	}
	// Resumed, it keeps its tasks, though the hour is over.
	resume()
	ahead.Store(int64(2 * time.Hour))
	if d, err := c.Drain(ctx, id); err != nil || d.Until != nil {
		t.Errorf("drain without a deadline: %+v, %v", d, err)
	}
	if d, err := c.Resume(ctx, id); err != nil || d.State != "up" {
		t.Errorf("resume: %+v, %v", d, err)
	}
	other := submit(ctx, t, c, "module: %s\n", push(ctx, t, c, "hello"))
	if j, err := c.Job(ctx, s.ID, client.Fresh{Consistent: true}); err != nil || j.Tasks.Running != 2 {
		t.Errorf("resumed: %+v, %v", j.Tasks, err)
	}

	// Its clock says that the deadline has passed already.
	drain(time.Hour)
	awaitSlots(ctx, t, c, id, "the deadline has passed", 0)
	awaitJob(ctx, t, c, s.ID, "handed back", func(j *api.Job) bool { return j.Tasks.Queued == 2 && j.Tasks.Failed == 0 })
	// The next process knows of the deadline.
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err = Open(ctx, config); err != nil {
		t.Fatal(err)
	}
	c = apiOf(t, n)
	if d := awaitSlots(ctx, t, c, id, "opened again", 0); d.State != "draining" || d.Until == nil {
		t.Errorf("opened again: %+v", d)
	}
	// Then all of it runs here again.
	if _, err := c.Cancel(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Resume(ctx, id); err != nil || d.State != "up" {
		t.Fatalf("resume: %+v, %v", d, err)
	}
	if j, err := c.Wait(ctx, other.ID, client.Fresh{}); err != nil || j.State != api.JobSucceeded {
		t.Errorf("after it was resumed: %+v, %v", j, err)
	}
}

// TestDrainCuts: the deadline of a drain passes while the node waits for it, and what
// ran begins anew on another node.
func TestDrainCuts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	list, c := grid(ctx, t, 2)
	spin := push(ctx, t, c[0], "spin")
	// Two slots each: five tasks leave one that has not begun.
	s := submit(ctx, t, c[0], "module: %s\ncount: 5\n", spin)
	awaitJob(ctx, t, c[0], s.ID, "placed", func(j *api.Job) bool { return j.Tasks.Running >= 4 })
	for i, n := range list {
		drained, other := string(n.self()), string(list[1-i].self())
		before := taskNodes(ctx, t, c[0], s.ID)
		if before[drained] != 2 || before[other] != 2 {
			t.Fatalf("tasks by node: %v", before)
		}
		if _, err := c[0].DrainWithin(ctx, drained, time.Second); err != nil {
			t.Fatal(err)
		}
		awaitSlots(ctx, t, c[1], drained, "drained", 0)
		awaitJob(ctx, t, c[1], s.ID, "cut short", func(j *api.Job) bool { return j.Tasks.Queued == 3 && j.Tasks.Running == 2 })
		if after := taskNodes(ctx, t, c[0], s.ID); after[drained] != 0 || after[other] != 2 {
			t.Errorf("tasks by node, %d is drained: %v", i, after)
		}
		if _, err := c[1].Resume(ctx, drained); err != nil {
			t.Fatal(err)
		}
		awaitJob(ctx, t, c[0], s.ID, "placed again", func(j *api.Job) bool { return j.Tasks.Running >= 4 })
	}
}

// taskNodes counts the tasks that run by their nodes.
func taskNodes(ctx context.Context, t *testing.T, c *client.Client, job string) map[string]int {
	t.Helper()
	list, err := c.Tasks(ctx, job, client.TaskQuery{State: "running", Fresh: client.Fresh{Consistent: true}})
	if err != nil {
		t.Fatal(fmt.Errorf("list tasks: %w", err))
	}
	out := map[string]int{}
	for i := range list.Tasks {
		out[list.Tasks[i].Node]++
	}
	return out
}
