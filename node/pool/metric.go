package pool

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	workers prometheus.Gauge
	limits  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		workers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_pool_workers", Help: "Worker processes, one per tenant."}),
		limits:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_pool_limit_reached_total", Help: "How often a limit made a task wait, by limit."}, []string{"limit"}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.workers), r.Register(m.limits))
}
