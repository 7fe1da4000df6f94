package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// grid opens nodes that form a grid, and a client of each. They share the gate that
// there may be.
func grid(ctx context.Context, t *testing.T, nodes int, gates ...*gate) (list []*Node, clients []*client.Client) {
	t.Helper()
	for i := range nodes {
		c := testConfig(filepath.Join(t.TempDir(), fmt.Sprint("node", i)))
		c.Host.Name, c.Found = fmt.Sprint("n", i), i == 0
		for _, g := range gates {
			c.alter = g.alter
		}
		if i > 0 {
			c.Invitation = invite(ctx, t, list[0])
		}
		n := openNode(ctx, t, c)
		list, clients = append(list, n), append(clients, apiOf(t, n))
	}
	return list, clients
}

// apiOf returns a client of a node.
func apiOf(t *testing.T, n *Node) *client.Client {
	t.Helper()
	return openClient(t, client.Config{
		URL: "http://node", Dial: func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, n.config.Dir) },
	})
}

func openClient(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	cl, err := client.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func push(ctx context.Context, t *testing.T, c *client.Client, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "runtime", "worker", "testdata", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.PushModule(ctx, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m.Module
}

func submit(ctx context.Context, t *testing.T, c *client.Client, format string, args ...any) api.Submitted {
	t.Helper()
	s, err := c.Submit(ctx, fmt.Appendf(nil, format, args...), "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// problem returns the code of a problem.
func problem(err error) api.Code {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// TestJobs: what one node is given, any node runs and any node answers.
func TestJobs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := make(chan string, 1)
	g := &gate{say: func(_ step, key string) { began <- key }}
	_, c := grid(ctx, t, 3, g)
	hello, exit, spin := push(ctx, t, c[0], "hello"), push(ctx, t, c[1], "exit2"), push(ctx, t, c[2], "spin")

	t.Run("array", func(t *testing.T) {
		s := submit(ctx, t, c[1], "module: %s\ncount: 50\nname: greetings\n", hello)
		j, err := c[2].Wait(ctx, s.ID, client.Fresh{Index: s.Index})
		if err != nil || j.State != api.JobSucceeded || j.Tasks != (api.Tasks{Succeeded: 50}) || j.Name != "greetings" || j.Usage.Fuel == 0 {
			t.Fatalf("%+v, %v", j, err)
		}
		for i := range c {
			if _, err := c[i].Job(ctx, s.ID, client.Fresh{Consistent: true}); err != nil {
				t.Fatal(err)
			}
			if out := outputs(ctx, t, c[i], s.ID); out != strings.Repeat("hello\n", 50) {
				t.Errorf("node %d has %q", i, out)
			}
		}
		var kinds []string
		if err := c[0].Watch(ctx, s.ID, 0, func(e api.Event) error {
			kinds = append(kinds, e.Kind)
			return nil
		}); err != nil {
			t.Error(err)
		}
		if kinds[0] != "submitted" || kinds[len(kinds)-1] != "finished" || !slices.Contains(kinds, "placed") {
			t.Errorf("events %q", kinds)
		}
	})
	t.Run("failure", func(t *testing.T) {
		s := submit(ctx, t, c[0], "module: %s\nretry: {attempts: 2, backoff: 10ms}\n", exit)
		j, err := c[0].Wait(ctx, s.ID, client.Fresh{Index: s.Index})
		if err != nil || j.State != api.JobFailed {
			t.Fatalf("%+v, %v", j, err)
		}
		task, err := c[1].Task(ctx, s.ID, 0, client.Fresh{Consistent: true})
		if err != nil || task.State != "failed" || task.Exit != "exit" || task.Result == nil || task.Result.ExitCode != 2 {
			t.Errorf("%+v, %v", task, err)
		}
		if w, err := c[1].Why(ctx, s.ID); err != nil || !strings.Contains(w.Text, "the job has failed: the last attempt at task 0 ended with exit code 2") {
			t.Errorf("why: %+v, %v", w, err)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		// That a lease is running says no more than that its node works on it, which
		// may be preparing: a guest that has written something has burnt fuel.
		id := newKey()
		g.hold(stepRunning, id)
		if _, err := c[2].Submit(ctx, fmt.Appendf(nil, "module: %s\n", spin), id); err != nil {
			t.Fatal(err)
		}
		select {
		case <-began:
		case <-ctx.Done():
			t.Fatal("the guest has not written anything")
		}
		g.release()
		if _, err := c[0].Cancel(ctx, id); err != nil {
			t.Fatal(err)
		}
		j, err := c[2].Wait(ctx, id, client.Fresh{Consistent: true})
		if err != nil || j.State != api.JobKilled || j.Cause != "cancelled" || j.Usage.Fuel == 0 {
			t.Errorf("%+v, %v", j, err)
		}
	})
	t.Run("logs", func(t *testing.T) { followRunning(ctx, t, c) })
	t.Run("dependency", func(t *testing.T) {
		first := submit(ctx, t, c[0], "module: %s\n", hello)
		second := submit(ctx, t, c[1], "module: %s\nafter: [%s]\n", hello, first.ID)
		bad := submit(ctx, t, c[2], "module: %s\nretry: {attempts: 1}\n", exit)
		third := submit(ctx, t, c[0], "module: %s\nafter: [%s, %s]\n", hello, second.ID, bad.ID)
		for id, want := range map[string]string{second.ID: api.JobSucceeded, third.ID: api.JobKilled} {
			j, err := c[0].Wait(ctx, id, client.Fresh{Index: third.Index})
			if err != nil || j.State != want {
				t.Errorf("%+v, %v, want %s", j, err, want)
			}
		}
	})
	t.Run("inputs", func(t *testing.T) { readOutputs(ctx, t, c, hello) })
	t.Run("any dependency", func(t *testing.T) {
		endless := submit(ctx, t, c[0], "module: %s\n", spin)
		good, bad := submit(ctx, t, c[1], "module: %s\n", hello), submit(ctx, t, c[2], "module: %s\nretry: {attempts: 1}\n", exit)
		next := submit(ctx, t, c[0], "module: %s\nretention: 90m\nafter: {jobs: [%s, %s, %s], condition: any}\n", hello, bad.ID, endless.ID, good.ID)
		j, err := c[1].Wait(ctx, next.ID, client.Fresh{Index: next.Index})
		if err != nil || j.State != api.JobSucceeded || j.RetentionSeconds != 5400 || !j.KeptUntil.Equal(j.Finished.Add(90*time.Minute)) {
			t.Errorf("%+v, %v", j, err)
		}
		if _, err := c[2].Wait(ctx, bad.ID, client.Fresh{Index: next.Index}); err != nil {
			t.Fatal(err)
		}
		hope := submit(ctx, t, c[2], "module: %s\nafter: {jobs: [%s, %s], condition: any}\n", hello, bad.ID, endless.ID)
		if w, err := c[2].Why(ctx, hope.ID); err != nil || !slices.Equal(w.After, []string{endless.ID}) || !strings.Contains(w.Text, "any of 2 jobs") {
			t.Errorf("%+v, %v", w, err)
		}
		if _, err := c[1].Cancel(ctx, endless.ID); err != nil {
			t.Fatal(err)
		}
		if j, err := c[0].Wait(ctx, hope.ID, client.Fresh{Index: hope.Index}); err != nil || j.State != api.JobKilled || j.Blame != endless.ID {
			t.Errorf("%+v, %v", j, err)
		}
	})
	t.Run("why", func(t *testing.T) {
		file := fmt.Sprintf("module: %s\nconstraints: {labels: {zone: moon}}\n", hello)
		p, err := c[1].Plan(ctx, []byte(file))
		if err != nil || p.Starts != 0 || p.Waits != 1 || len(p.Job.Reasons) != 1 || p.Job.Reasons[0].What != "label" || p.Job.Reasons[0].Nodes != 3 {
			t.Errorf("%+v, %v", p, err)
		}
		s := submit(ctx, t, c[0], "%s", file)
		for ctx.Err() == nil {
			w, err := c[2].Why(ctx, s.ID)
			if problem(err) == api.CodeNotFound || err == nil && len(w.Reasons) == 0 {
				continue
			}
			if err != nil || w.Nodes != 3 || w.Reasons[0].What != "label" || w.Reasons[0].Help == "" {
				t.Errorf("%+v, %v", w, err)
			}
			break
		}
		if _, err := c[0].Cancel(ctx, s.ID); err != nil {
			t.Error(err)
		}
	})
	t.Run("refusals", func(t *testing.T) { refusals(ctx, t, c[1], hello) })
}

func outputs(ctx context.Context, t *testing.T, c *client.Client, id string) string {
	t.Helper()
	r, err := c.Outputs(ctx, id, "stdout", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Error(err)
	}
	return string(b)
}

// refusals: what cannot be accepted is refused with a code and what to do.
func refusals(ctx context.Context, t *testing.T, c *client.Client, module string) {
	const nobody = "00000000000000000000000000000001"
	first, err := c.Submit(ctx, []byte("module: "+module), "once")
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Submit(ctx, []byte("module: "+module), "once")
	if err != nil || again.ID != first.ID || !again.Known {
		t.Errorf("the same key again: %+v after %+v, %v", again, first, err)
	}
	for name, ask := range map[string]struct {
		do   func() error
		code api.Code
	}{
		"misspelt": {func() error { _, err := c.Submit(ctx, []byte("modul: x\ncout: 3\n"), ""); return err }, api.CodeInvalid},
		"unknown module": {func() error {
			_, err := c.Submit(ctx, []byte("module: sha256:"+strings.Repeat("ab", 32)), "")
			return err
		}, "module_unknown"},
		"garbage as module": {func() error { _, err := c.PushModule(ctx, strings.NewReader("no module")); return err }, api.CodeRefused},
		"unknown job":       {func() error { _, err := c.Job(ctx, nobody, client.Fresh{}); return err }, api.CodeNotFound},
		"no job id":         {func() error { _, err := c.Job(ctx, "xyz", client.Fresh{}); return err }, api.CodeInvalid},
		"task beyond":       {func() error { _, err := c.Output(ctx, first.ID, 7, "stdout"); return err }, api.CodeNotFound},
		"unknown node":      {func() error { _, err := c.Drain(ctx, "nobody"); return err }, "node_unknown"},
		"too large":         {func() error { _, err := c.Submit(ctx, make([]byte, api.JobBytesMax+1), ""); return err }, api.CodeTooLarge},
		"ended job":         {func() error { return cancelEnded(ctx, c, first) }, "job_state"},
	} {
		err := ask.do()
		var p *api.Problem
		if !errors.As(err, &p) || p.Code != ask.code || p.Detail == "" {
			t.Errorf("%s: %v, want code %s", name, err, ask.code)
		}
	}
}

func cancelEnded(ctx context.Context, c *client.Client, s api.Submitted) error {
	if _, err := c.Wait(ctx, s.ID, client.Fresh{Index: s.Index}); err != nil {
		return err
	}
	_, err := c.Cancel(ctx, s.ID)
	return err
}

// readOutputs: a job reads what an array has put out, wherever that ran, comes
// after it without being told to, and any node says so.
func readOutputs(ctx context.Context, t *testing.T, c []*client.Client, hello string) {
	array := submit(ctx, t, c[0], "module: %s\ncount: 30\nspread: name\n", hello)
	all := submit(ctx, t, c[1], "module: %s\nstdin: {job: %s}\n", push(ctx, t, c[1], "cat"), array.ID)
	shares := submit(ctx, t, c[2], "module: %s\ncount: 3\ninputs: [{name: x, job: %s, lines: true}]\n", push(ctx, t, c[2], "input"), all.ID)
	j, err := c[0].Wait(ctx, shares.ID, client.Fresh{Index: shares.Index})
	if err != nil || j.State != api.JobSucceeded || len(j.Reads) != 1 || j.Reads[0] != (api.Read{Job: all.ID, Stream: "stdout", Input: "x", Lines: true}) {
		t.Fatalf("%+v, %v", j, err)
	}
	for i, id := range []string{all.ID, shares.ID} {
		if _, err := c[i].Job(ctx, id, client.Fresh{Consistent: true}); err != nil {
			t.Fatal(err)
		}
		if out := outputs(ctx, t, c[i], id); out != strings.Repeat("hello\n", 30) {
			t.Errorf("job %d has read %q", i, out)
		}
	}
	_, err = c[0].Submit(ctx, fmt.Appendf(nil, "module: %s\nstdin: {job: %032x}\n", hello, 1), "")
	if problem(err) != "dependency_unknown" {
		t.Errorf("the outputs of an unknown job: %v", err)
	}
}

// followRunning: what a task writes is there while it runs, whichever node is asked, and
// its end is told to all who follow.
func followRunning(ctx context.Context, t *testing.T, c []*client.Client) {
	s := submit(ctx, t, c[0], "module: %s\nreal_clock: true\n", push(ctx, t, c[0], "../../../node/web/testdata/sleep"))
	var following, heard sync.WaitGroup
	ends := make([]string, len(c))
	for i := range c {
		if _, err := c[i].Job(ctx, s.ID, client.Fresh{Index: s.Index}); err != nil {
			t.Fatal(err)
		}
		heard.Add(1)
		following.Go(func() {
			done, text := sync.OnceFunc(heard.Done), ""
			defer done()
			if err := c[i].Logs(ctx, s.ID, 0, client.LogQuery{}, func(l api.Log) error {
				switch l.Kind {
				case api.LogAttempt:
					// A machine that is slow for seconds may lose the lease.
					text = ""
				case api.LogOutput:
					// It sleeps for an hour after this.
					if text += string(l.Data()); text == "start\n" {
						done()
					} else if !strings.HasPrefix("start\n", text) {
						t.Errorf("node %d gives %q", i, text)
					}
				case api.LogEnded:
					ends[i] = l.State
				}
				return nil
			}); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		})
	}
	heard.Wait()
	if _, err := c[1].Cancel(ctx, s.ID); err != nil {
		t.Error(err)
	}
	following.Wait()
	for i, end := range ends {
		if end != "killed" {
			t.Errorf("node %d says that the task has %s", i, end)
		}
	}
}
