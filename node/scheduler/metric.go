package scheduler

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p/metric"
)

// What may wake a pass, as the metric names it.
const (
	wakeQueue = "queue" // a job came into the queue
	wakeReady = "ready" // more of a job's tasks are ready
	wakeNode  = "node"  // a node has room, or came
	wakeOffer = "offer" // a node offers more, or is back on the board
	wakeQuota = "quota" // a tenant may lease more
	wakeMore  = "more"  // the last pass has reached one of its bounds
	wakeRetry = "retry" // the ledger has refused, or not answered
	wakeAvoid = "avoid" // tasks may go back to where they failed
	wakeBrake = "brake" // the brake lets more through

	wakeSecret = "secret" // a secret was set or removed
	// wakePreempt: something has waited long enough for others to give way
	wakePreempt = "preempt"
)

// metrics are one scheduler's.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	passes, ticks, failed, filters, crowded, unread             prometheus.Counter
	passSeconds                                                 prometheus.Histogram
	wakes, placements, states, notes, runs, spares, preemptions *prometheus.CounterVec
	queued, blocked, brake, silent, held, orders                prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{registerer: r}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "dugnad_scheduler_" + name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_scheduler_" + name, Help: help}, []string{label})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		c := prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_scheduler_" + name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	m.passes = counter("passes_total", "Plans that were made.")
	m.ticks = counter("ticks_total", "Ticks that were proposed.")
	m.failed = counter("failed_total", "Commands whose result is not known.")
	m.filters = counter("filters_refused_total", "Holdings of nodes that could not be read.")
	m.crowded = counter("limit_reached_total", "Passes with more kinds of blocked jobs than are told apart.")
	m.unread = counter("stragglers_limit_reached_total", "Looks for stragglers that have not read the leases of every node.")
	m.wakes = vector("wakes_total", "What made a pass due, by cause.", "cause")
	m.placements = vector("placements_total", "Placements that were proposed, by the ledger's answer.", "result")
	m.states = vector("node_states_total", "Changes of nodes' states that were proposed, by state.", "state")
	m.notes = vector("notes_total", "Notes of reasons that were proposed, by the ledger's answer.", "result")
	m.runs = vector("runs_total", "Runs of standing orders that were proposed, by the ledger's answer.", "result")
	m.orders = gauge("orders", "Standing orders that have not ended.")
	m.spares = vector("spares_total", "Second attempts that were proposed, by the ledger's answer.", "result")
	m.preemptions = vector("preemptions_total", "Leases that were told to give way to a higher band, by the ledger's answer.", "result")
	m.queued = gauge("queued_jobs", "Jobs with tasks that wait for a placement.")
	m.blocked = gauge("blocked_jobs", "Jobs of which the last pass has left tasks.")
	m.brake = gauge("brake", "The brake on placing lost tasks: 0 off, 1 limited, 2 stopped.")
	m.silent = gauge("silent_nodes", "Nodes that have vanished within the brake's shorter window.")
	m.held = gauge("held_tasks", "Lost tasks that the brake has kept out of the last pass.")
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "dugnad_scheduler_pass_seconds", Help: "Time to make a plan.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
	})
	m.passSeconds = h
	m.all = append(m.all, h)
	return m, metric.RegisterAll(m.registerer, m.all)
}

func (m *metrics) unregister() { metric.UnregisterAll(m.registerer, m.all) }

// clear resets what is said of the present, when this node leads no longer.
func (m *metrics) clear() {
	for _, g := range []prometheus.Gauge{m.queued, m.blocked, m.brake, m.silent, m.held, m.orders} {
		g.Set(0)
	}
}

// answered counts the answers to the parts of a command.
func answered(to *prometheus.CounterVec, r ledger.Result) {
	for _, item := range r.Items {
		to.WithLabelValues(item.Code.String()).Inc()
	}
}
