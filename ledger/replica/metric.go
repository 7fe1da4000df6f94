package replica

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one member's; members that share a Registerer share them.
type metrics struct {
	leads, term, voter, stopped, stalled, applied, lag   prometheus.Gauge
	depth, followers, queued                             prometheus.Gauge
	elections, streamBytes, streamReceived, streamFrames prometheus.Counter
	proposals, limits, snapshots                         *prometheus.CounterVec
	proposalSeconds, batchCommands, batchBytes           prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	gauge := func(to *prometheus.Gauge, name, help string) {
		register(reg, to, prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_replica_" + name, Help: help}), &err)
	}
	counter := func(to *prometheus.Counter, name, help string) {
		register(reg, to, prometheus.NewCounter(prometheus.CounterOpts{Name: "dugnad_replica_" + name, Help: help}), &err)
	}
	vector := func(to **prometheus.CounterVec, name, help, label string) {
		register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_replica_" + name, Help: help}, []string{label}), &err)
	}
	histogram := func(to *prometheus.Histogram, name, help string, buckets []float64) {
		register(reg, to, prometheus.NewHistogram(prometheus.HistogramOpts{Name: "dugnad_replica_" + name, Help: help, Buckets: buckets}), &err)
	}
	gauge(&m.leads, "leads", "1 when this member is the leader.")
	gauge(&m.voter, "voter", "1 when this member votes.")
	gauge(&m.term, "term", "Raft's term.")
	gauge(&m.stopped, "stopped", "1 when the state machine or the store had a fault.")
	gauge(&m.stalled, "stalled", "1 while nothing can be written for lack of room.")
	gauge(&m.applied, "applied_index", "Index up to which the state goes.")
	gauge(&m.lag, "lag_entries", "How far the state was behind the source of changes when that last said.")
	gauge(&m.depth, "depth", "Members between this one and the voters.")
	gauge(&m.followers, "followers", "Members that stream changes from this one.")
	gauge(&m.queued, "queued_commands", "Commands that waited at the leader when the last log entry was made.")
	counter(&m.elections, "elections_total", "Elections that this member has won.")
	counter(&m.streamBytes, "stream_sent_bytes_total", "Bytes of changes sent to followers.")
	counter(&m.streamFrames, "stream_sent_frames_total", "Frames of changes sent to followers.")
	counter(&m.streamReceived, "stream_received_bytes_total", "Bytes of changes received.")
	vector(&m.proposals, "proposals_total", "Commands proposed at this member, by what became of them.", "outcome")
	vector(&m.limits, "limit_reached_total", "How often a limit refused something, by limit.", "limit")
	vector(&m.snapshots, "snapshots_total", "Snapshots sent to followers and restored here.", "direction")
	histogram(&m.proposalSeconds, "proposal_seconds", "Time from proposal to result.", prometheus.ExponentialBuckets(0.0005, 2, 16))
	histogram(&m.batchCommands, "entry_commands", "Commands in a log entry.", prometheus.ExponentialBuckets(1, 2, 8))
	histogram(&m.batchBytes, "entry_bytes", "Bytes in a log entry.", prometheus.ExponentialBuckets(64, 4, 9))
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

// place shows a status.
func (m *metrics) place(s Status) {
	set := func(g prometheus.Gauge, is bool) {
		if is {
			g.Set(1)
		} else {
			g.Set(0)
		}
	}
	set(m.leads, s.Leads)
	set(m.voter, s.Voter)
	m.depth.Set(float64(s.Depth))
}
