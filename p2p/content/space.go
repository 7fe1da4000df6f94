package content

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// accessGranularity is how old the time in a file may be before a use of the
// object writes it anew.
const accessGranularity = time.Minute

// reservation is room that a file being written has in the store's bounds.
type reservation struct {
	s                *Store
	bytes, unwritten int64
	counted          bool
}

// grow takes n bytes more, evicting what it must; the first call also takes
// the place of one file.
func (r *reservation) grow(n int64) error {
	for {
		trash, err := r.try(n)
		if err != nil || trash == "" {
			return err
		}
		if err := os.Remove(trash); err != nil {
			return err
		}
	}
}

// try takes the room if it is there; else it returns a file to be removed
// before the next try, or why there is none.
func (r *reservation) try(n int64) (trash string, err error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", ErrClosed
	}
	lack, err := s.lack(n, !r.counted)
	if err != nil {
		return "", err
	}
	if lack == nil {
		if !r.counted {
			s.files++
		}
		r.counted = true
		r.bytes += n
		r.unwritten += n
		s.used += n
		s.unwritten += n
		return "", nil
	}
	oldest := s.idle.Front()
	if oldest == nil {
		s.meter.full.Inc()
		return "", lack
	}
	s.meter.evictions.Inc()
	return s.evict(oldest.Value.(*entry))
}

// lack returns which bound n more bytes would break.
func (s *Store) lack(n int64, file bool) (lack, err error) {
	if s.used+n > s.config.BytesMax {
		return fmt.Errorf("%w: %d bytes used of %d, %d more wanted", ErrFull, s.used, s.config.BytesMax, n), nil
	}
	if file && s.files >= s.config.ObjectsMax {
		return fmt.Errorf("%w: %d objects of %d", ErrFull, s.files, s.config.ObjectsMax), nil
	}
	free, err := s.free()
	if err != nil {
		return nil, err
	}
	if free-s.unwritten-n < s.config.DiskReserveBytes {
		return fmt.Errorf("%w: %d bytes free, %d on their way, %d more wanted, reserve %d",
			ErrDiskFull, free, s.unwritten, n, s.config.DiskReserveBytes), nil
	}
	return nil, nil
}

// wrote says that n of the bytes taken are now in the file.
func (r *reservation) wrote(n int64) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	n = min(n, r.unwritten)
	r.unwritten -= n
	r.s.unwritten -= n
}

// release gives everything back. A second call does nothing.
func (r *reservation) release() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.drop()
}

func (r *reservation) drop() {
	r.s.used -= r.bytes
	r.s.unwritten -= r.unwritten
	if r.counted {
		r.s.files--
	}
	*r = reservation{s: r.s}
}

// freeBytes returns the room that the file system has for this process.
func (s *Store) freeBytes() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.config.Dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", s.config.Dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // it has another type on other systems
}

// evict takes an idle entry out and moves its file aside, so that the caller
// can remove it without the lock and without meeting a new file of its name.
func (s *Store) evict(e *entry) (trash string, err error) {
	trash = s.trashPath(e)
	if err := os.Rename(s.path(e), trash); err != nil {
		return "", err
	}
	s.forget(e)
	return trash, nil
}

// forget takes e out of the index.
func (s *Store) forget(e *entry) {
	s.unsettle(e)
	e.gone = true
	s.account(e, -1)
	if e.partial {
		delete(s.partials, e.hash)
	} else {
		delete(s.objects, e.hash)
		s.changes++
	}
}

// settle makes e evictable, as the most recently used, if nothing keeps it.
func (s *Store) settle(e *entry) {
	kept := e.gone || e.opens > 0 || !e.partial && s.pinned[e.hash] != nil
	if !kept && e.element == nil {
		e.element = s.idle.PushBack(e)
	}
}

func (s *Store) unsettle(e *entry) {
	if e.element != nil {
		s.idle.Remove(e.element)
		e.element = nil
	}
}

// hold keeps e until release.
func (s *Store) hold(e *entry) {
	e.opens++
	e.accessed = time.Now()
	s.unsettle(e)
}

// release ends a hold, and now and then writes down when that was.
func (s *Store) release(e *entry) {
	s.mu.Lock()
	e.opens--
	now := time.Now()
	e.accessed = now
	s.settle(e)
	note := e.opens == 0 && !e.gone && !s.closed && now.Sub(e.noted) > accessGranularity
	if note {
		e.noted = now
	}
	path := s.path(e)
	s.mu.Unlock()
	if note {
		// Without it the object is merely evicted too early after a restart.
		_ = os.Chtimes(path, now, now)
	}
}

// corrupt drops an object whose file is not what was written.
func (s *Store) corrupt(e *entry, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.gone || s.closed {
		return
	}
	s.log.Error("object is corrupt, dropped", "hash", e.hash, "bytes", e.size, "why", why)
	s.meter.corrupt.Inc()
	path := s.path(e)
	s.forget(e)
	if err := os.Remove(path); err != nil {
		s.log.Error("corrupt object stays on disk", "hash", e.hash, "error", err)
	}
}
