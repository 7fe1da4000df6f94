package keeper

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric"
)

// metrics are one keeper's; those that share a Registerer share them.
type metrics struct {
	made, taken, freed      prometheus.Counter
	failed, refused, limits *prometheus.CounterVec
	missing                 prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	counter := func(to *prometheus.Counter, name, help string) {
		metric.Register(reg, to, prometheus.NewCounter(prometheus.CounterOpts{Name: "dugnad_keeper_" + name, Help: help}), &err)
	}
	vector := func(to **prometheus.CounterVec, name, help, label string) {
		metric.Register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_keeper_" + name, Help: help}, []string{label}), &err)
	}
	counter(&m.made, "copies_made_total", "Objects that another node has stored at this node's request.")
	vector(&m.failed, "copies_failed_total", "Requests to store an object that another node did not fulfil, by code.", "code")
	counter(&m.taken, "copies_taken_total", "Objects that this node keeps at another's request.")
	vector(&m.refused, "copies_refused_total", "Requests of other nodes that were refused, by code.", "code")
	counter(&m.freed, "objects_freed_total", "Pins that were dropped because the ledger has forgotten what they were for.")
	vector(&m.limits, "limit_reached_total", "How often a limit refused something or made it wait, by limit.", "limit")
	metric.Register(reg, &m.missing, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dugnad_keeper_copies_missing", Help: "Objects kept here of which it is not known that another node holds them.",
	}), &err)
	return m, err
}

// limit counts; the names are constants of this package.
func (m *metrics) limit(name string) { m.limits.WithLabelValues(name).Inc() }
