package pool

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric"
)

type metrics struct {
	workers prometheus.Gauge
	limits  *prometheus.CounterVec
	share   prometheus.Gauge
	used    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		workers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_pool_workers", Help: "Worker processes, one per tenant."}),
		limits:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_pool_limit_reached_total", Help: "How often a limit made a task wait, by limit."}, []string{"limit"}),
		share:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_pool_share_cores", Help: "Processor cores that workers may use together; -1 is no bound, 0 that they are frozen."}),
		used:    prometheus.NewCounter(prometheus.CounterOpts{Name: "dugnad_pool_bounded_cpu_seconds_total", Help: "Processor time that workers and compilers have used while there was a bound."}),
	}
	m.share.Set(-1)
	return m, metric.RegisterAll(r, []prometheus.Collector{m.workers, m.limits, m.share, m.used})
}
