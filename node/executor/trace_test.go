package executor

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/span"
	"github.com/dugnad/dugnad/p2p/metric/metrictest"
)

// TestLateReportIsTraced: the span of a report is there also when the ledger ends the
// lease before the report is answered.
func TestLateReportIsTraced(t *testing.T) {
	g := newGrid(t)
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(collector.Close)
	reg := prometheus.NewRegistry()
	tracer, err := span.Open(t.Context(), span.Config{Endpoint: collector.URL, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	ready, answered := make(chan *Executor, 1), make(chan struct{})
	g.faults.set(nil, func(c ledger.Command) error {
		if _, ok := c.(*ledger.Report); !ok {
			return nil
		}
		e := <-ready
		for held := 1; held > 0; {
			<-time.After(time.Millisecond)
			e.mu.Lock()
			held = len(e.leases)
			e.mu.Unlock()
		}
		close(answered)
		return nil
	})
	e := g.open(func(c *Config) { c.Spans = tracer })
	ready <- e
	id := g.submit(1, &jobspec.Program{}, nil)
	g.place(id, 0, 1, 1)
	<-answered
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	// They are fetch, compile, attempt, lease and report.
	if n := metrictest.Value(t, reg, "dugnad_span_recorded_total"); n != 5 || len(e.unanswered) != 0 {
		t.Errorf("%v spans are recorded, of %d leases answers are waited for", n, len(e.unanswered))
	}
}
