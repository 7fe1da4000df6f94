package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// TestStoppedInTheMiddle: the node that leads and works is told to stop in the
// middle of an array, and of a task that does not end. Nobody waits for a lease of
// it: what it had goes back at once, each task is recorded once, another node leads,
// and the ledger knows that it is away until it is back.
func TestStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	home := newMachine(t, "founder")
	founder := home.up(t, "--slots", "2", "--stop-timeout", "1")
	others := []*nodeProcess{}
	for i := range 2 {
		others = append(others, newMachine(t, fmt.Sprint("n", i)).up(t, "--slots", "1", "--join", founder.invite(t)))
	}
	self := founder.status(t, "itself", func(control.Status) bool { return true }).Node
	asked := apiOf(t, others[0])
	others[0].status(t, "three voters", func(control.Status) bool {
		list, err := asked.Nodes(ctx, client.Page{})
		voters := 0
		for _, n := range list.Nodes {
			if n.Voter {
				voters++
			}
		}
		return err == nil && voters == 3
	})
	const count = 3_000
	endless := submitModule(ctx, t, asked, "spin", "count: 3\nlimits: {fuel: 100P}\n")
	awaitPlaced(ctx, t, asked, endless, self)
	array := submitModule(ctx, t, asked, "hello", fmt.Sprintf("count: %d\nlimits: {fuel: 10M}\npriority: 5\n", count))
	awaitPlaced(ctx, t, asked, array, self)
	founder.stop(t)

	log, _ := founder.errOut.read()
	for _, want := range []string{`msg="stopping: `, "leadership is handed over", "msg=stopped after="} {
		if !strings.Contains(log, want) {
			t.Errorf("the node that stopped has not said %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "could not be told") {
		t.Errorf("the grid was not told:\n%s", log)
	}
	n, err := asked.Node(ctx, self)
	if err != nil || n.State != "unreachable" || n.Leader || n.Leases != 0 {
		t.Errorf("the node that stopped is %+v, %v", n, err)
	}
	// It would keep the others busy.
	if _, err := asked.Cancel(ctx, endless); err != nil {
		t.Error(err)
	}
	j, err := asked.Wait(ctx, array, client.Fresh{})
	if err != nil || j.Tasks != (api.Tasks{Succeeded: count}) {
		t.Errorf("%+v, %v", j, err)
	}
	if backs := checkHandedBack(ctx, t, asked, endless, self); backs == 0 {
		t.Error("the tasks that do not end were not handed back")
	}
	checkHandedBack(ctx, t, asked, array, self)

	founder = home.up(t)
	founder.status(t, "is back", func(control.Status) bool {
		n, err := asked.Node(ctx, self)
		return err == nil && n.State == "up"
	})
}

// submitModule submits a job that runs a module of the tests.
func submitModule(ctx context.Context, t *testing.T, c *client.Client, name, job string) string {
	t.Helper()
	module, err := os.ReadFile(filepath.Join("..", "..", "runtime", "worker", "testdata", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.PushModule(ctx, bytes.NewReader(module))
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Submit(ctx, []byte("module: "+m.Module+"\n"+job), "")
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// awaitPlaced waits until a node has a lease on a job.
func awaitPlaced(ctx context.Context, t *testing.T, c *client.Client, job, node string) {
	t.Helper()
	errPlaced := errors.New("placed")
	if err := c.Watch(ctx, job, 0, func(e api.Event) error {
		if e.Kind == "placed" && e.Node == node {
			return errPlaced
		}
		return nil
	}); !errors.Is(err, errPlaced) {
		t.Fatalf("%s got no lease on job %s: %v", node, job, err)
	}
}

// checkHandedBack looks whether a job's tasks came back from a node because it
// drained, and not because it was missed, and returns how many did.
func checkHandedBack(ctx context.Context, t *testing.T, c *client.Client, job, node string) (backs uint32) {
	t.Helper()
	if err := c.Watch(ctx, job, 0, func(e api.Event) error {
		switch {
		case e.Kind == "unreachable" || e.Cause == "lost" || e.Cause == "gone":
			t.Errorf("job %s: tasks were missed: %+v", job, e)
		case e.Kind == "requeued" && e.Node == node && (e.Cause == "drain" || e.Cause == "refused"):
			backs += e.Count
		case e.Kind == "requeued":
			t.Errorf("job %s: queued again: %+v", job, e)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return backs
}

// TestSecondSignal: who does not want to wait for what runs sends another signal.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n := newMachine(t, "node").up(t, "--slots", "1", "--stop-timeout", "1h")
	c := apiOf(t, n)
	self := n.status(t, "itself", func(control.Status) bool { return true }).Node
	awaitPlaced(ctx, t, c, submitModule(ctx, t, c, "spin", "limits: {fuel: 100P}\n"), self)
	for range 2 {
		if err := n.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		n.await(t, n.errOut, 0, `msg="stopping: `)
	}
	select {
	case <-n.ended:
	case <-time.After(patience):
		t.Fatal("the node goes on")
	}
	if s := n.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGINT {
		t.Errorf("ended with %s", n.cmd.ProcessState)
	}
}
