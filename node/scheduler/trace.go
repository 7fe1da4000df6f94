package scheduler

import (
	"errors"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/span"
)

// traced is a job of which a pass wants to place tasks.
type traced struct {
	trace span.Trace
	// queued is since when the job has waited, zero when it was placed before.
	queued time.Time
	band   uint8
	tasks  uint32
	// order is that which has made the job, empty for one that was submitted.
	order string
}

// trace looks up the jobs of a plan whose placements are to be in traces.
func (l *lead) trace(placements []ledger.Placement) map[ledger.JobID]*traced {
	if l.config.Spans == nil {
		return nil
	}
	jobs := map[ledger.JobID]*traced{}
	_, err := l.config.Ledger.View(func(tx ledger.Tx) error {
		for i := range placements {
			id := placements[i].Job
			if jobs[id] != nil {
				continue
			}
			job, err := readTraced(tx, id)
			if err != nil && !errors.Is(err, ledger.ErrNotFound) {
				return err
			}
			if err == nil {
				jobs[id] = job
			}
		}
		return nil
	})
	if err != nil {
		l.log.Warn("placements are missing in traces", "err", err)
	}
	return jobs
}

func readTraced(tx ledger.Tx, id ledger.JobID) (*traced, error) {
	j, err := ledger.FindJob(tx, id)
	if err != nil {
		return nil, err
	}
	spec, err := ledger.FindSpec(tx, id)
	if err != nil {
		return nil, err
	}
	parent := ""
	if p, err := jobspec.DecodeProgram(spec.Payload); err == nil {
		parent = p.Traceparent
	}
	t := &traced{trace: span.Of(id, parent), band: j.Band, tasks: j.Count}
	if j.Placed == 0 {
		t.queued = moment(j.Queued)
	}
	order, err := ledger.FindMaker(tx, id)
	if err == nil {
		t.order = order.String()
	} else if errors.Is(err, ledger.ErrNotFound) {
		err = nil
	}
	return t, err
}

// tracePlaced records what a command of a pass that has begun then has placed.
func (l *lead) tracePlaced(jobs map[ledger.JobID]*traced, c ledger.Command, a answer, began time.Time) {
	place, ok := c.(*ledger.Place)
	if !ok || len(jobs) == 0 {
		return
	}
	now := time.Now()
	for i, item := range a.result.Items {
		if item.Code != ledger.CodeOK || i >= len(place.Placements) {
			continue
		}
		p := &place.Placements[i]
		job := jobs[p.Job]
		if job == nil {
			continue
		}
		l.traceQueued(job, began)
		l.config.Spans.Record(&span.Span{
			Trace: job.trace, Name: span.Place, Begin: began, End: now,
			Facts: []span.Fact{
				span.Text("node", string(p.Node)), span.Number("epoch", item.Epoch),
				span.Number("first", p.Start), span.Number("tasks", item.Count),
			},
		})
	}
}

// traceQueued records how long a job has waited for its first placement, and of one that
// an order has made the root.
func (l *lead) traceQueued(job *traced, began time.Time) {
	if job.queued.IsZero() {
		return
	}
	end := began
	if end.Before(job.queued) {
		end = job.queued
	}
	if job.order != "" {
		l.config.Spans.Record(&span.Span{
			Trace: job.trace, ID: job.trace.Root, Name: span.Fire, Begin: job.queued, End: job.queued,
			Facts: []span.Fact{span.Text("order", job.order), span.Number("tasks", job.tasks)},
		})
	}
	l.config.Spans.Record(&span.Span{
		Trace: job.trace, Name: span.Queue, Begin: job.queued, End: end,
		Facts: []span.Fact{span.Number("band", job.band), span.Number("tasks", job.tasks)},
	})
	job.queued = time.Time{}
}
