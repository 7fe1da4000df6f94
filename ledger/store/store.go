package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/ledger"
)

// Store is one replica's data. Its methods can be called from any goroutine;
// updates run one at a time.
type Store struct {
	config Config
	log    *slog.Logger
	lock   *os.File
	raft   *RaftLog
	meter  *meter
	// syncFile is the function of that name, except in tests.
	syncFile func(path string) error

	// writing is held by Update, Restore and Close, before mu.
	writing sync.Mutex
	// syncing is held by Sync, before mu.
	syncing sync.Mutex

	mu         sync.Mutex
	generation *generation
	applied    uint64
	fault      error
	failed     chan struct{} // closed with the first fault
	closed     bool
	// generations counts those that are open: the present one, and earlier
	// ones that are still read.
	generations sync.WaitGroup
}

// Open opens the store in config.Dir, or makes one. ctx bounds the opening only.
// It returns ErrLocked when another process has it open, ErrDiskFull when there
// is less room than the reserve, and ErrCorrupt for damage that it finds.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("store configuration: %w", err)
	}
	s := &Store{config: config, log: config.Log, syncFile: syncFile, failed: make(chan struct{})}
	s.meter = newMeter(s)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := makeDir(s.config.Dir); err != nil {
		return fmt.Errorf("make store directory: %w", classify(err))
	}
	if err := s.acquire(); err != nil {
		return err
	}
	if err := s.room(); err != nil {
		return err
	}
	// A newer program's files are not to be touched: no database is opened yet.
	if _, err := s.current(); err != nil {
		return err
	}
	var err error
	if s.raft, err = s.openRaftLog(ctx, filepath.Join(s.config.Dir, "raft")); err != nil {
		return err
	}
	g, applied, err := s.openState(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.generation, s.applied = g, applied
	s.mu.Unlock()
	s.meter.sizes(g.db, s.raft.db)
	return s.meter.register()
}

// acquire takes the directory's lock, which the system drops with the process.
func (s *Store) acquire() error {
	path := filepath.Join(s.config.Dir, "LOCK")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open lock: %w", classify(err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s", ErrLocked, path)
		}
		return fmt.Errorf("lock %s: %w", path, err)
	}
	s.lock = f
	return nil
}

// Close ends the store. It waits for an update and for views, snapshots and log
// reads that are under way. It can be called twice.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	g := s.generation
	s.mu.Unlock()

	var errs []error
	if g != nil {
		g.release()
		s.generations.Wait()
		errs = append(errs, g.closeErr)
	}
	if s.raft != nil {
		errs = append(errs, s.raft.close())
	}
	s.meter.unregister()
	if s.lock != nil {
		// Closing alone would leave the lock to a process that this one is about to
		// start, until it has started.
		errs = append(errs, unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
	}
	return errors.Join(errs...)
}

// Applied returns the index of the last update.
func (s *Store) Applied() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied
}

// Fault returns why the store takes no more writes, an ErrFault, or nil: only
// closing and opening again can mend it.
func (s *Store) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Raft returns the log store and stable store for hashicorp/raft. It lives as
// long as the store.
func (s *Store) Raft() *RaftLog { return s.raft }

// View calls f with a transaction that reads the state as it is now, whatever
// is written meanwhile.
func (s *Store) View(f func(tx ledger.Tx) error) error {
	_, err := s.ViewAt(f)
	return err
}

// ViewAt does what View does and returns the index that f saw. A view that
// stays open keeps what is deleted meanwhile on disk.
func (s *Store) ViewAt(f func(tx ledger.Tx) error) (index uint64, err error) {
	v, err := s.acquireView()
	if err != nil {
		return 0, err
	}
	defer v.release()
	t := &tx{read: v.generation.db.NewTransactionAt(v.index, false), floors: &v.generation.floors, index: v.index}
	return v.index, t.run(f)
}

// view keeps an index readable until it is released.
type view struct {
	store      *Store
	generation *generation
	index      uint64
}

func (s *Store) acquireView() (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.generation.acquire()
	s.generation.readers[s.applied]++
	return &view{s, s.generation, s.applied}, nil
}

func (v *view) release() {
	v.store.mu.Lock()
	if v.generation.readers[v.index]--; v.generation.readers[v.index] == 0 {
		delete(v.generation.readers, v.index)
	}
	v.store.mu.Unlock()
	v.generation.release()
}

// fail records the first fault, refuses all writes from then on, and returns err
// as a fault.
func (s *Store) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFault, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil && !s.closed {
		s.fault = err
		close(s.failed)
		s.log.Error("store has a fault", "err", err)
	}
	return err
}

// writable returns why nothing can be written now, or nil.
func (s *Store) writable() error {
	s.mu.Lock()
	closed, fault := s.closed, s.fault
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if fault != nil {
		return fault
	}
	return s.room()
}

// room returns ErrDiskFull when the file system has less than the reserve.
func (s *Store) room() error {
	if s.config.DiskReserveBytes == 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.config.Dir, &st); err != nil {
		return fmt.Errorf("ask for free disk space: %w", classify(err))
	}
	if free := int64(st.Bavail) * st.Bsize; free < s.config.DiskReserveBytes {
		s.meter.full.Inc()
		return fmt.Errorf("%w: %d bytes are free below %s, the reserve is %d", ErrDiskFull, free, s.config.Dir, s.config.DiskReserveBytes)
	}
	return nil
}
