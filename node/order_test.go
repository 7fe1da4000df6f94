package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/jobspec"
)

// untilOrder waits until an order is as it shall be, as any node sees it.
func untilOrder(ctx context.Context, t *testing.T, n *Node, c *client.Client, id string, done func(o *api.Order) bool) api.Order {
	t.Helper()
	for {
		index, err := n.book.View(func(ledger.Tx) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		o, err := c.Order(ctx, id, client.Fresh{Index: index})
		if err != nil {
			t.Fatal(err)
		}
		if done(&o) {
			return o
		}
		if err := n.book.Watch(ctx, ledger.OrderPrefix(), index, func(_ uint64, changes []replica.Change) error {
			if len(changes) > 0 {
				return errSeen
			}
			return nil
		}); ctx.Err() != nil || err != errSeen { //nolint:errorlint // it is returned as it is
			t.Fatalf("order is %+v: %v", o, err)
		}
	}
}

// errSeen ends a watch.
var errSeen = errors.New("seen")

// TestCron: an order runs when it is time, on whichever node, and any node shows it.
func TestCron(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes, c := grid(ctx, t, 2)
	hello := push(ctx, t, c[0], "hello")
	job, err := jobspec.Parse([]byte("kind: cron\nmodule: " + hello + "\nname: tick\nschedule: \"* * * * *\"\ntimezone: Asia/Kathmandu\ncatch_up: all\n"))
	if err != nil {
		t.Fatal(err)
	}
	create, err := job.Order(DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	create.Order = ledger.OrderID{1}
	// It was made some minutes ago, so that nobody has to wait for a minute to begin.
	ago := time.Now().Add(-3 * time.Minute)
	answer, index, err := nodes[1].book.Propose(ctx, ledger.Encode(ledger.Envelope{Now: ledger.Time(ago.UnixNano()), Body: create}))
	if err == nil {
		err = nodes[1].book.Wait(ctx, index)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ledger.DecodeResult(answer); err != nil || r.Code != ledger.CodeOK {
		t.Fatalf("%+v, %v", r, err)
	}
	o := untilOrder(ctx, t, nodes[1], c[1], create.Order.String(), func(o *api.Order) bool { return o.Succeeded >= 3 })
	if o.Name != "tick" || o.Kind != "cron" || o.State != api.OrderActive || o.Next == nil || !o.Next.After(ago) || o.Failed+o.Killed+o.Refused+o.Missed > 0 {
		t.Errorf("%+v", o)
	}
	for _, r := range o.Runs[:3] {
		if r.At.Second() != 0 || r.Result != "ok" || r.State != api.JobSucceeded {
			t.Errorf("run %+v", r)
		}
		j, err := c[0].Job(ctx, r.Job, client.Fresh{Consistent: true})
		if err != nil || j.Order != o.ID || j.Name != "tick" {
			t.Errorf("%+v, %v", j, err)
		}
		if out := outputs(ctx, t, c[0], r.Job); out != "hello\n" {
			t.Errorf("output %q", out)
		}
	}
	if _, err := c[0].Job(ctx, o.ID, client.Fresh{Consistent: true}); problem(err) != api.CodeIsOrder {
		t.Errorf("an order as a job: %v", err)
	}
	if _, err := c[0].EndOrder(ctx, o.ID); err != nil {
		t.Error(err)
	}
	if w, err := c[0].WhyOrder(ctx, o.ID); err != nil || w.State != api.OrderEnded {
		t.Errorf("%+v, %v", w, err)
	}
	for _, ended := range []bool{false, true} {
		if list, err := c[0].Orders(ctx, ended, client.Page{}); err != nil || (len(list.Orders) == 1) != ended {
			t.Errorf("ended %v: %+v, %v", ended, list, err)
		}
	}
}

// TestOrderAPI: a file of kind cron makes an order, once for a key.
func TestOrderAPI(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, c := grid(ctx, t, 1)
	hello := push(ctx, t, c[0], "hello")
	file := []byte("kind: cron\nmodule: " + hello + "\nschedule: \"30 4 1 1 *\"\ntimezone: Europe/Oslo\n")
	p, err := c[0].Plan(ctx, file)
	if err != nil || len(p.Next) != 3 || p.Next[0].Format("01-02 15:04") != "01-01 03:30" || !p.Next[2].After(p.Next[1]) {
		t.Errorf("%+v, %v", p, err)
	}
	first, err := c[0].Submit(ctx, file, "key")
	if err != nil || first.Kind != "cron" || first.Known {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := c[0].Submit(ctx, file, "key"); err != nil || again.ID != first.ID || !again.Known {
		t.Errorf("the same key again: %+v, %v", again, err)
	}
	if _, err := c[0].Submit(ctx, []byte("module: "+hello), "key"); problem(err) != "order_exists" {
		t.Errorf("the same key for a job: %v", err)
	}
	if _, err := c[0].PauseOrder(ctx, first.ID); err != nil {
		t.Error(err)
	}
	if o, err := c[0].Order(ctx, first.ID, client.Fresh{}); err != nil || o.State != api.OrderPaused || o.Next != nil || o.Overlap != "skip" || o.CatchUp != "none" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := c[0].ResumeOrder(ctx, first.ID); err != nil {
		t.Error(err)
	}
	if o, err := c[0].Order(ctx, first.ID, client.Fresh{}); err != nil || o.State != api.OrderActive || o.Next == nil {
		t.Errorf("%+v, %v", o, err)
	}
	if err := c[0].RemoveModule(ctx, hello); problem(err) != "module_used" {
		t.Errorf("the order's module goes: %v", err)
	}
	if _, err := c[0].Cancel(ctx, first.ID); problem(err) != api.CodeIsOrder {
		t.Errorf("cancelling an order as a job: %v", err)
	}
	if _, err := c[0].Order(ctx, "00000000000000000000000000000001", client.Fresh{}); problem(err) != api.CodeNotFound {
		t.Errorf("an order that is not there: %v", err)
	}
}

// TestDaemon: each node has one job; when a node drains its job stops, when one joins
// it gets one.
func TestDaemon(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes, c := grid(ctx, t, 3)
	loop := push(ctx, t, c[0], "spin")
	s := submit(ctx, t, c[1], "kind: daemon\nmodule: %s\n", loop)
	on := func(o *api.Order) (list []string) {
		for _, seat := range o.Seats {
			if seat.Open {
				j, err := c[0].Job(ctx, seat.Job, client.Fresh{})
				if err == nil && j.Tasks.Running == 1 {
					list = append(list, seat.Node)
				}
			}
		}
		slices.Sort(list)
		return list
	}
	want := func(nodes ...*Node) (list []string) {
		for _, n := range nodes {
			list = append(list, string(n.self()))
		}
		slices.Sort(list)
		return list
	}
	until := func(nodes ...*Node) {
		t.Helper()
		// An order does not change when its jobs begin to run: any job does.
		for ids := want(nodes...); ctx.Err() == nil; {
			index, err := nodes[0].book.View(func(ledger.Tx) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			o, err := c[0].Order(ctx, s.ID, client.Fresh{Index: index})
			if err != nil {
				t.Fatal(err)
			}
			if slices.Equal(on(&o), ids) && int(o.Open) == len(ids) {
				return
			}
			_ = nodes[0].book.Watch(ctx, nil, index, func(uint64, []replica.Change) error { return errSeen })
		}
		t.Fatal("the daemon does not run where it should")
	}
	until(nodes[0], nodes[1], nodes[2])
	if _, err := c[1].Drain(ctx, string(nodes[2].self())); err != nil {
		t.Fatal(err)
	}
	until(nodes[0], nodes[1])
	config := testConfig(filepath.Join(t.TempDir(), "late"))
	config.Host.Name, config.Invitation = "late", invite(ctx, t, nodes[0])
	late := openNode(ctx, t, config)
	until(nodes[0], nodes[1], late)
	if _, err := c[2].EndOrder(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	o := untilOrder(ctx, t, nodes[0], c[0], s.ID, func(o *api.Order) bool { return o.Open == 0 })
	if o.Killed != o.Made || o.Made != 4 {
		t.Errorf("%+v", o)
	}
}
