package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// recordSuffix and socketSuffix end the names of a trace's files.
	recordSuffix = ".json"
	socketSuffix = ".sock"
	// recordBytesMax bounds what is read of a record.
	recordBytesMax = 1 << 20
)

// record is what a process leaves to the next one about a worker.
type record struct {
	// Version is that of the protocol that the child speaks.
	Version int    `json:"version"`
	Label   string `json:"label,omitempty"`
	// Dir is the child's private folder, ReadOnly what its tasks may read besides.
	Dir      string   `json:"dir"`
	ReadOnly []string `json:"read_only,omitempty"`
}

// errRecord refuses a record that is not whole, or none of this package's.
var errRecord = errors.New("record of a worker is not readable")

// decodeRecord reads a record. Its folder is one that this package makes.
func decodeRecord(b []byte) (r record, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if !filepath.IsAbs(r.Dir) || filepath.Clean(r.Dir) != r.Dir || !strings.HasPrefix(filepath.Base(r.Dir), privatePrefix) {
		return record{}, fmt.Errorf("%w: %q is no worker's folder", errRecord, r.Dir)
	}
	return r, nil
}

// trace is where a later process finds a child: a record, which this process has
// locked as long as it lives, and the name of the child's socket. A nil one has
// nothing to write or remove.
type trace struct {
	dir, name string
	file      *os.File
}

// makeTrace makes a trace without a record in dir, and returns it with the socket
// for the child.
func makeTrace(dir string) (t *trace, socket *os.File, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make folder of workers: %w", err)
	}
	f, err := os.CreateTemp(dir, "worker-*"+recordSuffix)
	if err != nil {
		return nil, nil, fmt.Errorf("make record: %w", err)
	}
	t = &trace{dir: dir, name: strings.TrimSuffix(filepath.Base(f.Name()), recordSuffix), file: f}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = withFolder(dir, func(dir string) error {
			socket, err = bind(filepath.Join(dir, t.name+socketSuffix))
			return err
		})
	}
	if err != nil {
		t.remove()
		return nil, nil, fmt.Errorf("make socket of a worker: %w", err)
	}
	return t, socket, nil
}

// withFolder calls f with a path of a folder that is short enough for the name of a
// socket, whatever its own is.
func withFolder(dir string, f func(dir string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // it stands for a name
	return f("/proc/self/fd/" + strconv.Itoa(fd))
}

// bind makes a socket of that name.
func bind(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	return f, errors.Join(err, l.Close())
}

// dial connects to the child.
func (t *trace) dial() (conn *net.UnixConn, err error) {
	err = withFolder(t.dir, func(dir string) error {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(dir, t.name+socketSuffix), Net: "unix"})
		return err
	})
	return conn, err
}

// write writes the record. Before that nobody adopts the child.
func (t *trace) write(r record) error {
	if t == nil {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err = t.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// read reads the record, and reports whether it is whole.
func (t *trace) read() (record, bool) {
	b, err := io.ReadAll(io.LimitReader(t.file, recordBytesMax))
	if err != nil {
		return record{}, false
	}
	r, err := decodeRecord(b)
	return r, err == nil
}

// remove removes the files, and gives the lock up. What stays is removed by Adopt.
func (t *trace) remove() {
	if t == nil {
		return
	}
	_ = os.Remove(filepath.Join(t.dir, t.name+socketSuffix))
	_ = os.Remove(filepath.Join(t.dir, t.name+recordSuffix))
	_ = t.file.Close()
}

// findTraces returns the traces in dir that no living process has, and removes
// sockets without a record.
func findTraces(dir string) (list []*trace, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), socketSuffix); ok {
			if _, err := os.Lstat(filepath.Join(dir, name+recordSuffix)); errors.Is(err, os.ErrNotExist) {
				_ = os.Remove(filepath.Join(dir, e.Name())) // the next look removes what stays
			}
		}
		name, ok := strings.CutSuffix(e.Name(), recordSuffix)
		if !ok {
			continue
		}
		if f, err := lockDir(filepath.Join(dir, e.Name())); err == nil {
			list = append(list, &trace{dir: dir, name: name, file: f})
		}
	}
	return list, nil
}
