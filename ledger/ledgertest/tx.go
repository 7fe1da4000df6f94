package ledgertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sort"
)

// chunkMax bounds the entries of one chunk of a Memory; a full one is split.
const chunkMax = 256

type entry struct{ key, value []byte }

// Memory is an ordered map in memory that implements ledger.Tx. Writes made
// directly are kept at once; Begin starts a transaction that can be discarded.
// It is for one goroutine at a time.
type Memory struct {
	chunks  [][]entry
	entries int
	bytes   int
	open    *MemoryTx
}

// NewMemory returns an empty map.
func NewMemory() *Memory { return &Memory{} }

// Len returns the number of keys.
func (m *Memory) Len() int { return m.entries }

// Bytes returns the sum of the lengths of all keys and values.
func (m *Memory) Bytes() int { return m.bytes }

// Get implements ledger.Tx.
func (m *Memory) Get(key []byte) ([]byte, error) {
	if c, i, ok := m.find(key); ok {
		return m.chunks[c][i].value, nil
	}
	return nil, nil
}

// Set implements ledger.Tx.
func (m *Memory) Set(key, value []byte) error {
	m.put(bytes.Clone(key), append(make([]byte, 0, len(value)), value...))
	return nil
}

// Delete implements ledger.Tx.
func (m *Memory) Delete(key []byte) error {
	m.remove(key)
	return nil
}

// Scan implements ledger.Tx.
func (m *Memory) Scan(prefix, from []byte, visit func(key, value []byte) bool) error {
	start := prefix
	if bytes.Compare(from, prefix) > 0 {
		start = from
	}
	c, i, _ := m.find(start)
	for ; c < len(m.chunks); c, i = c+1, 0 {
		for _, e := range m.chunks[c][i:] {
			if !bytes.HasPrefix(e.key, prefix) || !visit(e.key, e.value) {
				return nil
			}
		}
	}
	return nil
}

