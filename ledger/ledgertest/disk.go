package ledgertest

import (
	"io"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/hashicorp/raft"
)

// Disk gives the writes of a store, or of a Raft log, a disk's faults. The zero
// value has none. Safe for concurrent use.
type Disk struct {
	mu             sync.Mutex
	fail           error
	slow           time.Duration
	failed, slowed uint64
	// quick is closed and replaced when another delay begins.
	quick chan struct{}
}

// Fail makes every write from now on fail with err, until err is nil: a full
// disk.
func (d *Disk) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

// Slow makes every write from now on take so much longer, until that is 0. What
// waits for an earlier delay goes on at once.
func (d *Disk) Slow(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = by
	if d.quick != nil {
		close(d.quick)
		d.quick = nil
	}
}

// Counts returns how many writes have failed, and how many were slow.
func (d *Disk) Counts() (failed, slowed uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed, d.slowed
}

// wait takes as long as the disk is slow. It holds nothing meanwhile.
func (d *Disk) wait() {
	d.mu.Lock()
	by := d.slow
	if by > 0 {
		d.slowed++
		if d.quick == nil {
			d.quick = make(chan struct{})
		}
	}
	quick := d.quick
	d.mu.Unlock()
	if by > 0 {
		t := time.NewTimer(by)
		defer t.Stop()
		select {
		case <-t.C:
		case <-quick:
		}
	}
}

// failure returns why a write fails, or nil.
func (d *Disk) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		d.failed++
	}
	return d.fail
}

// write has a write take its time and then fail, or happen.
func (d *Disk) write(write func() error) error {
	d.wait()
	if err := d.failure(); err != nil {
		return err
	}
	return write()
}

// diskStore is a store on a Disk.
type diskStore struct {
	replica.Store
	disk *Disk
}

// Update implements replica.Store. It fails when all is written and would be
// committed.
func (s diskStore) Update(index uint64, f func(tx ledger.Tx) error) error {
	s.disk.wait()
	return s.Store.Update(index, func(tx ledger.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return s.disk.failure()
	})
}

// Restore implements replica.Store.
func (s diskStore) Restore(r io.Reader) (index uint64, err error) {
	err = s.disk.write(func() error {
		index, err = s.Store.Restore(r)
		return err
	})
	return index, err
}

// diskLog is a Raft log on a Disk.
type diskLog struct {
	replica.RaftLog
	disk *Disk
}

// StoreLog implements raft.LogStore.
func (l diskLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l diskLog) StoreLogs(entries []*raft.Log) error {
	return l.disk.write(func() error { return l.RaftLog.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore.
func (l diskLog) DeleteRange(first, last uint64) error {
	return l.disk.write(func() error { return l.RaftLog.DeleteRange(first, last) })
}

// Set implements raft.StableStore.
func (l diskLog) Set(key, value []byte) error {
	return l.disk.write(func() error { return l.RaftLog.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (l diskLog) SetUint64(key []byte, value uint64) error {
	return l.disk.write(func() error { return l.RaftLog.SetUint64(key, value) })
}
