package executor

import (
	"context"
	"sync"
	"time"
)

// slots bounds what runs at the same time. Who waits gets them in turn.
type slots struct {
	max uint32

	mu      sync.Mutex
	used    uint32
	waiting []*slotWaiter
	// mean is how long attempts took lately, each counting for an eighth.
	mean time.Duration
}

type slotWaiter struct {
	n     uint32
	given chan struct{}
}

// take takes n slots, at most max, or returns the cause of ctx.
func (s *slots) take(ctx context.Context, n uint32) error {
	s.mu.Lock()
	if len(s.waiting) == 0 && s.used+n <= s.max {
		s.used += n
		s.mu.Unlock()
		return nil
	}
	w := &slotWaiter{n: n, given: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.given:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.given:
		s.used -= n
	default:
		for i, other := range s.waiting {
			if other == w {
				s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
				break
			}
		}
	}
	s.hand()
	return context.Cause(ctx)
}

// give returns n slots after an attempt that took so long.
func (s *slots) give(n uint32, took time.Duration) {
	s.mu.Lock()
	s.used -= n
	s.mean += (took - s.mean) / 8
	s.hand()
	s.mu.Unlock()
}

func (s *slots) hand() {
	for len(s.waiting) > 0 && s.used+s.waiting[0].n <= s.max {
		w := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.used += w.n
		close(w.given)
	}
}

// load returns the slots that are used, and how long it takes until one is
// likely to be free: zero when one is, otherwise the mean attempt over the
// slots.
func (s *slots) load() (used uint32, busy time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used < s.max {
		return s.used, 0
	}
	return s.used, max(s.mean/time.Duration(s.max), 1)
}
