package worker

import (
	"errors"
	"slices"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all caches and workers of one Registerer.
type metrics struct {
	outcomes       *prometheus.CounterVec
	limits         *prometheus.CounterVec
	guestLimits    *prometheus.CounterVec
	refusals       *prometheus.CounterVec
	workerStarts   prometheus.Counter
	workerLosses   prometheus.Counter
	adoptions      prometheus.Counter
	adoptedTasks   prometheus.Counter
	orphansEnded   prometheus.Counter
	compileSeconds prometheus.Histogram
	compileErrors  *prometheus.CounterVec
	cacheHits      prometheus.Counter
	cacheMisses    prometheus.Counter
	cacheDamaged   prometheus.Counter
	cacheEvictions prometheus.Counter
	cacheBytes     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	counter := func(to *prometheus.Counter, name, help string) {
		register(reg, to, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}), &err)
	}
	vector := func(to **prometheus.CounterVec, name, help, label string) {
		register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label}), &err)
	}
	vector(&m.outcomes, "dugnad_task_outcomes_total", "Tasks that ended, by kind of outcome.", "kind")
	vector(&m.limits, "dugnad_worker_limit_reached_total", "How often a limit made something wait or fail, by limit.", "limit")
	vector(&m.guestLimits, "dugnad_task_limits_hit_total", "Limits that tasks ran into, by limit.", "limit")
	vector(&m.refusals, "dugnad_module_refusals_total", "Modules refused before compiling, by limit or code.", "limit")
	counter(&m.workerStarts, "dugnad_worker_starts_total", "Worker processes that were started.")
	counter(&m.workerLosses, "dugnad_worker_losses_total", "Worker processes that ended before they were closed.")
	counter(&m.adoptions, "dugnad_worker_adoptions_total", "Worker processes of an earlier process that were adopted.")
	counter(&m.adoptedTasks, "dugnad_worker_adopted_tasks_total", "Tasks that an earlier process had begun, and that were told the end of.")
	counter(&m.orphansEnded, "dugnad_worker_orphans_ended_total", "Worker processes of an earlier process that were ended instead of adopted.")
	register(reg, &m.compileSeconds, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "dugnad_compile_seconds", Help: "Time to compile a module, whole process.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 12),
	}), &err)
	vector(&m.compileErrors, "dugnad_compile_errors_total", "Modules that could not be compiled, by reason.", "reason")
	counter(&m.cacheHits, "dugnad_code_cache_hits_total", "Modules found in the code cache.")
	counter(&m.cacheMisses, "dugnad_code_cache_misses_total", "Modules not found in the code cache.")
	counter(&m.cacheDamaged, "dugnad_code_cache_damaged_total", "Damaged entries that were removed.")
	counter(&m.cacheEvictions, "dugnad_code_cache_evictions_total", "Entries removed to make room.")
	register(reg, &m.cacheBytes, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dugnad_code_cache_bytes", Help: "Size of the code cache when it last changed.",
	}), &err)
	return m, err
}

// register registers c and stores it, or stores the collector that was
// registered under its name before.
func register[C prometheus.Collector](reg prometheus.Registerer, to *C, c C, err *error) {
	*to = c
	if reg == nil || *err != nil {
		return
	}
	e := reg.Register(c)
	var was prometheus.AlreadyRegisteredError
	if errors.As(e, &was) {
		if existing, ok := was.ExistingCollector.(C); ok {
			*to = existing
			return
		}
	}
	*err = e
}

// guestLimits are the names that task.LimitHit may have.
var guestLimits = []string{"fuel", "memory", "timeout", "output", "scratch", "scratch-files", "stack", "open-files", "http-requests"}

// outcome counts an outcome. What it says comes from a process that has run a
// guest, so only known names become labels.
func (m *metrics) outcome(o *task.Outcome) {
	m.outcomes.WithLabelValues(string(o.Kind)).Inc()
	for _, hit := range o.LimitsHit {
		name := "other"
		if slices.Contains(guestLimits, hit.Name) {
			name = hit.Name
		}
		m.guestLimits.WithLabelValues(name).Inc()
	}
}

// limitReached counts; the names are constants of this package and of lint.
func (m *metrics) limitReached(name string) { m.limits.WithLabelValues(name).Inc() }
