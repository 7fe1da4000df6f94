package scratch

import (
	"io"
	"sort"

	"github.com/tetratelabs/wazero/experimental/sys"
)

// folder is an open folder. Its place is the name that Readdir returned last:
// whatever is added or removed meanwhile, each entry that stays is listed
// once.
type folder struct {
	handle
	last string
	// list holds the entries of a host folder from the first Readdir, which
	// sets read, to the last.
	list []sys.Dirent
	read bool
}

var _ sys.PollableFile = (*folder)(nil)

// Readdir implements sys.File: entries in the order of their names, without
// "." and "..".
func (d *folder) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	errno := d.lock()
	defer d.fs.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	if d.node.host != nil {
		return d.readHost(n)
	}
	var list []sys.Dirent
	d.node.entries.after(d.last, func(e entry) bool {
		if n > 0 && len(list) == n {
			return false
		}
		list = append(list, sys.Dirent{Name: e.name, Ino: e.node.ino, Type: e.node.mode.Type()})
		return true
	})
	if len(list) > 0 {
		d.last = list[len(list)-1].Name
	}
	return list, 0
}

// readHost lists a host folder as it was at the first call.
func (d *folder) readHost(n int) ([]sys.Dirent, sys.Errno) {
	if !d.read {
		list, errno := d.node.hostEntries(hostEntriesMax - d.fs.listed)
		if errno != 0 {
			return nil, errno
		}
		d.list, d.read = list, true
		d.fs.listed += len(list)
	}
	from := sort.Search(len(d.list), func(i int) bool { return d.list[i].Name > d.last })
	to := len(d.list)
	if n > 0 {
		to = min(to, from+n)
	}
	part := d.list[from:to:to]
	if len(part) > 0 {
		d.last = part[len(part)-1].Name
	}
	if to == len(d.list) {
		d.drop()
	}
	return part, 0
}

// drop forgets the list of a host folder.
func (d *folder) drop() {
	d.fs.listed -= len(d.list)
	d.list = nil
}

// Seek implements sys.File: only back to the start.
func (d *folder) Seek(offset offset64, whence int) (int64, sys.Errno) {
	errno := d.lock()
	defer d.fs.mu.Unlock()
	if errno == 0 && (offset != 0 || whence != io.SeekStart) {
		errno = sys.EINVAL
	}
	if errno == 0 {
		d.drop()
		d.last, d.read = "", false
	}
	return 0, errno
}

// Close implements sys.File. Closing twice is no error.
func (d *folder) Close() sys.Errno {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if !d.close() {
		return 0
	}
	open := d.fs.folders[d.node.ino]
	if open.count--; open.count == 0 {
		delete(d.fs.folders, d.node.ino)
	}
	d.drop()
	return 0
}

// The rest of sys.File is for files.

// IsAppend implements sys.File.
func (d *folder) IsAppend() bool { return false }

// SetAppend implements sys.File.
func (d *folder) SetAppend(bool) sys.Errno { return sys.EISDIR }

// Read implements sys.File.
func (d *folder) Read([]byte) (int, sys.Errno) { return 0, sys.EISDIR }

// Pread implements sys.File.
func (d *folder) Pread([]byte, int64) (int, sys.Errno) { return 0, sys.EISDIR }

// Write implements sys.File.
func (d *folder) Write([]byte) (int, sys.Errno) { return 0, sys.EISDIR }

// Pwrite implements sys.File.
func (d *folder) Pwrite([]byte, int64) (int, sys.Errno) { return 0, sys.EISDIR }

// Truncate implements sys.File.
func (d *folder) Truncate(int64) sys.Errno { return sys.EISDIR }
