package book

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/disk"
	"github.com/dugnad/dugnad/ledger/store"
)

// errNoNetwork ends what would reach another member: the functions of this file
// work alone.
var errNoNetwork = errors.New("there is no network while no node runs")

// Report says what an operation found.
type Report struct {
	Self
	// Index is the last command that the state includes.
	Index uint64 `json:"index"`
}

// Recover makes the member in a data folder the only voter of its grid, for when
// most voters are gone for good. The node must not run; start it afterwards, and
// the other nodes find it. Commands that only the lost voters had are lost. It
// is safe to run twice, and to run again after it was interrupted.
func Recover(ctx context.Context, dataDir string, log *slog.Logger) (Report, error) {
	return offline(ctx, dataDir, log, "recover", func(s *store.Store, self Self) error {
		return replica.Recover(ctx, alone(self, filepath.Join(dataDir, folder), s))
	})
}

// Backup writes the state in a data folder whose node does not run. A running
// one is backed up through its replica.
func Backup(ctx context.Context, dataDir string, w io.Writer, log *slog.Logger) (Report, error) {
	return offline(ctx, dataDir, log, "back up", func(s *store.Store, _ Self) error {
		_, err := disk.Store{Store: s}.Snapshot(w)
		return err
	})
}

// Check reads every file of the ledger in a data folder whose node does not run,
// and verifies that what is stored fits together.
func Check(ctx context.Context, dataDir string, log *slog.Logger) (Report, error) {
	return offline(ctx, dataDir, log, "check", func(s *store.Store, _ Self) error {
		if err := s.VerifyDisk(); err != nil {
			return err
		}
		_, err := replica.View(disk.Store{Store: s}, ledger.Check)
		return err
	})
}

// offline opens the store of a data folder for one operation.
func offline(ctx context.Context, dataDir string, log *slog.Logger, what string, f func(s *store.Store, self Self) error) (Report, error) {
	dir := filepath.Join(dataDir, folder)
	self, err := readSelf(dir)
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", what, err)
	}
	s, err := openStore(ctx, dir, log, nil)
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", what, err)
	}
	err = f(s, self)
	report := Report{Self: self, Index: s.Applied()}
	if err = errors.Join(err, s.Close()); err != nil {
		return Report{}, fmt.Errorf("%s: %w", what, err)
	}
	return report, nil
}

// Verify reads a backup whole, and returns the index up to which it goes.
func Verify(backup io.Reader) (index uint64, err error) {
	h, _, err := store.Verify(backup)
	if err != nil {
		return 0, fmt.Errorf("verify backup: %w", err)
	}
	return h.Index, nil
}

// Member says whose ledger a data folder holds. It returns ErrNone when there is
// none.
func Member(dataDir string) (Self, error) { return readSelf(filepath.Join(dataDir, folder)) }

// Exists says whether a data folder holds a ledger, be it damaged.
func Exists(dataDir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dataDir, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Restore fills a data folder that holds no ledger with a backup and makes self
// the founder, and so far only member, of a new grid. The nodes that the backup
// knows are forgotten, as they are in the old grid: what they ran goes back to
// the queue, or ends as its job's limits say. An interrupted Restore leaves no
// ledger, and can be run again.
func Restore(ctx context.Context, dataDir string, self Self, backup io.Reader, log *slog.Logger) (Report, error) {
	dir := filepath.Join(dataDir, folder)
	has, err := Exists(dataDir)
	if has {
		err = fmt.Errorf("%w: %s", ErrExists, dataDir)
	}
	if err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	part := dir + partSuffix
	if err := os.RemoveAll(part); err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	report, err := restore(ctx, part, self, backup, log)
	if err != nil {
		return Report{}, fmt.Errorf("restore: %w", errors.Join(err, os.RemoveAll(part)))
	}
	if err := errors.Join(os.Rename(part, dir), syncDir(dataDir)); err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	return report, nil
}

func restore(ctx context.Context, dir string, self Self, backup io.Reader, log *slog.Logger) (Report, error) {
	s, err := openStore(ctx, dir, log, nil)
	if err != nil {
		return Report{}, err
	}
	err = replica.Restore(ctx, alone(self, dir, s), backup)
	if err = errors.Join(err, s.Close()); err != nil {
		return Report{}, err
	}
	b, err := open(ctx, Config{Replica: alone(self, dir, nil), Log: log}, dir)
	if err != nil {
		return Report{}, err
	}
	err = forgetNodes(ctx, b)
	report := Report{Self: self, Index: b.Applied()}
	return report, errors.Join(err, b.Close())
}

// alone is the configuration of a member that reaches nobody and elects itself
// at once. s is nil when Open will set it.
func alone(self Self, dir string, s *store.Store) replica.Config {
	c := replica.Default()
	c.ID, c.Address = self.ID, self.Address
	c.HeartbeatTimeout, c.LeaseTimeout, c.CommitTimeout = 50*time.Millisecond, 50*time.Millisecond, 5*time.Millisecond
	c.Listener = &deaf{closed: make(chan struct{})}
	c.Dial = func(context.Context, string) (net.Conn, error) { return nil, errNoNetwork }
	if s == nil {
		return c
	}
	return local(c, dir, s)
}
