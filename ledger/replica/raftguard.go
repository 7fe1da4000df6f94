package replica

import (
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// termKey is where Raft keeps its term in the stable store.
var termKey = []byte("CurrentTerm")

// guardedLog is the RaftLog as a running Raft instance sees it. Raft ends the
// process when it cannot write its term, and when it cannot read an entry that it
// has written. Here it waits for room, or has the replica stopped and never gets
// an answer. And it knows the term of the last entry of a received snapshot, which
// the log does not have: without it, Raft refuses what follows that entry when the
// leader sends it a second time, until the leader sends a snapshot again.
type guardedLog struct {
	RaftLog
	stall *stall
	// snapshot returns the last entry of the snapshot that was restored, or zeros.
	snapshot func() (index, term uint64)
	// cut is shared by all copies.
	cut *cut
	// fault stops the replica and does not wait for it.
	fault func(error)
	// started is closed when Raft runs; before, errors are returned. ending is
	// closed when the instance's end begins.
	started, ending <-chan struct{}
}

// SetUint64 implements raft.StableStore.
func (g guardedLog) SetUint64(key []byte, value uint64) error {
	if string(key) != string(termKey) {
		return g.RaftLog.SetUint64(key, value)
	}
	if was, err := g.GetUint64(key); err == nil && was == value {
		return nil // Raft writes down at its start what it has just read
	}
	err := g.stall.retry(g.ending, func() error { return g.RaftLog.SetUint64(key, value) })
	if err != nil {
		g.end(err)
	}
	return err
}

// GetLog implements raft.LogStore.
func (g guardedLog) GetLog(index uint64, l *raft.Log) error {
	err := g.RaftLog.GetLog(index, l)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		g.end(err)
	}
	if err != nil && index > 1 {
		if last, term := g.snapshot(); last == index && errors.Is(g.RaftLog.GetLog(index-1, &raft.Log{}), raft.ErrLogNotFound) {
			// Raft compares the term and sends it to nobody: what comes before is
			// not there either, so that others get a snapshot.
			*l = raft.Log{Index: index, Term: term, Type: raft.LogNoop}
			return nil
		}
	}
	return err
}

// cut says that the end of the log was cut off and has no replacement yet.
type cut struct{ atomic.Bool }

// DeleteRange implements raft.LogStore.
func (g guardedLog) DeleteRange(first, last uint64) error {
	end, err := g.LastIndex()
	if err != nil {
		return err
	}
	err = g.RaftLog.DeleteRange(first, last)
	if err == nil && last >= end {
		g.cut.Store(true)
	}
	return err
}

// StoreLog implements raft.LogStore.
func (g guardedLog) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. Entries that replace a cut-off end wait for
// room: after an error Raft would go on as if that end were still there, might be
// elected for it, and leave a gap in the log.
func (g guardedLog) StoreLogs(entries []*raft.Log) error {
	if !g.cut.Load() {
		return g.RaftLog.StoreLogs(entries)
	}
	err := g.stall.retry(g.ending, func() error { return g.RaftLog.StoreLogs(entries) })
	if err != nil {
		g.end(err)
		return err
	}
	g.cut.Store(false)
	return nil
}

// end brings about the instance's end, unless it is on its way, and then ends
// the goroutine, which is one of Raft's, without a word. It returns when Raft
// does not run yet.
func (g guardedLog) end(err error) {
	select {
	case <-g.started:
	default:
		return
	}
	select {
	case <-g.ending:
	default:
		g.fault(err)
		<-g.ending
	}
	runtime.Goexit()
}
