package node

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/node/scheduler"
)

// clock is a machine's clock, which can be set wrong by so many nanoseconds.
type clock struct{ wrong atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.wrong.Load())) }

// alter gives the clock to the parts that look at one.
func (c *clock) alter(part any) {
	switch p := part.(type) {
	case *book.Config:
		p.Now = c.now
	case *executor.Config:
		p.Now = c.now
	case *scheduler.Config:
		p.Now = c.now
	}
}

// jumps are the nodes whose clock jumps while jobs of each kind run on the node
// "worker", and what is then.
var jumps = []struct {
	name, of string
	by       time.Duration
	// running is what becomes of the jobs while the clock is wrong: they move and end
	// on other nodes, or it is open whether they end before it is right.
	running string
	// here and elsewhere are the answers to a job that is submitted to the node with
	// the wrong clock, and to another one: accepted or refused, at once.
	here, elsewhere string
	// When the clock is right again what was refused is accepted. All jobs succeed,
	// each task once, with all of its output, and all replicas are the same.
}{
	{name: "worker an hour ahead", of: "worker", by: time.Hour, running: "move", here: "refused", elsewhere: "accepted"},
	{name: "worker an hour behind", of: "worker", by: -time.Hour, running: "move", here: "refused", elsewhere: "accepted"},
	{name: "leader an hour ahead", of: "leader", by: time.Hour, running: "open", here: "accepted", elsewhere: "refused"},
	{name: "leader an hour behind", of: "leader", by: -time.Hour, running: "open", here: "accepted", elsewhere: "refused"},
}

const clockNodes = 3

// TestClockJumps: the leader and a node whose clocks differ too much do not hear one
// another, and say so; nothing is lost by that, and nothing counts twice.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for _, c := range jumps {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && (c.of != "leader" || c.by > 0) {
				t.Skip("a sample will do")
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
			defer cancel()
			s := newSplitScene(ctx, t, clockNodes, nil)
			list := s.run(ctx, t)
			wrong := map[string]*memoryNode{"worker": s.executor, "leader": s.leader}[c.of]
			wrong.clock.wrong.Store(int64(c.by))
			here, elsewhere := s.jobs(wrong)[0], s.jobs(s.near)[0]
			for j, want := range map[*splitJob]string{here: c.here, elsewhere: c.elsewhere} {
				err := s.send(ctx, j)
				if refused := err != nil && strings.Contains(err.Error(), ledger.ErrClock.Error()); refused != (want == "refused") || !refused && err != nil {
					t.Errorf("a submission at %s, %s is wrong: %v, want it %s", j.at.name, wrong.name, err, want)
				}
			}
			for _, n := range s.nodes {
				n.gate.release()
			}
			if c.running == "move" {
				s.during(ctx, t, c.running, list, nil)
			}
			wrong.clock.wrong.Store(0)
			for _, j := range []*splitJob{here, elsewhere} {
				if err := s.send(ctx, j); err != nil {
					t.Errorf("a submission at %s, all clocks are right: %v", j.at.name, err)
				}
				list = append(list, j)
			}
			s.after(ctx, t, list)
		})
	}
}
