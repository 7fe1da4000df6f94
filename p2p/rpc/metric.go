package rpc

import (
	"time"

	"github.com/dugnad/dugnad/p2p/metric"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one endpoint's; endpoints that share a Registerer share them.
type metrics struct {
	calls           *prometheus.CounterVec
	seconds         *prometheus.HistogramVec
	limits, streams *prometheus.CounterVec
	queued, running prometheus.Gauge
	waiting, held   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	vector := func(to **prometheus.CounterVec, name, help string, labels ...string) {
		metric.Register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_rpc_" + name, Help: help}, labels), &err)
	}
	gauge := func(to *prometheus.Gauge, name, help string) {
		metric.Register(reg, to, prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_rpc_" + name, Help: help}), &err)
	}
	vector(&m.calls, "calls_total", "Calls and watches that ended, made here (call) or answered here (serve), by how.", "side", "method", "code")
	vector(&m.limits, "limit_reached_total", "How often a limit refused something, by limit.", "limit")
	vector(&m.streams, "streams_total", "Streams opened, accepted, lost, replaced, and ended for a broken rule.", "event")
	gauge(&m.queued, "queued_calls", "Calls that wait because too many are in flight to one member.")
	gauge(&m.running, "handlers", "Handlers that run.")
	gauge(&m.waiting, "waiting_requests", "Requests that wait for a handler's turn.")
	gauge(&m.held, "held_bytes", "Bytes of requests held.")
	metric.Register(reg, &m.seconds, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "dugnad_rpc_seconds", Help: "Time from a call to its end at the caller, from request to answer at the handler.",
		Buckets: prometheus.ExponentialBuckets(0.00005, 4, 10),
	}, []string{"side", "method"}), &err)
	return m, err
}

// tally counts one side of one method, without a look-up per call. Its labels
// are bounded: methods of the table, and codes.
type tally struct {
	codes   [codes + 1]prometheus.Counter
	seconds prometheus.Observer
	limits  *prometheus.CounterVec
}

func (m *metrics) tally(side, name string) *tally {
	t := &tally{seconds: m.seconds.WithLabelValues(side, name), limits: m.limits}
	for c := range codes {
		t.codes[c] = m.calls.WithLabelValues(side, name, c.String())
	}
	t.codes[codes] = m.calls.WithLabelValues(side, name, "unknown")
	return t
}

func (t *tally) count(err error, took time.Duration) {
	t.codes[min(codeOf(err), codes)].Inc()
	t.seconds.Observe(took.Seconds())
}
