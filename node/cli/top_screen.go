package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// screenEnter goes to a screen of its own, without a cursor and without wrapping;
	// screenLeave comes back to what was there.
	screenEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	screenLeave = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	// syncBegin and syncEnd have a terminal that knows them show all between at once.
	syncBegin = "\x1b[?2026h"
	syncEnd   = "\x1b[?2026l"
	// keyBytesMax is what is read of a terminal at once.
	keyBytesMax = 256
	// columnsDefault and rowsDefault are the size of a terminal that has none.
	columnsDefault, rowsDefault = 80, 24
)

// styleCodes are how lines of each style look.
var styleCodes = map[topStyle]string{topPlain: "", topHeader: "\x1b[4m", topFocus: "\x1b[7m", topWarning: "\x1b[1;7m", topHint: "\x1b[2m"}

// screen is a terminal that is drawn on.
type screen struct {
	out   io.Writer
	outFd int
	inFd  int
	// saved is the terminal as it was, nil where nothing is read from it.
	saved *unix.Termios
	// away says that somebody has stopped the process with Ctrl-Z.
	away bool
	// shown is what the terminal shows, columns wide; nil is not known.
	shown   []topLine
	columns int

	// keys gets what is typed; it is closed when the terminal is gone. It is nil where
	// nothing is read.
	keys chan []byte
	// wake ends the reader, stop what it sends.
	wake   [2]int
	stop   chan struct{}
	reader sync.WaitGroup
}

// openScreen takes a terminal over until close.
func openScreen(in io.Reader, out io.Writer, environ []string) (*screen, error) {
	s := &screen{out: out, outFd: int(out.(interface{ Fd() uintptr }).Fd()), stop: make(chan struct{})}
	if isTerminal(in, environ) {
		s.inFd = int(in.(interface{ Fd() uintptr }).Fd())
		saved, err := unix.IoctlGetTermios(s.inFd, unix.TCGETS)
		if err != nil {
			return nil, fmt.Errorf("read the terminal's settings: %w", err)
		}
		if err := unix.Pipe2(s.wake[:], unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		s.saved, s.keys = saved, make(chan []byte)
		s.reader.Go(s.read)
	}
	if err := s.enter(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// enter has keys come one by one and unseen, and clears the screen.
func (s *screen) enter() error {
	if s.saved != nil {
		raw := *s.saved
		raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
		raw.Iflag &^= unix.IXON | unix.ICRNL
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if err := unix.IoctlSetTermios(s.inFd, unix.TCSETS, &raw); err != nil {
			return fmt.Errorf("set the terminal: %w", err)
		}
	}
	s.away, s.shown = false, nil
	_, err := io.WriteString(s.out, screenEnter)
	return err
}

// leave makes the terminal what it was.
func (s *screen) leave() error {
	_, err := io.WriteString(s.out, screenLeave)
	if s.saved != nil {
		err = errors.Join(err, unix.IoctlSetTermios(s.inFd, unix.TCSETS, s.saved))
	}
	return err
}

// close gives the terminal back and ends the reader.
func (s *screen) close() error {
	var err error
	if !s.away {
		err = s.leave()
	}
	close(s.stop)
	if s.saved == nil {
		return err
	}
	_, woken := unix.Write(s.wake[1], []byte{0})
	s.reader.Wait()
	return errors.Join(err, woken, unix.Close(s.wake[0]), unix.Close(s.wake[1]))
}

// read passes on what is typed until close, or the terminal is gone.
func (s *screen) read() {
	defer close(s.keys)
	for {
		fds := []unix.PollFd{{Fd: int32(s.inFd), Events: unix.POLLIN}, {Fd: int32(s.wake[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil || fds[1].Revents != 0 {
			return
		}
		in := make([]byte, keyBytesMax)
		n, err := unix.Read(s.inFd, in)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		select {
		case s.keys <- in[:n]:
		case <-s.stop:
			return
		}
	}
}

// press gives the model the keys that were typed, and reports whether one quits.
func (s *screen) press(m *topModel, in []byte) (quit bool) {
	s.refreshAway()
	for len(in) > 0 {
		var key string
		if key, in = readKey(in); key == "ctrl-z" {
			s.suspend()
			return false
		}
		if m.key(key) {
			return true
		}
	}
	return false
}

// suspend stops the process and those started with it, as Ctrl-Z does elsewhere.
func (s *screen) suspend() {
	if s.leave() != nil {
		return
	}
	s.away = true
	// It fails for nobody but a process that may not be stopped, which goes on.
	_ = unix.Kill(0, unix.SIGTSTP)
}

// refresh draws everything anew: the terminal has another size, or is back.
func (s *screen) refresh() {
	s.refreshAway()
	s.shown = nil
}

// refreshAway comes back after suspend.
func (s *screen) refreshAway() {
	if s.away {
		// What is wrong with the terminal comes up again as it is drawn on.
		_ = s.enter()
	}
}

// draw shows the model's frame: the lines that have changed, in one write.
func (s *screen) draw(m *topModel) error {
	if s.away {
		return nil
	}
	m.columns, m.rows = s.size()
	frame := m.frame()
	text := s.changes(frame, m.columns)
	if text == "" {
		return nil
	}
	if _, err := io.WriteString(s.out, syncBegin+text+syncEnd); err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return nil
}

// changes returns what makes the terminal show a frame.
func (s *screen) changes(frame []topLine, columns int) string {
	var b strings.Builder
	if s.shown == nil || len(s.shown) != len(frame) || s.columns != columns {
		b.WriteString("\x1b[2J")
		s.shown, s.columns = make([]topLine, len(frame)), columns
	}
	for i, line := range frame {
		if s.shown[i] == line {
			continue
		}
		fmt.Fprintf(&b, "\x1b[%d;1H%s%s\x1b[m", i+1, styleCodes[line.style], padCells(line.text, columns, false))
		s.shown[i] = line
	}
	return b.String()
}

// size is that of the terminal.
func (s *screen) size() (columns, rows int) {
	size, err := unix.IoctlGetWinsize(s.outFd, unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return columnsDefault, rowsDefault
	}
	return int(size.Col), int(size.Row)
}
