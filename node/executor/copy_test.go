package executor

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
)

// asked is one object of which a copy is wanted.
type asked struct {
	job   ledger.JobID
	h     content.Hash
	bytes int64
	small []byte
}

// copies hands over what it is asked for, and waits until it may go on.
type copies struct{ asked, copied chan asked }

func (c *copies) Result(ctx context.Context, job ledger.JobID, h content.Hash, size int64, small []byte) {
	a := asked{job, h, size, bytes.Clone(small)}
	c.asked <- a
	select {
	case c.copied <- a:
	case <-ctx.Done():
	}
}

// TestCopiedBeforeReported: small results are handed over whole, large ones when they
// are stored, and neither is reported before there was time for a copy.
func TestCopiedBeforeReported(t *testing.T) {
	g := newGrid(t)
	g.box.run = func(a attempt) task.Outcome {
		_, _ = fmt.Fprint(a.streams.Stdout, strings.Repeat("x", 10+a.index*10_000))
		return exit(0)
	}
	c := &copies{asked: make(chan asked), copied: make(chan asked)}
	g.open(func(config *Config) { config.Copies, config.SmallBytesMax = c, 5000 })
	id := g.submit(2, &jobspec.Program{}, nil)
	for task := range uint32(2) {
		g.place(id, task, 1, 1)
		a := <-c.asked
		if a.job != id || (task == 0) != (a.small != nil) || a.small != nil && (content.Sum(a.small) != a.h || int64(len(a.small)) != a.bytes) {
			t.Errorf("task %d: %d bytes of %d of job %s", task, len(a.small), a.bytes, a.job)
		}
		if info, err := g.store.Stat(a.h); task == 1 && (err != nil || info.Size != a.bytes || info.Pins != 1) {
			t.Errorf("a large result is %+v, %v", info, err)
		}
		if n := g.faults.count(isReport); n != int(task) {
			t.Errorf("%d reports before the copy of task %d", n, task)
		}
		<-c.copied
		g.await("it is reported", func(tx ledger.Tx) bool {
			j, err := ledger.FindJob(tx, id)
			return err == nil && j.Tasks[ledger.TaskSucceeded] == task+1
		})
		if list := g.store.Owned(result.Owner(id)); len(list) != int(task)+1 {
			t.Errorf("%d objects are pinned for the job", len(list))
		}
	}
}
