package store

import (
	"bytes"
	"encoding/binary"

	"github.com/dgraph-io/badger/v4"
)

// DeleteRange implements raft.LogStore; the range includes both ends. After a
// crash in the middle of a range too large for one transaction, Open ends it.
func (r *RaftLog) DeleteRange(low, high uint64) error {
	if low > high {
		return nil
	}
	return r.write("delete raft log", func(b *batch) error {
		r.mu.RLock()
		first, last := r.first, r.last
		r.mu.RUnlock()
		if first == 0 || low > last || high < first {
			return nil
		}
		high := min(high, last)
		if low <= first {
			// The bound hides the beginning of the log at once.
			b.floor = high + 1
			if err := b.put(write{firstKey, binary.BigEndian.AppendUint64(nil, b.floor)}); err != nil {
				return err
			}
		}
		return r.deleteMarked(b, low, high)
	})
}

// deleteMarked deletes what there is in a range, between two marks that let Open
// delete it again should the rest be cut off.
func (r *RaftLog) deleteMarked(b *batch, low, high uint64) error {
	var bounds [16]byte
	binary.BigEndian.PutUint64(bounds[:], low)
	binary.BigEndian.PutUint64(bounds[8:], high)
	if err := b.put(write{deletingKey, bounds[:]}); err != nil {
		return err
	}
	if err := r.deleteKeys(b, low, high); err != nil {
		return err
	}
	b.then = func() {
		r.floor = max(r.floor, b.floor)
		_ = r.db.View(func(txn *badger.Txn) error {
			if r.first >= low && r.first <= high {
				r.first = seekLog(txn, max(high, r.floor), false)
			}
			if r.last >= low && r.last <= high {
				r.last = seekLog(txn, low, true)
			}
			return nil
		})
		if r.first == 0 || r.last < r.first {
			r.first, r.last = 0, 0
		}
	}
	return b.put(write{deletingKey, nil})
}

// deleteKeys deletes the entries in the range that exist.
func (r *RaftLog) deleteKeys(b *batch, low, high uint64) error {
	return r.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: logSpace})
		defer it.Close()
		end := logKey(high)
		for it.Seek(logKey(low)); it.ValidForPrefix(logSpace); it.Next() {
			key := it.Item().KeyCopy(nil)
			if bytes.Compare(key, end) > 0 {
				return nil
			}
			if err := b.put(write{key, nil}); err != nil {
				return err
			}
		}
		return nil
	})
}
