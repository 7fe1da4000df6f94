package scratch

import (
	"io"
	"math"
	"os"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasys "github.com/tetratelabs/wazero/sys"
)

// readMax is how much one call reads at most: a short read is allowed and
// keeps a host call short.
const readMax = 1 << 20

// file is an open regular file.
type file struct {
	handle
	read, write bool
	append      bool
	off         int64
	// host is set for files of inputs; owned says that this handle opened it.
	host  *os.File
	owned bool
}

var _ sys.PollableFile = (*file)(nil)

// Stat implements sys.File; a host file is asked anew.
func (o *file) Stat() (wasys.Stat_t, sys.Errno) {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	if errno != 0 {
		return wasys.Stat_t{}, errno
	}
	st := o.node.stat()
	st.Size, errno = o.size()
	return st, errno
}

// size returns the present size.
func (o *file) size() (int64, sys.Errno) {
	if o.host == nil {
		return o.node.size, 0
	}
	info, err := o.host.Stat()
	if err != nil {
		return 0, hostErrno(err)
	}
	return info.Size(), 0
}

// IsAppend implements sys.File.
func (o *file) IsAppend() bool { return o.append }

// SetAppend implements sys.File.
func (o *file) SetAppend(enable bool) sys.Errno {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	if errno == 0 {
		o.append = enable
	}
	return errno
}

// Read implements sys.File. It returns at most readMax bytes.
func (o *file) Read(buf []byte) (int, sys.Errno) {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	n, errno := o.readAt(buf, o.off)
	o.off += int64(n)
	return n, errno
}

// Pread implements sys.File. It returns at most readMax bytes.
func (o *file) Pread(buf []byte, off int64) (int, sys.Errno) {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	return o.readAt(buf, off)
}

func (o *file) readAt(buf []byte, off int64) (int, sys.Errno) {
	switch {
	case !o.read:
		return 0, sys.EBADF
	case off < 0:
		return 0, sys.EINVAL
	}
	buf = buf[:min(len(buf), readMax)]
	if o.host == nil {
		return o.node.readAt(buf, off), 0
	}
	n, err := o.host.ReadAt(buf, off)
	if err == io.EOF || n > 0 {
		err = nil
	}
	return n, hostErrno(err)
}

// Write implements sys.File. When a limit is reached it writes what still
// fits.
func (o *file) Write(buf []byte) (int, sys.Errno) {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	if o.append && o.write {
		o.off = o.node.size
	}
	n, errno := o.writeAt(buf, o.off)
	o.off += int64(n)
	return n, o.fs.done(errno)
}

// Pwrite implements sys.File. It writes at off also in append mode.
func (o *file) Pwrite(buf []byte, off int64) (int, sys.Errno) {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	n, errno := o.writeAt(buf, off)
	return n, o.fs.done(errno)
}

func (o *file) writeAt(buf []byte, off int64) (int, sys.Errno) {
	switch {
	case !o.write:
		return 0, sys.EBADF
	case off < 0:
		return 0, sys.EINVAL
	}
	return o.fs.writeAt(o.node, buf, off)
}

// Seek implements sys.File. Any offset from zero on is allowed.
func (o *file) Seek(offset offset64, whence int) (int64, sys.Errno) {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	var base int64
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = o.off
	case io.SeekEnd:
		if base, errno = o.size(); errno != 0 {
			return 0, errno
		}
	default:
		return 0, sys.EINVAL
	}
	if offset > math.MaxInt64-base || base+offset < 0 {
		return 0, sys.EINVAL
	}
	o.off = base + offset
	return o.off, 0
}

// Truncate implements sys.File.
func (o *file) Truncate(size int64) sys.Errno {
	errno := o.lock()
	defer o.fs.mu.Unlock()
	switch {
	case errno != 0:
	case size < 0:
		errno = sys.EINVAL
	case o.host != nil:
		errno = sys.EROFS
	case !o.write:
		errno = sys.EBADF
	case size > sizeMax:
		errno = EFBIG
	default:
		o.fs.resize(o.node, size)
	}
	return o.fs.done(errno)
}

// Readdir implements sys.File.
func (o *file) Readdir(int) ([]sys.Dirent, sys.Errno) { return nil, sys.EBADF }

// Close implements sys.File. Closing twice is no error.
func (o *file) Close() sys.Errno {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if o.close() && o.owned {
		delete(o.fs.hostFiles, o.host)
		return hostErrno(o.host.Close())
	}
	return 0
}
