package outbound

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric"
	"github.com/dugnad/dugnad/runtime/abi"
)

// The limits' names in the metric.
const (
	limitConnections       = "connections"
	limitTenantConnections = "tenant_connections"
	limitRate              = "requests_per_second"
	limitRequestBytes      = "request_bytes"
	limitResponseBytes     = "response_bytes"
	limitAttemptBytes      = "attempt_bytes"
	limitTenantBytes       = "tenant_bytes"
	limitQuotaBytes        = "quota_bytes"
	limitIdleBytes         = "idle_bytes"
	limitHead              = "head_bytes"
)

type metrics struct {
	requests    *prometheus.CounterVec
	limits      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	connections prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	vector := func(to **prometheus.CounterVec, name, help, label string, values ...string) {
		metric.Register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_outbound_" + name, Help: help}, []string{label}), &err)
		for _, v := range values {
			(*to).WithLabelValues(v)
		}
	}
	outcomes := []string{outcome("")}
	for _, c := range abi.Codes() {
		outcomes = append(outcomes, c.Name())
	}
	vector(&m.requests, "requests_total", "HTTP requests of guests that have ended, by how: ok, or the error that the guest was told.", "outcome", outcomes...)
	vector(&m.limits, "limit_reached_total", "How often a limit refused or ended a request, by limit.", "limit",
		limitConnections, limitTenantConnections, limitRate, limitRequestBytes, limitResponseBytes, limitAttemptBytes, limitTenantBytes, limitQuotaBytes, limitIdleBytes, limitHead)
	vector(&m.bytes, "bytes_total", "Bytes of the bodies of requests and of answers.", "of", "request", "response")
	metric.Register(reg, &m.connections, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dugnad_outbound_connections", Help: "Connections of guests that are open.",
	}), &err)
	return m, err
}

// outcome is the label of a record's code.
func outcome(code string) string {
	if code == "" {
		return "ok"
	}
	return code
}

// hit counts a limit and returns err.
func (m *metrics) hit(limit string, err error) error {
	m.limits.WithLabelValues(limit).Inc()
	return err
}
