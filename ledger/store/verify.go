package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"
)

// verifyTables reads the tables of a Badger database that is not open, before
// Badger does: it ends the process for a damaged index, and leaves a damaged
// block out of a scan without a word. It returns the highest version in any
// table. Files that the manifest does not name are left to Badger, which
// deletes them.
func verifyTables(ctx context.Context, dir string, blocks bool) (newest uint64, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, verifyUnnamed(dir)
	}
	if err != nil {
		return 0, fmt.Errorf("open manifest: %w", classify(err))
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, f.Name(), err)
	}
	for id := range manifest.Tables {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		version, err := verifyTable(table.NewFilename(id, dir), blocks)
		if err != nil {
			return 0, err
		}
		newest = max(newest, version)
	}
	return newest, nil
}

// verifyUnnamed refuses tables without a manifest: Badger would delete them.
func verifyUnnamed(dir string) error {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	if len(tables) > 0 {
		return fmt.Errorf("%w: %s has tables and no manifest", ErrCorrupt, dir)
	}
	return nil
}

// verifyOpen reads the tables of an open database. Badger's own VerifyChecksum
// panics at the damage that it looks for.
func verifyOpen(db *badger.DB) error {
	for _, t := range db.Tables() {
		_, err := verifyTable(table.NewFilename(t.ID, db.Opts().Dir), true)
		// Compaction removes tables that it has replaced.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// verifyTable reads one table and returns its highest version.
func verifyTable(path string, blocks bool) (newest uint64, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: %v", ErrCorrupt, path, r)
		}
	}()
	if err := verifyFooter(path); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, classify(err))
	}
	o := table.Options{BlockSize: 4 << 10, Compression: options.None, ReadOnly: true}
	if blocks {
		o.ChkMode = options.OnTableRead
	}
	t, err := table.OpenTable(file, o) // closes the file when it fails
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	newest = t.MaxVersion()
	return newest, t.Close(-1)
}

// tableIndexMax bounds a table's index, which is about a twentieth of the table.
const tableIndexMax = 256 << 20

// verifyFooter checks a table's index against its sum:
//
//	blocks, index, length of the index u32, sum, length of the sum u32
func verifyFooter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at := info.Size()
	back := func(n int64) ([]byte, error) {
		if at -= n; at < 0 || n > tableIndexMax {
			return nil, errors.New("footer does not fit into the file")
		}
		b := make([]byte, n)
		_, err := io.ReadFull(io.NewSectionReader(f, at, n), b)
		return b, err
	}
	part := func() ([]byte, error) {
		b, err := back(4)
		if err != nil {
			return nil, err
		}
		return back(int64(binary.BigEndian.Uint32(b)))
	}
	sum, err := part()
	if err != nil {
		return err
	}
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return fmt.Errorf("footer's sum: %w", err)
	}
	if want.Algo != pb.Checksum_CRC32C {
		return fmt.Errorf("footer's sum is of kind %d", want.Algo)
	}
	index, err := part()
	if err != nil {
		return err
	}
	return y.VerifyChecksum(index, &want)
}
