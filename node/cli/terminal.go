package cli

import (
	"io"

	"golang.org/x/sys/unix"
)

// isTerminal says whether w writes to a terminal that understands a carriage
// return.
func isTerminal(w io.Writer, environ []string) bool {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || lookup(environ, "TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
