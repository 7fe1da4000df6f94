package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager's end of the socket.
type manager struct {
	name string
	conn *net.UnixConn
}

func newManager(t *testing.T, name string) *manager {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &manager{name, c}
}

// next returns the next message.
func (m *manager) next(t *testing.T) string {
	t.Helper()
	b := make([]byte, notifyBytesMax)
	n, err := m.conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// until returns the first message that begins with a text.
func (m *manager) until(t *testing.T, text string) string {
	t.Helper()
	for {
		if got := m.next(t); strings.HasPrefix(got, text) {
			return got
		}
	}
}

// TestNotifierEnviron: what the environment says is heeded, or refused.
func TestNotifierEnviron(t *testing.T) {
	self := fmt.Sprint(watchdogProcess, "=", os.Getpid())
	for _, tt := range []struct {
		environ  []string
		watchdog time.Duration
		problem  string
	}{
		{nil, 0, ""},
		{[]string{"WATCHDOG_USEC=5"}, 0, ""},
		{[]string{"NOTIFY_SOCKET=/run/x"}, 0, ""},
		{[]string{"NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=2000000"}, 2 * time.Second, ""},
		{[]string{"NOTIFY_SOCKET=@x", "WATCHDOG_USEC=2000000", self}, 2 * time.Second, ""},
		{[]string{"NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=2000000", "WATCHDOG_PID=1"}, 0, ""},
		{[]string{"NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=-1"}, 0, "microseconds above 0"},
		{[]string{"NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=0"}, 0, "microseconds above 0"},
		{[]string{"NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=99999999999999999999"}, 0, "microseconds above 0"},
		{[]string{"NOTIFY_SOCKET=vsock:2:1234"}, 0, "want a path from / or a name with @"},
	} {
		n, err := newNotifier(tt.environ)
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%q: %v, want %q", tt.environ, err, tt.problem)
			}
			continue
		}
		if err != nil || n.watchdog != tt.watchdog {
			t.Errorf("%q: %+v, %v, want %s", tt.environ, n, err, tt.watchdog)
		}
	}
}

// TestNotifier: messages arrive at a path and at an abstract name, one datagram
// each, and a text of several lines cannot pass for several messages.
func TestNotifier(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@dugnad-test-%d", os.Getpid())} {
		m := newManager(t, name)
		n, err := newNotifier([]string{"NOTIFY_SOCKET=" + name})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.ready("well\nWATCHDOG=1"), n.status("well\nWATCHDOG=1"), n.status("busy"), n.stopping()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"READY=1\nSTATUS=well WATCHDOG=1", "STATUS=busy", "STOPPING=1\nSTATUS=stopping"} {
			if got := m.next(t); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if err := n.send(strings.Repeat("x", notifyBytesMax+1)); err == nil {
			t.Error("a message of any size is sent")
		}
	}
	if err := (&notifier{socket: filepath.Join(t.TempDir(), "none")}).ready(""); err == nil {
		t.Error("nobody listens, and it is no error")
	}
	if err := new(notifier).ready(""); err != nil {
		t.Errorf("nobody wants to know: %v", err)
	}
}

// lively answers as a test says.
type lively struct {
	mu  sync.Mutex
	err error
}

func (l *lively) Answer(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// TestWatchdog: there is a sign of life only when there is life.
func TestWatchdog(t *testing.T) {
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	n := &notifier{socket: m.name, watchdog: time.Minute}
	status := func() string { return "s" }
	dead := errors.New("loop does not answer")
	if err := n.beat(t.Context(), &lively{err: dead}, status); !errors.Is(err, dead) {
		t.Errorf("a beat of the dead: %v", err)
	}
	if err := n.beat(t.Context(), &lively{}, status); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"WATCHDOG=1", "STATUS=s"} {
		if got := m.next(t); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	// The loop goes on when something answers again.
	n.watchdog = 20 * time.Millisecond
	l := &lively{err: dead}
	ctx, stop := context.WithCancel(t.Context())
	warned, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		n.watch(ctx, l, status, func(err error) {
			select {
			case warned <- err:
			default:
			}
		})
	}()
	if err := <-warned; !errors.Is(err, dead) {
		t.Error(err)
	}
	l.mu.Lock()
	l.err = nil
	l.mu.Unlock()
	m.until(t, "WATCHDOG=1")
	stop()
	<-ended
}

// TestService: the real program tells a service manager that it is ready, that it
// is alive, how it is, and that it stops.
func TestService(t *testing.T) {
	t.Parallel()
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	home := newMachine(t, "node")
	n := startNode(t, []string{"/usr/bin/env", "NOTIFY_SOCKET=" + m.name, "WATCHDOG_USEC=2000000"}, home.dir, home.flags...)
	if got := m.until(t, "READY=1"); !strings.Contains(got, "\nSTATUS=admin in grid ") {
		t.Errorf("%q", got)
	}
	n.up(t)
	m.until(t, "WATCHDOG=1")
	m.until(t, "WATCHDOG=1")
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.until(t, "STOPPING=1")
	<-n.ended
}

// TestUnitFile: systemd finds nothing to say about the unit file.
func TestUnitFile(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	unit, err := os.ReadFile(filepath.Join("..", "cmd", "dugnad", "dugnad.service"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "dugnad.service")
	if err := os.WriteFile(name, bytes.ReplaceAll(unit, []byte("/usr/local/bin/dugnad"), []byte(self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", name).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v:\n%s", err, out)
	}
}
