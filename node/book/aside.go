package book

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SetAside gives the ledger in the data folder another name, which ends with suffix:
// another member may begin there. The folder must not be open. Where there is none
// nothing happens.
func SetAside(dir, suffix string) error {
	path := filepath.Join(dir, folder)
	if err := os.Rename(path, path+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the ledger aside: %w", err)
	}
	return nil
}
