package pool

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric"
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
	return m, metric.RegisterAll(r, []prometheus.Collector{m.workers, m.limits})
}
