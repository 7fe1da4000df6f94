package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/node/httpd"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/scheduler"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// step is a place in the life of a job at which the node that has come there can
// be held. The numbers are those of DESIGN.md's eight steps.
type step string

const (
	// stepAdmitted, 1: the node that was asked is about to propose the job.
	stepAdmitted step = "admitted"
	// stepSubmitted, 2: the job is committed, the client has no answer.
	stepSubmitted step = "submitted"
	// stepPlanned, 3: the leader has a plan and is about to propose it.
	stepPlanned step = "planned"
	// stepPlaced, 4: the placement is committed, the scheduler does not know.
	stepPlaced step = "placed"
	// stepSeen, 5: the executor sees its lease and has not taken it.
	stepSeen step = "seen"
	// stepFetched, 6: the module is here, and not compiled.
	stepFetched step = "fetched"
	// stepRunning, 7: a task has begun to write its output.
	stepRunning step = "running"
	// stepEnded, 7: outcomes are in the journal and about to be reported.
	stepEnded step = "ended"
	// stepTold, 8: the job has ended, and its client has not heard of it.
	stepTold step = "told"
)

// gate holds a node at steps. say is told of each that is reached.
type gate struct {
	say func(s step, key string)

	mu    sync.Mutex
	armed map[string]chan struct{}
}

func gateKey(s step, key string) string { return string(s) + " " + key }

// hold has the node held at a step of a job or, at stepFetched, of a module, at
// stepRunning also of a task.
func (g *gate) hold(s step, key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.armed == nil {
		g.armed = map[string]chan struct{}{}
	}
	g.armed[gateKey(s, key)] = make(chan struct{})
}

// release lets everything go on.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.armed {
		close(c)
	}
	clear(g.armed)
}

// let has one that is held go on.
func (g *gate) let(s step, key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.armed[gateKey(s, key)]; c != nil {
		close(c)
		delete(g.armed, gateKey(s, key))
	}
}

// reach is called at a step.
func (g *gate) reach(s step, key string) {
	g.mu.Lock()
	c := g.armed[gateKey(s, key)]
	g.mu.Unlock()
	if c != nil {
		g.say(s, key)
		<-c
	}
}

// alter stands between the parts of a node.
func (g *gate) alter(part any) {
	switch c := part.(type) {
	case *httpd.Config:
		c.Ledger = gatedAPI{c.Ledger, g}
	case *scheduler.Config:
		c.Ledger = gatedScheduler{c.Ledger, g}
	case *executor.Config:
		c.Ledger = gatedExecutor{c.Ledger, g, c.Node}
		c.Sandbox = gatedSandbox{c.Sandbox, g}
		c.Accept = func(l ledger.Lease, _ ledger.JobSpec) ledger.Cause {
			g.reach(stepSeen, l.Job.String())
			return ledger.CauseNone
		}
	}
}

// gatedAPI is the ledger as the API has it.
type gatedAPI struct {
	httpd.Ledger
	g *gate
}

func (a gatedAPI) Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	s, ok := c.(*ledger.Submit)
	if !ok {
		return a.Ledger.Do(ctx, c)
	}
	a.g.reach(stepAdmitted, s.Job.String())
	r, index, err := a.Ledger.Do(ctx, c)
	a.g.reach(stepSubmitted, s.Job.String())
	return r, index, err
}

func (a gatedAPI) Watch(ctx context.Context, prefix []byte, from uint64, visit func(uint64, []replica.Change) error) error {
	id := ledger.JobID(prefix[1:])
	return a.Ledger.Watch(ctx, prefix, from, func(index uint64, changes []replica.Change) error {
		final := false
		if _, err := a.View(func(tx ledger.Tx) error {
			j, err := ledger.FindJob(tx, id)
			final = j.State.Final()
			return err
		}); err == nil && final {
			a.g.reach(stepTold, id.String())
		}
		return visit(index, changes)
	})
}

// gatedScheduler is the ledger as the scheduler has it.
type gatedScheduler struct {
	scheduler.Ledger
	g *gate
}

func (s gatedScheduler) Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	var jobs []string
	if p, ok := c.(*ledger.Place); ok {
		for i := range p.Placements {
			jobs = append(jobs, p.Placements[i].Job.String())
		}
		slices.Sort(jobs)
		jobs = slices.Compact(jobs)
	}
	for _, job := range jobs {
		s.g.reach(stepPlanned, job)
	}
	r, index, err := s.Ledger.Do(ctx, c)
	for _, job := range jobs {
		s.g.reach(stepPlaced, job)
	}
	return r, index, err
}

// gatedExecutor is the ledger as the executor has it.
type gatedExecutor struct {
	executor.Ledger
	g    *gate
	node ledger.NodeID
}

func (e gatedExecutor) Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	if r, ok := c.(*ledger.Report); ok {
		for _, job := range e.jobs(r) {
			e.g.reach(stepEnded, job)
		}
	}
	return e.Ledger.Do(ctx, c)
}

// jobs are those that a report is about.
func (e gatedExecutor) jobs(r *ledger.Report) (jobs []string) {
	_, _ = e.View(func(tx ledger.Tx) error {
		leases, err := ledger.LeasesOf(tx, e.node, 0, ledger.ItemsMax)
		for i := range leases {
			if slices.ContainsFunc(r.Leases, func(l ledger.LeaseReport) bool { return l.Epoch == leases[i].Epoch }) {
				jobs = append(jobs, leases[i].Job.String())
			}
		}
		return err
	})
	return jobs
}

// gatedSandbox is the pool as the executor has it.
type gatedSandbox struct {
	executor.Sandbox
	g *gate
}

func (s gatedSandbox) Prepare(ctx context.Context, tenant string, module [32]byte, open func() (io.ReadCloser, error)) (worker.Image, error) {
	s.g.reach(stepFetched, hex.EncodeToString(module[:]))
	return s.Sandbox.Prepare(ctx, tenant, module, open)
}

func (s gatedSandbox) RunSeries(ctx context.Context, tenant string, image worker.Image, tasks []worker.Task, ended func(i int, o task.Outcome), back func(from, to int)) {
	for i := range tasks {
		o := gatedOutput{Writer: tasks[i].Streams.Stdout, g: s.g}
		for _, v := range tasks[i].Spec.Env {
			switch name, value, _ := strings.Cut(v, "="); name {
			case jobspec.EnvironJob:
				o.job = value
			case jobspec.EnvironIndex:
				o.index = value
			}
		}
		tasks[i].Streams.Stdout = o
	}
	s.Sandbox.RunSeries(ctx, tenant, image, tasks, ended, back)
}

// gatedOutput is the output of a task.
type gatedOutput struct {
	io.Writer
	g          *gate
	job, index string
}

func (o gatedOutput) Write(b []byte) (int, error) {
	o.g.reach(stepRunning, o.job)
	o.g.reach(stepRunning, taskKey(o.job, o.index))
	return o.Writer.Write(b)
}

// taskKey names one task of a job, which alone is held.
func taskKey[I string | int](job string, index I) string { return fmt.Sprint(job, "/", index) }

// hasten makes a node find sooner than in production that a member may vote. Leases
// and elections take as long as they do there, so that a busy machine does not look
// like a fault.
func hasten(part any) {
	if c, ok := part.(*book.Config); ok {
		c.Replica.StableAfter, c.Replica.HealInterval = 300*time.Millisecond, 200*time.Millisecond
	}
}

// gridPatience bounds a test of many faults, on a machine that does much else.
const gridPatience = 2 * patience
