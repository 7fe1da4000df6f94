package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/jobspec"
)

// splitOrder is the kind cron of the partition matrix: a standing order that was made
// three minutes ago, so that three runs or more are to be made up for, one after the
// other.
type splitOrder struct {
	id     ledger.OrderID
	at     *memoryNode
	answer chan error
}

// splitRuns are the runs that are overdue when an order is made.
const splitRuns = 3

// order makes an order at a node, without waiting for an answer.
func (s *splitScene) order(ctx context.Context, t *testing.T, n byte, at *memoryNode) *splitOrder {
	t.Helper()
	file := fmt.Appendf(nil, "kind: cron\nmodule: %s\nschedule: \"* * * * *\"\ncatch_up: all\noverlap: queue\nlimits: {fuel: 10M}\nretry: {loss_grace: 0s}\n", s.module)
	job, err := jobspec.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	create, err := job.Order(DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	o := &splitOrder{id: ledger.OrderID{n}, at: at, answer: make(chan error, 1)}
	create.Order = o.id
	command := ledger.Encode(ledger.Envelope{
		Client: [16]byte{n, 1}, Seq: 1, Now: ledger.Time(time.Now().Add(-splitRuns * time.Minute).UnixNano()), Body: create,
	})
	go func() {
		for {
			tried, cancel := context.WithTimeout(ctx, commandPatience)
			answer, _, err := at.book.Propose(tried, command)
			cancel()
			if err == nil {
				var r ledger.Result
				if r, err = ledger.DecodeResult(answer); err == nil && r.Code != ledger.CodeOK {
					err = fmt.Errorf("refused: %s %s", r.Code, r.What)
				}
			}
			if ctx.Err() != nil || !errors.Is(err, replica.ErrUncertain) && !errors.Is(err, replica.ErrNoLeader) {
				o.answer <- err
				return
			}
		}
	}()
	return o
}

// commandPatience is how long one try to tell the ledger may take.
const commandPatience = 10 * time.Second

// ran waits until the overdue runs of an order have succeeded, as a node sees it, and
// verifies that each time has had one run at most.
func (o *splitOrder) ran(ctx context.Context, t *testing.T, n *memoryNode) api.Order {
	t.Helper()
	o.known(ctx, t, n)
	got := untilOrder(ctx, t, n.Node, n.client, o.id.String(), func(is *api.Order) bool { return is.Succeeded >= splitRuns })
	if got.Failed+got.Killed+got.Refused+got.Missed > 0 {
		t.Errorf("order of %s: %+v", o.at.name, got)
	}
	seen := map[time.Time]bool{}
	for _, r := range got.Runs {
		if seen[r.At] {
			t.Errorf("order of %s has run twice at %s: %+v", o.at.name, r.At, got.Runs)
		}
		seen[r.At] = true
	}
	return got
}

// known waits until a node has heard of the order.
func (o *splitOrder) known(ctx context.Context, t *testing.T, n *memoryNode) {
	t.Helper()
	if _, err := n.client.Order(ctx, o.id.String(), client.Fresh{Consistent: true}); err != nil {
		t.Fatal(err)
	}
}

// end ends an order and verifies that each of its runs is a job that has run once, or
// was stopped by that.
func (o *splitOrder) end(ctx context.Context, t *testing.T, n *memoryNode) {
	t.Helper()
	o.ran(ctx, t, n)
	if _, err := n.client.EndOrder(ctx, o.id.String()); err != nil {
		t.Fatal(err)
	}
	got, err := n.client.Order(ctx, o.id.String(), client.Fresh{Consistent: true})
	if err != nil {
		t.Fatal(err)
	}
	succeeded := 0
	for _, r := range got.Runs {
		j, err := n.client.Wait(ctx, r.Job, client.Fresh{Consistent: true})
		switch {
		case err != nil || j.State != api.JobSucceeded && j.State != api.JobKilled:
			t.Errorf("run %+v of %s: %+v, %v", r, o.at.name, j, err)
		case j.State == api.JobSucceeded:
			succeeded++
			oncePerTask(ctx, t, n.client, r.Job, 1)
		}
	}
	if succeeded < splitRuns {
		t.Errorf("order of %s has %d jobs that have succeeded: %+v", o.at.name, succeeded, got)
	}
}
