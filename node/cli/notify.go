package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// notifySocket names the socket of whoever started this process and wants to
	// know how it goes, as sd_notify(3) describes. A name that begins with @ is
	// in the abstract namespace.
	notifySocket = "NOTIFY_SOCKET"
	// watchdogTime and watchdogProcess say within how many microseconds a sign of
	// life is expected, and of which process.
	watchdogTime, watchdogProcess = "WATCHDOG_USEC", "WATCHDOG_PID"
	// statusEvery is how often the status text is looked at.
	statusEvery = 5 * time.Second
	// notifyBytesMax bounds a message.
	notifyBytesMax = 4096
)

// notifier tells a service manager how this process is. The zero notifier tells
// nobody.
type notifier struct {
	socket string
	// watchdog is within which time a sign of life is expected; 0 is never.
	watchdog time.Duration
	// told is the last status.
	told string
}

// newNotifier reads what the service manager has put into the environment.
func newNotifier(environ []string) (*notifier, error) {
	n := &notifier{socket: lookup(environ, notifySocket)}
	if n.socket == "" {
		return n, nil
	}
	if n.socket[0] != '/' && n.socket[0] != '@' {
		return nil, fmt.Errorf("%s is %q, want a path from / or a name with @", notifySocket, n.socket)
	}
	usec, process := lookup(environ, watchdogTime), lookup(environ, watchdogProcess)
	if usec == "" || process != "" && process != strconv.Itoa(os.Getpid()) {
		return n, nil
	}
	v, err := strconv.ParseUint(usec, 10, 53)
	if err != nil || v == 0 {
		return nil, fmt.Errorf("%s is %q, want microseconds above 0", watchdogTime, usec)
	}
	n.watchdog = time.Duration(v) * time.Microsecond
	return n, nil
}

// send sends a message of NAME=value lines.
func (n *notifier) send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	message := strings.Join(lines, "\n")
	if len(message) > notifyBytesMax {
		return fmt.Errorf("tell the service manager: message of %d bytes, at most %d", len(message), notifyBytesMax)
	}
	// An address that begins with @ is an abstract one for package net, too.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	_, err = c.Write([]byte(message))
	if closed := c.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

func (n *notifier) ready(status string) error {
	n.told = status
	return n.send("READY=1", "STATUS="+printable(status))
}

func (n *notifier) stopping() error { return n.send("STOPPING=1", "STATUS=stopping") }

// status tells a new status.
func (n *notifier) status(text string) error {
	if text == n.told {
		return nil
	}
	n.told = text
	return n.send("STATUS=" + printable(text))
}

// served is what is watched.
type served interface {
	// Answer returns nil when all that must go on does, and an error when something
	// has not answered before ctx ended.
	Answer(ctx context.Context) error
}

// watch gives signs of life until ctx ends, each after s has answered, and tells
// the status as it changes. warn gets what is wrong, as often as it is tried.
func (n *notifier) watch(ctx context.Context, s served, status func() string, warn func(err error)) {
	if n.socket == "" {
		return
	}
	every := statusEvery
	if n.watchdog > 0 {
		// Half of the time is for asking, and some for whoever is slow.
		every = min(every, n.watchdog/4)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := n.beat(ctx, s, status); err != nil && ctx.Err() == nil {
			warn(err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// beat gives one sign of life, unless s does not answer.
func (n *notifier) beat(ctx context.Context, s served, status func() string) error {
	if n.watchdog == 0 {
		return n.status(status())
	}
	asking, cancel := context.WithTimeout(ctx, n.watchdog/2)
	defer cancel()
	if err := s.Answer(asking); err != nil {
		return fmt.Errorf("no sign of life for the service manager: %w", err)
	}
	if err := n.send("WATCHDOG=1"); err != nil {
		return err
	}
	return n.status(status())
}
