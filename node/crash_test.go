package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// fate is what becomes of a job of which one process was killed.
type fate string

// In each of them the job succeeds in the end, and each of its tasks counts once.
const (
	// absent: the client got no answer, and no job is there. The same submission
	// again makes it.
	absent fate = "absent"
	// unsaid: the client got no answer, but the job is there, whole, and runs. The
	// same submission again finds it.
	unsaid fate = "unsaid"
	// kept: the submission is acknowledged, although the process died before that;
	// where its tasks run is open.
	kept fate = "kept"
	// stays: the job is acknowledged, and its tasks end on the node that has them.
	stays fate = "stays"
	// moves: the job is acknowledged, and its tasks end on other nodes than the one
	// that had them, whatever it had done.
	moves fate = "moves"
)

// crashes is the crash matrix: at each step in the life of a job one process is
// killed with SIGKILL, and this becomes of the job. The columns are the node that
// the job was submitted to, the leader, the node that has the job's tasks, and the
// process on that node which runs them; the first three are different nodes.
var crashes = []struct {
	number                          string
	step                            step
	asked, leader, executor, worker fate
}{
	{"1", stepAdmitted, absent, kept, kept, kept},
	{"2", stepSubmitted, unsaid, kept, kept, kept},
	{"3", stepPlanned, kept, kept, kept, kept},
	{"4", stepPlaced, stays, stays, moves, stays},
	{"5", stepSeen, stays, stays, moves, stays},
	{"6", stepFetched, stays, stays, moves, stays},
	{"7a", stepRunning, stays, stays, moves, kept},
	{"7b", stepEnded, stays, stays, moves, stays},
	{"8", stepTold, stays, stays, stays, stays},
}

// crashRounds are the steps that jobs are held at together when the process dies,
// in the order in which they are brought there: a node that is held at one of them
// can still come to those behind it in the list.
var crashRounds = [][]step{
	{stepEnded, stepSeen, stepPlanned, stepAdmitted},
	{stepTold, stepRunning, stepFetched, stepPlaced, stepSubmitted},
}

const (
	crashNodes = 4
	crashTasks = 3
)

// TestCrashMatrix: whatever process dies at whatever step, what was acknowledged
// goes on, what was not is there whole or not at all, and no task counts twice.
func TestCrashMatrix(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"asked", "leader", "executor", "worker"} {
		t.Run(victim, func(t *testing.T) {
			if testing.Short() && victim != "leader" {
				t.Skip("a sample will do")
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
			defer cancel()
			p := startProcesses(ctx, t, crashNodes)
			for _, steps := range crashRounds {
				crashRound(ctx, t, p, victim, steps)
			}
			p.alike(ctx)
		})
	}
}

// crashScene is who is who in a round.
type crashScene struct {
	*processes
	asked, leader, executor, spare *child
}

// crashJob is a job that is held at a step.
type crashJob struct {
	step   step
	fate   fate
	id     string
	file   []byte
	answer chan error
	told   chan error
	events []uint32
}

func fateOf(s step, victim string) fate {
	for _, c := range crashes {
		if c.step == s {
			return map[string]fate{"asked": c.asked, "leader": c.leader, "executor": c.executor, "worker": c.worker}[victim]
		}
	}
	return ""
}

