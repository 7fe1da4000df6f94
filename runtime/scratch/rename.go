package scratch

import "github.com/tetratelabs/wazero/experimental/sys"

// Rename implements sys.FS. It replaces a file by a file and an empty folder
// by a folder.
func (f *FS) Rename(from, to string) sys.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	src, errno := f.existing(from, followNever)
	if errno != 0 {
		return f.done(errno)
	}
	dst, errno := f.walk(f.root, to, followNever)
	if errno != 0 {
		return f.done(errno)
	}
	if errno := renameAllowed(src, dst); errno != 0 {
		return f.done(errno)
	}
	if src.node == dst.node {
		return 0
	}
	return f.done(f.rename(src, dst))
}

// renameAllowed reports why src cannot become dst, whatever it costs.
func renameAllowed(src, dst spot) sys.Errno {
	old, at := src.node, dst.node
	switch {
	case old.frozen() || src.parent.frozen() || dst.parent.frozen() || at != nil && at.frozen():
		return sys.EROFS
	case old.fixed || at != nil && at.fixed:
		return EBUSY
	case src.dot || dst.dot:
		return sys.EINVAL
	case old == at:
		return 0
	case old.isDir() && within(dst.parent, old):
		return sys.EINVAL
	case !old.isDir() && at == nil && dst.slash:
		return sys.ENOTDIR
	case at == nil:
		return 0
	case !old.isDir() && at.isDir():
		return sys.EISDIR
	case old.isDir() && !at.isDir():
		return sys.ENOTDIR
	case at.isDir() && at.entries.count > 0:
		return sys.ENOTEMPTY
	}
	return 0
}

// rename moves src to dst once that is allowed.
func (f *FS) rename(src, dst spot) sys.Errno {
	old := src.node
	if dst.node == nil {
		// The old name is given back first, so that a full tree still allows
		// a name that is not longer.
		f.refund(uint64(len(src.name)), 0)
		if errno := f.charge(uint64(len(dst.name)), 0); errno != 0 {
			f.bytes += uint64(len(src.name))
			return errno
		}
	} else {
		// remove gives back the name that stays in use: the old one goes.
		f.remove(dst.parent, dst.name, dst.node)
		f.bytes += uint64(len(dst.name))
		f.refund(uint64(len(src.name)), 0)
	}
	src.parent.entries.remove(src.name)
	if old.isDir() {
		src.parent.nlink--
	}
	f.changed(src.parent)
	f.enter(dst.parent, dst.name, old)
	old.ctim = f.clock()
	return 0
}

// within reports that folder n is top or lies below it.
func within(n, top *node) bool {
	for ; n != top; n = n.parent {
		if n == n.parent {
			return false
		}
	}
	return true
}
