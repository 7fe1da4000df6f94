package replica

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/dugnad/dugnad/ledger"
	"github.com/hashicorp/raft"
)

// fsm applies to the store what Raft has committed and what another member has
// streamed, whichever comes first: the applied index decides.
type fsm struct {
	config  *Config
	history *history
	book    *book
	metrics *metrics
	// snapshots is told when a received one was restored.
	snapshots *snapshots
	// stall waits while the store has no room.
	stall *stall
	// stopped is called once, when the machine or the store had a fault.
	stopped func(error)

	// mu is held while anything is applied.
	mu    sync.Mutex
	cause error
}

// errSkipped is the response for an entry that was applied before Raft got to
// it: its result is not known here. Its proposer tries again.
var errSkipped = fmt.Errorf("entry was applied already: %w", errLost)

// applier is the fsm as one Raft instance sees it.
type applier struct {
	*fsm
	// ending is closed when the instance's end begins.
	ending <-chan struct{}
}

var _ raft.BatchingFSM = applier{}

// Apply implements raft.FSM.
func (a applier) Apply(l *raft.Log) any { return a.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM: the whole batch in one update. The
// response to an entry is [][]byte, one result per command, or an error. It waits
// while the store has no room.
func (a applier) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	if err := a.stall.retry(a.ending, func() error { return a.applyBatch(logs, responses) }); err != nil {
		for i := range responses {
			responses[i] = fmt.Errorf("%w: %w", errLost, err)
		}
	}
	return responses
}

// applyBatch returns ErrNoRoom when nothing was applied and it may be called
// again. Other errors are responses.
func (f *fsm) applyBatch(logs []*raft.Log, responses []any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := 0
	for applied := f.config.Store.Applied(); first < len(logs) && logs[first].Index <= applied; first++ {
		responses[first] = errSkipped
	}
	todo := logs[first:]
	if len(todo) > 0 && f.cause == nil {
		done, err := f.update(todo, responses[first:])
		if errors.Is(err, ErrNoRoom) {
			return err
		}
		if err != nil && done > 0 {
			// Keep what comes before the entry that cannot be applied.
			_, again := f.update(todo[:done], responses[first:])
			err = errors.Join(err, again)
		}
		if err != nil {
			f.stop(fmt.Errorf("apply entry %d: %w", todo[done].Index, err))
		}
	}
	if f.cause != nil {
		applied := f.config.Store.Applied()
		for i := first; i < len(logs); i++ {
			if logs[i].Index > applied {
				responses[i] = f.stopError()
			}
		}
	}
	return nil
}

func (f *fsm) stop(cause error) {
	f.cause = cause
	f.stopped(cause)
}

func (f *fsm) stopError() error { return fmt.Errorf("%w: %w", ErrStopped, f.cause) }

// update applies logs in one transaction. After an error nothing was applied,
// and done is the number of logs before the one that failed.
func (f *fsm) update(logs []*raft.Log, responses []any) (done int, err error) {
	records := make([]record, 0, len(logs))
	ownChanged := false
	err = f.config.Store.Update(logs[len(logs)-1].Index, func(tx ledger.Tx) error {
		rec := &recorder{Tx: tx}
		for i, l := range logs {
			done = i
			rec.begin(l.Index)
			response, err := f.entry(rec, l)
			if err != nil {
				return err
			}
			responses[i] = response
			records = append(records, rec.record(l.Index))
		}
		done, ownChanged = 0, rec.own
		return nil
	})
	if err != nil {
		return done, err
	}
	if err := f.visible(records, ownChanged); err != nil {
		f.stop(err) // what was applied stays applied
	}
	return len(logs), nil
}

