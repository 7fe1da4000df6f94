package scratch

import (
	"io/fs"
	"strings"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasys "github.com/tetratelabs/wazero/sys"
)

// Paths start at the root, with or without a leading slash; they may hold "."
// and "..", which stops at the root.

// Lstat implements sys.FS.
func (f *FS) Lstat(path string) (wasys.Stat_t, sys.Errno) {
	return f.statPath(path, followSlash)
}

// Stat implements sys.FS.
func (f *FS) Stat(path string) (wasys.Stat_t, sys.Errno) {
	return f.statPath(path, followLast)
}

func (f *FS) statPath(path string, how follow) (wasys.Stat_t, sys.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, errno := f.existing(path, how)
	if errno != 0 {
		return wasys.Stat_t{}, f.done(errno)
	}
	return f.stat(at.node)
}

// stat is node.stat with the present size of a single-file input.
func (f *FS) stat(n *node) (wasys.Stat_t, sys.Errno) {
	st := n.stat()
	if n.host != nil && n.host.in.file != nil {
		info, err := n.host.in.file.Stat()
		if err != nil {
			return st, hostErrno(err)
		}
		st.Size = info.Size()
	}
	return st, 0
}

// StatAt describes what path leads to from the open folder with the inode
// number ino, as fstatat does: unlike wazero's path_filestat_get it knows
// "..", which stops at the root, and it still finds a folder that was renamed
// after it was opened. A leading slash means nothing.
func (f *FS) StatAt(ino uint64, path string, followLink bool) (wasys.Stat_t, sys.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.folders[ino]
	if open == nil {
		return wasys.Stat_t{}, sys.EBADF
	}
	how := followSlash
	if followLink {
		how = followLast
	}
	at, errno := f.walk(open.node, path, how)
	if errno == 0 && at.node == nil {
		errno = sys.ENOENT
	}
	if errno != 0 {
		return wasys.Stat_t{}, f.done(errno)
	}
	return f.stat(at.node)
}

// ParentIno returns the inode number of ".." in the open folder with the inode
// number ino; the root's is its own. It is zero if no such folder is open.
func (f *FS) ParentIno(ino uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if open := f.folders[ino]; open != nil {
		return open.node.parent.ino
	}
	return 0
}

// Mkdir implements sys.FS.
func (f *FS) Mkdir(path string, perm fs.FileMode) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, errno := f.vacant(path)
	if errno == 0 {
		_, errno = f.create(at.parent, at.name, fs.ModeDir|perm.Perm(), "")
	}
	return f.done(errno)
}

// Symlink implements sys.FS. The target may be anything, also absolute: it is
// resolved inside the tree when it is used.
func (f *FS) Symlink(oldName, linkName string) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case oldName == "":
		return sys.ENOENT
	case len(oldName) >= PathBytesMax:
		return sys.ENAMETOOLONG
	}
	at, errno := f.vacant(linkName)
	if errno == 0 && at.slash {
		errno = sys.ENOENT
	}
	if errno == 0 {
		// wazero passes a string that shares memory with the guest.
		_, errno = f.create(at.parent, at.name, fs.ModeSymlink|0o777, strings.Clone(oldName))
	}
	return f.done(errno)
}

// Readlink implements sys.FS.
func (f *FS) Readlink(path string) (string, sys.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, errno := f.existing(path, followSlash)
	if errno == 0 && !at.node.isLink() {
		errno = sys.EINVAL
	}
	if errno != 0 {
		return "", f.done(errno)
	}
	return at.node.readlink()
}

// Link implements sys.FS. A symbolic link is linked itself, not followed.
func (f *FS) Link(oldName, newName string) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done(f.link(oldName, newName))
}

func (f *FS) link(oldName, newName string) sys.Errno {
	from, errno := f.existing(oldName, followNever)
	if errno != 0 {
		return errno
	}
	to, errno := f.vacant(newName)
	switch {
	case errno != 0:
		return errno
	case from.node.isDir():
		return sys.EPERM
	case from.node.host != nil:
		return EXDEV
	case to.slash:
		return sys.ENOENT
	}
	if errno := f.charge(uint64(len(to.name)), 1); errno != 0 {
		return errno
	}
	from.node.nlink++
	from.node.ctim = f.clock()
	f.enter(to.parent, to.name, from.node)
	return 0
}

// Unlink implements sys.FS.
func (f *FS) Unlink(path string) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, errno := f.existing(path, followNever)
	switch {
	case errno != 0:
	case at.node.isDir():
		errno = sys.EISDIR
	case at.node.frozen() || at.parent.frozen():
		errno = sys.EROFS
	default:
		f.remove(at.parent, at.name, at.node)
	}
	return f.done(errno)
}

// Rmdir implements sys.FS.
func (f *FS) Rmdir(path string) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, errno := f.existing(path, followNever)
	switch {
	case errno != 0:
	case !at.node.isDir():
		errno = sys.ENOTDIR
	case at.node.host != nil:
		errno = sys.EROFS
	case at.node.fixed:
		errno = EBUSY
	case at.dot:
		errno = sys.EINVAL
	case at.node.entries.count > 0:
		errno = sys.ENOTEMPTY
	default:
		f.remove(at.parent, at.name, at.node)
	}
	return f.done(errno)
}

// Chmod implements sys.FS. Permissions are kept and shown, not enforced.
func (f *FS) Chmod(path string, perm fs.FileMode) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, errno := f.existing(path, followLast)
	switch {
	case errno != 0:
	case at.node.frozen():
		errno = sys.EROFS
	default:
		at.node.mode = at.node.mode&^fs.ModePerm | perm.Perm()
		at.node.ctim = f.clock()
	}
	return f.done(errno)
}

// Utimens implements sys.FS.
func (f *FS) Utimens(path string, atim, mtim int64) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, errno := f.existing(path, followLast)
	if errno == 0 {
		errno = f.setTimes(at.node, atim, mtim)
	}
	return f.done(errno)
}