// Sum returns a SHA-256 over all keys and values, in order: two maps with the
// same sum hold the same bytes.
func (m *Memory) Sum() [sha256.Size]byte {
	hash := sha256.New()
	var frame []byte
	for _, chunk := range m.chunks {
		for _, e := range chunk {
			frame = binary.AppendUvarint(frame[:0], uint64(len(e.key)))
			frame = append(frame, e.key...)
			frame = binary.AppendUvarint(frame, uint64(len(e.value)))
			frame = append(frame, e.value...)
			hash.Write(frame)
		}
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// Clone returns an independent copy of what is committed or written directly.
func (m *Memory) Clone() *Memory {
	c := &Memory{entries: m.entries, bytes: m.bytes}
	for _, chunk := range m.chunks {
		// Values are never changed in place, so they can be shared.
		c.chunks = append(c.chunks, append([]entry(nil), chunk...))
	}
	return c
}

// find returns where key is, or where it would be put.
func (m *Memory) find(key []byte) (chunk, index int, ok bool) {
	c := sort.Search(len(m.chunks), func(i int) bool {
		last := m.chunks[i][len(m.chunks[i])-1]
		return bytes.Compare(last.key, key) >= 0
	})
	if c == len(m.chunks) {
		return c, 0, false
	}
	entries := m.chunks[c]
	i := sort.Search(len(entries), func(i int) bool { return bytes.Compare(entries[i].key, key) >= 0 })
	return c, i, bytes.Equal(entries[i].key, key)
}

// put stores key and value, which it keeps, and returns the value before.
func (m *Memory) put(key, value []byte) (before []byte, existed bool) {
	c, i, ok := m.find(key)
	if ok {
		before = m.chunks[c][i].value
		m.chunks[c][i].value = value
		m.bytes += len(value) - len(before)
		return before, true
	}
	m.entries++
	m.bytes += len(key) + len(value)
	e := entry{key, value}
	if c == len(m.chunks) {
		if c == 0 || len(m.chunks[c-1]) >= chunkMax {
			m.chunks = append(m.chunks, append(make([]entry, 0, chunkMax), e))
			return nil, false
		}
		c--
		i = len(m.chunks[c])
	}
	chunk := append(m.chunks[c], entry{})
	copy(chunk[i+1:], chunk[i:])
	chunk[i] = e
	m.chunks[c] = chunk
	if len(chunk) > chunkMax {
		half := len(chunk) / 2
		right := append(make([]entry, 0, chunkMax+1), chunk[half:]...)
		clear(chunk[half:])
		m.chunks[c] = chunk[:half]
		m.chunks = append(m.chunks, nil)
		copy(m.chunks[c+2:], m.chunks[c+1:])
		m.chunks[c+1] = right
	}
	return nil, false
}

// remove deletes key and returns the value before.
func (m *Memory) remove(key []byte) (before []byte, existed bool) {
	c, i, ok := m.find(key)
	if !ok {
		return nil, false
	}
	before = m.chunks[c][i].value
	m.entries--
	m.bytes -= len(key) + len(before)
	m.chunks[c] = append(m.chunks[c][:i], m.chunks[c][i+1:]...)
	if len(m.chunks[c]) == 0 {
		m.chunks = append(m.chunks[:c], m.chunks[c+1:]...)
	}
	return before, true
}

// Begin starts a transaction on m. There is at most one at a time, and m must
// not be written directly until it has ended; Begin panics when one is open.
func (m *Memory) Begin() *MemoryTx {
	if m.open != nil {
		panic("ledgertest: a transaction is open")
	}
	m.open = &MemoryTx{memory: m}
	return m.open
}

// MemoryTx is a transaction on a Memory. It sees its own writes.
type MemoryTx struct {
	memory  *Memory
	journal []undo
}

type undo struct {
	key, before []byte
	existed     bool
}

// errEnded is what a transaction answers after Commit or Discard.
var errEnded = errors.New("transaction has ended")

// Get implements ledger.Tx.
func (t *MemoryTx) Get(key []byte) ([]byte, error) {
	if t.memory == nil {
		return nil, errEnded
	}
	return t.memory.Get(key)
}

// Set implements ledger.Tx.
func (t *MemoryTx) Set(key, value []byte) error {
	if t.memory == nil {
		return errEnded
	}
	key = bytes.Clone(key)
	before, existed := t.memory.put(key, append(make([]byte, 0, len(value)), value...))
	t.journal = append(t.journal, undo{key, before, existed})
	return nil
}

// Delete implements ledger.Tx.
func (t *MemoryTx) Delete(key []byte) error {
	if t.memory == nil {
		return errEnded
	}
	if before, existed := t.memory.remove(key); existed {
		t.journal = append(t.journal, undo{bytes.Clone(key), before, true})
	}
	return nil
}

// Scan implements ledger.Tx.
func (t *MemoryTx) Scan(prefix, from []byte, visit func(key, value []byte) bool) error {
	if t.memory == nil {
		return errEnded
	}
	return t.memory.Scan(prefix, from, visit)
}

// Commit keeps what was written and ends the transaction.
func (t *MemoryTx) Commit() error {
	if t.memory == nil {
		return errEnded
	}
	t.memory.open, t.memory, t.journal = nil, nil, nil
	return nil
}

// Discard takes back what was written and ends the transaction; after Commit or
// another Discard it does nothing.
func (t *MemoryTx) Discard() {
	if t.memory == nil {
		return
	}
	for i := len(t.journal) - 1; i >= 0; i-- {
		if u := t.journal[i]; u.existed {
			t.memory.put(u.key, u.before)
		} else {
			t.memory.remove(u.key)
		}
	}
	t.memory.open, t.memory, t.journal = nil, nil, nil
}

// Changed returns the keys that the transaction has written or deleted so far,
// each once, in ascending order.
func (t *MemoryTx) Changed() [][]byte {
	seen := make(map[string]bool, len(t.journal))
	var keys [][]byte
	for _, u := range t.journal {
		if !seen[string(u.key)] {
			seen[string(u.key)] = true
			keys = append(keys, u.key)
		}
	}
	sort.Slice(keys, func(i, j int) bool { return bytes.Compare(keys[i], keys[j]) < 0 })
	return keys
}
