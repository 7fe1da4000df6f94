// Package scheduler gives waiting tasks to nodes, while this node's replica of
// the ledger is the leader.
//
// It keeps a picture of the queue and of the nodes by listening to the ledger's
// changes, makes plans of it and of what nodes offer, and proposes them. It
// decides nothing for good: the ledger checks each placement, and a plan that was
// overtaken is refused and made anew. Nothing is kept when leadership ends.
//
// A pass begins when something has changed that can help what waits, and not
// before the one before it is committed and seen: what changes meanwhile gathers.
// On the side the scheduler has the ledger's timers fire, tells the ledger which
// nodes have gone silent, and puts a brake on placing again when many have.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrNotLeader is returned by Explain when this node does not lead, or not yet.
var ErrNotLeader = errors.New("this node is not the ledger's leader")

// Scheduler is the loop on one node. Its methods are safe for concurrent use.
type Scheduler struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	cancel  context.CancelFunc
	done    chan struct{}

	mu sync.Mutex
	// current is the leadership of this node, nil while it has none.
	current *lead
}

// Open starts a scheduler, which works whenever its replica leads.
func Open(_ context.Context, config Config) (*Scheduler, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open scheduler: %w", err)
	}
	m, err := newMetrics(config.Registerer)
	if err != nil {
		return nil, fmt.Errorf("open scheduler: %w", err)
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	s := &Scheduler{config: config, log: config.Log, metrics: m, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.run(ctx)
	}()
	return s, nil
}

// Close ends the loop and waits for it. What was proposed may still be applied.
func (s *Scheduler) Close() error {
	s.cancel()
	<-s.done
	s.metrics.unregister()
	return nil
}

// run leads whenever the replica does, until ctx ends.
func (s *Scheduler) run(ctx context.Context) {
	pause := s.config.RetryMin
	for ctx.Err() == nil {
		changed := s.config.Ledger.Changed()
		status := s.config.Ledger.Status()
		var again <-chan time.Time
		if status.Leads {
			began := time.Now()
			err := s.lead(ctx, status.Term)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				continue // there may be a new term already
			}
			if time.Since(began) > s.config.RetryMax {
				pause = s.config.RetryMin
			}
			s.log.Warn("scheduling begins anew", "err", err, "wait", pause)
			again = time.After(pause)
			pause = min(2*pause, s.config.RetryMax)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// lead schedules during one term. It returns nil when the term is over.
func (s *Scheduler) lead(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	l := newLead(ctx, s, term)
	defer l.group.Wait()
	defer cancel()
	leads, err := l.open()
	if err != nil || !leads {
		return err
	}
	s.log.Info("this node schedules", "term", term, "queued", l.backlog.Queued(), "nodes", len(l.backlog.Nodes()))
	s.set(l)
	err = l.run()
	s.set(nil)
	close(l.ended)
	s.metrics.clear()
	s.log.Info("this node schedules no longer", "term", term)
	return err
}

func (s *Scheduler) set(l *lead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = l
}
