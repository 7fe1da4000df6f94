package span

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p/metric/metrictest"
)

func one() *Span {
	now := time.Now()
	return &Span{Trace: Of(ledger.JobID{1}, ""), Name: Attempt, Begin: now.Add(-time.Second), End: now, Facts: []Fact{Text("class", "none"), Number("fuel", uint64(1)<<63)}}
}

// TestOff: without an endpoint there is no tracer, and nothing is done.
func TestOff(t *testing.T) {
	tracer, err := Open(t.Context(), Config{Registerer: prometheus.NewRegistry()})
	if tracer != nil || err != nil {
		t.Fatalf("%v, %v", tracer, err)
	}
	tracer.Record(one())
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Config{Endpoint: "collector:4318"}); !errors.Is(err, ErrEndpoint) {
		t.Errorf("%v, want %v", err, ErrEndpoint)
	}
}

// TestSlowCollector: a collector that does not answer holds nobody up: so many spans wait,
// and the others are lost and counted, as are those that it has refused in the end.
func TestSlowCollector(t *testing.T) {
	answer := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-answer
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer s.Close()
	reg := prometheus.NewRegistry()
	tracer, err := Open(t.Context(), Config{Endpoint: s.URL, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	const more = 100
	for range WaitingMax + more {
		tracer.Record(one())
	}
	if recorded, limited := metrictest.Value(t, reg, "dugnad_span_recorded_total"), metrictest.Value(t, reg, "dugnad_span_limit_reached_total"); recorded != WaitingMax || limited != more {
		t.Errorf("%v recorded, %v are too many", recorded, limited)
	}
	close(answer)
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
	if metrictest.Value(t, reg, "dugnad_span_lost_total") == 0 {
		t.Error("nothing is lost")
	}
}

func BenchmarkOff(b *testing.B) {
	var tracer *Tracer
	s := one()
	b.ReportAllocs()
	for b.Loop() {
		tracer.Record(s)
	}
}

func BenchmarkRecord(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	tracer, err := Open(b.Context(), Config{Endpoint: s.URL})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		tracer.Record(one())
	}
	if err := tracer.Close(); err != nil {
		b.Error(err)
	}
}
