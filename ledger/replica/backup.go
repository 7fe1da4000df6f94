package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/dugnad/dugnad/ledger"
	"github.com/hashicorp/raft"
)

// Backup writes the state as this member has it, in the store's format, which
// is versioned and carries checksums, and returns the index up to which it goes.
// The member serves meanwhile.
func (r *Replica) Backup(ctx context.Context, w io.Writer) (index uint64, err error) {
	if r.closed() {
		return 0, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	index, err = r.config.Store.Snapshot(contextWriter{ctx, w})
	if err != nil {
		return 0, fmt.Errorf("back up: %w", err)
	}
	return index, nil
}

// contextWriter fails when its context has ended.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (c contextWriter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(b)
}

// Restore fills the empty store of config with a backup and makes its member the
// founder, and so far only member, of a new grid: Open it afterwards. Of config
// it needs ID, Address, Store, RaftLog, Machine and Dir. It returns ErrMember
// when the store is not empty. What the backup holds of running leases is for
// the machine's caller to end.
func Restore(ctx context.Context, config Config, backup io.Reader) error {
	if err := config.validateLocal(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	b := &book{}
	snaps := &snapshots{config: &config, book: b}
	has, err := raft.HasExistingState(config.RaftLog, config.RaftLog, snaps)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if has || config.Store.Applied() > 0 {
		return fmt.Errorf("restore: %w", ErrMember)
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if _, err := config.Store.Restore(backup); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := b.load(config.Store); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return beginAnew(&config, snaps, 1)
}

// Recover makes the member of config the only voter of its grid, for when most
// voters are gone for good. It begins from everything that this member has: all
// log entries, also such as may never have been committed, or, when it has not
// voted, its state. Open it afterwards; other members find it and take over its
// state, and voters are chosen among them again. Members that had more than this
// one lose that: run it where Applied is highest, and on one member only.
//
// No replica may run on the store. It is safe to run twice, also after it was
// interrupted.
func Recover(ctx context.Context, config Config) error {
	if err := config.validateLocal(); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	m, err := newMetrics(nil)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	b := &book{}
	if err := b.load(config.Store); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	snaps := &snapshots{config: &config, book: b}
	var fault error
	f := &fsm{
		config: &config, history: newHistory(config.Store.Applied(), 1), book: b, metrics: m, snapshots: snaps,
		stall: newStall(&config, slog.New(slog.DiscardHandler), m, func() {}), stopped: func(cause error) { fault = cause },
	}
	if err := snaps.repair(f); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	ending := make(chan struct{})
	close(ending) // a store without room is an error here
	term, err := replay(ctx, &config, snaps, applier{f, ending})
	if err = errors.Join(err, fault); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if b.view().lineage == "" {
		return fmt.Errorf("recover: %w", ErrNotMember)
	}
	return beginAnew(&config, snaps, term)
}

// replay applies what the log has beyond the state, and returns the last term.
//
// It does what raft.RecoverCluster does, which cannot be used: it refuses
// members that have not voted, and would read the whole state through a
// snapshot.
func replay(ctx context.Context, config *Config, snaps *snapshots, f applier) (term uint64, err error) {
	m, _, err := snaps.latest()
	if err != nil {
		return 0, err
	}
	term = max(m.term, 1)
	first, err := config.RaftLog.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	last, err := config.RaftLog.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	for index := first; index <= last && last > 0; index++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var l raft.Log
		if err := config.RaftLog.GetLog(index, &l); err != nil {
			return 0, fmt.Errorf("read log entry %d: %w", index, err)
		}
		term = max(term, l.Term)
		if l.Type != raft.LogCommand && l.Type != raft.LogConfiguration {
			continue
		}
		if err, failed := f.Apply(&l).(error); failed && !errors.Is(err, errSkipped) {
			return 0, fmt.Errorf("apply log entry %d: %w", index, err)
		}
	}
	if current, err := config.RaftLog.GetUint64(termKey); err == nil {
		term = max(term, current)
	}
	return term, nil
}

// beginAnew gives the state a new history, with this member as the only one in
// Raft's configuration, and begins Raft's log behind it. Interrupted anywhere it
// can be run again: what it writes last is what counts.
func beginAnew(config *Config, snaps *snapshots, term uint64) error {
	last, err := config.RaftLog.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	view := snaps.book.view()
	index := max(config.Store.Applied(), last) + 1
	servers := []raft.Server{{ID: raft.ServerID(config.ID), Address: raft.ServerAddress(config.Address)}}
	err = config.Store.Update(index, func(tx ledger.Tx) error {
		if err := tx.Set(lineageKey, []byte(newLineage(lineageAge(view.lineage)+1))); err != nil {
			return err
		}
		for id := range view.members {
			if err := tx.Delete(append(own("member/"), id...)); err != nil {
				return err
			}
		}
		put := memberCommand{kind: memberPut, id: config.ID, address: config.Address}
		if err := applyMember(tx, put); err != nil {
			return err
		}
		return putVoters(tx, index, raft.Configuration{Servers: servers})
	})
	if err != nil {
		return fmt.Errorf("begin a new history: %w", err)
	}
	if err := snaps.book.load(config.Store); err != nil {
		return err
	}
	if err := snaps.keep(); err != nil {
		return err
	}
	if err := config.RaftLog.SetUint64(termKey, term); err != nil {
		return fmt.Errorf("write term: %w", err)
	}
	if err := snaps.put(meta{index: index, term: term, applied: index, serversIndex: index, servers: servers}); err != nil {
		return err
	}
	first, err := config.RaftLog.FirstIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if last == 0 {
		return nil
	}
	if err := config.RaftLog.DeleteRange(first, last); err != nil {
		return fmt.Errorf("delete log: %w", err)
	}
	return nil
}
