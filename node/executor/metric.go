package executor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric"
)

// metrics are one executor's; those that share a Registerer share them.
type metrics struct {
	tasks, leases, limits, commands *prometheus.CounterVec
	held, running                   prometheus.Gauge
	waiting, untold, journal        prometheus.Gauge
	followers                       prometheus.Gauge
	bundles, runs, reports, kept    prometheus.Counter
	fuel, notices                   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	vector := func(to **prometheus.CounterVec, name, help, label string) {
		metric.Register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_executor_" + name, Help: help}, []string{label}), &err)
	}
	gauge := func(to *prometheus.Gauge, name, help string) {
		metric.Register(reg, to, prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_executor_" + name, Help: help}), &err)
	}
	counter := func(to *prometheus.Counter, name, help string) {
		metric.Register(reg, to, prometheus.NewCounter(prometheus.CounterOpts{Name: "dugnad_executor_" + name, Help: help}), &err)
	}
	vector(&m.tasks, "tasks_total", "Attempts that ended here, by class.", "class")
	vector(&m.leases, "leases_total", "Leases that ended here, by how.", "end")
	vector(&m.limits, "limit_reached_total", "How often a limit refused something or made it wait, by limit.", "limit")
	vector(&m.commands, "command_failures_total", "Commands that did not get through and were tried again, by command.", "command")
	gauge(&m.held, "leases_held", "Leases that this node holds.")
	gauge(&m.running, "slots_used", "Slots in which tasks run.")
	gauge(&m.waiting, "runs_waiting", "Runs in the journal that wait for the ledger.")
	gauge(&m.untold, "outcomes_waiting", "Tasks whose outcome is in the journal and waits for the ledger.")
	gauge(&m.journal, "journal_bytes", "Size of the journal.")
	gauge(&m.followers, "followers", "Those who follow the output of tasks that run here.")
	counter(&m.notices, "preempted_leases_total", "Leases that had to give way to a higher band.")
	counter(&m.fuel, "fuel_total", "Fuel that attempts which ended here have burnt.")
	counter(&m.bundles, "results_total", "Result objects that were stored.")
	counter(&m.runs, "runs_total", "Runs that were reported.")
	counter(&m.kept, "kept_tasks_total", "Tasks that an earlier process had begun, and that went on.")
	counter(&m.reports, "reports_total", "Reports that the ledger answered.")
	return m, err
}

// limit counts; the names are constants of this package.
func (m *metrics) limit(name string) { m.limits.WithLabelValues(name).Inc() }
