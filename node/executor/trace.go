package executor

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/span"
)

// spansMax bounds the spans of one kind below that of a lease: an array may have
// millions of attempts.
const spansMax = 64

// trace is the job's trace.
func (j *job) trace() span.Trace {
	parent := ""
	if j.program != nil {
		parent = j.program.Traceparent
	}
	return span.Of(j.id, parent)
}

// traceFetch records that the objects of a job were fetched, or were not.
func (j *job) traceFetch(began time.Time) {
	if j.e.config.Spans == nil {
		return
	}
	s := span.Span{
		Trace: j.trace(), Name: span.Fetch, Begin: began, End: time.Now(), Failed: failed(j.err, "objects"),
		Facts: []span.Fact{span.Text("module", j.spec.Module.String()), span.Number("inputs", len(j.program.Inputs))},
	}
	j.e.config.Spans.Record(&s)
}

// failed is the word for an error, which may hold what nobody else is to read.
func failed(err error, word string) string {
	if err == nil {
		return ""
	}
	return word
}

// traceEnd records a lease that is over. The caller holds e.mu.
func (l *lease) traceEnd(how string) {
	if l.e.config.Spans == nil {
		return
	}
	t := l.job.trace()
	s := span.Span{
		Trace: t, ID: t.Lease(l.epoch), Name: span.Lease, Begin: l.since, End: time.Now(),
		Facts: []span.Fact{
			span.Number("epoch", l.epoch), span.Number("first", l.tasks.First),
			span.Number("tasks", l.tasks.Count()), span.Number("slots", l.width),
			span.Number("attempts", l.spans[span.Attempt]), span.Text("end", how),
		},
	}
	if l.back != nil {
		s.Facts = append(s.Facts, span.Text("cause", l.back.cause.String()))
	}
	l.e.config.Spans.Record(&s)
}

// tracePart records a part of the work on a lease, unless there are spansMax like it.
// The caller holds e.mu, and has seen that there is a tracer.
func (l *lease) tracePart(name string, began, end time.Time, failed string, facts ...span.Fact) {
	if l.spans == nil {
		l.spans = map[string]int{}
	}
	if l.spans[name]++; l.spans[name] > spansMax {
		if l.spans[name] == spansMax+1 {
			l.e.metrics.limit("lease_spans")
		}
		return
	}
	t := l.job.trace()
	l.e.config.Spans.Record(&span.Span{
		Trace: t, Name: name, Below: t.Lease(l.epoch), Begin: began, End: end, Failed: failed, Facts: facts,
	})
}

// traceCompile records that the module was made ready to run, or was not.
func (l *lease) traceCompile(began time.Time, err error) {
	if l.e.config.Spans == nil {
		return
	}
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.tracePart(span.Compile, began, time.Now(), failed(err, "module"), span.Text("module", l.job.spec.Module.String()))
}

// traceAttempt records an attempt that has ended.
func (l *lease) traceAttempt(end *ended) {
	if l.e.config.Spans == nil {
		return
	}
	word := ""
	if end.class.State() != ledger.TaskSucceeded {
		word = end.class.String()
	}
	now, usage := time.Now(), &end.outcome.Usage
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.tracePart(span.Attempt, now.Add(-usage.WallTime), now, word,
		span.Number("index", end.index), span.Number("attempt", l.attempt),
		span.Text("class", end.class.String()), span.Number("fuel", usage.Fuel),
		span.Number("memory_peak_bytes", usage.MemoryPeakBytes))
}

// traceStore records that results were stored, or were not.
func (l *lease) traceStore(began time.Time, tasks int, err error) {
	if l.e.config.Spans == nil {
		return
	}
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.tracePart(span.Store, began, time.Now(), failed(err, "results"), span.Number("tasks", tasks))
}

// leave remembers a lease that is not held any more until its reports are answered. The
// caller holds e.mu.
func (l *lease) leave() {
	switch {
	case l.e.config.Spans == nil || l.open == 0:
	case len(l.e.unanswered) >= l.e.config.LeasesMax:
		l.e.metrics.limit("lease_spans")
	default:
		l.e.unanswered[l.epoch] = l
	}
}

// traceLate records an answer to the report of such a lease. The caller holds e.mu.
func (e *Executor) traceLate(epoch ledger.Epoch, tasks uint32, code ledger.Code, began time.Time) {
	l := e.unanswered[epoch]
	if l == nil {
		return
	}
	l.traceReport(began, tasks, code)
	if l.open -= min(tasks, l.open); l.open == 0 {
		delete(e.unanswered, epoch)
	}
}

// traceReport records that the ledger has answered a report. The caller holds e.mu.
func (l *lease) traceReport(began time.Time, tasks uint32, code ledger.Code) {
	if l.e.config.Spans == nil {
		return
	}
	word := ""
	if code != ledger.CodeOK {
		word = code.String()
	}
	l.tracePart(span.Report, began, time.Now(), word, span.Number("tasks", tasks))
}
