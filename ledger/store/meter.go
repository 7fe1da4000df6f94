package store

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// meter holds the store's metrics.
type meter struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector
	bytes      *prometheus.GaugeVec
	stale      *prometheus.GaugeVec
	full       prometheus.Counter
}

func newMeter(s *Store) *meter {
	const space, part = "dugnad", "store"
	name := func(n, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: n, Help: help}
	}
	m := &meter{
		registerer: s.config.Registerer,
		bytes:      prometheus.NewGaugeVec(name("table_bytes", "Bytes in tables on disk."), []string{"database"}),
		stale:      prometheus.NewGaugeVec(name("stale_bytes", "Bytes in tables that compaction would drop."), []string{"database"}),
		full: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: space, Subsystem: part, Name: "disk_full_total",
			Help: "Writes refused because the disk had less room than the reserve.",
		}),
	}
	locked := func(f func() float64) func() float64 {
		return func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return f()
		}
	}
	bound := func(f func() (uint64, error)) float64 { v, _ := f(); return float64(v) }
	m.all = []prometheus.Collector{
		m.bytes, m.stale, m.full,
		prometheus.NewGaugeFunc(name("applied_index", "Index of the last update."), locked(func() float64 { return float64(s.applied) })),
		prometheus.NewGaugeFunc(name("views", "Indexes that views and snapshots keep."), locked(func() float64 {
			if s.generation == nil {
				return 0
			}
			return float64(len(s.generation.readers))
		})),
		prometheus.NewGaugeFunc(name("raft_first_index", "First index of the Raft log."), func() float64 { return bound(s.raft.FirstIndex) }),
		prometheus.NewGaugeFunc(name("raft_last_index", "Last index of the Raft log."), func() float64 { return bound(s.raft.LastIndex) }),
	}
	return m
}

// register makes the metrics visible; the store must be complete.
func (m *meter) register() error {
	if m.registerer == nil {
		return nil
	}
	for i, c := range m.all {
		if err := m.registerer.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (m *meter) unregister() {
	if m.registerer != nil {
		for _, c := range m.all {
			m.registerer.Unregister(c)
		}
	}
}

// sizes takes the databases' sizes.
func (m *meter) sizes(state, raft *badger.DB) {
	for name, db := range map[string]*badger.DB{"state": state, "raft": raft} {
		var bytes, stale int64
		for _, l := range db.Levels() {
			bytes += l.Size
			stale += l.StaleDatSize
		}
		m.bytes.WithLabelValues(name).Set(float64(bytes))
		m.stale.WithLabelValues(name).Set(float64(stale))
	}
}
