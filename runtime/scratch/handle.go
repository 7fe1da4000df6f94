package scratch

import (
	"github.com/tetratelabs/wazero/experimental/sys"
	wasys "github.com/tetratelabs/wazero/sys"
)

// offset64 is int64 by a name that tells go vet that a Seek with it is that of
// sys.File and not of io.Seeker.
type offset64 = int64

// handle is what open files and folders share.
type handle struct {
	fs       *FS
	node     *node
	nonblock bool
	closed   bool
}

// lock takes the file system's lock; the caller releases it, whatever lock
// returns. It is EBADF once the handle or the file system is closed.
func (h *handle) lock() sys.Errno {
	h.fs.mu.Lock()
	if h.closed || h.fs.closed {
		return sys.EBADF
	}
	return 0
}

// Dev implements sys.File.
func (h *handle) Dev() (uint64, sys.Errno) {
	if h.node.host != nil {
		return devInput, 0
	}
	return devTree, 0
}

// Ino implements sys.File.
func (h *handle) Ino() (wasys.Inode, sys.Errno) { return h.node.ino, 0 }

// IsDir implements sys.File.
func (h *handle) IsDir() (bool, sys.Errno) { return h.node.isDir(), 0 }

// Stat implements sys.File.
func (h *handle) Stat() (wasys.Stat_t, sys.Errno) {
	errno := h.lock()
	defer h.fs.mu.Unlock()
	if errno != 0 {
		return wasys.Stat_t{}, errno
	}
	return h.fs.stat(h.node)
}

// Sync implements sys.File.
func (h *handle) Sync() sys.Errno {
	defer h.fs.mu.Unlock()
	return h.lock()
}

// Datasync implements sys.File.
func (h *handle) Datasync() sys.Errno { return h.Sync() }

// Utimens implements sys.File.
func (h *handle) Utimens(atim, mtim int64) sys.Errno {
	errno := h.lock()
	defer h.fs.mu.Unlock()
	if errno != 0 {
		return errno
	}
	return h.fs.setTimes(h.node, atim, mtim)
}

// Poll implements sys.PollableFile: files and folders are always ready.
func (h *handle) Poll(sys.Pflag, int32) (bool, sys.Errno) { return true, 0 }

// IsNonblock implements sys.PollableFile.
func (h *handle) IsNonblock() bool { return h.nonblock }

// SetNonblock implements sys.PollableFile. It changes nothing but what
// IsNonblock says.
func (h *handle) SetNonblock(enable bool) sys.Errno {
	errno := h.lock()
	defer h.fs.mu.Unlock()
	if errno == 0 {
		h.nonblock = enable
	}
	return errno
}

// close drops the handle; it reports false if that was done before or the
// file system is closed.
func (h *handle) close() bool {
	if h.closed || h.fs.closed {
		return false
	}
	h.closed = true
	h.fs.handles--
	h.node.opens--
	if h.node.host == nil {
		h.fs.release(h.node)
	}
	return true
}
