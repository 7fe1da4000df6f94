package replica

import (
	"errors"
	"runtime"

	"github.com/hashicorp/raft"
)

// termKey is where Raft keeps its term in the stable store.
var termKey = []byte("CurrentTerm")

// guardedLog is the RaftLog as a running Raft instance sees it. Raft ends the
// process when it cannot write its term, and when it cannot read an entry that it
// has written. Here it waits for room, or has the replica stopped and never gets
// an answer.
type guardedLog struct {
	RaftLog
	stall *stall
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
	return err
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
