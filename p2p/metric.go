package p2p

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one host's; hosts that share a Registerer share them.
type metrics struct {
	members, known, expelled prometheus.Gauge
	hellos, limits, dials    *prometheus.CounterVec
	redemptions              *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	gauge := func(to *prometheus.Gauge, name, help string) {
		register(reg, to, prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_p2p_" + name, Help: help}), &err)
	}
	vector := func(to **prometheus.CounterVec, name, help string, labels ...string) {
		register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_p2p_" + name, Help: help}, labels), &err)
	}
	gauge(&m.members, "members_connected", "Members with an open connection.")
	gauge(&m.known, "members_known", "Members whose addresses are kept.")
	gauge(&m.expelled, "nodes_expelled", "Nodes that are out of the grid.")
	vector(&m.hellos, "hellos_total", "Hellos, by who dialled and how they ended.", "side", "code")
	vector(&m.limits, "limit_reached_total", "How often a limit refused something, by limit.", "limit")
	vector(&m.dials, "dials_total", "Dials to find neighbours, by how they ended.", "outcome")
	vector(&m.redemptions, "redemptions_total", "Invitations shown to this node, by how that ended.", "code")
	return m, err
}

// register registers c and stores it, or stores the collector that was registered
// under its name before.
func register[C prometheus.Collector](reg prometheus.Registerer, to *C, c C, err *error) {
	*to = c
	if reg == nil || *err != nil {
		return
	}
	failed := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	switch {
	case failed == nil:
	case errors.As(failed, &already):
		existing, ok := already.ExistingCollector.(C)
		if !ok {
			*err = fmt.Errorf("register metrics: %w", failed)
			return
		}
		*to = existing
	default:
		*err = fmt.Errorf("register metrics: %w", failed)
	}
}

func (m *metrics) limit(name string) { m.limits.WithLabelValues(name).Inc() }

func (m *metrics) hello(dialled bool, err error) {
	side := "listener"
	if dialled {
		side = "dialler"
	}
	m.hellos.WithLabelValues(side, CodeOf(err).String()).Inc()
}
