package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasys "github.com/tetratelabs/wazero/sys"
)

// device is a file that many programs expect below /dev. It can be opened and
// looked at by its name; it is in no listing of a folder.
type device struct {
	sys.UnimplementedFile
	read  func([]byte) (int, error)
	write func([]byte) (int, error)
	ino   wasys.Inode
}

// devices are the names of all devices.
var devices = []string{"dev/null", "dev/stdin", "dev/stdout", "dev/stderr", "dev/notice"}

// device returns the device at a path from the root, or nil.
func (r *run) device(name string) *device {
	nothing := func([]byte) (int, error) { return 0, io.EOF }
	everything := func(p []byte) (int, error) { return len(p), nil }
	d := &device{read: nothing, write: everything}
	clean := path.Clean("/" + name)[1:]
	switch clean {
	case "dev/null":
	case "dev/stdin":
		d.read = r.priced(r.stdin.Read)
	case "dev/stdout":
		d.write = r.priced(r.stdout.Write)
	case "dev/stderr":
		d.write = r.priced(r.stderr.Write)
	case "dev/notice":
		d.read = r.readNotice()
	default:
		return nil
	}
	for i, known := range devices {
		if known == clean {
			// The scratch file system counts up from 1.
			d.ino = ^wasys.Inode(i)
		}
	}
	return d
}

// noticeText is what a guest reads from /dev/notice when it has to give way.
const noticeText = "preempted\n"

// readNotice returns the read of /dev/notice: it is empty until the attempt has to give
// way, and then a line. Who reads at its end reads on when that comes.
func (r *run) readNotice() func([]byte) (int, error) {
	rest := noticeText
	return func(p []byte) (int, error) {
		if r.notice == nil || !r.notice() || rest == "" {
			return 0, io.EOF
		}
		n := copy(p, rest)
		rest = rest[n:]
		return n, nil
	}
}

// priced charges what a stream costs more than a file.
func (r *run) priced(move func([]byte) (int, error)) func([]byte) (int, error) {
	return func(p []byte) (int, error) {
		r.charge(priceStreamed(uint64(len(p))))
		return move(p)
	}
}

func (d *device) Ino() (wasys.Inode, sys.Errno) { return d.ino, 0 }
func (d *device) IsDir() (bool, sys.Errno)      { return false, 0 }
func (d *device) Close() sys.Errno              { return 0 }
func (d *device) Sync() sys.Errno               { return 0 }
func (d *device) Datasync() sys.Errno           { return 0 }
func (d *device) IsAppend() bool                { return true }
func (d *device) SetAppend(bool) sys.Errno      { return 0 }
func (d *device) Truncate(int64) sys.Errno      { return 0 }

func (d *device) Stat() (wasys.Stat_t, sys.Errno) {
	return wasys.Stat_t{Ino: d.ino, Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Nlink: 1}, 0
}

func (d *device) Read(p []byte) (int, sys.Errno) { return count(d.read(p)) }

func (d *device) Write(p []byte) (int, sys.Errno) { return count(d.write(p)) }

func (d *device) Poll(sys.Pflag, int32) (bool, sys.Errno) { return true, 0 }

func count(n int, err error) (int, sys.Errno) {
	if err == nil || errors.Is(err, io.EOF) {
		return n, 0
	}
	return n, sys.EIO
}
