package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/p2p"
)

// A restore fills the folder partName inside of the data folder, gives it the name
// wholeName, which is the moment from which it counts, and moves what is in it up
// into the data folder. It deletes nothing that it has not made.
const (
	partName  = "restore.part"
	wholeName = "restore.whole"
)

// ErrTaken is returned by Restore for a folder that has been a node's.
var ErrTaken = errors.New("this folder belongs to a node already")

// ErrRestoring is returned by Open for a folder in which Restore was interrupted.
var ErrRestoring = errors.New("a restore into this folder was interrupted: run dugnad ledger restore again, or name another folder")

// Restored says what Restore has made.
type Restored struct {
	book.Report
	// Grid is the new grid.
	Grid string `json:"grid"`
}

// Restore makes dir, a folder that no node has used, the data folder of a new node,
// which founds a new grid with the ledger of the backup: Open it with Found to start
// the grid. The nodes that the backup knows are forgotten and their leases have ended.
// A damaged backup, and a folder that is in use, in a grid, or has a ledger, are
// refused before anything is changed. Restore can be run again after it was
// interrupted, unless the folder is complete: then it is ErrTaken, and Open works.
func Restore(ctx context.Context, dir string, backup io.ReadSeeker, log *slog.Logger) (Restored, error) {
	r, err := restore(ctx, dir, backup, log)
	if err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	return r, nil
}

func restore(ctx context.Context, dir string, backup io.ReadSeeker, log *slog.Logger) (r Restored, err error) {
	if _, err := book.Verify(backup); err != nil {
		return r, err
	}
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return r, err
	}
	if err := vacant(dir); err != nil { // the lock's file is a change already
		return r, err
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	part := filepath.Join(dir, partName)
	if err := vacant(dir); err != nil {
		return r, err
	}
	if err := os.RemoveAll(part); err != nil {
		return r, err
	}
	if r, err = fill(ctx, dir, part, backup, log); err != nil {
		return r, errors.Join(err, os.RemoveAll(part))
	}
	if err := os.Rename(part, filepath.Join(dir, wholeName)); err != nil {
		return r, errors.Join(err, os.RemoveAll(part))
	}
	if err := errors.Join(syncDir(dir), settle(dir)); err != nil {
		return r, err
	}
	return r, noteOffline(ctx, dir, "restore", r.Grid)
}

// vacant returns ErrTaken for a folder that has been a node's.
func vacant(dir string) error {
	has, err := book.Exists(dir)
	for _, name := range []string{wholeName, foundedName} {
		has = has || exists(filepath.Join(dir, name))
	}
	if has || p2p.Joined(dir) {
		return fmt.Errorf("%w: %s", ErrTaken, dir)
	}
	return err
}

// fill makes a data folder in part, which is complete and on disk when it returns.
func fill(ctx context.Context, dir, part string, backup io.Reader, log *slog.Logger) (r Restored, err error) {
	if err := os.Mkdir(part, 0o700); err != nil {
		return r, err
	}
	key, err := p2p.LoadIdentity(part)
	if err != nil {
		return r, err
	}
	grid, err := p2p.FoundGrid(part)
	if err != nil {
		return r, err
	}
	r.Grid = grid.GridID().String()
	entries, err := os.ReadDir(part)
	if err != nil {
		return r, err
	}
	for _, e := range entries {
		if exists(filepath.Join(dir, e.Name())) {
			return r, fmt.Errorf("%w: %s has %s", ErrTaken, dir, e.Name())
		}
	}
	// Its address is known, and noted, when the node is opened.
	id := string(key.NodeID())
	if r.Report, err = book.Restore(ctx, part, book.Self{ID: id, Address: id}, backup, log); err != nil {
		return r, err
	}
	if err := os.WriteFile(filepath.Join(part, foundedName), nil, 0o600); err != nil {
		return r, err
	}
	return r, syncDir(part)
}

// settle moves up what a whole restore has made. Interrupted anywhere it goes on
// where it was. It returns ErrRestoring when the restore is not whole.
func settle(dir string) error {
	if exists(filepath.Join(dir, partName)) {
		return fmt.Errorf("%w: %s", ErrRestoring, dir)
	}
	whole := filepath.Join(dir, wholeName)
	entries, err := os.ReadDir(whole)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(whole, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	// What was moved is to be found there before the folder that led to it goes.
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := os.Remove(whole); err != nil {
		return err
	}
	return syncDir(dir)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
