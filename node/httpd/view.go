package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/inspection"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/lint"
)

const (
	// rangesMax bounds the ranges of tasks in one state that a map is made from;
	// those behind count as queued, or killed when the job has ended.
	rangesMax = 1 << 16
	// inspectionsMax bounds the modules that are inspected at the same time; further
	// requests wait.
	inspectionsMax = 1
	// inspectionFresh is how long a client may keep an inspection, which changes with
	// the node's version only.
	inspectionFresh = "private, max-age=3600"
)

type mapQuery struct {
	At
	ID    string `path:"id"`
	From  uint32 `query:"from" doc:"Begin with this task"`
	End   uint32 `query:"end" doc:"End before this task; 0 is behind the last"`
	Cells int    `query:"cells" minimum:"0" maximum:"4096" doc:"At most so many cells; 0 is 1024"`
}

// mapTasks counts the tasks of a stretch of a job by cell and state, however many
// there are.
func (s *server) mapTasks(ctx context.Context, q *mapQuery) (*answer[api.TaskMap], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	var out api.TaskMap
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		j, err := who(ctx).job(tx, id)
		if err != nil {
			return err
		}
		if q.From >= j.Count {
			return api.NewProblem(api.CodeNotFound, fmt.Sprintf("job %s has no task %d: it has %d", q.ID, q.From, j.Count), "")
		}
		c := newCells(q, j.Count)
		if err := c.count(tx, &j); err != nil {
			return err
		}
		out = c.answer(j.State.Final())
		return nil
	})
	return &answer[api.TaskMap]{out}, err
}

// cells counts tasks by state, per of them in each.
type cells struct {
	from, end, per uint32
	tallies        []ledger.Tally
}

func newCells(q *mapQuery, count uint32) *cells {
	most := uint32(api.CellsDefault)
	if q.Cells > 0 {
		most = uint32(q.Cells)
	}
	c := &cells{from: q.From, end: count}
	if q.End > q.From {
		c.end = min(q.End, count)
	}
	n := c.end - c.from
	c.per = (n-1)/most + 1
	c.tallies = make([]ledger.Tally, (n-1)/c.per+1)
	return c
}

// count looks at the states in which the job has tasks.
func (c *cells) count(tx ledger.Tx, j *ledger.Job) error {
	for state := ledger.TaskWaiting; state <= ledger.TaskRefused; state++ {
		if j.Tasks[state] == 0 {
			continue
		}
		list, err := ledger.TasksIn(tx, j.ID, state, c.from, rangesMax)
		if err != nil {
			return err
		}
		for _, r := range list {
			r.Within(c.from, c.end).Runs(func(first, end uint32) { c.add(state, first, end) })
		}
	}
	return nil
}

func (c *cells) add(state ledger.TaskState, first, end uint32) {
	for first < end {
		cell := (first - c.from) / c.per
		next := min(end, c.from+(cell+1)*c.per)
		c.tallies[cell][state] += next - first
		first = next
	}
}

// answer gives each cell as many tasks as it has: one with a spare is in two leases
// and was counted twice, one that was killed while it waited is written down nowhere.
func (c *cells) answer(final bool) api.TaskMap {
	out := api.TaskMap{From: c.from, End: c.end, Per: c.per, Cells: make([]api.Tasks, len(c.tallies))}
	rest := ledger.TaskQueued
	if final {
		rest = ledger.TaskKilled
	}
	for i := range c.tallies {
		t := &c.tallies[i]
		size, sum := min(c.per, c.end-c.from-uint32(i)*c.per), uint32(0)
		for _, n := range t {
			sum += n
		}
		for _, state := range []ledger.TaskState{ledger.TaskLeased, ledger.TaskRunning, ledger.TaskUnreachable} {
			twice := min(sum-min(sum, size), t[state])
			t[state], sum = t[state]-twice, sum-twice
		}
		t[rest] += size - min(size, sum)
		out.Cells[i] = tally(*t)
	}
	return out
}

type leaseQuery struct {
	At
	Node  string `path:"node"`
	After uint64 `query:"after" doc:"Continue behind this lease's epoch"`
	Limit int    `query:"limit" minimum:"0"`
}

// listLeases lists what a node was given and has not ended.
func (s *server) listLeases(ctx context.Context, q *leaseQuery) (*answer[api.Leases], error) {
	out := api.Leases{Leases: []api.Lease{}}
	limit := page(q.Limit)
	var err error
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		if _, err := ledger.FindNode(tx, ledger.NodeID(q.Node)); err != nil {
			return err
		}
		list, err := ledger.LeasesOf(tx, ledger.NodeID(q.Node), ledger.Epoch(q.After), limit)
		for i := range list {
			lease := translateLease(&list[i])
			if _, err := who(ctx).job(tx, list[i].Job); errors.Is(err, ledger.ErrNotFound) {
				lease.Job = ""
			} else if err != nil {
				return err
			}
			out.Leases = append(out.Leases, lease)
		}
		if len(list) == limit {
			out.Next = uint64(list[limit-1].Epoch)
		}
		return err
	})
	return &answer[api.Leases]{out}, err
}

func translateLease(l *ledger.Lease) api.Lease {
	states := map[ledger.LeaseState]ledger.TaskState{
		ledger.LeaseGranted: ledger.TaskLeased, ledger.LeaseRunning: ledger.TaskRunning, ledger.LeaseUnreachable: ledger.TaskUnreachable,
	}
	return api.Lease{
		Epoch: uint64(l.Epoch), Job: l.Job.String(), State: states[l.State].String(), First: l.Tasks.First, Count: l.Tasks.Count(),
		Open: l.Open.Count(), Slots: l.Slots, Granted: *when(max(l.Granted, 1)), Expiry: *when(max(l.Expiry, 1)), Spare: l.Spare,
	}
}

type inspected struct {
	CacheControl string `header:"Cache-Control"`
	Body         api.Inspection
}

// inspectModule says what lint and the meter make of a module of the grid.
func (s *server) inspectModule(ctx context.Context, q *modulePath) (*inspected, error) {
	id, err := parseModule(q.Module)
	if err != nil {
		return nil, err
	}
	if err := who(ctx).module(id); err != nil {
		return nil, err
	}
	if _, err := s.read(ctx, q.At, func(tx ledger.Tx) error {
		_, err := ledger.FindModule(tx, id)
		return err
	}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	select {
	case s.inspecting <- struct{}{}:
		defer func() { <-s.inspecting }()
	case <-ctx.Done():
		return nil, problem(ctx.Err())
	}
	b, err := s.moduleBytes(ctx, id)
	if err != nil {
		return nil, problem(err)
	}
	report, result, err := inspection.Of(b)
	if err != nil {
		return nil, problem(err)
	}
	facts, err := inspection.Facts(b, report, result)
	return &inspected{inspectionFresh, facts}, problem(err)
}

func (s *server) moduleBytes(ctx context.Context, id ledger.ModuleID) (b []byte, err error) {
	o, err := s.Objects.Fetch(ctx, content.Hash(id), content.FetchOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	return io.ReadAll(io.LimitReader(o, int64(lint.Default().ModuleBytes)))
}
