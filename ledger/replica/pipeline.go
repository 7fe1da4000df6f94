package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// proposal is one command on its way through the leader.
type proposal struct {
	// command is a machine's command, or a whole log entry when entry is set.
	command []byte
	entry   bool
	// done receives the outcome; it has room for it.
	done chan outcome
}

type outcome struct {
	result []byte
	index  uint64
	err    error
}

// pipeline turns proposals into log entries. While earlier entries are being
// written, the next one fills up: there is no timer.
type pipeline struct {
	config  *Config
	engine  *engine
	stall   *stall
	metrics *metrics
	queue   chan *proposal
	flying  chan flight
	slots   chan struct{}
	// ended is closed when no proposal will be answered any more.
	ended chan struct{}
}

// flight is a log entry that Raft has.
type flight struct {
	instance  *instance
	future    raft.ApplyFuture
	proposals []*proposal
}

func newPipeline(config *Config, e *engine, s *stall, m *metrics) *pipeline {
	return &pipeline{
		config: config, engine: e, stall: s, metrics: m,
		queue: make(chan *proposal, config.QueueMax), flying: make(chan flight, config.PipelineMax),
		slots: make(chan struct{}, config.PipelineMax), ended: make(chan struct{}),
	}
}

// propose hands command to Raft, if this member leads, and waits for what comes
// of it. Errors are errNotLeader, ErrRefused, ErrNoRoom and ErrOverloaded, when
// nothing happened, errLost when that is not known, and ErrStopped.
func (p *pipeline) propose(ctx context.Context, command []byte, entry bool) ([]byte, uint64, error) {
	if !p.engine.leads() {
		return nil, 0, errNotLeader
	}
	if err := p.accept(command, entry); err != nil {
		return nil, 0, err
	}
	q := &proposal{command, entry, make(chan outcome, 1)}
	select {
	case p.queue <- q:
	default:
		p.metrics.limits.WithLabelValues("queue").Inc()
		return nil, 0, fmt.Errorf("%w: %d", ErrOverloaded, p.config.QueueMax)
	}
	select {
	case o := <-q.done:
		return o.result, o.index, o.err
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("%w: %w", errLost, context.Cause(ctx))
	case <-p.ended:
		return nil, 0, fmt.Errorf("%w: %w", errLost, ErrClosed)
	}
}

// accept returns why command does not come into the log, or nil.
func (p *pipeline) accept(command []byte, entry bool) error {
	if err := p.stall.cause(); err != nil {
		return err
	}
	if entry || p.config.Accept == nil {
		return nil
	}
	if err := p.config.Accept(command); err != nil {
		p.metrics.limits.WithLabelValues("accept").Inc()
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// fill runs until ctx ends: it takes proposals, as many as wait, and hands them
// to Raft as soon as there is room.
func (p *pipeline) fill(ctx context.Context) {
	defer close(p.flying)
	var next *proposal
	for {
		first := next
		if first == nil {
			select {
			case first = <-p.queue:
			case <-ctx.Done():
				p.drain()
				return
			}
		}
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			first.done <- outcome{err: ErrClosed}
			p.drain()
			return
		}
		var batch []*proposal
		batch, next = p.gather(first)
		p.launch(batch)
	}
}

// gather takes what else waits and fits into first's entry. The proposal that
// does not fit any more is next.
func (p *pipeline) gather(first *proposal) (batch []*proposal, next *proposal) {
	batch, size := []*proposal{first}, len(first.command)
	for !first.entry && len(batch) < p.config.BatchCommandsMax {
		select {
		case q := <-p.queue:
			if q.entry || size+len(q.command) > p.config.BatchBytesMax {
				return batch, q
			}
			batch, size = append(batch, q), size+len(q.command)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

func (p *pipeline) launch(batch []*proposal) {
	data := batch[0].command
	if !batch[0].entry {
		commands := make([][]byte, len(batch))
		for i, q := range batch {
			commands[i] = q.command
		}
		data = appendCommands(nil, commands)
	}
	instance, err := p.engine.get(), p.stall.cause()
	if instance == nil {
		err = errNotLeader
	}
	if err != nil {
		<-p.slots
		for _, q := range batch {
			q.done <- outcome{err: err}
		}
		return
	}
	p.metrics.batchCommands.Observe(float64(len(batch)))
	p.metrics.batchBytes.Observe(float64(len(data)))
	p.metrics.queued.Set(float64(len(p.queue)))
	p.flying <- flight{instance, instance.Apply(data, 0), batch}
}

func (p *pipeline) drain() {
	for {
		select {
		case q := <-p.queue:
			q.done <- outcome{err: ErrClosed}
		default:
			return
		}
	}
}

// land tells proposers what became of their entries, in order. It returns when
// fill has ended and Raft has answered.
func (p *pipeline) land() {
	defer close(p.ended)
	for f := range p.flying {
		err := p.await(f)
		<-p.slots
		var results [][]byte
		if err == nil {
			results, _ = f.future.Response().([][]byte)
			err, _ = f.future.Response().(error)
		}
		if err == nil && len(results) != len(f.proposals) {
			err = errLost
		}
		for i, q := range f.proposals {
			if err != nil {
				q.done <- outcome{err: outcomeError(err)}
				continue
			}
			q.done <- outcome{result: results[i], index: f.future.Index()}
		}
		if err == nil {
			p.spread(f)
		}
	}
}

// spread tells the other voters what is committed, unless an entry is under way
// that will.
func (p *pipeline) spread(f flight) {
	if len(p.slots) == 0 && len(p.queue) == 0 {
		f.instance.spread(p.config.RaftLog, raft.ServerID(p.config.ID), f.future.Index())
	}
}

// await waits for Raft's answer, but not while the store has no room: the entry
// may be committed meanwhile, and another leader knows its results.
func (p *pipeline) await(f flight) error {
	answer := f.instance.answer(f.future)
	select {
	case err := <-answer:
		return err
	case <-f.instance.gone:
		return raft.ErrRaftShutdown
	case <-p.stall.beginning():
	}
	select {
	case err := <-answer:
		return err
	default:
		return fmt.Errorf("%w: %w", errLost, ErrNoRoom)
	}
}

// outcomeError says in the replica's terms why Raft gave no result.
func outcomeError(err error) error {
	switch {
	case errors.Is(err, ErrStopped), errors.Is(err, errLost), errors.Is(err, ErrNoRoom):
		return err
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errNotLeader
	default:
		return fmt.Errorf("%w: %w", errLost, err)
	}
}
