package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/executor"
)

// quorums is what happens while no node votes: in each row all voters are killed in
// the middle of an array that runs on the one node which is no voter.
var quorums = []struct {
	name string
	// outlasts says that the voters are away for longer than a lease is.
	outlasts bool
	// killed says that the node is killed, too, when all tasks but one have ended
	// there, and comes back before the voters do.
	killed bool

	// Meanwhile the node runs all of its tasks. Afterwards each of them has ended on
	// that node, at the first attempt; again says how many it has run twice.
	again float64
}{
	{name: "for a moment"},
	{name: "for longer than a lease", outlasts: true},
	{name: "and the node as well", killed: true, again: 1},
}

const (
	quorumNodes = 4 // of which three vote
	// quorumTasks is the length of the array, quorumDone how many of its tasks have
	// been recorded when the voters die. The others cannot have ended by then.
	quorumTasks, quorumDone = 60, 20
)

// The metrics that the node's tasks are counted by.
const (
	metricRan     = "dugnad_executor_tasks_total"
	metricWaiting = "dugnad_executor_outcomes_waiting"
)

// TestQuorumLost: a node goes on with its tasks although nobody is left who could
// record them, keeps what becomes of them, and has it recorded when there is a
// quorum again: each task once.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	for _, c := range quorums {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && !c.killed {
				t.Skip("a sample will do")
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
			defer cancel()
			s := newQuorumScene(ctx, t)
			id := s.middle(ctx, t)
			died := time.Now()
			s.killVoters()
			ran := s.alone(ctx, t, id, c.killed)
			if want := float64(quorumTasks) + c.again; ran != want {
				t.Errorf("the node has run %v tasks, want %v", ran, want)
			}
			if c.outlasts {
				over := died.Add(executor.Default().Lease)
				until(ctx, t, "the lease is over", func() error {
					if time.Now().Before(over) {
						return errNotYet
					}
					return nil
				})
			}
			s.back(ctx, t)
			s.judge(ctx, t, id)
			if now := s.executor.metric(ctx, metricRan); !c.killed && now != ran {
				t.Errorf("the node has run %v tasks when all is over, %v before", now, ran)
			}
		})
	}
}

// quorumScene is who is who.
type quorumScene struct {
	*processes
	voters   []*child
	executor *child
}

// newQuorumScene starts a grid in which there is room on the node that does not vote
// only.
func newQuorumScene(ctx context.Context, t *testing.T) *quorumScene {
	t.Helper()
	s := &quorumScene{processes: startProcesses(ctx, t, quorumNodes)}
	for _, c := range s.nodes {
		n, err := c.client.Node(ctx, c.id)
		if err != nil {
			t.Fatal(err)
		}
		if !n.Voter {
			s.executor = c
			continue
		}
		s.voters = append(s.voters, c)
		if _, err := c.client.Drain(ctx, c.id); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// middle submits an array and waits until the tasks that are not held have been
// recorded.
func (s *quorumScene) middle(ctx context.Context, t *testing.T) (id string) {
	t.Helper()
	c := s.voters[0].client
	id = newKey()
	for i := quorumDone; i < quorumTasks; i++ {
		s.executor.hold(ctx, stepRunning, taskKey(id, i))
	}
	module := push(ctx, t, c, "hello")
	// However long it takes a busy machine, the lease is not lost.
	file := fmt.Appendf(nil, "module: %s\ncount: %d\nlimits: {fuel: 10M}\nretry: {loss_grace: 1h}\n", module, quorumTasks)
	if _, err := c.Submit(ctx, file, id); err != nil {
		t.Fatal(err)
	}
	done := uint32(0)
	if err := c.Watch(ctx, id, 0, func(e api.Event) error {
		if e.Kind == "ended" {
			done += e.Count
		}
		if done >= quorumDone {
			return errEnough
		}
		return nil
	}); !errors.Is(err, errEnough) {
		t.Fatalf("%d tasks have ended: %v", done, err)
	}
	s.waiting(ctx, t, 0) // the node has heard that they are recorded
	return id
}

// killVoters kills them at once.
func (s *quorumScene) killVoters() {
	for _, c := range s.voters {
		_ = c.cmd.Process.Kill() // kill waits for it
	}
	for _, c := range s.voters {
		c.kill()
	}
}

// alone has the node run the rest of its tasks. It returns how many it has run.
func (s *quorumScene) alone(ctx context.Context, t *testing.T, id string, killed bool) (ran float64) {
	t.Helper()
	c := s.executor
	last := taskKey(id, quorumTasks-1)
	for i := quorumDone; i < quorumTasks-1; i++ {
		c.tell("let", stepRunning, taskKey(id, i))
	}
	c.reached(ctx, stepRunning, last)
	s.waiting(ctx, t, quorumTasks-1-quorumDone)
	if killed {
		ran = quorumTasks // the last one has begun
		c.kill()
		c.start().up(ctx)
	}
	c.tell("let", stepRunning, last)
	s.waiting(ctx, t, quorumTasks-quorumDone)
	return ran + c.metric(ctx, metricRan)
}

// waiting waits until so many outcomes are in the node's journal.
func (s *quorumScene) waiting(ctx context.Context, t *testing.T, want float64) {
	t.Helper()
	until(ctx, t, fmt.Sprint(want, " outcomes wait for the ledger"), func() error {
		if n := s.executor.metric(ctx, metricWaiting); n != want {
			return fmt.Errorf("%w: %v do", errNotYet, n)
		}
		return nil
	})
}

// back starts the voters again.
func (s *quorumScene) back(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, c := range s.voters {
		c.start()
	}
	for _, c := range s.voters {
		c.up(ctx)
		if _, err := c.client.Resume(ctx, c.id); err != nil {
			t.Fatal(err)
		}
	}
}

// judge verifies what the ledger says in the end.
func (s *quorumScene) judge(ctx context.Context, t *testing.T, id string) {
	t.Helper()
	c := s.voters[0].client
	on := oncePerTask(ctx, t, c, id, quorumTasks)
	if !maps.Equal(on, map[string]bool{s.executor.id: true}) {
		t.Errorf("tasks have ended on %v, want %s", on, s.executor.id)
	}
	list, err := c.Tasks(ctx, id, client.TaskQuery{Fresh: client.Fresh{Consistent: true}})
	if err != nil || len(list.Tasks) != quorumTasks || slices.ContainsFunc(list.Tasks, func(x api.Task) bool { return x.Attempt != 0 || x.Losses != 0 }) {
		t.Errorf("tasks: %+v, %v, want each to have ended at the first attempt", list.Tasks, err)
	}
	s.whole(ctx)
	s.alike(ctx)
	for _, n := range s.nodes {
		if out := outputs(ctx, t, n.client, id); out != strings.Repeat("hello\n", quorumTasks) {
			t.Errorf("%s has %d bytes of output, want %d lines", n.settings.Name, len(out), quorumTasks)
		}
	}
}
