package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// pageOut has the system take back the pages of the tables in dir, and of the
// write-ahead logs, which are mapped: those that were written or read lately count as
// this process's memory until something else needs it. They are read from the disk
// again when they are asked for; what is not yet written there stays. Should a mapping be another one by now, its pages go and come likewise:
// unlike other advice to the system this one changes no content.
func pageOut(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return fmt.Errorf("find tables: %w", err)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("find mapped tables: %w", err)
	}
	defer f.Close()
	var errs []error
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		at := strings.IndexByte(lines.Text(), '/')
		if at < 0 || filepath.Dir(lines.Text()[at:]) != dir {
			continue
		}
		if ext := filepath.Ext(lines.Text()); ext != tableSuffix && ext != ".mem" {
			continue
		}
		var begin, end uintptr
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x ", &begin, &end); err != nil {
			return fmt.Errorf("read mapped tables: %w", err)
		}
		if _, _, code := unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_PAGEOUT); code != 0 && code != unix.ENOMEM {
			errs = append(errs, fmt.Errorf("page out %s: %w", lines.Text()[at:], code))
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}
