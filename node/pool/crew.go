package pool

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/dugnad/dugnad/runtime/worker"
)

// crew is one tenant's worker process, from before it starts. What is below
// ready is set when ready is closed; the pool's mutex guards the rest.
type crew struct {
	tenant string
	uses   int
	// since is when it last had nothing to do.
	since time.Time
	idle  *time.Timer
	gone  bool

	ready  chan struct{}
	worker *worker.Worker
	err    error
}

// join returns the tenant's crew with a worker that is up, and counts the caller
// as its user.
func (p *Pool) join(ctx context.Context, tenant string) (*crew, error) {
	for {
		c, freed, err := p.take(tenant)
		if err != nil {
			return nil, err
		}
		if c == nil {
			p.metrics.limits.WithLabelValues("workers").Inc()
			select {
			case <-freed:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			p.leave(c)
			return nil, context.Cause(ctx)
		}
		if c.err != nil {
			p.leave(c)
			return nil, c.err
		}
		return c, nil
	}
}

// take returns the tenant's crew, and makes one where there is none that lives.
// Without room for another one it returns nil, and what is closed when there may
// be room.
func (p *Pool) take(tenant string) (c *crew, freed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrClosed
	}
	c = p.crews[tenant]
	if c != nil && c.lost() {
		p.removeLocked(c)
		c = nil
	}
	if c == nil {
		if len(p.crews) >= p.config.WorkersMax && !p.dismissLocked() {
			return nil, p.freed, nil
		}
		c = &crew{tenant: tenant, ready: make(chan struct{})}
		p.crews[tenant] = c
		p.metrics.workers.Set(float64(len(p.crews)))
		p.ending.Go(func() { p.start(c) })
	}
	c.uses++
	if c.idle != nil {
		c.idle.Stop()
	}
	return c, nil, nil
}

// lost reports whether the crew can run nothing any more.
func (c *crew) lost() bool {
	select {
	case <-c.ready:
	default:
		return false
	}
	if c.err != nil {
		return true
	}
	select {
	case <-c.worker.Gone():
		return true
	default:
		return false
	}
}

// start starts the crew's worker.
func (p *Pool) start(c *crew) {
	defer close(c.ready)
	inputs, err := p.InputDir(c.tenant)
	if err != nil {
		c.err = err
		return
	}
	config := worker.Default()
	config.Executable, config.Dir, config.ReadOnly = p.config.Executable, p.cache.TempDir(), []string{inputs}
	config.TasksMax, config.MemoryBytes = p.config.Slots, p.config.MemoryBytes+workerSpareBytes
	config.Log, config.Registerer = p.config.Log, p.config.Registerer
	if p.config.OrphanMax > 0 {
		config.OrphanDir, config.OrphanMax, config.Label = filepath.Join(p.config.Dir, workerFolder), p.config.OrphanMax, c.tenant
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if c.worker, c.err = worker.Open(ctx, config); c.err != nil {
		c.err = fmt.Errorf("start worker of tenant %s: %w", c.tenant, c.err)
		return
	}
	p.governor.hire(c.worker)
}

// startTimeout bounds the start of a worker process.
const startTimeout = time.Minute

// leave ends one use of the crew. A crew that is idle is ended after a while.
func (p *Pool) leave(c *crew) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.uses--; c.uses > 0 || c.gone {
		return
	}
	c.since = time.Now()
	if c.idle == nil {
		c.idle = time.AfterFunc(p.config.IdleMax, func() { p.expire(c) })
	} else {
		c.idle.Reset(p.config.IdleMax)
	}
	close(p.freed)
	p.freed = make(chan struct{})
}

func (p *Pool) expire(c *crew) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.uses == 0 && !c.gone && !p.closed {
		p.removeLocked(c)
	}
}

// dismissLocked ends the crew that has been idle longest, if one is.
func (p *Pool) dismissLocked() bool {
	var longest *crew
	for _, c := range p.crews {
		if c.uses == 0 && (longest == nil || c.since.Before(longest.since)) {
			longest = c
		}
	}
	if longest != nil {
		p.removeLocked(longest)
	}
	return longest != nil
}

// removeLocked takes the crew out of the pool and ends its worker.
func (p *Pool) removeLocked(c *crew) {
	delete(p.crews, c.tenant)
	c.gone = true
	if c.idle != nil {
		c.idle.Stop()
	}
	p.metrics.workers.Set(float64(len(p.crews)))
	p.ending.Go(func() {
		<-c.ready
		if c.worker == nil {
			return
		}
		if err := c.worker.Close(); err != nil {
			p.log.Warn("worker did not end well", "tenant", c.tenant, "err", err)
		}
	})
}
