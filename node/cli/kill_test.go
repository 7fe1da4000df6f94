package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// apiOf returns a client of a node's own socket.
func apiOf(t *testing.T, n *nodeProcess) *client.Client {
	t.Helper()
	c, err := client.Open(client.Config{
		URL:  "http://node",
		Dial: func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, n.dir) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestKilledInTheMiddle: nodes are killed in the middle of an array, one that works
// and then the leader: every task succeeds, each is recorded once, and what was
// acknowledged goes on.
func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	founder := newMachine(t, "founder").up(t, "--slots", "1")
	nodes := []*nodeProcess{founder}
	for i := range 4 {
		nodes = append(nodes, newMachine(t, fmt.Sprint("n", i)).up(t, "--slots", "1", "--join", founder.invite(t)))
	}
	// Two of them may go only when all five vote.
	from := apiOf(t, founder)
	var seen string
	defer func() {
		if t.Failed() {
			t.Logf("the founder has said of the nodes: %s", seen)
		}
	}()
	founder.status(t, "five voters", func(control.Status) bool {
		list, err := from.Nodes(ctx, client.Page{})
		voters := 0
		seen = fmt.Sprintf("%+v, %v", list, err)
		for _, n := range list.Nodes {
			if n.Voter {
				voters++
			}
		}
		return err == nil && voters == len(nodes) && len(list.Nodes) == len(nodes)
	})
	asked := apiOf(t, nodes[4])
	module, err := os.ReadFile(filepath.Join("..", "..", "runtime", "worker", "testdata", "slow.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := asked.PushModule(ctx, bytes.NewReader(module))
	if err != nil {
		t.Fatal(err)
	}
	const count = 400 // of some milliseconds each: there is work for all nodes
	job := func() string {
		s, err := asked.Submit(ctx, fmt.Appendf(nil, "module: %s\ncount: %d\nlimits: {fuel: 1G}\n", m.Module, count), "")
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	// What was put out outlives any one node; so the one that goes next goes when
	// somebody has read what it shares with the one before.
	ends := func(ids ...string) {
		for _, id := range ids {
			j, err := asked.Wait(ctx, id, client.Fresh{})
			if err != nil || j.State != api.JobSucceeded || j.Tasks != (api.Tasks{Succeeded: count}) {
				t.Fatalf("%+v, %v", j, err)
			}
			if out, err := outputsOf(ctx, asked, id); err != nil || out != strings.Repeat("hello\n", count) {
				t.Errorf("%d bytes of output of job %s, want %d: %v", len(out), id, count*len("hello\n"), err)
			}
		}
	}
	first := job()
	killWhenItWorks(ctx, t, asked, nodes[1], first)
	ends(first)
	second := job()
	killWhenItWorks(ctx, t, asked, founder, second)
	ends(second, job())
}

// outputsOf reads what all tasks of a job have written to stdout.
func outputsOf(ctx context.Context, c *client.Client, id string) (string, error) {
	r, err := c.Outputs(ctx, id, "stdout", 0, 0)
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(r)
	return string(out), errors.Join(err, r.Close())
}

// killWhenItWorks kills a node as soon as it has a lease on the job.
func killWhenItWorks(ctx context.Context, t *testing.T, c *client.Client, n *nodeProcess, job string) {
	t.Helper()
	self := n.status(t, "itself", func(control.Status) bool { return true }).Node
	errKilled := fmt.Errorf("%s is killed", self)
	if err := c.Watch(ctx, job, 0, func(e api.Event) error {
		if e.Kind == "placed" && e.Node == self {
			n.kill(t)
			return errKilled
		}
		return nil
	}); err != errKilled { //nolint:errorlint // the very one
		t.Fatalf("%s got no lease on job %s before it had ended: %v", self, job, err)
	}
}
