package scratch

import (
	"io/fs"

	"github.com/tetratelabs/wazero/experimental/sys"
)

// OpenFile implements sys.FS. Flags about synchronisation mean nothing here.
func (f *FS) OpenFile(path string, flag sys.Oflag, perm fs.FileMode) (sys.File, sys.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handles >= f.config.HandlesMax {
		f.limitHit = LimitHandles
		return nil, f.done(EMFILE)
	}
	n, errno := f.target(path, flag, perm)
	if errno != 0 {
		return nil, f.done(errno)
	}
	h, errno := f.open(n, flag)
	if errno != 0 {
		return nil, f.done(errno)
	}
	f.handles++
	return h, 0
}

// target finds or makes the node to open.
func (f *FS) target(path string, flag sys.Oflag, perm fs.FileMode) (*node, sys.Errno) {
	if f.closed {
		return nil, sys.ENOENT
	}
	exclusive := flag&(sys.O_CREAT|sys.O_EXCL) == sys.O_CREAT|sys.O_EXCL
	how := followLast
	switch {
	case exclusive:
		how = followNever
	case flag&sys.O_NOFOLLOW != 0:
		how = followSlash
	}
	at, errno := f.walk(f.root, path, how)
	switch {
	case errno != 0:
		return nil, errno
	case at.node != nil && exclusive:
		return nil, sys.EEXIST
	case at.node != nil:
		return at.node, openable(at.node, flag)
	case flag&sys.O_CREAT == 0:
		return nil, sys.ENOENT
	case flag&sys.O_DIRECTORY != 0:
		return nil, sys.EINVAL
	case at.slash:
		return nil, sys.EISDIR
	case at.parent.frozen():
		return nil, sys.EROFS
	}
	return f.create(at.parent, at.name, perm.Perm(), "")
}

// openable reports why an existing node cannot be opened with flag.
func openable(n *node, flag sys.Oflag) sys.Errno {
	_, write := access(flag)
	change := write || flag&sys.O_TRUNC != 0
	switch {
	case n.isLink():
		if flag&sys.O_DIRECTORY != 0 {
			return sys.ENOTDIR
		}
		return sys.ELOOP
	case n.isDir():
		if change || flag&sys.O_CREAT != 0 {
			return sys.EISDIR
		}
	case flag&sys.O_DIRECTORY != 0:
		return sys.ENOTDIR
	case n.mode&fs.ModeIrregular != 0:
		return sys.EACCES
	case change && n.frozen():
		return sys.EROFS
	}
	return 0
}

// access returns what flag allows.
func access(flag sys.Oflag) (read, write bool) {
	switch flag & (sys.O_RDONLY | sys.O_RDWR | sys.O_WRONLY) {
	case sys.O_RDWR:
		return true, true
	case sys.O_WRONLY:
		return false, true
	}
	return true, false
}

// open makes a handle of n.
func (f *FS) open(n *node, flag sys.Oflag) (sys.File, sys.Errno) {
	b := handle{fs: f, node: n, nonblock: flag&sys.O_NONBLOCK != 0}
	if n.isDir() {
		n.opens++
		if open := f.folders[n.ino]; open != nil {
			open.count++
		} else {
			f.folders[n.ino] = &openFolder{node: n, count: 1}
		}
		return &folder{handle: b}, 0
	}
	o := &file{handle: b, append: flag&sys.O_APPEND != 0}
	o.read, o.write = access(flag)
	if n.host != nil {
		var errno sys.Errno
		if o.host, o.owned, errno = n.hostOpen(); errno != 0 {
			return nil, errno
		}
		if o.owned {
			f.hostFiles[o.host] = struct{}{}
		}
	}
	if flag&sys.O_TRUNC != 0 {
		f.resize(n, 0)
	}
	n.opens++
	return o, 0
}
