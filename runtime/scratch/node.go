package scratch

import (
	"io/fs"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasys "github.com/tetratelabs/wazero/sys"
)

// node is a file, folder or symbolic link. Nodes of the host's (host is not
// nil) are made anew by each look-up, all others are the tree itself.
type node struct {
	ino  uint64
	mode fs.FileMode
	// nlink counts the names of a file; for a folder 2 plus its folders, or 0
	// once it was removed.
	nlink            uint64
	atim, mtim, ctim int64

	// parent and entries belong to folders. The root is its own parent.
	parent  *node
	entries directory
	// data and size belong to files, target to symbolic links.
	data   chunks
	size   int64
	target string

	// opens counts handles: content is kept until the last is closed.
	opens int
	// fixed nodes can be neither removed nor renamed.
	fixed bool
	// readOnly is set on /input.
	readOnly bool
	host     *hostNode
}

func (n *node) isDir() bool  { return n.mode.IsDir() }
func (n *node) isLink() bool { return n.mode&fs.ModeSymlink != 0 }

// frozen reports that nothing may be changed in or about n.
func (n *node) frozen() bool { return n.readOnly || n.host != nil }

// clock returns the guest's time in nanoseconds.
func (f *FS) clock() int64 { return f.now().UnixNano() }

// newNode returns a node that has no name yet.
func (f *FS) newNode(mode fs.FileMode) *node {
	f.inoLast++
	t := f.clock()
	n := &node{ino: f.inoLast, mode: mode, nlink: 1, atim: t, mtim: t, ctim: t}
	if n.isDir() {
		n.nlink = 2
	}
	return n
}

// fixed makes a folder that costs nothing and stays.
func (f *FS) fixed(parent *node, name string, mode fs.FileMode) *node {
	n := f.newNode(mode)
	n.fixed, n.parent = true, parent
	if parent == nil {
		n.parent = n
		return n
	}
	parent.entries.put(name, n)
	parent.nlink++
	return n
}

// enter gives n, already charged for, the name name in parent.
func (f *FS) enter(parent *node, name string, n *node) {
	parent.entries.put(name, n)
	if n.isDir() {
		n.parent = parent
		parent.nlink++
	}
	f.changed(parent)
}

// create charges for a new node and its name, and enters it.
func (f *FS) create(parent *node, name string, mode fs.FileMode, target string) (*node, sys.Errno) {
	if errno := f.charge(uint64(len(name)+len(target)), 1); errno != 0 {
		return nil, errno
	}
	n := f.newNode(mode)
	n.target = target
	f.enter(parent, name, n)
	return n, 0
}

// remove takes name, which is n, out of parent, and frees what nothing refers
// to any longer.
func (f *FS) remove(parent *node, name string, n *node) {
	parent.entries.remove(name)
	f.refund(uint64(len(name)), 0)
	f.changed(parent)
	n.ctim = f.clock()
	if n.isDir() {
		parent.nlink--
		n.nlink = 0
	} else {
		n.nlink--
	}
	if n.nlink > 0 {
		f.refund(0, 1)
		return
	}
	f.release(n)
}

// release gives back what n holds once it has no name and no handle. An open
// node without a name still counts as one file.
func (f *FS) release(n *node) {
	if n.nlink > 0 || n.opens > 0 {
		return
	}
	f.refund(n.data.count*ChunkBytes+uint64(len(n.target)), 1)
	n.data = chunks{}
}

// changed notes that a folder's entries or a file's content changed.
func (f *FS) changed(n *node) {
	t := f.clock()
	n.mtim, n.ctim = t, t
}

// setTimes sets the times that are not UTIME_OMIT.
func (f *FS) setTimes(n *node, atim, mtim int64) sys.Errno {
	if n.frozen() {
		return sys.EROFS
	}
	if atim != sys.UTIME_OMIT {
		n.atim = atim
	}
	if mtim != sys.UTIME_OMIT {
		n.mtim = mtim
	}
	n.ctim = f.clock()
	return 0
}

// The device numbers of the tree and of the inputs.
const (
	devTree  = 1
	devInput = 2
)

// stat describes n.
func (n *node) stat() wasys.Stat_t {
	st := wasys.Stat_t{
		Dev: devTree, Ino: n.ino, Mode: n.mode, Nlink: n.nlink, Size: n.size,
		Atim: n.atim, Mtim: n.mtim, Ctim: n.ctim,
	}
	if n.host != nil {
		st.Dev = devInput
	}
	if n.isLink() && n.host == nil {
		st.Size = int64(len(n.target))
	}
	return st
}
