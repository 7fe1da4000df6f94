package executor

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// left are tasks that an earlier process has begun.
type left struct {
	keys []string

	mu        sync.Mutex
	discarded []string
	changed   chan struct{}
}

func newLeft(keys ...string) *left { return &left{keys: keys, changed: make(chan struct{}, 1)} }

func (l *left) Kept() []string { return l.keys }

func (l *left) Discard(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.discarded = append(l.discarded, key)
	notify(l.changed)
}

// await waits until so many were discarded, and verifies which.
func (l *left) await(t *testing.T, want ...string) {
	t.Helper()
	for timeout := time.After(patience); ; {
		l.mu.Lock()
		got := slices.Sorted(slices.Values(l.discarded))
		l.mu.Unlock()
		if len(got) >= len(want) {
			if slices.Sort(want); !slices.Equal(got, want) {
				t.Errorf("discarded %q, want %q", got, want)
			}
			return
		}
		select {
		case <-l.changed:
		case <-timeout:
			t.Fatalf("discarded %q, want %q", got, want)
		}
	}
}

// order notes the tasks that a sandbox is given, in turn.
type order struct {
	mu     sync.Mutex
	series [][]uint32
}

func (o *order) box(b *box) { b.series = o.run }

func (o *order) note(tasks []worker.Task) {
	var list []uint32
	for i := range tasks {
		k, _ := decodeTaskKey(tasks[i].Key)
		list = append(list, k.index)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.series = append(o.series, list)
}

func (o *order) run(tasks []worker.Task, ended func(int, task.Outcome), _ func(from, to int)) {
	o.note(tasks)
	for i := range tasks {
		ended(i, exit(0))
	}
}

// TestKept: of a lease that is taken up again those tasks go on first that an
// earlier process has begun, each on its own; what has ended for the ledger, is
// another attempt's or makes no sense is ended.
func TestKept(t *testing.T) {
	g := newGrid(t)
	id := g.submit(20, &jobspec.Program{}, nil)
	epoch := g.place(id, 0, 20, 1)
	key := func(index uint32) taskKey { return taskKey{job: id, epoch: epoch, index: index} }
	otherJob, otherAttempt := key(13), key(14)
	otherJob.job[0]++
	otherAttempt.attempt = 3
	bad := []string{"nonsense", otherJob.encode(), otherAttempt.encode(), key(20).encode()}
	orphans := newLeft(append([]string{key(17).encode(), key(11).encode()}, bad...)...)
	var o order
	o.box(g.box)
	g.box.run = func(a attempt) task.Outcome {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.series = append(o.series, []uint32{uint32(a.index)})
		return exit(0)
	}
	g.open(func(c *Config) { c.Orphans = orphans })
	g.await("the lease has ended", func(tx ledger.Tx) bool {
		list, err := ledger.LeasesOf(tx, self, 0, 10)
		return err == nil && len(list) == 0
	})
	orphans.await(t, bad...)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.series) < 3 || !slices.Equal(o.series[0], []uint32{11}) || !slices.Equal(o.series[1], []uint32{17}) {
		t.Errorf("tasks are run as %v, want 11, then 17, then the others", o.series)
	}
	all := slices.Concat(o.series...)
	if slices.Sort(all); len(slices.Compact(all)) != 20 {
		t.Errorf("tasks are run as %v, want each of 20 once", o.series)
	}
}

// TestKeptUnclaimed: tasks whose lease does not show up are ended when it has run
// out.
func TestKeptUnclaimed(t *testing.T) {
	g := newGrid(t)
	lost := taskKey{epoch: 77, index: 1}.encode()
	orphans := newLeft(lost)
	opened := time.Now()
	e := g.open(func(c *Config) {
		c.Orphans, c.Lease, c.RenewInterval = orphans, 300*time.Millisecond, 20*time.Millisecond
	})
	orphans.await(t, lost)
	if took := time.Since(opened); took < e.config.Lease {
		t.Errorf("it is ended after %s, before its lease can have run out", took)
	}
}

// TestKeptRefused: tasks of a lease that is not worked on are ended.
func TestKeptRefused(t *testing.T) {
	for name, change := range map[string]func(g *grid, id ledger.JobID, c *Config){
		"refused": func(_ *grid, _ ledger.JobID, c *Config) {
			c.Accept = func(ledger.Lease, ledger.JobSpec) ledger.Cause { return ledger.CauseRefused }
		},
		"stopped":   func(g *grid, id ledger.JobID, _ *Config) { g.do(&ledger.Cancel{Job: id}) },
		"no module": func(g *grid, _ ledger.JobID, _ *Config) { g.box.refuse = errAway },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrid(t)
			id := g.submit(4, &jobspec.Program{}, nil)
			key := taskKey{job: id, epoch: g.place(id, 0, 4, 1), index: 2}.encode()
			orphans := newLeft(key)
			g.open(func(c *Config) {
				c.Orphans = orphans
				change(g, id, c)
			})
			orphans.await(t, key)
		})
	}
}

func TestTaskKey(t *testing.T) {
	k := taskKey{job: ledger.JobID{1, 2, 3, 15: 16}, epoch: 1 << 40, attempt: 5, index: 9_999_999}
	if got, ok := decodeTaskKey(k.encode()); !ok || got != k {
		t.Errorf("%+v becomes %+v, %t", k, got, ok)
	}
	if taskKeyBytes > worker.KeyBytesMax {
		t.Errorf("a key takes %d bytes, at most %d", taskKeyBytes, worker.KeyBytesMax)
	}
}

// FuzzTaskKey: what is a key is that of one attempt at one task.
func FuzzTaskKey(f *testing.F) {
	f.Add(taskKey{epoch: 1, index: 2}.encode())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if k, ok := decodeTaskKey(text); ok != (len(text) == taskKeyBytes) || ok && k.encode() != text {
			t.Errorf("%q becomes %+v, %t", text, k, ok)
		}
	})
}
