// Package metric registers metrics, for the packages of p2p and of node.
package metric

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Register registers c and stores it, or stores the collector that was registered
// under its name before. It does nothing more once *err is set; reg may be nil.
func Register[C prometheus.Collector](reg prometheus.Registerer, to *C, c C, err *error) {
	*to = c
	if reg == nil || *err != nil {
		return
	}
	failed := reg.Register(c)
	if failed == nil {
		return
	}
	var was prometheus.AlreadyRegisteredError
	if errors.As(failed, &was) {
		if existing, ok := was.ExistingCollector.(C); ok {
			*to = existing
			return
		}
	}
	*err = fmt.Errorf("register metrics: %w", failed)
}

// RegisterAll registers all of list, or none when one of them cannot be. reg may
// be nil.
func RegisterAll(reg prometheus.Registerer, list []prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	for i, c := range list {
		if err := reg.Register(c); err != nil {
			UnregisterAll(reg, list[:i])
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// UnregisterAll is the inverse of RegisterAll.
func UnregisterAll(reg prometheus.Registerer, list []prometheus.Collector) {
	if reg == nil {
		return
	}
	for _, c := range list {
		reg.Unregister(c)
	}
}
