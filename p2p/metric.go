package p2p

import (
	"github.com/dugnad/dugnad/p2p/metric"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one host's; hosts that share a Registerer share them.
type metrics struct {
	members, known, expelled prometheus.Gauge
	places, mappings         prometheus.Gauge
	hellos, limits, dials    *prometheus.CounterVec
	redemptions, placesAsked *prometheus.CounterVec
	traffic                  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	gauge := func(to *prometheus.Gauge, name, help string) {
		metric.Register(reg, to, prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_p2p_" + name, Help: help}), &err)
	}
	vector := func(to **prometheus.CounterVec, name, help string, labels ...string) {
		metric.Register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_p2p_" + name, Help: help}, labels), &err)
	}
	gauge(&m.members, "members_connected", "Members with an open connection.")
	gauge(&m.known, "members_known", "Members whose addresses are kept.")
	gauge(&m.expelled, "nodes_expelled", "Nodes that are out of the grid.")
	gauge(&m.mappings, "port_mappings", "Ports that the router maps to this node.")
	gauge(&m.places, "relay_places", "Members that relay for this node.")
	vector(&m.placesAsked, "relay_places_asked_total", "Places that this node asked relays for, by what they answered.", "outcome")
	vector(&m.hellos, "hellos_total", "Hellos, by who dialled and how they ended.", "side", "code")
	vector(&m.limits, "limit_reached_total", "How often a limit refused something, by limit.", "limit")
	vector(&m.dials, "dials_total", "Dials to find neighbours, by how they ended.", "outcome")
	vector(&m.traffic, "traffic_bytes_total", "Bytes on streams with other members, by direction and what for: ledger, capacity (offers), rpc (calls), content (objects), the network itself.", "direction", "kind")
	vector(&m.redemptions, "redemptions_total", "Invitations shown to this node, by how that ended.", "code")
	return m, err
}

func (m *metrics) limit(name string) { m.limits.WithLabelValues(name).Inc() }

func (m *metrics) hello(dialled bool, err error) {
	side := "listener"
	if dialled {
		side = "dialler"
	}
	m.hellos.WithLabelValues(side, CodeOf(err).String()).Inc()
}
