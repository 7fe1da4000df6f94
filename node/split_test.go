package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/p2p"
)

// splits is the partition matrix. Five nodes vote. When the network splits, each
// kind of job runs on the executor, and has begun to write its output there. Then
// one of each kind is submitted on the side that has the majority, and one on the
// other.
var splits = []struct {
	name string
	// far are those on the side of the minority: the leader, the executor, another
	// node. What they say does not arrive at the others.
	far []string
	// oneWay says that they hear the others; otherwise nothing arrives on either
	// side.
	oneWay bool

	// While the network is split: leader is who leads the majority, the one of
	// before or another one. running is what becomes of the jobs that run: they stay
	// and end on the executor, or move and end on others. In each row the jobs that
	// are submitted to the majority end, and those that are submitted to the minority
	// get no answer.
	leader, running string
	// After healing all jobs have succeeded, each task once, with all of its output;
	// a submission that had no answer gets one, or, made again with the same key, is
	// one job. All replicas are the same, and the ledger's invariants hold.
}{
	{name: "symmetric", far: []string{"leader", "executor"}, leader: "another", running: "move"},
	{name: "one-way", far: []string{"leader"}, oneWay: true, leader: "another", running: "stay"},
	{name: "leader alone", far: []string{"leader"}, leader: "another", running: "stay"},
	{name: "minority with the executor", far: []string{"executor", "other"}, leader: "same", running: "move"},
}

// splitKinds are the kinds of job beside splitOrder. Each begins with one that writes
// a line per task; after says that another one depends on it.
var splitKinds = []struct {
	name  string
	count uint32
	after bool
}{
	{"single", 1, false},
	{"dependent", 1, true},
	{"array", 60, false}, // the last: it takes all slots
}

const splitNodes = 5

// TestPartitionMatrix: however the network splits, the majority goes on, the
// minority promises nothing, and afterwards there is one history.
func TestPartitionMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range splits {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name != "leader alone" {
				t.Skip("a sample will do")
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
			defer cancel()
			s := newSplitScene(ctx, t, splitNodes, c.far)
			running := s.run(ctx, t)
			// The first of its runs waits for room when the network splits.
			orders := []*splitOrder{s.order(ctx, t, 1, s.near)}
			s.waits(ctx, t, orders[0])
			s.split(c.oneWay)
			majority, minority := s.submit(ctx, s.near), s.submit(ctx, s.far[0])
			orders = append(orders, s.order(ctx, t, 2, s.near), s.order(ctx, t, 3, s.far[0]))
			for _, n := range s.nodes {
				n.gate.release()
			}
			s.during(ctx, t, c.running, running, majority)
			for _, o := range orders[:2] {
				o.ran(ctx, t, s.near)
			}
			if now := s.led(ctx, t); (now == s.leader) != (c.leader == "same") {
				t.Errorf("%s leads the majority, %s did, want %s", now.name, s.leader.name, c.leader)
			}
			for _, j := range minority {
				select {
				case err := <-j.answer:
					t.Errorf("the minority answers for %s: %v", j.kind, err)
				case err := <-orders[2].answer:
					t.Errorf("the minority answers for an order: %v", err)
				default:
				}
			}
			s.network.Heal()
			s.after(ctx, t, slices.Concat(running, majority, minority), orders...)
		})
	}
}

// splitScene is who is who.
type splitScene struct {
	*memoryGrid
	leader, executor *memoryNode
	// far is the side of the minority, near a node of the majority.
	far    []*memoryNode
	near   *memoryNode
	module string
}

// splitJob is a job of one of the kinds.
type splitJob struct {
	kind   string
	id     string
	count  uint32
	file   []byte
	at     *memoryNode
	answer chan error
	// waits says that it depends on another job.
	waits bool
}

