package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// processes are nodes that form a grid, each in a process of its own.
type processes struct {
	t     *testing.T
	nodes []*child
}

// startProcesses starts nodes, and waits until they are whole. Those that are named
// by their number have a disk of their own.
func startProcesses(ctx context.Context, t *testing.T, count int, disks ...int) *processes {
	t.Helper()
	return startLong(ctx, t, 0, count, disks...)
}

// startLong does so with nodes whose leases last so long.
func startLong(ctx context.Context, t *testing.T, lease time.Duration, count int, disks ...int) *processes {
	t.Helper()
	p := &processes{t: t}
	founder := newChild(t, "n0")
	founder.settings.Found, founder.settings.Disk, founder.settings.Lease = true, slices.Contains(disks, 0), lease
	p.nodes = append(p.nodes, founder.start().up(ctx))
	invitation, err := control.NewClient(founder.dir()).Invite(ctx, control.Invitation{Role: "worker", Seconds: 3600, Uses: count})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < count; i++ {
		c := newChild(t, fmt.Sprint("n", i))
		c.settings.Invitation, c.settings.Disk, c.settings.Lease = invitation.Text, slices.Contains(disks, i), lease
		p.nodes = append(p.nodes, c.start())
	}
	for _, c := range p.nodes[1:] {
		c.up(ctx)
	}
	p.whole(ctx)
	return p
}

// pollPause is between two questions for what has no event to wait for.
const pollPause = 20 * time.Millisecond

// until asks until ok.
func until(ctx context.Context, t *testing.T, what string, ok func() error) {
	t.Helper()
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in time: %v", what, err)
		}
	}
}

var errNotYet = errors.New("not yet")

// whole waits until every node finds that all are up and, of an even number all but
// one, vote.
func (p *processes) whole(ctx context.Context) {
	p.t.Helper()
	for _, c := range p.nodes {
		until(ctx, p.t, c.settings.Name+" sees all nodes", func() error { return wholeAt(ctx, c.client, len(p.nodes)) })
	}
}

// wholeAt returns errNotYet while a node does not find so many nodes up, a leader,
// and as many voters as there should be.
func wholeAt(ctx context.Context, c *client.Client, nodes int) error {
	list, err := c.Nodes(ctx, client.Page{})
	if err != nil {
		return err
	}
	leader, voters, up := 0, 0, 0
	for _, n := range list.Nodes {
		if n.Leader {
			leader++
		}
		if n.Voter {
			voters++
		}
		if n.State == "up" {
			up++
		}
	}
	if leader != 1 || up != nodes || voters != (nodes-1)|1 {
		return fmt.Errorf("%w: %d leaders, %d voters, %d nodes up", errNotYet, leader, voters, up)
	}
	return nil
}

// leader returns the node that leads.
func (p *processes) leader(ctx context.Context) (leader *child) {
	p.t.Helper()
	until(ctx, p.t, "a leader", func() error {
		for _, c := range p.nodes {
			n, err := c.client.Node(ctx, c.id)
			if err == nil && n.Leader {
				leader = c
				return nil
			}
		}
		return errNotYet
	})
	return leader
}

// alike waits until all nodes have the same ledger, and verifies each.
func (p *processes) alike(ctx context.Context) {
	p.t.Helper()
	round := 0
	until(ctx, p.t, "all have the same ledger", func() error {
		round++
		seen := map[string]bool{}
		for _, c := range p.nodes {
			c.tell("digest", round)
		}
		for _, c := range p.nodes {
			head := fmt.Sprint("digest ", round, " ")
			said := strings.TrimPrefix(c.await(ctx, head), head)
			if !strings.HasSuffix(said, "<nil>") {
				p.t.Fatalf("%s: its ledger is wrong: %s", c.settings.Name, said)
			}
			seen[said] = true
		}
		if len(seen) > 1 {
			return fmt.Errorf("%w: %v", errNotYet, seen)
		}
		return nil
	})
}

// newKey makes an idempotency key that is the job's id.
func newKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// pushVariant makes a module known that writes one line, and that no node has
// compiled.
func pushVariant(ctx context.Context, t *testing.T, c *client.Client) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "runtime", "worker", "testdata", "hello.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	name := newKey()
	b = append(b, 0, byte(1+len(name)), byte(len(name))) // a custom section that is only its name
	m, err := c.PushModule(ctx, bytes.NewReader(append(b, name...)))
	if err != nil {
		t.Fatal(err)
	}
	return m.Module
}

// oncePerTask verifies that a job succeeds, and that its events tell of as many ends
// as it has tasks. It returns the nodes that the tasks have ended on.
func oncePerTask(ctx context.Context, t *testing.T, c *client.Client, id string, count uint32) (on map[string]bool) {
	t.Helper()
	j, err := c.Wait(ctx, id, client.Fresh{Consistent: true})
	if err != nil || j.State != api.JobSucceeded || j.Tasks != (api.Tasks{Succeeded: count}) {
		t.Fatalf("job %s: %+v, %v", id, j, err)
	}
	on = map[string]bool{}
	total := uint32(0)
	if err := c.Watch(ctx, id, 0, func(e api.Event) error {
		if e.Kind == "ended" && e.State == "succeeded" {
			on[e.Node] = true
			total += e.Count
		}
		return nil
	}); err != nil || total != count {
		t.Errorf("job %s: its events tell of %d tasks that have ended, want %d: %v", id, total, count, err)
	}
	return on
}
