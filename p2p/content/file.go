package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The folders of a store, and the journal of pins.
const (
	objectsDir  = "objects"
	partialDir  = "partial"
	tempDir     = "temp"
	lockFile    = "lock"
	journalFile = "pins"
)

// A file, whole or partial, is the object's bytes followed by a trailer: the
// chain's states, fileMagic, the object's length and a checksum of hash and
// trailer. So the object and what verifies it appear in one rename.
const (
	fileMagic   = "dugnad\x001"
	footerBytes = len(fileMagic) + 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// trailerBytes returns the length of the trailer of an object of size bytes.
func trailerBytes(size int64) int64 {
	return int64(chunksOf(size)-1)*int64(len(midstate{})) + int64(footerBytes)
}

// fileBytes returns the length of the file of an object of size bytes.
func fileBytes(size int64) int64 { return size + trailerBytes(size) }

// objectBytes is the inverse of fileBytes, so that a directory's listing is
// enough to know what it holds.
func objectBytes(file int64) (int64, error) {
	rest := file - int64(footerBytes)
	if rest < 0 {
		return 0, errChain
	}
	chain := max(0, rest-1) / (ChunkBytes + int64(len(midstate{}))) * int64(len(midstate{}))
	if size := rest - chain; fileBytes(size) == file && size <= ObjectBytesMax {
		return size, nil
	}
	return 0, errChain
}

// trailer returns what follows the object in its file.
func (c *chain) trailer() []byte {
	b := append(c.appendStates(nil), fileMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.size))
	sum := crc32.Update(crc32.Checksum(c.hash[:], castagnoli), castagnoli, b)
	return binary.BigEndian.AppendUint32(b, sum)
}

// parseTrailer reads the trailer of the object h.
func parseTrailer(h Hash, b []byte) (*chain, error) {
	if len(b) < footerBytes {
		return nil, errChain
	}
	body, footer := b[:len(b)-4], b[len(b)-footerBytes:]
	sum := crc32.Update(crc32.Checksum(h[:], castagnoli), castagnoli, body)
	size := binary.BigEndian.Uint64(footer[len(fileMagic):])
	if string(footer[:len(fileMagic)]) != fileMagic || sum != binary.BigEndian.Uint32(footer[len(footer)-4:]) || size > ObjectBytesMax {
		return nil, errChain
	}
	return newChain(h, int64(size), b[:len(b)-footerBytes])
}

// readTrailer reads the trailer of a file that holds size bytes of object.
func readTrailer(f *os.File, h Hash, size int64) (*chain, error) {
	b := make([]byte, trailerBytes(size))
	if _, err := f.ReadAt(b, size); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errChain
		}
		return nil, err
	}
	c, err := parseTrailer(h, b)
	if err == nil && c.size != size {
		return nil, errChain
	}
	return c, err
}

// classify names errors of a full disk.
func classify(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (s *Store) dir(name string) string { return filepath.Join(s.config.Dir, name) }

func (s *Store) objectPath(h Hash) string { return filepath.Join(s.dir(objectsDir), h.String()) }

func (s *Store) partialPath(h Hash) string { return filepath.Join(s.dir(partialDir), h.String()) }

// path returns where e's file is.
func (s *Store) path(e *entry) string {
	if e.partial {
		return s.partialPath(e.hash)
	}
	return s.objectPath(e.hash)
}

// foreign reports whether a name in a store's folder is none of ours.
func foreign(name string) bool { return strings.HasPrefix(name, ".") || name == "lost+found" }
