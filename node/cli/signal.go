package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (s signalError) Error() string { return s.signal.String() }

// hangups is what SIGHUP means to the command that runs, besides its end.
type hangups struct{ heeded atomic.Pointer[func()] }

// heed has f called for a SIGHUP that somebody sends, instead of ending the command,
// until stop is called. f must not block. A terminal that goes away ends the command
// nevertheless: nobody sees it any more.
func (h *hangups) heed(f func()) (stop func()) {
	h.heeded.Store(&f)
	return func() { h.heeded.Store(nil) }
}

// take reports whether a SIGHUP was heeded.
func (h *hangups) take() bool {
	f := h.heeded.Load()
	if f == nil || slices.ContainsFunc([]*os.File{os.Stdin, os.Stdout, os.Stderr}, hungUp) {
		return false
	}
	(*f)()
	return true
}

// withSignals returns a context that the first signal ends, with a signalError
// as its cause, but for SIGHUP where that is heeded. After that, signals have their
// usual effect again.
func withSignals(parent context.Context, h *hangups) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	received := make(chan os.Signal, 1)
	wanted := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		wanted = append(wanted, syscall.SIGHUP)
	}
	signal.Notify(received, wanted...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(received)
		for {
			select {
			case s := <-received:
				n := s.(syscall.Signal) // there is no other kind
				if n == syscall.SIGHUP && h.take() {
					continue
				}
				cancel(signalError{n})
			case <-ctx.Done():
			}
			return
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-done
	}
}

// errReaderGone is the error of a write to a pipe that nobody reads any more,
// as in dugnad … | head -1. It is no failure: nobody wants the rest.
var errReaderGone = errors.New("nobody reads the output any more")

// survivePipes makes writes to a broken pipe an error. Without it Go ends the
// process at once when that happens to stdout or stderr, and what has to be
// cleaned up would be left.
func survivePipes() (stop func()) {
	unheard := make(chan os.Signal, 1)
	signal.Notify(unheard, syscall.SIGPIPE)
	return func() { signal.Stop(unheard) }
}

// outlet is stdout or stderr, whose reader may go away.
type outlet struct{ file *os.File }

func (o outlet) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errReaderGone
	}
	return n, err
}

// Fd is for isTerminal.
func (o outlet) Fd() uintptr { return o.file.Fd() }
