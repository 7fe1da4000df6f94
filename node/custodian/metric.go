package custodian

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// metrics are one custodian's; those that share a Registerer share them.
type metrics struct {
	given, wrapped         prometheus.Counter
	refused, asked, limits *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	counter := func(to *prometheus.Counter, name, help string) {
		metric.Register(reg, to, prometheus.NewCounter(prometheus.CounterOpts{Name: "dugnad_custodian_" + name, Help: help}), &err)
	}
	vector := func(to **prometheus.CounterVec, name, help, label string) {
		metric.Register(reg, to, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_custodian_" + name, Help: help}, []string{label}), &err)
	}
	counter(&m.given, "keys_given_total", "Keys to secrets that this node has given to nodes that run jobs.")
	vector(&m.refused, "keys_refused_total", "Requests for keys to secrets that this node has refused, by code.", "code")
	vector(&m.asked, "keys_asked_total", "Keys to secrets that this node has asked for, by what came of it: ok, or a code.", "result")
	counter(&m.wrapped, "secrets_wrapped_total", "Secrets whose keys this node has sealed to other custodians than before.")
	vector(&m.limits, "limit_reached_total", "How often a limit left something out, by limit.", "limit")
	return m, err
}

// codeOf returns the code of an error, for a metric.
func codeOf(err error) string {
	var f *rpc.Fault
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &f):
		return f.Code
	}
	return rpc.CodeFailed
}
