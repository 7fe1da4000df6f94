package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// within calls f with a path to the socket in dir that is short, as a socket's
// path may have 108 bytes only: through the folder's descriptor.
func within(dir string, f func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f("/proc/self/fd/" + strconv.FormatUint(uint64(d.Fd()), 10) + "/" + socketName)
}

// listen makes the socket. One that is there is left over: whoever has locked
// the folder is its only node.
func listen(ctx context.Context, dir string) (l net.Listener, err error) {
	if err := remove(dir); err != nil {
		return nil, err
	}
	err = within(dir, func(path string) error {
		var err error
		if l, err = (&net.ListenConfig{Control: closeToOthers}).Listen(ctx, "unix", path); err != nil {
			return err
		}
		// The path goes by way of a descriptor that is closed by then.
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		return nil
	})
	return l, err
}

// closeToOthers gives the socket its mode before it has a name: there is no moment
// at which others may open it.
func closeToOthers(_, _ string, c syscall.RawConn) error {
	var mode error
	err := c.Control(func(fd uintptr) { mode = unix.Fchmod(int(fd), 0o600) })
	return errors.Join(err, mode)
}

// remove removes the socket, if it is there.
func remove(dir string) error {
	if err := os.Remove(filepath.Join(dir, socketName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ErrNotRunning is returned when no node runs on the folder.
var ErrNotRunning = errors.New("no node runs on this folder")

// Dial connects to the node that runs on the folder dir, where its API is answered
// below /v1. It returns ErrNotRunning when none does.
func Dial(ctx context.Context, dir string) (c net.Conn, err error) {
	err = within(dir, func(path string) error {
		c, err = (&net.Dialer{}).DialContext(ctx, "unix", path)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	return c, err
}
