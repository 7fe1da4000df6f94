package scratch

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"syscall"

	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/dugnad/dugnad/runtime/task"
)

// hostEntriesMax bounds the entries of host folders that are being listed at
// the same time, since each listing is sorted in memory; more gives EIO.
const hostEntriesMax = 1 << 20

// openFlags never wait, whatever the name has become since it was looked at.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

// input is a file or a folder of the host.
type input struct {
	name string
	// Either root or file is set.
	root *os.Root
	file *os.File
}

// hostNode is where a node of an input lies.
type hostNode struct {
	in *input
	// path is relative to the input's root: "." is the input itself.
	path string
	// depth is the number of elements of path.
	depth int
}

// openInput opens what in.Path is, following links to it.
func openInput(in task.Input) (*input, error) {
	info, err := os.Stat(in.Path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(in.Path)
		if err != nil {
			return nil, err
		}
		return &input{name: in.Name, root: root}, nil
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is %s", ErrInput, in.Path, info.Mode().Type())
	}
	file, err := os.OpenFile(in.Path, openFlags, 0)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s", ErrInput, in.Path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &input{name: in.Name, file: file}, nil
}

func (in *input) close() error {
	if in.root != nil {
		return in.root.Close()
	}
	return in.file.Close()
}

// top returns the node of /input/NAME.
func (in *input) top(parent *node) *node {
	mode := fs.FileMode(0o444)
	if in.root != nil {
		mode = fs.ModeDir | 0o555
	}
	n := in.node(parent, ".", 0, mode, 0)
	n.fixed = true
	return n
}

// node returns a node for the host's file at name. Times are task.Epoch and
// permissions depend on the kind alone.
func (in *input) node(parent *node, name string, depth int, mode fs.FileMode, size int64) *node {
	t := task.Epoch.UnixNano()
	n := &node{
		ino: in.ino(name), mode: mode, nlink: 1, atim: t, mtim: t, ctim: t,
		parent: parent, host: &hostNode{in: in, path: name, depth: depth}, size: size,
	}
	if n.isDir() {
		n.nlink, n.size = 2, 0
	}
	return n
}

// ino returns the inode number of the file at name: a hash of the input's name
// and the path, in the upper half of the positive numbers, so that it depends
// neither on the host nor on what was looked at before and needs no table that
// a guest could make grow.
func (in *input) ino(name string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, in.name)
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, name)
	return 1<<62 | h.Sum64()>>2
}

// hostMode is the mode that guests see. Devices, pipes and sockets are
// irregular files, which cannot be opened.
func hostMode(mode fs.FileMode) fs.FileMode {
	switch {
	case mode.IsRegular():
		return 0o444
	case mode.IsDir():
		return fs.ModeDir | 0o555
	case mode&fs.ModeSymlink != 0:
		return fs.ModeSymlink | 0o777
	}
	return fs.ModeIrregular
}

// hostChild looks name up in the host folder n; nil if it is not there.
func (n *node) hostChild(name string) (*node, sys.Errno) {
	in, rel := n.host.in, path.Join(n.host.path, name)
	info, err := in.root.Lstat(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0
	}
	if err != nil {
		return nil, hostErrno(err)
	}
	mode, size := hostMode(info.Mode()), info.Size()
	if mode == fs.ModeIrregular {
		size = 0
	}
	return in.node(n, rel, n.host.depth+1, mode, size), 0
}

// readlink returns where the link n points.
func (n *node) readlink() (string, sys.Errno) {
	if n.host == nil {
		return n.target, 0
	}
	target, err := n.host.in.root.Readlink(n.host.path)
	if err == nil && target == "" {
		return "", sys.ENOENT
	}
	return target, hostErrno(err)
}

// hostOpen opens the regular host file n. A single-file input is opened once,
// with Open, and not owned by the handle.
func (n *node) hostOpen() (h *os.File, owned bool, errno sys.Errno) {
	if n.host.in.file != nil {
		return n.host.in.file, false, 0
	}
	h, err := n.host.in.root.OpenFile(n.host.path, openFlags, 0)
	if err != nil {
		return nil, false, hostErrno(err)
	}
	if info, err := h.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = h.Close()
		return nil, false, sys.EACCES
	}
	return h, true, 0
}

// hostEntries lists the host folder n, of at most entriesMax entries, in the
// order of names.
func (n *node) hostEntries(entriesMax int) ([]sys.Dirent, sys.Errno) {
	h, err := n.host.in.root.OpenFile(n.host.path, openFlags|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, hostErrno(err)
	}
	defer h.Close()
	var list []sys.Dirent
	for {
		batch, err := h.ReadDir(1024)
		for _, e := range batch {
			rel := path.Join(n.host.path, e.Name())
			list = append(list, sys.Dirent{Name: e.Name(), Ino: n.host.in.ino(rel), Type: hostMode(e.Type()).Type()})
		}
		switch {
		case len(list) > entriesMax:
			return nil, sys.EIO
		case err == io.EOF:
			sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
			return list, 0
		case err != nil:
			return nil, hostErrno(err)
		}
	}
}
