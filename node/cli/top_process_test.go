package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/nodetest"
)

// terminal is a pseudo terminal, and what was written to it.
type terminal struct {
	master, slave *os.File
	transcript
	ended chan struct{}
}

func openTerminal(t *testing.T, columns, rows uint16) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		t.Skip("no pseudo terminals here")
	}
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{master: master, slave: slave, ended: make(chan struct{})}
	term.resize(t, columns, rows)
	go func() {
		defer close(term.ended)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			if _, wrong := term.Write(buffer[:n]); err != nil || wrong != nil {
				return // EIO: nobody has the other side open any more
			}
		}
	}()
	return term
}

func (term *terminal) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// await waits until the terminal got a text behind the first bytes, and returns where
// it ends.
func (term *terminal) await(t *testing.T, behind int, text string) int {
	t.Helper()
	late := time.After(patience)
	for {
		got, grew := term.read()
		if i := strings.Index(got[behind:], text); i >= 0 {
			return behind + i + len(text)
		}
		select {
		case <-grew:
		case <-late:
			t.Fatalf("the terminal has not got %q within %s: %q", text, patience, got[behind:])
		}
	}
}

func (term *terminal) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

func (term *terminal) settings(t *testing.T) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(term.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

// TestTopOnTerminal: the program takes keys one by one, follows the terminal's size,
// and leaves the terminal as it was, by a key and by a signal.
func TestTopOnTerminal(t *testing.T) {
	t.Parallel()
	node := startNode(t, nil, nodetest.Dir(t), ownAddress()...).up(t)
	node.status(t, "leads", func(s control.Status) bool { return s.Ledger.Leads })
	for _, end := range []struct {
		name string
		by   func(term *terminal, p *os.Process)
		code int
	}{
		{"key", func(term *terminal, _ *os.Process) { term.press(t, "q") }, 0},
		{"Ctrl-C", func(term *terminal, _ *os.Process) { term.press(t, "\x03") }, 0},
		{"signal", func(_ *terminal, p *os.Process) { _ = p.Signal(syscall.SIGTERM) }, 128 + int(syscall.SIGTERM)},
	} {
		term := openTerminal(t, 100, 24)
		before := term.settings(t)
		cmd := dugnadCommand(t, nil, "top", "--node-dir", node.dir, "--interval", "100ms")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = term.slave, term.slave, term.slave
		cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		at := term.await(t, 0, screenEnter)
		at = term.await(t, at, "no task runs here")
		term.press(t, "?")
		at = term.await(t, at, "h goes back")
		term.press(t, "?")
		at = term.await(t, at, "q quit")
		term.resize(t, 40, 12)
		at = term.await(t, at, "q quit  < > sort  r reverse  tab table ~")
		if now := term.settings(t); now.Lflag&unix.ECHO != 0 {
			t.Errorf("%s: what is typed is seen", end.name)
		}
		end.by(term, cmd.Process)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		term.await(t, at, screenLeave)
		if after := term.settings(t); after != before {
			t.Errorf("%s: the terminal is not as it was: %+v, was %+v", end.name, after, before)
		}
		if code := cmd.ProcessState.ExitCode(); code != end.code {
			got, _ := term.read()
			t.Errorf("%s: exit code %d, want %d: %q", end.name, code, end.code, got[at:])
		}
		if err := errors.Join(term.slave.Close()); err != nil {
			t.Error(err)
		}
		<-term.ended
		_ = term.master.Close()
	}
	node.stop(t)
}
