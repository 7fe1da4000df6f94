package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// TestOutputsOutliveANode: a node is killed when its tasks have been reported. All
// outputs are still there, and so is the module that was pushed to it.
func TestOutputsOutliveANode(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	founder := newMachine(t, "founder").up(t, "--slots", "1")
	nodes := []*nodeProcess{founder}
	for i := range 2 {
		nodes = append(nodes, newMachine(t, fmt.Sprint("n", i)).up(t, "--slots", "1", "--join", founder.invite(t)))
	}
	founder.status(t, "three voters that work", func(control.Status) bool {
		list, err := apiOf(t, founder).Nodes(ctx, client.Page{})
		voters := 0
		for _, n := range list.Nodes {
			if n.Voter && n.Capacity.Slots > 0 {
				voters++
			}
		}
		return err == nil && voters == len(nodes)
	})
	victim := nodes[1]
	self := victim.status(t, "itself", func(control.Status) bool { return true }).Node
	module, err := os.ReadFile(filepath.Join("..", "..", "runtime", "worker", "testdata", "hello.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := apiOf(t, victim).PushModule(ctx, bytes.NewReader(module))
	if err != nil || len(m.Holders) != 2 {
		t.Fatalf("%+v, %v: want two holders", m, err)
	}
	const count = 600
	array := func(c *client.Client, more string) string {
		t.Helper()
		s, err := c.Submit(ctx, fmt.Appendf(nil, "module: %s\ncount: %d\nlimits: {fuel: 10M}\n%s", m.Module, count, more), "")
		if err != nil {
			t.Fatal(err)
		}
		j, err := c.Wait(ctx, s.ID, client.Fresh{Index: s.Index})
		if err != nil || j.State != api.JobSucceeded {
			t.Fatalf("%+v, %v", j, err)
		}
		return s.ID
	}
	id := array(apiOf(t, founder), "")
	for !ranOn(ctx, t, apiOf(t, founder), id, self) {
		id = array(apiOf(t, founder), "")
	}
	victim.kill(t)
	want := strings.Repeat("hello\n", count)
	for _, n := range []*nodeProcess{founder, nodes[2]} {
		c := apiOf(t, n)
		if out, err := outputsOf(ctx, c, id); err != nil || out != want {
			t.Errorf("%d bytes of output, want %d: %v", len(out), len(want), err)
		}
		// Not where the one that was killed may still be believed to live.
		name := n.status(t, "its name", func(control.Status) bool { return true }).Name
		again := array(c, fmt.Sprintf("constraints: {labels: {name: %s}}\n", name))
		if out, err := outputsOf(ctx, c, again); err != nil || out != want {
			t.Errorf("%d bytes of output of a later job, want %d: %v", len(out), len(want), err)
		}
	}
}

// ranOn reports whether a node has run a task of a job.
func ranOn(ctx context.Context, t *testing.T, c *client.Client, job, node string) bool {
	t.Helper()
	list, err := c.Tasks(ctx, job, client.TaskQuery{Limit: api.PageMax, Results: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Tasks {
		if list.Tasks[i].Node == node {
			return true
		}
	}
	return false
}
