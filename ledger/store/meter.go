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
	// hits, misses and held are about the cache of records.
	hits, misses prometheus.Counter
	held         prometheus.Gauge
}

func newMeter(s *Store) *meter {
	const space, part = "dugnad", "store"
	name := func(n, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: n, Help: help}
	}
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(name(n, help)))
	}
	m := &meter{
		registerer: s.config.Registerer,
		bytes:      prometheus.NewGaugeVec(name("table_bytes", "Bytes in tables on disk."), []string{"database"}),
		stale:      prometheus.NewGaugeVec(name("stale_bytes", "Bytes in tables that compaction would drop."), []string{"database"}),
		full:       counter("disk_full_total", "Writes refused because the disk had less room than the reserve."),
		hits:       counter("record_cache_hits_total", "Reads of updates that the cache of records answered."),
		misses:     counter("record_cache_misses_total", "Reads of updates that went to the database."),
		held:       prometheus.NewGauge(name("record_cache_bytes", "Bytes in the cache of records.")),
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
		m.bytes, m.stale, m.full, m.hits, m.misses, m.held,
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

// cached takes what a cache counted during an update.
func (m *meter) cached(c *cache) {
	m.hits.Add(float64(c.hits))
	m.misses.Add(float64(c.misses))
	m.held.Set(float64(c.recent.bytes + c.older.bytes))
	c.hits, c.misses = 0, 0
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
