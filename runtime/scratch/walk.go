package scratch

import (
	"strings"

	"github.com/tetratelabs/wazero/experimental/sys"
)

// The bounds of paths.
const (
	// PathBytesMax is the longest path, and the longest symbolic link.
	PathBytesMax = 4096
	// NameBytesMax is the longest element of a path.
	NameBytesMax = 255
	// LinksMax is how many symbolic links one look-up follows.
	LinksMax = 40
	// linkBytesMax is how long the targets of the symbolic links that one
	// look-up follows are together: a guest pays for its path alone.
	linkBytesMax = PathBytesMax / 2
	// hostStepsMax bounds the host's folders that one look-up passes: the
	// host opens every folder on the way to each element.
	hostStepsMax = 16384
)

// follow says what a walk does with a symbolic link at the end of the path.
type follow int

const (
	// followNever gives the link itself.
	followNever follow = iota
	// followSlash gives what the link points to if the path ends in a slash.
	followSlash
	// followLast gives what the link points to.
	followLast
)

// spot is where a path leads.
type spot struct {
	// parent is the folder that holds, or would hold, name.
	parent *node
	name   string
	// node is nil if there is nothing by that name.
	node *node
	// slash is set when the path asks for a folder by a slash at its end.
	slash bool
	// dot is set when the path ends in ".", ".." or is the root: the node has
	// no name that can be removed or changed.
	dot bool
}

// walker is one look-up.
type walker struct {
	fs    *FS
	cur   *node
	rest  string
	links int
	// linkBytes counts the targets of the links.
	linkBytes int
	steps     int
}

// walk looks path up from the folder start; a path that begins with a slash
// means the same. An empty path is start itself. A missing last element is no
// error: spot.node is nil.
func (f *FS) walk(start *node, path string, how follow) (spot, sys.Errno) {
	if len(path) >= PathBytesMax {
		return spot{}, sys.ENAMETOOLONG
	}
	if strings.IndexByte(path, 0) >= 0 {
		return spot{}, sys.EINVAL
	}
	w := walker{fs: f, cur: start, rest: path}
	for {
		name, last, slash := w.next()
		switch {
		case name == "":
			return spot{parent: w.cur.parent, node: w.cur, dot: true}, 0
		case !w.cur.isDir():
			return spot{}, sys.ENOTDIR
		case name == ".":
			continue
		case name == "..":
			w.cur = w.cur.parent
			continue
		case len(name) > NameBytesMax:
			return spot{}, sys.ENAMETOOLONG
		}
		n, errno := w.lookup(name)
		switch {
		case errno != 0:
			return spot{}, errno
		case n == nil && last:
			return spot{parent: w.cur, name: name, slash: slash}, 0
		case n == nil:
			return spot{}, sys.ENOENT
		case n.isLink() && (!last || how == followLast || how == followSlash && slash):
			if errno := w.expand(n, last && !slash); errno != 0 {
				return spot{}, errno
			}
		case last && slash && !n.isDir():
			return spot{}, sys.ENOTDIR
		case last:
			return spot{parent: w.cur, name: name, node: n, slash: slash}, 0
		default:
			w.cur = n
		}
	}
}

// next takes one element off the path; it is empty when none is left. last
// means that only slashes follow, slash that at least one does.
func (w *walker) next() (name string, last, slash bool) {
	rest := strings.TrimLeft(w.rest, "/")
	name, tail, slash := strings.Cut(rest, "/")
	w.rest = tail
	return name, strings.Trim(tail, "/") == "", slash
}

// lookup returns the node called name in the current folder, or nil.
func (w *walker) lookup(name string) (*node, sys.Errno) {
	h := w.cur.host
	if h == nil {
		return w.cur.entries.get(name), 0
	}
	if w.steps += h.depth + 1; w.steps > hostStepsMax {
		return nil, sys.ENAMETOOLONG
	}
	return w.cur.hostChild(name)
}

// expand replaces the link n by its target in what is left of the path.
func (w *walker) expand(n *node, end bool) sys.Errno {
	if w.links++; w.links > LinksMax {
		return sys.ELOOP
	}
	target, errno := n.readlink()
	if errno != 0 {
		return errno
	}
	if w.linkBytes += len(target); w.linkBytes > linkBytesMax {
		return sys.ENAMETOOLONG
	}
	if strings.HasPrefix(target, "/") {
		w.cur = w.fs.root
	}
	if end {
		w.rest = target
	} else {
		w.rest = target + "/" + w.rest
	}
	return 0
}

// existing is walk from the root for a path that must lead to something.
func (f *FS) existing(path string, how follow) (spot, sys.Errno) {
	if f.closed {
		return spot{}, sys.ENOENT
	}
	at, errno := f.walk(f.root, path, how)
	if errno == 0 && at.node == nil {
		errno = sys.ENOENT
	}
	return at, errno
}

// vacant is walk from the root for a name that is to be made.
func (f *FS) vacant(path string) (spot, sys.Errno) {
	if f.closed {
		return spot{}, sys.ENOENT
	}
	at, errno := f.walk(f.root, path, followNever)
	switch {
	case errno != 0:
	case at.node != nil:
		errno = sys.EEXIST
	case at.parent.frozen():
		errno = sys.EROFS
	}
	return at, errno
}
