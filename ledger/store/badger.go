package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/y"
)

// raftValueLogBytes is the size of one value log file of the Raft database. It
// only takes entries beyond ValueBytesMax, and bounds them.
const raftValueLogBytes = 2 * LogBytesMax

// tableSuffix ends the names of Badger's tables.
const tableSuffix = ".sst"

// Level 0 is compacted from so many tables on, and flushes wait at so many.
const (
	levelZeroTables = 4
	levelZeroStall  = 10
)

// compactorsPerDB is the least that Badger takes.
const compactorsPerDB = 2

// badgerOptions returns what both databases have in common. c are the compactors
// of the one in dir.
func (s *Store) badgerOptions(dir string, c *compactors) badger.Options {
	return badger.DefaultOptions(dir).
		WithMetricsEnabled(false). // they are global variables
		// The folder around it is locked already, see acquire. Badger lets go of its lock
		// by closing a file, which a process that is about to be started may have, too.
		WithBypassLockGuard(true).
		WithDetectConflicts(false).
		WithMemTableSize(s.config.MemTableBytes).
		WithNumMemtables(2).
		WithNumCompactors(compactorsPerDB).
		WithNumLevelZeroTables(levelZeroTables).
		WithNumLevelZeroTablesStall(levelZeroStall).
		WithValueThreshold(ValueBytesMax + 1).
		WithValueLogFileSize(raftValueLogBytes).
		WithCompression(options.None).
		WithBlockCacheSize(s.config.BlockCacheBytes).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithLogger(badgerLog{s.log.With("database", dir), s, c})
}

// openBadger opens one database after its files have been looked at, because
// Badger ends the process for some kinds of damage.
func (s *Store) openBadger(o badger.Options, managed bool) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: open %s: %v", ErrCorrupt, o.Dir, r)
		}
	}()
	if err := removeEmpty(o.Dir); err != nil {
		return nil, err
	}
	open := badger.Open
	if managed {
		open = badger.OpenManaged
	}
	db, err = open(o)
	if err != nil {
		if named := classify(err); !errors.Is(named, err) || errors.Is(named, ErrDiskFull) || errors.Is(named, ErrCorrupt) {
			return nil, fmt.Errorf("open %s: %w", o.Dir, named)
		}
		return nil, fmt.Errorf("open %s: %w: %w", o.Dir, ErrCorrupt, err)
	}
	return db, nil
}

// removeEmpty removes logs without a byte. Badger makes a log, and takes one
// away, in two steps with an empty file in between, and does not open when it was
// killed there. Nothing that was acknowledged is in such a file.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read directory: %w", classify(err))
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return fmt.Errorf("remove empty log: %w", classify(err))
		}
	}
	return nil
}

// classify gives an error of Badger the name under which callers know it.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrDiskFull), errors.Is(err, ErrCorrupt), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), strings.Contains(err.Error(), "no space left on device"):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, y.ErrChecksumMismatch), errors.Is(err, syscall.EIO), errors.Is(err, y.ErrEOF),
		strings.Contains(err.Error(), "corrupt"), strings.Contains(err.Error(), "checksum"):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case errors.Is(err, badger.ErrDBClosed), errors.Is(err, badger.ErrBlockedWrites):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// badgerLog passes Badger's log on. It also listens: Badger repeats a flush that
// failed for ever and tells nobody else, and its compactors rest there.
type badgerLog struct {
	log        *slog.Logger
	store      *Store
	compactors *compactors
}

// Errorf implements badger.Logger.
func (l badgerLog) Errorf(format string, args ...any) {
	if strings.HasPrefix(format, "Received err") {
		return // openBadger returns it
	}
	text := fmt.Sprintf(strings.TrimSpace(format), args...)
	l.log.Warn("badger", "text", text)
	if !strings.HasPrefix(format, "error flushing memtable") {
		return
	}
	for _, a := range args {
		if err, ok := a.(error); ok {
			_ = l.store.fail(fmt.Errorf("flush: %w", classify(err)))
		}
	}
}

// Warningf implements badger.Logger.
func (l badgerLog) Warningf(format string, args ...any) { l.print(slog.LevelWarn, format, args) }

// Infof implements badger.Logger.
func (l badgerLog) Infof(format string, args ...any) {
	if format == flattenBegins {
		l.compactors.hold()
		return
	}
	l.print(slog.LevelDebug, format, args)
}

// Debugf implements badger.Logger. Badger calls it several times for each
// write; nobody wants to read that.
func (l badgerLog) Debugf(string, ...any) {}

func (l badgerLog) print(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "badger", "text", fmt.Sprintf(strings.TrimSpace(format), args...))
	}
}
