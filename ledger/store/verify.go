package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
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
	if err != nil && strings.Contains(err.Error(), "unsupported version") {
		text, _, _ := strings.Cut(err.Error(), "\n") // advice on Badger's own tools follows
		return 0, fmt.Errorf("%w: %s: %s", ErrVersion, f.Name(), text)
	}
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
	tables, err := filepath.Glob(filepath.Join(dir, "*"+tableSuffix))
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
		// Compaction cuts, then removes, the tables that it has replaced: those
		// are no longer in the list.
		if err != nil && hasTable(db, t.ID) {
			return err
		}
	}
	return nil
}

func hasTable(db *badger.DB, id uint64) bool {
	return slices.ContainsFunc(db.Tables(), func(t badger.TableInfo) bool { return t.ID == id })
}

// verifyTable reads one table and returns its highest version. It reads the file
// and does not map it, as Badger does: a mapped file that compaction cuts
// meanwhile kills the process.
func verifyTable(path string, blocks bool) (newest uint64, err error) {
	defer func() {
		if r := recover(); r != nil {
			newest, err = 0, fmt.Errorf("%w: %s: %v", ErrCorrupt, path, r)
		}
	}()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("open table: %w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer f.Close()
	index, err := readIndex(f)
	if err == nil && blocks {
		err = verifyBlocks(f, index)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return index.MaxVersion(), nil
}

// tableIndexMax bounds a table's index, which is about a twentieth of the table.
const tableIndexMax = 256 << 20

// readIndex reads a table's index and compares it with its sum:
//
//	blocks, index, length of the index u32, sum, length of the sum u32
func readIndex(f *os.File) (*fb.TableIndex, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
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
		return nil, err
	}
	index, err := part()
	if err != nil {
		return nil, err
	}
	if err := verifySum(index, sum); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return fb.GetRootAsTableIndex(index, 0), nil
}

// verifyBlocks reads the blocks, which follow one another from the beginning:
//
//	content, sum, length of the sum u32
func verifyBlocks(f *os.File, index *fb.TableIndex) error {
	r := bufio.NewReaderSize(f, 256<<10)
	var at uint32
	var b []byte
	for i := range index.OffsetsLength() {
		var o fb.BlockOffset
		if !index.Offsets(&o, i) || o.Offset() != at || o.Len() < 4 {
			return fmt.Errorf("index: block %d is not at byte %d", i, at)
		}
		b = slices.Grow(b[:0], int(o.Len()))[:o.Len()]
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("block at byte %d: %w", at, err)
		}
		end := len(b) - 4
		n := int64(binary.BigEndian.Uint32(b[end:]))
		if n > int64(end) {
			return fmt.Errorf("block at byte %d: sum does not fit into it", at)
		}
		content := end - int(n)
		if err := verifySum(b[:content], b[content:end]); err != nil {
			return fmt.Errorf("block at byte %d: %w", at, err)
		}
		at += o.Len()
	}
	return nil
}

// verifySum compares content with its sum, as Badger encodes it.
func verifySum(content, sum []byte) error {
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return fmt.Errorf("sum: %w", err)
	}
	if want.Algo != pb.Checksum_CRC32C {
		return fmt.Errorf("sum is of kind %d", want.Algo)
	}
	return y.VerifyChecksum(content, &want)
}
