package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// staleAge is how old a temporary folder must be before one that nobody locks
// is removed: much longer than from making one to locking it.
const staleAge = time.Minute

// privatePrefix begins the names of the private folders of workers.
const privatePrefix = "worker-"

// tempDir is a private folder that is locked as long as its maker lives, so
// that what a process that was killed left behind can be told from what is in
// use.
type tempDir struct {
	path string
	lock *os.File
}

// makeTempDir makes a folder whose name begins with prefix.
func makeTempDir(parent, prefix string) (*tempDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, fmt.Errorf("make private folder: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("make private folder: %w", err)
	}
	d := &tempDir{path: path}
	if d.lock, err = lockDir(path); err != nil {
		return nil, errors.Join(fmt.Errorf("lock private folder: %w", err), os.RemoveAll(path))
	}
	return d, nil
}

// remove removes the folder and all that is in it; nil has nothing to remove.
func (d *tempDir) remove() error {
	if d == nil {
		return nil
	}
	err := os.RemoveAll(d.path)
	// Closing gives the lock up; a second remove finds it closed.
	d.lock.Close()
	return err
}

// lockDir locks a folder for this open file; it fails when another holds it.
func lockDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeStale removes the folders in parent whose names begin with a prefix,
// that are older than staleAge and that nobody locks. It returns how many.
func removeStale(parent string, now time.Time, prefixes ...string) (int, error) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		if !e.IsDir() || !hasPrefix(e.Name(), prefixes) {
			continue
		}
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < staleAge {
			continue
		}
		path := filepath.Join(parent, e.Name())
		lock, err := lockDir(path)
		if err != nil {
			continue
		}
		if os.RemoveAll(path) == nil {
			n++
		}
		lock.Close()
	}
	return n, nil
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
