package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

const (
	// restartTasks is the length of the arrays in whose middle nodes are restarted.
	restartTasks = 120
	// restartHeld is the task that is held there, restartDone how many have ended at
	// least before it goes on.
	restartHeld, restartDone = 60, 40
)

// TestRestartAll: all nodes are killed at once in the middle of an array, and come
// back: what had ended stays ended, the rest is run, and every output is there.
func TestRestartAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	p := startProcesses(ctx, t, 3)
	id := p.middle(ctx, t, p.nodes[1].client)
	for _, c := range p.nodes {
		_ = c.cmd.Process.Kill() // kill waits for it
	}
	for _, c := range p.nodes {
		c.kill()
	}
	for _, c := range p.nodes {
		c.start()
	}
	for _, c := range p.nodes {
		c.up(ctx)
	}
	j, err := p.nodes[2].client.Job(ctx, id, client.Fresh{Consistent: true})
	if err != nil || j.Tasks.Succeeded < restartDone || j.Tasks.Failed > 0 {
		t.Errorf("after the restart: %+v, %v, want %d tasks that have succeeded", j, err, restartDone)
	}
	oncePerTask(ctx, t, p.nodes[2].client, id, restartTasks)
	p.whole(ctx)
	p.alike(ctx)
	p.complete(ctx, t, id)
}

// TestRestartRolling: one node after the other is stopped in good order and comes
// back as another version, each in the middle of an array, and jobs are accepted all
// the time: none of them fails, and no output is missing.
func TestRestartRolling(t *testing.T) {
	if testing.Short() {
		t.Skip("TestRestartAll is the sample")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	p := startProcesses(ctx, t, 3)
	var jobs []string
	for i, c := range p.nodes {
		other := p.nodes[(i+1)%len(p.nodes)]
		jobs = append(jobs, p.middle(ctx, t, other.client))
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			c.stop()
		}()
		for _, n := range p.nodes {
			if n != c {
				n.tell("release")
			}
		}
		<-stopped
		jobs = append(jobs, p.array(ctx, t, other.client, newKey()))
		c.settings.Version = "2"
		c.start().up(ctx)
		p.whole(ctx)
	}
	for _, id := range jobs {
		oncePerTask(ctx, t, p.nodes[0].client, id, restartTasks)
		p.complete(ctx, t, id)
	}
	p.alike(ctx)
	for _, c := range p.nodes {
		if s, err := c.status(ctx); err != nil || s.Version != "2" {
			t.Errorf("%s says that it is version %q, %v", c.settings.Name, s.Version, err)
		}
	}
}

// array submits an array under a key that is its id.
func (p *processes) array(ctx context.Context, t *testing.T, c *client.Client, id string) string {
	t.Helper()
	module := push(ctx, t, c, "hello")
	file := fmt.Appendf(nil, "module: %s\ncount: %d\nlimits: {fuel: 10M}\nretry: {loss_grace: 0s}\n", module, restartTasks)
	if s, err := c.Submit(ctx, file, id); err != nil || s.ID != id {
		t.Fatalf("submit: %+v, %v", s, err)
	}
	return id
}

var errEnough = errors.New("enough tasks have ended")

// middle submits an array and waits until some of its tasks have ended. One is held
// on whatever node it is.
func (p *processes) middle(ctx context.Context, t *testing.T, c *client.Client) string {
	t.Helper()
	id := newKey()
	for _, n := range p.nodes {
		n.hold(ctx, stepRunning, taskKey(id, restartHeld))
	}
	p.array(ctx, t, c, id)
	done := uint32(0)
	if err := c.Watch(ctx, id, 0, func(e api.Event) error {
		if e.Kind == "ended" {
			done += e.Count
		}
		if done >= restartDone {
			return errEnough
		}
		return nil
	}); !errors.Is(err, errEnough) {
		t.Fatalf("%d tasks have ended: %v", done, err)
	}
	return id
}

// complete verifies that each node gives all of a job's output.
func (p *processes) complete(ctx context.Context, t *testing.T, id string) {
	t.Helper()
	for _, c := range p.nodes {
		if out := outputs(ctx, t, c.client, id); out != strings.Repeat("hello\n", restartTasks) {
			t.Errorf("%s has %d bytes of output, want %d lines", c.settings.Name, len(out), restartTasks)
		}
	}
}