// crashRound brings a job to each of the steps and kills the victim there.
func crashRound(ctx context.Context, t *testing.T, p *processes, victim string, steps []step) {
	s := newCrashScene(ctx, t, p)
	var jobs []*crashJob
	for _, at := range steps {
		j := s.bring(ctx, t, at)
		j.fate = fateOf(at, victim)
		jobs = append(jobs, j)
	}
	dead := map[string]*child{"asked": s.asked, "leader": s.leader, "executor": s.executor}[victim]
	if dead != nil {
		dead.kill()
	} else {
		s.executor.killWorkers()
	}
	for _, c := range s.nodes {
		c.tell("release")
	}
	for _, c := range s.nodes {
		if c != s.executor {
			if _, err := s.spare.client.Resume(ctx, c.id); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, j := range jobs {
		s.judge(ctx, t, j, dead)
	}
	if dead != nil {
		dead.start().up(ctx)
	}
	p.whole(ctx)
	for _, j := range jobs { // what the dead node had is back with it
		if out := outputs(ctx, t, s.spare.client, j.id); out != strings.Repeat("hello\n", crashTasks) {
			t.Errorf("%s: %d bytes of output, want %d lines", j.step, len(out), crashTasks)
		}
	}
}

// newCrashScene chooses the nodes, and leaves room on the executor only.
func newCrashScene(ctx context.Context, t *testing.T, p *processes) *crashScene {
	t.Helper()
	s := &crashScene{processes: p, leader: p.leader(ctx)}
	others := slices.DeleteFunc(slices.Clone(p.nodes), func(c *child) bool { return c == s.leader })
	s.asked, s.executor, s.spare = others[0], others[1], others[2]
	for _, c := range p.nodes {
		if c != s.executor {
			if _, err := s.leader.client.Drain(ctx, c.id); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// bring submits a job and waits until it is held at a step.
func (s *crashScene) bring(ctx context.Context, t *testing.T, at step) *crashJob {
	t.Helper()
	module := pushVariant(ctx, t, s.spare.client)
	j := &crashJob{
		step: at, id: newKey(), answer: make(chan error, 1), told: make(chan error, 1),
		file: fmt.Appendf(nil, "module: %s\ncount: %d\nlimits: {fuel: 10M}\nretry: {loss_grace: 0s}\n", module, crashTasks),
	}
	by, key := s.asked, j.id
	switch at {
	case stepPlanned:
		by = s.leader
	case stepPlaced:
		by = s.leader
		s.executor.hold(ctx, stepSeen, key) // it may have heard already, and must not begin
	case stepSeen, stepRunning, stepEnded:
		by = s.executor
	case stepFetched:
		by, key = s.executor, strings.TrimPrefix(module, "sha256:")
	}
	by.hold(ctx, at, key)
	go func() {
		_, err := s.asked.client.Submit(ctx, j.file, j.id)
		j.answer <- err
	}()
	if at == stepTold {
		go func() {
			j.told <- <-j.answer
			j.answer <- nil
			j.told <- s.watch(ctx, s.asked, j)
		}()
		if err := <-j.told; err != nil {
			t.Fatal(err)
		}
	}
	by.reached(ctx, at, key)
	return j
}

var errCut = errors.New("stream of events was cut")

// watch follows the job's events, until they or the node end.
func (s *crashScene) watch(ctx context.Context, at *child, j *crashJob) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := at.ended
	go func() {
		select {
		case <-ended:
			cancel(errCut)
		case <-ctx.Done():
		}
	}()
	return at.client.Watch(ctx, j.id, uint32(len(j.events))+1, func(e api.Event) error {
		j.events = append(j.events, e.Number)
		return nil
	})
}

// judge compares what has become of a job with its fate. dead is the node that is.
func (s *crashScene) judge(ctx context.Context, t *testing.T, j *crashJob, dead *child) {
	t.Helper()
	answered := <-j.answer == nil
	if want := j.fate != absent && j.fate != unsaid; answered != want {
		t.Errorf("%s: the submission is answered: %t, want %t", j.step, answered, want)
	}
	again, err := s.spare.client.Submit(ctx, j.file, j.id)
	if err != nil || again.ID != j.id || again.Known != (j.fate != absent) {
		t.Errorf("%s: submitted again it is %+v, %v, want %s", j.step, again, err, j.fate)
	}
	on := oncePerTask(ctx, t, s.spare.client, j.id, crashTasks)
	here := map[string]bool{s.executor.id: true}
	if j.fate == stays && !maps.Equal(on, here) || j.fate == moves && on[s.executor.id] {
		t.Errorf("%s: tasks have ended on %v, %s has had them, want %s", j.step, on, s.executor.id, j.fate)
	}
	if j.step == stepTold {
		s.heard(ctx, t, j, dead)
	}
}

// heard verifies that the job's client hears of every event once: at the node that
// it asked first, or, when that is dead, at another from where it was.
func (s *crashScene) heard(ctx context.Context, t *testing.T, j *crashJob, dead *child) {
	t.Helper()
	err := <-j.told
	if dead == s.asked {
		if !errors.Is(err, errCut) {
			t.Errorf("the stream of a node that is dead: %v, want %v", err, errCut)
		}
		err = s.watch(ctx, s.spare, j)
	}
	job, wrong := s.spare.client.Job(ctx, j.id, client.Fresh{})
	if err = errors.Join(err, wrong); err != nil || len(j.events) != int(job.Events) {
		t.Errorf("the client has heard of %d events of %d: %v", len(j.events), job.Events, err)
	}
	for i, n := range j.events {
		if n != uint32(i)+1 {
			t.Errorf("events %v", j.events)
			break
		}
	}
}
