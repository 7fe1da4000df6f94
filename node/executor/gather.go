package executor

import (
	"context"
	"fmt"
	"sync"
)

// gather holds the outcomes that wait for the journal.
type gather struct {
	e   *Executor
	max int

	mu   sync.Mutex
	list []ended
	// spare is the list before, to be used again.
	spare []ended
	// freed is closed when the list has been taken; nil while nobody waits.
	freed chan struct{}
	// added and half hold an element after an outcome came, and after so many
	// that they should not wait any longer.
	added, half chan struct{}
}

func newGather(e *Executor) *gather {
	return &gather{e: e, max: e.config.OutcomesMax, added: make(chan struct{}, 1), half: make(chan struct{}, 1)}
}

// admit waits until another task may be started, or ctx ends.
func (g *gather) admit(ctx context.Context) error {
	for first := true; ; first = false {
		g.mu.Lock()
		if len(g.list) < g.max {
			g.mu.Unlock()
			return context.Cause(ctx)
		}
		if g.freed == nil {
			g.freed = make(chan struct{})
		}
		freed := g.freed
		g.mu.Unlock()
		if first {
			g.e.metrics.limit("outcomes")
			g.e.log.Debug("tasks wait", "err", fmt.Errorf("%w: at most %d", ErrOutcomes, g.max))
		}
		select {
		case <-freed:
		case <-ctx.Done():
		}
	}
}

// add adds an outcome. There may be more than max: those of the tasks that had
// been started, at most a series for each slot.
func (g *gather) add(end ended) {
	g.mu.Lock()
	g.list = append(g.list, end)
	n := len(g.list)
	g.mu.Unlock()
	if n == 1 {
		notify(g.added)
	}
	if n == g.max/2+1 {
		notify(g.half)
	}
}

// take returns what has gathered. It is good until give.
func (g *gather) take() []ended {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.list
	g.list, g.spare = g.spare[:0], nil
	if g.freed != nil {
		close(g.freed)
		g.freed = nil
	}
	return list
}

// give takes a list back to be used again.
func (g *gather) give(list []ended) {
	clear(list)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spare = list[:0]
}
