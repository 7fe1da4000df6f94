package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dugnad/dugnad/ledger"
	"github.com/hashicorp/raft"
)

// View calls f with the state as this member has it, and returns the index up
// to which that goes. It works while there is no leader, and after ErrStopped.
// f must not keep anything of tx.
func (r *Replica) View(f func(tx ledger.Tx) error) (index uint64, err error) {
	if r.closed() {
		return 0, ErrClosed
	}
	return View(r.config.Store, f)
}

// View calls f with the state that a member's store has, as Replica.View does:
// for a store on which no replica runs.
func View(s Store, f func(tx ledger.Tx) error) (index uint64, err error) {
	return s.ViewAt(func(tx ledger.Tx) error { return f(frozen{guard{tx}}) })
}

// Read calls f with a state that holds everything that was acknowledged, by any
// member, before Read was called. It returns ErrNoLeader when ctx ends before a
// leader has confirmed that it still is one.
func (r *Replica) Read(ctx context.Context, f func(tx ledger.Tx) error) (index uint64, err error) {
	at, err := r.readIndex(ctx)
	if err != nil {
		return 0, err
	}
	if err := r.Wait(ctx, at); err != nil {
		return 0, fmt.Errorf("wait for index %d: %w", at, err)
	}
	return r.View(f)
}

// Applied returns the index up to which this member has applied the log.
func (r *Replica) Applied() uint64 {
	index, _ := r.history.state()
	return index
}

// Wait returns when this member has applied index. When ctx ends while the store
// has no room the error is ErrNoRoom, too.
func (r *Replica) Wait(ctx context.Context, index uint64) error {
	for {
		at, more := r.history.state()
		if at >= index {
			return nil
		}
		if err := r.stopError(); err != nil {
			return err
		}
		select {
		case <-more:
		case <-r.stopped:
		case <-ctx.Done():
			if full := r.stall.cause(); full != nil {
				return fmt.Errorf("%w: %w", full, context.Cause(ctx))
			}
			return context.Cause(ctx)
		case <-r.ctx.Done():
			return ErrClosed
		}
	}
}

// readIndex asks the leader, wherever it is, for a linearizable index.
func (r *Replica) readIndex(ctx context.Context) (index uint64, err error) {
	err = r.atLeader(ctx, func(address string) (bool, error) {
		if address == "" {
			index, err = r.reader.index(ctx)
			return false, err
		}
		payload, _, err := r.callers.call(ctx, address, callRead, nil)
		if err != nil {
			return false, err
		}
		d := decoder{rest: payload}
		index = d.uvarint()
		return false, d.end()
	})
	return index, err
}

// reader confirms leadership once for all reads that wait.
type reader struct {
	replica  *Replica
	requests chan chan outcome
	// readyTerm is the term in which everything of earlier terms is applied.
	readyTerm atomic.Uint64
}

// readsMax bounds the reads that wait for one confirmation.
const readsMax = 4096

// index returns an index that covers everything acknowledged so far, or
// errNotLeader.
func (q *reader) index(ctx context.Context) (uint64, error) {
	done := make(chan outcome, 1)
	select {
	case q.requests <- done:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-q.replica.ctx.Done():
		return 0, ErrClosed
	}
	select {
	case o := <-done:
		return o.index, o.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-q.replica.ctx.Done():
		return 0, ErrClosed
	}
}

// run serves until ctx ends.
func (q *reader) run(ctx context.Context) {
	for {
		var waiting []chan outcome
		select {
		case first := <-q.requests:
			waiting = append(waiting, first)
		case <-ctx.Done():
			return
		}
	gather:
		for len(waiting) < readsMax {
			select {
			case next := <-q.requests:
				waiting = append(waiting, next)
			default:
				break gather
			}
		}
		index, err := q.confirm(ctx)
		for _, done := range waiting {
			done <- outcome{index: index, err: err}
		}
	}
}

// confirm takes the index of what is committed and then has a majority of the
// voters say that they know no later term. A later leader needs one of them, and
// gets it only after that: so whatever was acknowledged or seen anywhere before
// was committed here first, or belongs to an earlier term, all of which is
// committed here since the term is ready. The applied index would not do: others
// may have applied, and shown, what is committed but not yet applied here.
//
// Raft's VerifyLeader will not do: it counts answers to heartbeats that were
// sent before it was called, and those may be held up while others elect.
func (q *reader) confirm(ctx context.Context) (uint64, error) {
	r := q.replica
	i := r.engine.get()
	if i == nil || i.State() != raft.Leader {
		return 0, errNotLeader
	}
	term := q.readyTerm.Load()
	if i.CurrentTerm() != term {
		return 0, errNotLeader
	}
	index, err := r.lastChange(i.CommitIndex())
	if err != nil {
		return 0, err
	}
	servers, _ := r.engine.configuration()
	voters, agree := 0, 0
	view := r.book.view()
	answers := make(chan bool, len(servers))
	ctx, cancel := context.WithTimeout(ctx, r.config.HeartbeatTimeout)
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) == r.config.ID {
			agree++
			continue
		}
		asking.Go(func() {
			payload, _, err := r.callers.call(ctx, view.address(string(s.ID)), callTerm, nil)
			d := decoder{rest: payload}
			id, at := d.string(idBytesMax), d.uvarint()
			answers <- err == nil && d.end() == nil && id == string(s.ID) && at == term
		})
	}
	for asked := agree; asked < voters && 2*agree <= voters; asked++ {
		if <-answers {
			agree++
		}
	}
	if 2*agree <= voters || i.CurrentTerm() != term || i.State() != raft.Leader {
		return 0, errNotLeader
	}
	return index, nil
}

// lastChange returns the last index up to index that moves the applied index:
// entries that only Raft looks at do not.
func (r *Replica) lastChange(index uint64) (uint64, error) {
	for ; index > r.Applied(); index-- {
		var l raft.Log
		if err := r.config.RaftLog.GetLog(index, &l); err != nil {
			if index <= r.Applied() {
				break // it was cut off the log meanwhile
			}
			return 0, fmt.Errorf("read log entry %d: %w", index, err)
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			break
		}
	}
	return index, nil
}

// term answers callTerm.
func (r *Replica) term() ([]byte, error) {
	i := r.engine.get()
	if i == nil {
		return nil, errBusy
	}
	return binary.AppendUvarint(appendBytes(nil, r.config.ID), i.CurrentTerm()), nil
}
