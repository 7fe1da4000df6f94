package httpd

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/span"
)

// trace returns the trace of a job that is submitted. When it is the client's, the job's
// specification carries it to the other nodes, if there is room for it.
func (s *server) trace(spec *ledger.JobSpec, id ledger.JobID, parent string) span.Trace {
	trace, above, ok := span.Parent(parent)
	if !ok {
		return span.Of(id, "")
	}
	program, err := jobspec.DecodeProgram(spec.Payload)
	if err != nil {
		return span.Of(id, "")
	}
	program.Traceparent = span.FormatParent(trace, above)
	payload, err := program.Encode()
	if err != nil {
		return span.Of(id, "")
	}
	spec.Payload = payload
	return span.Of(id, program.Traceparent)
}

// traceSubmitted records that a job was accepted: it came in when began, and was proposed
// when admitted.
func (s *server) traceSubmitted(t span.Trace, spec *ledger.JobSpec, began, admitted time.Time) {
	now := time.Now()
	s.Spans.Record(&span.Span{
		Trace: t, ID: t.Root, Name: span.Submit, Begin: began, End: now,
		Facts: []span.Fact{
			span.Text("tenant", string(spec.Tenant)), span.Text("module", spec.Module.String()),
			span.Number("tasks", spec.Count), span.Number("band", spec.Band),
		},
	})
	s.Spans.Record(&span.Span{Trace: t, Name: span.Admit, Begin: began, End: admitted})
	s.Spans.Record(&span.Span{Trace: t, Name: span.Propose, Begin: admitted, End: now})
}
