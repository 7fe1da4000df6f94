package ledgertest

import (
	"sync"

	"github.com/hashicorp/raft"
)

// MemoryLog keeps Raft's log of one replica in memory; it implements
// replica.RaftLog. What it holds survives the replica, not the process.
type MemoryLog struct {
	*raft.InmemStore
	mu   sync.Mutex
	fail error
}

// NewMemoryLog returns an empty log.
func NewMemoryLog() *MemoryLog { return &MemoryLog{InmemStore: raft.NewInmemStore()} }

// Fail makes every write from now on fail with err, until err is nil.
func (l *MemoryLog) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *MemoryLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fail
}

// StoreLog implements raft.LogStore.
func (l *MemoryLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *MemoryLog) StoreLogs(entries []*raft.Log) error {
	if err := l.failure(); err != nil {
		return err
	}
	return l.InmemStore.StoreLogs(entries)
}

// Set implements raft.StableStore.
func (l *MemoryLog) Set(key, value []byte) error {
	if err := l.failure(); err != nil {
		return err
	}
	return l.InmemStore.Set(key, value)
}

// SetUint64 implements raft.StableStore.
func (l *MemoryLog) SetUint64(key []byte, value uint64) error {
	if err := l.failure(); err != nil {
		return err
	}
	return l.InmemStore.SetUint64(key, value)
}
