package sandbox

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// TableEntryBytes is what one entry of a table costs on the host.
const TableEntryBytes = 8

// tableEntriesMax bounds the entries of all tables together: the operations on
// whole tables cannot be interrupted, and honest programs have 40,000.
const tableEntriesMax = 4 << 20

// PageBytes is the unit of linear memory.
const PageBytes = 65536

// memory is the linear memory of one attempt and the account of all its
// memory. Linear memory is one reservation of address space that never moves;
// growing makes more of it accessible.
type memory struct {
	limit  uint64
	linear uint64
	tables uint64
	peak   uint64
	// hit tells that growth was refused because of the limit.
	hit bool
	// tableHit tells that a table was refused more than tableEntriesMax.
	tableHit bool
	// reserved is the address space, committed how much of it is accessible.
	reserved  []byte
	committed uint64
	// pool is what all attempts of the engine share.
	pool *pool
	// timeUp tells that growing is no longer worth while; nil means never.
	timeUp func() bool
	// payable is how many more bytes the attempt has fuel for, at least; nil
	// means any number. Growth is charged when it has succeeded, so beyond that
	// the guest ends before it can touch a byte.
	payable func() uint64
}

const (
	// lazyBytes is how much of a linear memory appears when it is touched. A
	// guest cannot be interrupted between two checks, and in a few fuel each it
	// can touch every page that it has: 4,096 of them take 10 ms to 30 ms.
	lazyBytes = 16 << 20
	// populateBytes is what appears between two looks at the time.
	populateBytes = 8 << 20
)

// pool is the linear memory that all attempts of an engine may have together.
// Without a bound below the process's own, guests could leave the Go runtime
// without memory, which it does not survive. nil has no bound.
type pool struct {
	max  uint64
	used atomic.Uint64
}

func (p *pool) take(n uint64) bool {
	if p == nil || p.used.Add(n) <= p.max {
		return true
	}
	p.give(n)
	return false
}

func (p *pool) give(n uint64) {
	if p != nil {
		p.used.Add(-n)
	}
}

var errReserve = errors.New("no address space")

// reserve takes address space for at most most bytes of linear memory.
func (m *memory) reserve(most uint64) error {
	size := min(most, m.limit) &^ (PageBytes - 1)
	if size == 0 {
		return nil
	}
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("reserve %d bytes: %w: %w", size, errReserve, err)
	}
	m.reserved = b
	return nil
}

// Allocate implements experimental.MemoryAllocator for the one memory that a
// module may have.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements experimental.LinearMemory. It returns nil when size is
// beyond the limit or the host has no memory left.
func (m *memory) Reallocate(size uint64) []byte {
	if size+m.tables > m.limit || size > uint64(len(m.reserved)) {
		m.hit = true
		return nil
	}
	if size > m.committed {
		if !m.pool.take(size - m.committed) {
			return nil
		}
		if err := unix.Mprotect(m.reserved[m.committed:size], unix.PROT_READ|unix.PROT_WRITE); err != nil || !m.populate(size) {
			m.pool.give(size - m.committed)
			return nil
		}
		m.committed = size
	}
	m.linear = size
	m.note()
	if size == 0 {
		return []byte{}
	}
	return m.reserved[:size:size]
}

// populate makes the memory beyond lazyBytes present, as far as the attempt can
// pay for it. It reports false when the host has none left or the attempt's time
// is up, which its next check finds.
func (m *memory) populate(size uint64) bool {
	if m.payable != nil {
		size = min(size, saturatingAdd(m.committed, m.payable()))
	}
	for at := max(m.committed, lazyBytes); at < size; at += populateBytes {
		if m.timeUp != nil && m.timeUp() {
			return false
		}
		err := unix.Madvise(m.reserved[at:min(at+populateBytes, size)], unix.MADV_POPULATE_WRITE)
		if errors.Is(err, unix.EINVAL) {
			return true // Linux before 5.14
		} else if err != nil {
			return false
		}
	}
	return true
}

// Free implements experimental.LinearMemory. The address space is kept until
// release, because wazero does not call Free when instantiating fails.
func (m *memory) Free() {}

// release gives the address space back.
func (m *memory) release() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved)
		m.pool.give(m.committed)
		m.reserved, m.committed = nil, 0
	}
}

// growTable books n more table entries and reports whether the limit allows.
func (m *memory) growTable(n uint32) bool {
	bytes := uint64(n) * TableEntryBytes
	switch {
	case m.linear+m.tables+bytes > m.limit:
		m.hit = true
		return false
	case m.tables+bytes > tableEntriesMax*TableEntryBytes:
		m.tableHit = true
		return false
	}
	m.tables += bytes
	m.note()
	return true
}

func (m *memory) note() { m.peak = max(m.peak, m.linear+m.tables) }
