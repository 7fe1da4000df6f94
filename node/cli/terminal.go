package cli

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// clearLine goes to the beginning of a terminal's line and empties it.
const clearLine = "\r\x1b[K"

// isTerminal says whether w, a writer or a reader, is of a terminal that understands a carriage
// return.
func isTerminal(w any, environ []string) bool {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || lookup(environ, "TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// hungUp says whether a file is of a terminal that has gone away.
func hungUp(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return errors.Is(err, unix.EIO)
}

// columns is the width of the terminal that w is of, or 0 when it is of none or has
// no width.
func columns(w any, environ []string) int {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || !isTerminal(w, environ) {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
