package ledgertest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/dugnad/dugnad/ledger"
)

// MemoryStore keeps one replica's state in memory; it implements
// replica.Store. What it holds survives the replica, not the process.
type MemoryStore struct {
	mu     sync.RWMutex
	memory *Memory
	index  uint64
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{memory: NewMemory()} }

// Update implements replica.Store.
func (s *MemoryStore) Update(index uint64, f func(tx ledger.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index <= s.index {
		return fmt.Errorf("update to %d at %d", index, s.index)
	}
	tx := s.memory.Begin()
	defer tx.Discard()
	if err := f(tx); err != nil {
		return err
	}
	s.index = index
	return tx.Commit()
}

// ViewAt implements replica.Store.
func (s *MemoryStore) ViewAt(f func(tx ledger.Tx) error) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index, f(s.memory)
}

// Applied implements replica.Store.
func (s *MemoryStore) Applied() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index
}

// Sync is there so that a replica keeps no copy.
func (s *MemoryStore) Sync() error { return nil }

// Snapshot implements replica.Store: u64 index, u64 number of keys, then u32
// length and bytes of each key and value.
func (s *MemoryStore) Snapshot(w io.Writer) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := bufio.NewWriter(w)
	head := binary.LittleEndian.AppendUint64(nil, s.index)
	_, _ = b.Write(binary.LittleEndian.AppendUint64(head, uint64(s.memory.Len())))
	_ = s.memory.Scan(nil, nil, func(key, value []byte) bool {
		for _, part := range [][]byte{key, value} {
			_, _ = b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(part))))
			_, _ = b.Write(part)
		}
		return true
	})
	return s.index, b.Flush()
}

// errSnapshot is returned by Restore for what Snapshot did not write.
var errSnapshot = errors.New("not a snapshot of a MemoryStore")

// Restore implements replica.Store.
func (s *MemoryStore) Restore(r io.Reader) (uint64, error) {
	b := bufio.NewReader(r)
	var head [16]byte
	if _, err := io.ReadFull(b, head[:]); err != nil {
		return 0, err
	}
	memory := NewMemory()
	part := func() ([]byte, error) {
		var n [4]byte
		if _, err := io.ReadFull(b, n[:]); err != nil {
			return nil, err
		}
		length := binary.LittleEndian.Uint32(n[:])
		if length > 64<<20 {
			return nil, errSnapshot
		}
		data := make([]byte, length)
		_, err := io.ReadFull(b, data)
		return data, err
	}
	for n := binary.LittleEndian.Uint64(head[8:]); n > 0; n-- {
		key, err := part()
		if err != nil {
			return 0, err
		}
		value, err := part()
		if err != nil {
			return 0, err
		}
		_ = memory.Set(key, value)
	}
	if _, err := b.ReadByte(); err != io.EOF {
		return 0, errSnapshot
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory, s.index = memory, binary.LittleEndian.Uint64(head[:])
	return s.index, nil
}
