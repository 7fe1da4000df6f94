package content

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Store is the objects of one node. Its methods may be called from any
// goroutine.
type Store struct {
	config Config
	log    *slog.Logger
	lock   *os.File
	meter  *meter
	pins   *journal
	// free returns the file system's room.
	free func() (int64, error)

	mu       sync.Mutex
	closed   bool
	objects  map[Hash]*entry
	partials map[Hash]*entry
	pinned   map[Hash]*pinnedObject
	pinCount int
	owners   map[string]*owned
	// idle holds the entries that may be evicted, the one that was not used for
	// the longest time first.
	idle list.List
	// used counts the bytes of files and reservations, files their number;
	// unwritten is the part of used that the file system does not know of yet.
	used, unwritten int64
	files           int
	// changes counts the objects that came and went.
	changes uint64

	// exchange is nil without a network.
	exchange *exchange
	// buffersTaken counts the buffers of a chunk that are in use.
	buffersTaken atomic.Int64
}

// entry is one file, whole or partial.
type entry struct {
	hash    Hash
	size    int64
	partial bool
	// durable says that the file's name is known to be on disk.
	durable bool
	// gone says that the file was removed while the entry was open.
	gone  bool
	opens int
	// accessed is when it was last used, noted what its file says of that.
	accessed, noted time.Time
	element         *list.Element
}

// Open opens the store in c.Dir, removes what interrupted writes left, and
// serves objects if there is a network. The context bounds opening only.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("content configuration: %w", err)
	}
	s := &Store{
		config: c, log: c.Log,
		objects: map[Hash]*entry{}, partials: map[Hash]*entry{},
		pinned: map[Hash]*pinnedObject{}, owners: map[string]*owned{},
	}
	s.free = s.freeBytes
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.open(ctx); err != nil {
		s.unlock()
		return nil, fmt.Errorf("open content store %s: %w", c.Dir, classify(err))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	for _, name := range []string{"", objectsDir, partialDir, tempDir} {
		if err := os.MkdirAll(s.dir(name), 0o700); err != nil {
			return err
		}
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	if err := s.scan(ctx); err != nil {
		return err
	}
	if err := s.openJournal(); err != nil {
		return err
	}
	s.rank()
	s.meter = newMeter(s)
	if err := s.meter.register(); err != nil {
		return errors.Join(err, s.pins.close())
	}
	if s.config.Network != nil {
		s.exchange = newExchange(s)
		s.exchange.start()
	}
	return nil
}

// takeLock keeps other processes out.
func (s *Store) takeLock() error {
	f, err := os.OpenFile(s.dir(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	s.lock = f
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func (s *Store) unlock() {
	if s.lock != nil {
		// Closing alone would leave the lock to a process that this one is about to
		// start, until it has started.
		_ = unix.Flock(int(s.lock.Fd()), unix.LOCK_UN)
		_ = s.lock.Close()
	}
}

// Close ends fetches and serving, and returns when their goroutines have ended.
// Objects that are open stay readable.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	if s.exchange != nil {
		s.exchange.close()
	}
	s.meter.unregister()
	err := s.pins.close()
	s.unlock()
	return err
}

// Info describes an object that is held.
type Info struct {
	Hash Hash
	// Size is in bytes.
	Size int64
	// Accessed is when it was last used, exact to a minute across restarts.
	Accessed time.Time
	// Pins counts the owners that pin it.
	Pins int
}

// Has reports whether the whole object is held.
func (s *Store) Has(h Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[h] != nil
}

// Stat describes an object, or returns ErrNotHeld.
func (s *Store) Stat(h Hash) (Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.objects[h]
	if e == nil {
		return Info{}, ErrNotHeld
	}
	return s.info(e), nil
}

// List returns all objects that are held, in no order.
func (s *Store) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Info, 0, len(s.objects))
	for _, e := range s.objects {
		out = append(out, s.info(e))
	}
	return out
}

// BytesUsed returns the bytes of all files and of what is being written.
func (s *Store) BytesUsed() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (s *Store) info(e *entry) Info {
	i := Info{Hash: e.hash, Size: e.size, Accessed: e.accessed}
	if p := s.pinned[e.hash]; p != nil {
		i.Pins = len(p.owners)
	}
	return i
}

// Remove drops an object that is neither pinned nor open, and reports whether
// it did.
func (s *Store) Remove(h Hash) (bool, error) {
	s.mu.Lock()
	e := s.objects[h]
	if s.closed || e == nil || e.element == nil {
		s.mu.Unlock()
		return false, nil
	}
	trash, err := s.evict(e)
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	return true, os.Remove(trash)
}

// trashPath returns a name for a file that is on its way out. It is swept at
// the next start if it is still there.
func (s *Store) trashPath(e *entry) string {
	kind := "object-"
	if e.partial {
		kind = "partial-"
	}
	return filepath.Join(s.dir(tempDir), fmt.Sprintf("%s%s-%p", kind, e.hash, e))
}
