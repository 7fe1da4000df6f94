package executor

import (
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/task"
)

// TestGiveWay: a lease that has to give way to a higher band hands back at once what has
// not begun; its guest is told, and cut short when the notice is over. No attempt
// is counted.
func TestGiveWay(t *testing.T) {
	g := newGrid(t)
	running, told := make(chan struct{}, 1), make(chan struct{}, 1)
	g.box.run = func(a attempt) task.Outcome {
		running <- struct{}{}
		<-a.notice.Done()
		told <- struct{}{}
		return a.cancelled()
	}
	// By this clock the notice is over as soon as it is there, but for a moment.
	g.open(func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ledger.NoticeNanos) - 2*time.Second) }
	})
	low := g.submit(3, &jobspec.Program{}, nil)
	epoch := g.place(low, 0, 3, 1)
	<-running
	high := g.submit(1, &jobspec.Program{}, func(s *ledger.JobSpec) { s.Band = 3 })
	g.do(&ledger.Preempt{Job: high, Leases: []ledger.LeaseName{{Node: self, Epoch: epoch}}})
	<-told
	g.await("all are handed back", func(tx ledger.Tx) bool {
		list, err := ledger.PendingOf(tx, low, 10)
		tasks := uint32(0)
		for _, p := range list {
			tasks += p.Tasks.Count()
			if p.Cause != ledger.CausePreempted || p.For != 3 || p.Attempt != 0 || p.Losses != 0 || p.Preempted == 0 || len(p.Avoid) > 0 {
				t.Fatalf("%+v", p)
			}
		}
		j, missing := ledger.FindJob(tx, low)
		return err == nil && missing == nil && tasks == 3 && j.Leases == 0
	})
	if n := len(running); n != 0 {
		t.Errorf("%d more have begun", n)
	}
}
