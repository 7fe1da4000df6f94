package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Sync makes everything that is applied survive a loss of power, so that the log
// need not repeat it. It writes out what changed since the last call, which is
// at most the tables in memory, and does nothing when nothing did; updates go on
// meanwhile. An error is the store's Fault, because nobody knows what is on disk
// after it: the system forgets what it could not write.
func (s *Store) Sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	v, err := s.acquireView()
	if err != nil {
		return err
	}
	defer v.release()
	if err := s.Fault(); err != nil {
		return err
	}
	if v.generation.synced == v.index {
		return nil
	}
	if err := v.generation.sync(); err != nil {
		return s.fail(fmt.Errorf("sync state: %w", classify(err)))
	}
	v.generation.synced = v.index
	return nil
}

// sync syncs the write-ahead logs: the one that is written, and those whose
// table is not yet there. A log that is gone meanwhile left a table, and Badger
// syncs tables and manifest before it removes a log; the names it leaves to the
// directory's next sync. Badger's own Sync would pass over the full logs.
func (g *generation) sync() error {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".mem" {
			continue
		}
		// What is written through a mapping is in the file's pages.
		if err := g.store.syncFile(filepath.Join(g.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return g.store.syncFile(g.dir)
}

// syncFile makes a file's content, or the names in a directory, durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// makeDir makes a directory, and those above it, under durable names.
func makeDir(dir string) error {
	above := filepath.Dir(dir)
	if _, err := os.Stat(above); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncFile(above)
}
