package metric

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func gauge(name string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: name})
}

func TestRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	var err error
	var first, second prometheus.Gauge
	Register(reg, &first, gauge("a"), &err)
	Register(reg, &second, gauge("a"), &err)
	if err != nil || first != second {
		t.Errorf("the second of a name is another one, %v", err)
	}
	var other prometheus.Histogram
	Register(reg, &other, prometheus.NewHistogram(prometheus.HistogramOpts{Name: "a", Help: "a"}), &err)
	if err == nil || other == nil {
		t.Errorf("one name for two kinds: %v", err)
	}
	err = nil
	Register(nil, &first, gauge("b"), &err)
	if err != nil || first == second {
		t.Errorf("without a registry: %v", err)
	}
}

func TestRegisterAllOrNone(t *testing.T) {
	reg := prometheus.NewRegistry()
	if err := RegisterAll(reg, []prometheus.Collector{gauge("a"), gauge("b"), gauge("a")}); err == nil {
		t.Fatal("one name was taken twice")
	}
	list := []prometheus.Collector{gauge("a"), gauge("b")}
	for range 2 {
		if err := RegisterAll(reg, list); err != nil {
			t.Fatal(err)
		}
		UnregisterAll(reg, list)
	}
	if err := RegisterAll(nil, list); err != nil {
		t.Error(err)
	}
	UnregisterAll(nil, list)
}