// entry applies one log entry.
func (f *fsm) entry(rec *recorder, l *raft.Log) (any, error) {
	if l.Type == raft.LogConfiguration {
		return nil, putVoters(rec, l.Index, raft.DecodeConfiguration(l.Data))
	}
	if len(l.Data) == 0 {
		return nil, fmt.Errorf("log entry is empty: %w", ledger.ErrUnknownCommand)
	}
	switch l.Data[0] {
	case entryCommands:
		commands, err := decodeCommands(l.Data[1:])
		if err != nil {
			return nil, err
		}
		results := make([][]byte, len(commands))
		for i, c := range commands {
			if results[i], err = f.config.Machine.Apply(guard{rec}, l.Index, c); err != nil {
				return nil, err
			}
		}
		return results, nil
	case entryMember:
		m, err := decodeMember(l.Data[1:])
		if err != nil {
			return nil, err
		}
		return [][]byte{nil}, applyMember(rec, m)
	default:
		return nil, fmt.Errorf("log entry has version %d: %w", l.Data[0], ledger.ErrUnknownCommand)
	}
}

// visible tells the readers of what was committed to the store.
func (f *fsm) visible(records []record, ownChanged bool) error {
	if ownChanged {
		if err := f.book.load(f.config.Store); err != nil {
			return fmt.Errorf("read the members: %w", err)
		}
	}
	f.history.append(records)
	f.metrics.applied.Set(float64(records[len(records)-1].index))
	return nil
}

// applyStream applies what another member has streamed. It waits while the store
// has no room, until ending is closed.
func (f *fsm) applyStream(records []record, ending <-chan struct{}) error {
	return f.stall.retry(ending, func() error { return f.applyRecords(records) })
}

func (f *fsm) applyRecords(records []record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return f.stopError()
	}
	applied := f.config.Store.Applied()
	for len(records) > 0 && records[0].index <= applied {
		records = records[1:]
	}
	if len(records) == 0 {
		return nil
	}
	ownChanged := false
	err := f.config.Store.Update(records[len(records)-1].index, func(tx ledger.Tx) error {
		for _, r := range records {
			changed, err := r.apply(tx)
			if err != nil {
				return err
			}
			ownChanged = ownChanged || changed
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("apply changes up to %d: %w", records[len(records)-1].index, err)
		if !errors.Is(err, ErrNoRoom) {
			f.stop(err)
		}
		return err
	}
	return f.visible(records, ownChanged)
}

// replace replaces the state by a snapshot, unless it is of the same history
// and no newer than what is there.
func (f *fsm) replace(r io.Reader, index uint64, sameLineage bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sameLineage && index <= f.config.Store.Applied() {
		return nil
	}
	got, err := f.config.Store.Restore(r)
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	if err := f.book.load(f.config.Store); err != nil {
		return fmt.Errorf("read the members: %w", err)
	}
	f.history.reset(got)
	f.metrics.applied.Set(float64(got))
	f.metrics.snapshots.WithLabelValues("restored").Inc()
	return nil
}

// Restore implements raft.FSM. A state that is ahead of the snapshot stays.
func (f *fsm) Restore(source io.ReadCloser) error {
	defer source.Close()
	h, err := readSnapshotHeader(source)
	if err != nil {
		return err
	}
	lineage := f.book.view().lineage
	if err := f.replace(source, h.index, lineage == "" || lineage == h.lineage); err != nil {
		return err
	}
	return f.snapshots.settle()
}

// Snapshot implements raft.FSM. The state is in the store already: there is
// nothing to copy, but it has to be durable before Raft cuts its log.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return nil, f.stopError()
	}
	return durable{f, f.config.Store.Applied()}, nil
}

// durable is a snapshot that consists of the store.
type durable struct {
	fsm     *fsm
	applied uint64
}

// Persist implements raft.FSMSnapshot.
func (d durable) Persist(to raft.SnapshotSink) error {
	if err := d.fsm.snapshots.keep(); err != nil {
		return errors.Join(err, to.Cancel())
	}
	if own, ok := to.(*sink); ok {
		own.meta.applied = d.applied
	}
	return nil
}

// Release implements raft.FSMSnapshot.
func (durable) Release() {}
