package cli

import (
	"golang.org/x/sys/unix"
)

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
