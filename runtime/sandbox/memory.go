package sandbox

import (
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// TableEntryBytes is what one entry of a table costs on the host.
const TableEntryBytes = 8

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
	// reserved is the address space, committed how much of it is accessible.
	reserved  []byte
	committed uint64
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
		if err := unix.Mprotect(m.reserved[m.committed:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
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

// Free implements experimental.LinearMemory. The address space is kept until
// release, because wazero does not call Free when instantiating fails.
func (m *memory) Free() {}

// release gives the address space back.
func (m *memory) release() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved)
		m.reserved, m.committed = nil, 0
	}
}

// growTable books n more table entries and reports whether the limit allows.
func (m *memory) growTable(n uint32) bool {
	bytes := uint64(n) * TableEntryBytes
	if m.linear+m.tables+bytes > m.limit {
		m.hit = true
		return false
	}
	m.tables += bytes
	m.note()
	return true
}

func (m *memory) note() { m.peak = max(m.peak, m.linear+m.tables) }
