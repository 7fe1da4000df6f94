package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

// Keys in the Raft database. An entry's key ends with its index, big-endian, so
// that keys are in the order of the log.
var (
	logSpace    = []byte{'l'}
	stableSpace = []byte{'s'}
	// firstKey holds the index below which nothing counts.
	firstKey = []byte{'m', 'f'}
	// deletingKey holds a range that is being deleted in several transactions.
	deletingKey = []byte{'m', 'd'}
)

func logKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), logSpace...), index)
}

// RaftLog implements raft.LogStore and raft.StableStore. A write that returned
// is on disk. Gaps are allowed, as Raft makes them after a snapshot.
type RaftLog struct {
	store *Store
	db    *badger.DB
	dir   string
	// compactors are those of db.
	compactors *compactors

	// use is held for reading while the database is used, for writing by close.
	use    sync.RWMutex
	closed bool

	// writing serializes writers; mu guards what follows it.
	writing sync.Mutex
	memFile int // number of the newest write-ahead log, under writing

	mu sync.RWMutex
	// first and last are the lowest and highest index, both zero when the log
	// is empty. floor is the index below which leftovers of a deletion lie.
	first, last, floor uint64
}

var (
	_ raft.LogStore    = (*RaftLog)(nil)
	_ raft.StableStore = (*RaftLog)(nil)
)

func (s *Store) openRaftLog(ctx context.Context, dir string) (*RaftLog, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("make raft directory: %w", classify(err))
	}
	if _, err := verifyTables(ctx, dir, !s.config.SkipVerify); err != nil {
		return nil, err
	}
	if s.config.SyncLog {
		if err := verifyLogs(ctx, dir); err != nil {
			return nil, err
		}
	}
	c := newCompactors(s.config.MemTableBytes)
	db, err := s.openBadger(s.badgerOptions(dir, c).WithSyncWrites(s.config.SyncLog), false)
	if err != nil {
		return nil, err
	}
	c.db = db
	r := &RaftLog{store: s, db: db, dir: dir, compactors: c}
	if err := r.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read raft log's bounds: %w", err), r.close())
	}
	return r, nil
}

// load finds the bounds, and ends a deletion that a crash interrupted.
func (r *RaftLog) load() error {
	if err := r.findMemFile(); err != nil {
		return err
	}
	var unfinished []byte
	err := r.db.View(func(txn *badger.Txn) error {
		first, err := get(txn, firstKey)
		if err != nil {
			return err
		}
		if len(first) == 8 {
			r.floor = binary.BigEndian.Uint64(first)
		}
		if unfinished, err = get(txn, deletingKey); err != nil {
			return err
		}
		r.first = seekLog(txn, r.floor, false)
		r.last = seekLog(txn, math.MaxUint64, true)
		if r.last < r.floor {
			r.last = 0
		}
		return nil
	})
	if err != nil || len(unfinished) != 16 {
		return err
	}
	return r.write("end deletion", func(b *batch) error {
		return r.deleteMarked(b, binary.BigEndian.Uint64(unfinished), binary.BigEndian.Uint64(unfinished[8:]))
	})
}

// seekLog returns the lowest index that is not below at, or with reverse the
// highest that is not above, and zero when there is none.
func seekLog(txn *badger.Txn, at uint64, reverse bool) uint64 {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: logSpace, Reverse: reverse})
	defer it.Close()
	it.Seek(logKey(at))
	if !it.ValidForPrefix(logSpace) {
		return 0
	}
	return binary.BigEndian.Uint64(it.Item().Key()[1:])
}

// begin keeps the database open until the function that it returns is called.
func (r *RaftLog) begin() (end func(), err error) {
	r.use.RLock()
	if r.closed {
		r.use.RUnlock()
		return nil, ErrClosed
	}
	return r.use.RUnlock, nil
}

func (r *RaftLog) close() error {
	r.use.Lock()
	defer r.use.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	r.compactors.wake()
	if err := r.db.Close(); err != nil {
		return fmt.Errorf("close %s: %w", r.dir, classify(err))
	}
	return nil
}

// FirstIndex implements raft.LogStore.
func (r *RaftLog) FirstIndex() (uint64, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.first, nil
}

// LastIndex implements raft.LogStore.
func (r *RaftLog) LastIndex() (uint64, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.last, nil
}

// GetLog implements raft.LogStore. It returns raft.ErrLogNotFound for an index
// that is not there.
func (r *RaftLog) GetLog(index uint64, log *raft.Log) error {
	end, err := r.begin()
	if err != nil {
		return err
	}
	defer end()
	r.mu.RLock()
	outside := index < r.first || index > r.last || index == 0
	r.mu.RUnlock()
	if outside {
		return raft.ErrLogNotFound
	}
	return r.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(logKey(index))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return raft.ErrLogNotFound
		}
		if err == nil {
			err = item.Value(func(b []byte) error { return decodeLog(index, b, log) })
		}
		if err != nil {
			return fmt.Errorf("read raft log %d: %w", index, classify(err))
		}
		return nil
	})
}

// StoreLog implements raft.LogStore.
func (r *RaftLog) StoreLog(log *raft.Log) error { return r.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore. Entries that fit together, which is more
// than a seventh of Config.MemTableBytes, are one synced write; beyond that they
// are several, in order.
func (r *RaftLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	low, high := logs[0].Index, logs[0].Index
	for _, l := range logs {
		if n := len(l.Data) + len(l.Extensions); n > LogBytesMax {
			return fmt.Errorf("%w: raft log %d of %d bytes, at most %d", ErrTooLarge, l.Index, n, LogBytesMax)
		}
		low, high = min(low, l.Index), max(high, l.Index)
	}
	return r.write("store raft log", func(b *batch) error {
		r.mu.RLock()
		floor := r.floor
		r.mu.RUnlock()
		if low < floor {
			if err := b.put(write{firstKey, binary.BigEndian.AppendUint64(nil, low)}); err != nil {
				return err
			}
		}
		for _, l := range logs {
			if err := b.put(write{logKey(l.Index), encodeLog(l)}); err != nil {
				return err
			}
		}
		b.then = func() {
			r.floor = min(r.floor, low)
			if r.first == 0 || low < r.first {
				r.first = low
			}
			r.last = max(r.last, high)
		}
		return nil
	})
}
