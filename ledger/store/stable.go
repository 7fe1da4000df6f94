package store

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Set implements raft.StableStore.
func (r *RaftLog) Set(key, value []byte) error {
	k := append(append([]byte(nil), stableSpace...), key...)
	v := append(make([]byte, 0, len(value)), value...)
	return r.write("store raft state", func(b *batch) error { return b.put(write{k, v}) })
}

// Get implements raft.StableStore: for a key that was never set it returns an
// empty value and no error.
func (r *RaftLog) Get(key []byte) (value []byte, err error) {
	end, err := r.begin()
	if err != nil {
		return nil, err
	}
	defer end()
	err = r.db.View(func(txn *badger.Txn) (err error) {
		value, err = get(txn, append(append([]byte(nil), stableSpace...), key...))
		return err
	})
	return value, err
}

// SetUint64 implements raft.StableStore.
func (r *RaftLog) SetUint64(key []byte, value uint64) error {
	return r.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore: zero for a key that was never set.
func (r *RaftLog) GetUint64(key []byte) (uint64, error) {
	b, err := r.Get(key)
	if err != nil || len(b) == 0 {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: raft state %q is no number", ErrCorrupt, key)
	}
	return binary.BigEndian.Uint64(b), nil
}
