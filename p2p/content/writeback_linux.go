package content

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeBack has the kernel begin to write a part of a file to disk, so that less
// is left for the sync at the end. It promises nothing.
func writeBack(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}