// newSplitScene opens a grid in which there is room on the executor only.
func newSplitScene(ctx context.Context, t *testing.T, nodes int, far []string) *splitScene {
	t.Helper()
	s := &splitScene{memoryGrid: newMemoryGrid(ctx, t, nodes)}
	s.leader = s.led(ctx, t)
	others := slices.DeleteFunc(slices.Clone(s.nodes), func(n *memoryNode) bool { return n == s.leader })
	s.executor = others[0]
	is := map[string]*memoryNode{"leader": s.leader, "executor": s.executor, "other": others[1]}
	for _, name := range far {
		s.far = append(s.far, is[name])
	}
	s.near = others[len(others)-1]
	s.module = push(ctx, t, s.near.client, "hello")
	for _, n := range s.nodes {
		if n != s.executor {
			if _, err := s.leader.client.Drain(ctx, string(n.id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// led returns who leads those that are near.
func (s *splitScene) led(ctx context.Context, t *testing.T) (leader *memoryNode) {
	t.Helper()
	until(ctx, t, "a leader", func() error {
		for _, n := range s.nodes {
			if (s.near == nil || !slices.Contains(s.far, n)) && n.book.Status().Leads {
				leader = n
				return nil
			}
		}
		return errNotYet
	})
	return leader
}

// jobs makes one of each kind.
func (s *splitScene) jobs(at *memoryNode) (list []*splitJob) {
	for _, k := range splitKinds {
		j := &splitJob{kind: k.name, id: newKey(), count: k.count, at: at, answer: make(chan error, 1)}
		j.file = fmt.Appendf(nil, "module: %s\ncount: %d\nlimits: {fuel: 10M}\nretry: {loss_grace: 0s}\n", s.module, k.count)
		list = append(list, j)
		if k.after {
			next := &splitJob{kind: k.name, id: newKey(), count: 1, at: at, answer: make(chan error, 1), waits: true}
			next.file = fmt.Appendf(nil, "module: %s\nlimits: {fuel: 10M}\nretry: {loss_grace: 0s}\nafter: [%s]\n", s.module, j.id)
			list = append(list, next)
		}
	}
	return list
}

// run submits one of each kind and waits until they are held on the executor, each
// that does not wait for another one.
func (s *splitScene) run(ctx context.Context, t *testing.T) []*splitJob {
	t.Helper()
	list := s.jobs(s.near)
	for _, j := range list {
		s.executor.gate.hold(stepRunning, j.id)
		j.answer <- s.send(ctx, j)
	}
	for _, j := range list {
		if !j.waits {
			s.executor.reached(ctx, t, j.id)
		}
	}
	for _, n := range s.nodes {
		if n != s.executor {
			if _, err := s.leader.client.Resume(ctx, string(n.id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return list
}

// send submits a job, and again as long as it is not known whether it is there.
func (s *splitScene) send(ctx context.Context, j *splitJob) error {
	for {
		_, err := j.at.client.Submit(ctx, j.file, j.id)
		if code := problem(err); err == nil || ctx.Err() != nil || code != api.CodeUncertain && code != api.CodeNoLeader {
			return err
		}
	}
}

// submit submits one of each kind, without waiting for an answer.
func (s *splitScene) submit(ctx context.Context, at *memoryNode) []*splitJob {
	list := s.jobs(at)
	go func() {
		for _, j := range list { // one after the other, as they depend on one another
			j.answer <- s.send(ctx, j)
		}
	}()
	return list
}

// split cuts the far nodes off.
func (s *splitScene) split(oneWay bool) {
	var far, near []p2p.NodeID
	for _, n := range s.nodes {
		if slices.Contains(s.far, n) {
			far = append(far, n.id)
		} else {
			near = append(near, n.id)
		}
	}
	if !oneWay {
		s.network.Partition(far, near)
		return
	}
	for _, a := range far {
		for _, b := range near {
			s.network.Block(a, b)
		}
	}
}

// waits waits until the first run of an order is a job.
func (s *splitScene) waits(ctx context.Context, t *testing.T, o *splitOrder) {
	t.Helper()
	if err := <-o.answer; err != nil {
		t.Fatal(err)
	}
	o.known(ctx, t, s.near)
	untilOrder(ctx, t, s.near.Node, s.near.client, o.id.String(), func(is *api.Order) bool {
		return len(is.Runs) > 0 && is.Runs[len(is.Runs)-1].Job != ""
	})
}

// during waits until the majority has done what it can, and verifies where.
func (s *splitScene) during(ctx context.Context, t *testing.T, want string, running, majority []*splitJob) {
	t.Helper()
	for _, j := range slices.Concat(running, majority) {
		if err := <-j.answer; err != nil {
			t.Fatalf("%s: not acknowledged by the majority: %v", j.kind, err)
		}
		on := oncePerTask(ctx, t, s.near.client, j.id, j.count)
		here := on[string(s.executor.id)]
		begun := slices.Contains(running, j) && !j.waits
		if here && want == "move" || !here && want == "stay" && begun {
			t.Errorf("%s: tasks have ended on %v, %s had them, want them to %s", j.kind, on, s.executor.id, want)
		}
	}
}

// after verifies what is there when the network is whole again.
func (s *splitScene) after(ctx context.Context, t *testing.T, list []*splitJob, orders ...*splitOrder) {
	t.Helper()
	s.whole(ctx, t)
	for i, o := range orders {
		// The first one's answer was taken before.
		if i > 0 {
			if err := <-o.answer; err != nil {
				t.Errorf("order of %s: not accepted after healing: %v", o.at.name, err)
			}
		}
		o.end(ctx, t, s.near)
	}
	for _, j := range list {
		if len(s.far) > 0 && j.at == s.far[0] {
			if err := <-j.answer; err != nil {
				t.Errorf("%s: not accepted after healing: %v", j.kind, err)
			}
		}
		if again, err := s.near.client.Submit(ctx, j.file, j.id); err != nil || !again.Known {
			t.Errorf("%s: submitted again it is %+v, %v", j.kind, again, err)
		}
		oncePerTask(ctx, t, s.near.client, j.id, j.count)
	}
	jobs, err := s.near.client.Jobs(ctx, "", client.Page{})
	if submitted := slices.DeleteFunc(jobs.Jobs, func(j api.Job) bool { return j.Order != "" }); err != nil || len(submitted) != len(list) {
		t.Errorf("there are %d jobs that no order has made, want %d: %v", len(submitted), len(list), err)
	}
	s.alike(ctx, t)
	for _, j := range list {
		for _, n := range s.nodes {
			if out := outputs(ctx, t, n.client, j.id); out != strings.Repeat("hello\n", int(j.count)) {
				t.Errorf("%s has %d bytes of output of %s, want %d lines", n.name, len(out), j.kind, j.count)
			}
		}
	}
}
