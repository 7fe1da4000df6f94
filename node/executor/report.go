package executor

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// report sends what waits in the queue to the ledger, one report at a time, until
// the executor stops.
func (e *Executor) report() {
	for {
		b := e.queue.next(e.config.Node)
		if b == nil {
			select {
			case <-e.queue.pushed:
				continue
			case <-e.ctx.Done():
				return
			}
		}
		e.sign(&b.report)
		began := time.Now()
		r, index, ok := e.insist(&b.report)
		if !ok {
			return
		}
		e.acknowledge(b, r, index, began)
	}
}

// sign makes a report a receipt. The ledger refuses it otherwise, once the node has
// registered with its key.
func (e *Executor) sign(r *ledger.Report) {
	if e.config.Sign == nil {
		return
	}
	r.Costs = e.config.Costs
	if err := r.Sign(e.config.Sign); err != nil {
		e.log.Error("a report is not signed", "err", err)
	}
}

// insist proposes a command until the ledger has answered it; false is that the
// executor stops. It may be applied several times.
func (e *Executor) insist(c ledger.Command) (ledger.Result, uint64, bool) {
	for failures := 1; ; failures++ {
		r, index, err := e.try(c)
		if err == nil {
			if failures > 1 {
				e.log.Info("ledger takes reports again")
			}
			return r, index, true
		}
		if e.ctx.Err() != nil {
			return ledger.Result{}, 0, false
		}
		if failures == 1 {
			e.log.Warn("ledger does not take reports at present", "err", err)
		}
		e.metrics.commands.WithLabelValues("report").Inc()
		e.pause(e.ctx, failures)
	}
}

// try proposes a command once.
func (e *Executor) try(c ledger.Command) (ledger.Result, uint64, error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.config.CommandTimeout)
	defer cancel()
	return e.config.Ledger.Do(ctx, c)
}

func (e *Executor) backoff(failures int) time.Duration {
	most := e.config.BackoffMin
	for range failures {
		if most *= 2; most >= e.config.BackoffMax {
			most = e.config.BackoffMax
			break
		}
	}
	return most/2 + rand.N(most/2+1)
}

// acknowledge forgets what was sent when began and the ledger has answered, whatever the answer is:
// counted now or before, or of a lease that is over.
func (e *Executor) acknowledge(b *batch, r ledger.Result, index uint64, began time.Time) {
	e.metrics.reports.Inc()
	if r.Code != ledger.CodeOK && r.Code != ledger.CodeNodeUnknown {
		e.log.Error("ledger refuses a report", "code", r.Code, "what", r.What, "leases", len(b.report.Leases))
	}
	e.mu.Lock()
	for i := range b.report.Leases {
		report := &b.report.Leases[i]
		e.metrics.runs.Add(float64(len(report.Runs)))
		code := r.Code
		if r.Code == ledger.CodeOK && i < len(r.Items) {
			code = r.Items[i].Code
		}
		e.answered(b.jobs[i], report, code, index, began)
	}
	e.mu.Unlock()
	if err := e.queue.taken(b); err != nil {
		e.log.Error("journal is behind", "err", err)
	}
	e.queue.show(e.metrics)
}

// answered settles one lease of a report. The caller holds e.mu.
func (e *Executor) answered(id ledger.JobID, report *ledger.LeaseReport, code ledger.Code, index uint64, began time.Time) {
	tasks := uint32(0)
	for i := range report.Runs {
		tasks += report.Runs[i].Count
		if code != ledger.CodeOK && report.Runs[i].Digest != [32]byte{} {
			e.doubt(doubt{id, report.Epoch, report.Runs[i].First, report.Runs[i].Digest, index})
		}
	}
	l := e.leases[report.Epoch]
	if l == nil {
		e.traceLate(report.Epoch, tasks, code, began)
		if e.orphans[report.Epoch] -= min(tasks, e.orphans[report.Epoch]); e.orphans[report.Epoch] == 0 {
			delete(e.orphans, report.Epoch)
		}
		return
	}
	l.traceReport(began, tasks, code)
	l.open -= min(tasks, l.open)
	l.index = max(l.index, index)
	switch code {
	case ledger.CodeStaleLease, ledger.CodeNodeUnknown:
		l.drop(index, "stale")
	case ledger.CodeStopped:
		l.kill()
	default:
		e.settle(l)
	}
}
