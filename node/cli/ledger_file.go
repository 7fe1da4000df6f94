package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/ledger/store"
	"github.com/dugnad/dugnad/node"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/node/control"
)

var (
	// errNotRegular is returned for a backup that is no regular file: it is read
	// twice.
	errNotRegular = errors.New("not a file that dugnad ledger backup wrote")
	// errBackupExists is returned by backup for a file that is there.
	errBackupExists = fmt.Errorf("%w: name another file, or remove it", fs.ErrExist)
)

// restoreLedger founds a grid in the folder args[0] with the backup args[1].
func restoreLedger(ctx context.Context, args []string, log *slog.Logger) (ledgerReport, error) {
	folder, name := args[0], args[1]
	f, err := openBackup(name)
	if err != nil {
		return ledgerReport{}, fmt.Errorf("restore: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, err := node.Restore(ctx, folder, f, log)
	if errors.As(err, new(*store.FormatError)) {
		err = fmt.Errorf("%s: %w", name, err)
	}
	if err != nil {
		return ledgerReport{}, err
	}
	next := fmt.Sprintf(" founds grid %s\nstart it with dugnad up --node-dir %s; other nodes join by new invitations", r.Grid, folder)
	return ledgerReport{Report: r.Report, Grid: r.Grid, next: next}, nil
}

// openBackup opens a regular file, and does not wait for the writer of a pipe.
func openBackup(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %w", name, errNotRegular)
	}
	return os.Open(name)
}

// backUp writes the ledger of the folder args[0] to the new file args[1], which has
// another name until it is whole and on disk.
func backUp(ctx context.Context, args []string, log *slog.Logger) (report ledgerReport, err error) {
	folder, name := args[0], args[1]
	if err := free(name); err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	part, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".part-*")
	if err != nil {
		return report, fmt.Errorf("back up: make %s: %w", name, err)
	}
	report.Report, err = takeBackup(ctx, folder, part, log)
	if err = errors.Join(err, part.Close()); err == nil {
		err = publish(part.Name(), name)
	}
	if err != nil {
		return report, errors.Join(err, os.Remove(part.Name()))
	}
	return report, nil
}

// takeBackup fills f, from the node that runs on the folder or without one, and
// reads it again.
func takeBackup(ctx context.Context, folder string, f *os.File, log *slog.Logger) (report book.Report, err error) {
	if report.Self, err = book.Member(folder); err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	if err := control.NewClient(folder).Backup(ctx, f); errors.Is(err, control.ErrNotRunning) {
		if _, err := book.Backup(ctx, folder, f, log); err != nil {
			return report, err
		}
	} else if err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	if err := f.Sync(); err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return report, fmt.Errorf("back up: %w", err)
	}
	if report.Index, err = book.Verify(f); err != nil {
		return report, fmt.Errorf("back up: what was written is read back otherwise: %w", err)
	}
	return report, nil
}

// free returns nil when nothing has that name.
func free(name string) error {
	_, err := os.Lstat(name)
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", name, errBackupExists)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// publish gives a file its name, which nobody has, and makes that last.
func publish(part, name string) error {
	err := unix.Renameat2(unix.AT_FDCWD, part, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // some file systems cannot
		if err = free(name); err == nil {
			err = os.Rename(part, name)
		}
	}
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("back up: %s: %w", name, errBackupExists)
	case err != nil:
		return fmt.Errorf("back up: name %s: %w", name, err)
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
