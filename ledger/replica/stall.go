package replica

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// stall waits for room where a write must not be given up. While anybody waits,
// the member applies nothing, accepts no proposals and does not lead for long.
type stall struct {
	heartbeat time.Duration
	log       *slog.Logger
	metrics   *metrics
	// changed tells everybody else.
	changed func()

	mu sync.Mutex
	// waiting counts those who wait; err is what the last one was told.
	waiting int
	err     error
	// began is closed while anybody waits.
	began chan struct{}
}

func newStall(config *Config, log *slog.Logger, m *metrics, changed func()) *stall {
	return &stall{heartbeat: config.HeartbeatTimeout, log: log, metrics: m, changed: changed, began: make(chan struct{})}
}

// retry calls write until it returns something else than ErrNoRoom, which retry
// returns, or until ending is closed; then ErrNoRoom stays.
func (s *stall) retry(ending <-chan struct{}, write func() error) error {
	for attempt := 0; ; attempt++ {
		err := write()
		full := errors.Is(err, ErrNoRoom)
		switch {
		case full && attempt == 0:
			s.enter(err)
			defer s.leave()
		case full:
			s.update(err)
		default:
			return err
		}
		wait := time.NewTimer(backoff(attempt, s.heartbeat))
		select {
		case <-wait.C:
		case <-ending:
			wait.Stop()
			return err
		}
	}
}

func (s *stall) enter(err error) {
	s.mu.Lock()
	s.waiting++
	s.err = err
	first := s.waiting == 1
	if first {
		close(s.began)
	}
	s.mu.Unlock()
	if !first {
		return
	}
	s.log.Error("nothing can be written, waiting for room", "err", err)
	s.metrics.limits.WithLabelValues("room").Inc()
	s.metrics.stalled.Set(1)
	s.changed()
}

func (s *stall) update(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *stall) leave() {
	s.mu.Lock()
	s.waiting--
	last := s.waiting == 0
	if last {
		s.err, s.began = nil, make(chan struct{})
	}
	s.mu.Unlock()
	if !last {
		return
	}
	s.log.Info("the wait for room is over")
	s.metrics.stalled.Set(0)
	s.changed()
}

// cause returns why nothing can be written at present, or nil.
func (s *stall) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// beginning returns a channel that is closed when somebody waits.
func (s *stall) beginning() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}
