package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (s signalError) Error() string { return s.signal.String() }

// withSignals returns a context that the first signal ends, with a signalError
// as its cause. After that, signals have their usual effect again.
func withSignals(parent context.Context) (context.Context, func()) {
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
		select {
		case s := <-received:
			signal.Stop(received)
			if n, ok := s.(syscall.Signal); ok {
				cancel(signalError{n})
			}
		case <-ctx.Done():
			signal.Stop(received)
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
