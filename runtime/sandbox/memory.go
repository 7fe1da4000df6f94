package sandbox

import (
	"errors"
	"fmt"
	"sync"

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
	// reserved is the address space, committed how much of it is accessible,
	// booked how much of it was taken from the pool.
	reserved          []byte
	committed, booked uint64
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
	// populateBytes is what appears, or goes, between two looks at the time: a
	// millisecond of the kernel's work, or several on a machine that is busy.
	populateBytes = 1 << 20
)

// pool is the linear memory that all attempts of an engine may have together.
// Without a bound below the process's own, guests could leave the Go runtime
// without memory, which it does not survive.
//
// The kernel takes back a large memory in some 0.1 ms for each MiB. An attempt
// does not wait for that; who finds the pool empty does.
type pool struct {
	// max is the bound; 0 means none.
	max uint64
	mu  sync.Mutex
	// given is signalled when a memory is back.
	given   sync.Cond
	used    uint64
	leaving int
	work    sync.WaitGroup
}

func newPool(bytesMax uint64) *pool {
	p := &pool{max: bytesMax}
	p.given.L = &p.mu
	return p
}

// take books n bytes and reports whether there were so many left.
func (p *pool) take(n uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.max > 0 && p.used+n > p.max {
		if p.leaving == 0 {
			return false
		}
		p.given.Wait()
	}
	p.used += n
	return true
}

func (p *pool) give(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
}

// free unmaps reserved, of which n bytes were taken from the pool. What is large
// it unmaps in a goroutine of its own, for which close waits.
func (p *pool) free(reserved []byte, n uint64) {
	if n <= lazyBytes {
		_ = unix.Munmap(reserved)
		p.give(n)
		return
	}
	p.mu.Lock()
	p.leaving++
	p.mu.Unlock()
	p.work.Go(func() {
		// Piece by piece, because nobody in this process can map memory while
		// one call takes long.
		for at := uint64(0); at < n; at += populateBytes {
			_ = unix.Madvise(reserved[at:min(at+populateBytes, n)], unix.MADV_DONTNEED)
		}
		_ = unix.Munmap(reserved)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leaving--
		p.used -= n
		p.given.Broadcast()
	})
}

// close waits until all that was freed is.
func (p *pool) close() { p.work.Wait() }

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
		if !m.commit(size) {
			return nil
		}
	}
	m.linear = size
	m.note()
	if size == 0 {
		return []byte{}
	}
	return m.reserved[:size:size]
}

// commit makes memory accessible up to size, or reports that the pool or the
// host has no more, or that time is up.
func (m *memory) commit(size uint64) bool {
	if size > m.booked {
		if !m.pool.take(size - m.booked) {
			return false
		}
		m.booked = size
	}
	if err := unix.Mprotect(m.reserved[m.committed:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
		m.pool.give(m.booked - m.committed)
		m.booked = m.committed
		return false
	}
	// What is there when this fails stays, and stays booked, until the end.
	if !m.populate(size) {
		return false
	}
	m.committed = size
	return true
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
		m.pool.free(m.reserved, m.booked)
		m.reserved, m.committed, m.booked = nil, 0, 0
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
