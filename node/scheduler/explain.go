package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

// errNoTasks is returned by Explain for a job of no tasks.
var errNoTasks = errors.New("the job has no tasks")

// Explanation says what would become of a job that was submitted now.
type Explanation struct {
	// Tasks is how many it has, Started how many of them would be given to Nodes
	// by the next pass.
	Tasks, Started uint64
	// Nodes are those that would get tasks, the first first.
	Nodes []Share
	// Reasons say why the others would wait; nil when there are none.
	Reasons *placement.Reasons
	// Ahead is how many jobs of the queue go first, of Queued: those of higher
	// bands, and the tenant's own. With others' of its band it takes turns.
	Ahead, Queued int
}

// Share is what a node would get.
type Share struct {
	Node ledger.NodeID
	// Tasks are run in Slots of the node.
	Tasks, Slots uint64
}

// Explain plans as if a job had been submitted that comes after all others of its
// band. Nothing is changed. It returns ErrNotLeader when this node does not
// schedule: ask the leader.
func (s *Scheduler) Explain(ctx context.Context, spec ledger.JobSpec) (Explanation, error) {
	if spec.Count == 0 {
		return Explanation{}, fmt.Errorf("explain: %w", errNoTasks)
	}
	var e Explanation
	var err error
	if err := s.ask(ctx, func(l *lead) { e, err = l.explain(&spec) }); err != nil {
		return Explanation{}, err
	}
	if err != nil {
		return Explanation{}, fmt.Errorf("explain: %w", err)
	}
	return e, nil
}

// Answer returns nil as soon as the loop has come round, or at once when this node
// does not schedule, and an error when ctx ends before.
func (s *Scheduler) Answer(ctx context.Context) error {
	err := s.ask(ctx, func(*lead) {})
	if err == nil || errors.Is(err, ErrNotLeader) {
		return nil
	}
	return fmt.Errorf("scheduler does not answer: %w", err)
}

// ask has the loop call f, and returns when it has. It returns ErrNotLeader when
// this node does not schedule.
func (s *Scheduler) ask(ctx context.Context, f func(l *lead)) error {
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if l == nil {
		return ErrNotLeader
	}
	done := make(chan struct{})
	select {
	case l.calls <- func() { defer close(done); f(l) }:
		<-done
		return nil
	case <-l.ended:
		return ErrNotLeader
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hypothetical is the id of the job that Explain plans: no submitted job has it.
var hypothetical = ledger.JobID{0: 0xff, 15: 0xff}

func (l *lead) explain(spec *ledger.JobSpec) (Explanation, error) {
	now := time.Now()
	in, err := l.input(now)
	if err != nil {
		return Explanation{}, err
	}
	job := placement.Job{
		ID: hypothetical, Spec: spec, Since: in.Now, ExpectedNanos: max(in.Params.WorkNanosMax/probeRounds, 1),
		Pending: []ledger.Pending{{Job: hypothetical, Tasks: ledger.Tasks(0, spec.Count)}},
	}
	if _, err := l.config.Ledger.View(func(tx ledger.Tx) (err error) {
		if job.Bound, err = placement.Bounds(tx, spec); err != nil {
			return err
		}
		m, err := ledger.FindModule(tx, spec.Module)
		if errors.Is(err, ledger.ErrNotFound) {
			return nil
		}
		job.ModuleBytes = m.Bytes
		return err
	}); err != nil {
		return Explanation{}, err
	}
	e := Explanation{Tasks: uint64(spec.Count), Queued: len(in.Jobs)}
	at := len(in.Jobs)
	if i := slices.IndexFunc(in.Jobs, func(j placement.Job) bool { return j.Spec.Band < spec.Band }); i >= 0 {
		at = i
	}
	for i := range in.Jobs[:at] {
		if s := in.Jobs[i].Spec; s.Band > spec.Band || s.Tenant == spec.Tenant {
			e.Ahead++
		}
	}
	in.Jobs = slices.Insert(slices.Clone(in.Jobs), at, job)
	if err := l.claim(&in, spec.Tenant); err != nil {
		return Explanation{}, err
	}
	if !slices.ContainsFunc(in.Quotas, func(q placement.Quota) bool { return q.Tenant == spec.Tenant }) {
		if q, bounded := placement.QuotaOf(l.backlog.Tenant(spec.Tenant)); bounded {
			in.Quotas = append(slices.Clone(in.Quotas), q)
		}
	}
	e.read(l.planner.Plan(in))
	return e, nil
}

// claim adds a tenant's claim to an input that lacks it.
func (l *lead) claim(in *placement.Input, id ledger.TenantID) error {
	t := l.backlog.Tenant(id)
	if t == nil || slices.ContainsFunc(in.Claims, func(c placement.Claim) bool { return c.Tenant == id }) {
		return nil
	}
	_, err := l.config.Ledger.View(func(tx ledger.Tx) error {
		c, err := l.snapshot.Claim(tx, t, in.Now)
		in.Claims = append(slices.Clone(in.Claims), c)
		return err
	})
	return err
}

// read takes what a plan has for the job.
func (e *Explanation) read(out placement.Output) {
	for _, p := range out.Placements {
		if p.Job != hypothetical {
			continue
		}
		e.Started += uint64(p.Count)
		at := slices.IndexFunc(e.Nodes, func(s Share) bool { return s.Node == p.Node })
		if at < 0 {
			at = len(e.Nodes)
			e.Nodes = append(e.Nodes, Share{Node: p.Node})
		}
		e.Nodes[at].Tasks += uint64(p.Count)
		e.Nodes[at].Slots += uint64(p.Slots)
	}
	for _, o := range out.Left {
		if o.Job == hypothetical {
			e.Reasons = o.Reasons
		}
	}
}
