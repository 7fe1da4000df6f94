package capacity

import (
	"errors"

	"github.com/dugnad/dugnad/p2p/metric"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what a publisher does.
type metrics struct {
	records  *prometheus.CounterVec
	sent     prometheus.Counter
	refused  prometheus.Counter
	all      []prometheus.Collector
	registry prometheus.Registerer
}

func newMetrics(registry prometheus.Registerer, board *Board) (*metrics, error) {
	m := &metrics{
		registry: registry,
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dugnad_capacity_records_total", Help: "Records that arrived, by what became of them.",
		}, []string{"result"}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dugnad_capacity_sent_bytes_total", Help: "Bytes of batches that were sent to the parent.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dugnad_capacity_children_refused_total", Help: "Streams of children beyond the limit.",
		}),
	}
	nodes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dugnad_capacity_nodes", Help: "Nodes on the board.",
	}, func() float64 { return float64(board.size()) })
	m.all = []prometheus.Collector{m.records, m.sent, m.refused, nodes}
	if err := metric.RegisterAll(registry, m.all); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *metrics) unregister() { metric.UnregisterAll(m.registry, m.all) }

// count notes what became of a record.
func (m *metrics) count(err error) {
	result := "kept"
	for _, known := range []struct {
		err  error
		name string
	}{
		{ErrMalformed, "malformed"},
		{ErrVersion, "version"},
		{ErrForged, "forged"},
		{ErrReplayed, "replayed"},
		{ErrExpired, "expired"},
		{ErrFuture, "future"},
		{ErrFull, "full"},
	} {
		if errors.Is(err, known.err) {
			result = known.name
		}
	}
	m.records.WithLabelValues(result).Inc()
}
