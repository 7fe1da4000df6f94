// Package disk makes a store.Store what a replica needs. It stands between the
// two so that neither knows the other.
package disk

import (
	"fmt"
	"io"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/store"
	"github.com/hashicorp/raft"
)

// Store is a store.Store as a replica.Store.
type Store struct{ *store.Store }

// RaftLog is a store's log as a replica.RaftLog.
type RaftLog struct{ *store.RaftLog }

var (
	_ replica.Store   = Store{}
	_ replica.RaftLog = RaftLog{}
)

// Raft returns the store's log.
func (d Store) Raft() RaftLog { return RaftLog{d.Store.Raft()} }

// Update implements replica.Store.
func (d Store) Update(index uint64, f func(tx ledger.Tx) error) error {
	return noRoom(d.Store.Update(index, f))
}

// Snapshot implements replica.Store.
func (d Store) Snapshot(w io.Writer) (uint64, error) {
	s, err := d.Store.Snapshot(store.Header{Writer: "dugnad replica"})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	_, err = s.WriteTo(w)
	return s.Index(), err
}

// Restore implements replica.Store.
func (d Store) Restore(r io.Reader) (uint64, error) {
	h, err := d.Store.Restore(r)
	return h.Index, noRoom(err)
}

// StoreLog implements raft.LogStore.
func (d RaftLog) StoreLog(l *raft.Log) error { return noRoom(d.RaftLog.StoreLog(l)) }

// StoreLogs implements raft.LogStore.
func (d RaftLog) StoreLogs(logs []*raft.Log) error { return noRoom(d.RaftLog.StoreLogs(logs)) }

// DeleteRange implements raft.LogStore.
func (d RaftLog) DeleteRange(first, last uint64) error {
	return noRoom(d.RaftLog.DeleteRange(first, last))
}

// Set implements raft.StableStore.
func (d RaftLog) Set(key, value []byte) error { return noRoom(d.RaftLog.Set(key, value)) }

// SetUint64 implements raft.StableStore.
func (d RaftLog) SetUint64(key []byte, value uint64) error {
	return noRoom(d.RaftLog.SetUint64(key, value))
}

// noRoom gives a full disk the name under which a replica waits.
func noRoom(err error) error {
	if store.Retryable(err) {
		return fmt.Errorf("%w: %w", replica.ErrNoRoom, err)
	}
	return err
}
