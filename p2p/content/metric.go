package content

import (
	"github.com/dugnad/dugnad/p2p/metric"
	"github.com/prometheus/client_golang/prometheus"
)

// meter holds the store's metrics.
type meter struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	puts, evictions, full, quota, corrupt prometheus.Counter
	fetches, refusals, reports            *prometheus.CounterVec
	received, sent                        prometheus.Counter
}

func newMeter(s *Store) *meter {
	const space, part = "dugnad", "content"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(f())
		})
	}
	m := &meter{
		registerer: s.config.Registerer,
		puts:       counter("puts_total", "Objects stored by this node itself."),
		evictions:  counter("evictions_total", "Files removed to make room."),
		full:       counter("full_total", "Writes refused because there was no room and nothing to evict."),
		quota:      counter("quota_total", "Pins refused because the owner's quota was used up."),
		corrupt:    counter("corrupt_total", "Objects dropped because the disk gave wrong bytes."),
		fetches:    vector("fetches_total", "Fetches by how they ended.", "outcome"),
		refusals:   vector("refusals_total", "Requests of others that were refused.", "code"),
		reports:    vector("reports_total", "What holders did wrong.", "reason"),
		received:   counter("received_bytes_total", "Bytes of chunks that arrived and were right."),
		sent:       counter("sent_bytes_total", "Bytes of chunks sent to others."),
	}
	m.all = []prometheus.Collector{
		m.puts, m.evictions, m.full, m.quota, m.corrupt, m.fetches, m.refusals, m.reports, m.received, m.sent,
		gauge("used_bytes", "Bytes of files and of what is being written.", func() int64 { return s.used }),
		gauge("buffer_bytes", "Bytes of memory in use for chunks that are read, sent or received.", func() int64 {
			return s.buffersTaken.Load() * bufferBytes
		}),
		gauge("objects", "Objects held.", func() int64 { return int64(len(s.objects)) }),
		gauge("partials", "Objects held in part.", func() int64 { return int64(len(s.partials)) }),
		gauge("pins", "Pairs of owner and object.", func() int64 { return int64(s.pinCount) }),
		gauge("missing", "Objects that are pinned but not held.", func() (n int64) {
			for h := range s.pinned {
				if s.objects[h] == nil {
					n++
				}
			}
			return n
		}),
	}
	return m
}

// register makes the metrics visible; the store must be complete.
func (m *meter) register() error {
	err := metric.RegisterAll(m.registerer, m.all)
	if err != nil {
		m.all = nil
	}
	return err
}

func (m *meter) unregister() { metric.UnregisterAll(m.registerer, m.all) }
