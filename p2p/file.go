package p2p

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// createFile makes a file that is there whole or not at all, readable by its
// owner only. The error is fs.ErrExist when there is one of that name.
func createFile(path string, b []byte) error {
	temporary, err := writeTemporary(path, b)
	if err != nil {
		return err
	}
	defer os.Remove(temporary) //nolint:errcheck // a file that stays behind harms nobody
	// A link, unlike a rename, does not replace what is there.
	if err := os.Link(temporary, path); err != nil {
		return fmt.Errorf("create %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

// replaceFile puts b in the place of the file, so that after a crash the old or
// the new content is there.
func replaceFile(path string, b []byte) error {
	temporary, err := writeTemporary(path, b)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary) //nolint:errcheck // the rename's error says more
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

func writeTemporary(path string, b []byte) (name string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = file.Write(b)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		os.Remove(file.Name()) //nolint:errcheck // the write's error says more
		return "", fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return file.Name(), nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// readFile returns a file's content up to limit bytes, nil when there is none.
func readFile(path string, limit int) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("read %s: %w: longer than %d bytes", filepath.Base(path), ErrMalformed, limit)
	}
	return b, nil
}
