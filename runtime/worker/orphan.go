package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// listenerFD is the socket on which a child without a parent waits for another.
	listenerFD = 4
	// listenerBacklog is how many may wait there for an answer.
	listenerBacklog = 4
	// greetTimeout bounds the wait for the first frame of who says to be a parent.
	greetTimeout = 2 * time.Second
)

// listener is where a child without a parent waits for another one.
type listener struct {
	*net.UnixListener
	fd int
}

// openListener makes this process the one that listens, so that the kernel tells
// who connects its process id, and not that of the parent which made the socket.
func openListener() (*listener, error) {
	if err := unix.Listen(listenerFD, listenerBacklog); err != nil {
		return nil, fmt.Errorf("listen for other parents: %w", err)
	}
	f := os.NewFile(listenerFD, "listener")
	defer f.Close()
	on, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen for other parents: %w", err)
	}
	l := &listener{UnixListener: on.(*net.UnixListener)}
	raw, err := l.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { l.fd = int(fd) })
	}
	return l, err
}

// gone reports whether an error of a read means that the other side has ended.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// orphaned is called when the parent is gone. It ends what must end with it, and
// waits for another one while something is left. False is that there is none: then
// the process ends.
func (s *server) orphaned() bool {
	if s.listener == nil {
		return false
	}
	s.out.turn(nil)
	_ = s.socket.Close() // its other end is gone
	for _, t := range s.listed() {
		t.series.cut()
	}
	s.open = nil
	clear(s.parts)
	for _, t := range s.listed() {
		t.part()
	}
	if len(s.kept()) == 0 {
		return false
	}
	return s.await()
}

// listed returns all tasks that have not ended, and those whose outcome is kept.
func (s *server) listed() []*childTask {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(slices.Collect(maps.Values(s.tasks)), maps.Values(s.ended.tasks))
}

// kept returns those that another parent may have.
func (s *server) kept() []*childTask {
	return slices.DeleteFunc(s.listed(), func(t *childTask) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return !t.away
	})
}

// await waits until another parent has come.
func (s *server) await() bool {
	end := time.Now().Add(s.orphanMax)
	for {
		err := s.listener.SetDeadline(end)
		if err != nil {
			return false
		}
		conn, err := s.listener.AcceptUnix()
		switch {
		case errors.Is(err, syscall.ECONNABORTED):
			continue
		case err != nil:
			return false
		}
		if in, err := welcome(conn, end); err == nil {
			s.adopted(conn, in)
			return true
		}
		// Whatever it was, it is no parent.
		_ = conn.Close()
	}
}

// errStranger refuses a connection of another user.
var errStranger = errors.New("connection is another user's")

// welcome reads the first frame of a parent.
func welcome(conn *net.UnixConn, end time.Time) (*frameReader, error) {
	who, err := peerOf(conn)
	if err != nil {
		return nil, err
	}
	if int(who.Uid) != os.Getuid() {
		return nil, fmt.Errorf("%w: %d", errStranger, who.Uid)
	}
	if limit := time.Now().Add(greetTimeout); limit.Before(end) {
		end = limit
	}
	if err := conn.SetReadDeadline(end); err != nil {
		return nil, err
	}
	in := newFrameReader(conn)
	f, err := in.next()
	if err != nil {
		return nil, err
	}
	var a adoption
	if f.kind != frameAdopt {
		return nil, fmt.Errorf("%w: frame of type %d, want adopt", ErrProtocol, f.kind)
	} else if err := f.decode(&a); err != nil {
		return nil, err
	} else if a.Version != protocolVersion {
		return nil, fmt.Errorf("%w: parent speaks version %d, want %d", ErrProtocol, a.Version, protocolVersion)
	}
	return in, conn.SetReadDeadline(time.Time{})
}

// peerOf says who is at the other end of a connection: who connected, or, for who
// connected, who listens.
func peerOf(conn *net.UnixConn) (who *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if e := raw.Control(func(fd uintptr) {
		who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return nil, e
	}
	return who, err
}

// adopted tells another parent what is here. An error is the end of the connection,
// which the reader sees.
func (s *server) adopted(conn *net.UnixConn, in *frameReader) {
	s.socket, s.in = conn, in
	s.out.turn(conn)
	for _, t := range s.kept() {
		elapsed := max(time.Since(t.begun)-s.throttle.Frozen()+t.frozen, 0)
		s.noteSendError(s.out.sendJSON(frameKept, t.id, kept{Key: t.start.Key, Elapsed: elapsed, Moved: t.outbound.bytes()}))
	}
	s.noteSendError(s.out.sendJSON(frameHello, 0, hello{Version: protocolVersion, Jail: s.report}))
}

// attach tells the parent what a task that was kept has put out, and lets it go on
// from there as any other.
func (s *server) attach(ctx context.Context, t *childTask) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.away || t.attached {
		return fmt.Errorf("%w: task %d is not one to attach to", ErrProtocol, t.id)
	}
	t.attached = true
	s.noteSendError(t.stdin.attach())
	t.outbound.attach()
	stdout, stderr := t.stdout.rewind(), t.stderr.rewind()
	s.work.Go(func() {
		if t.stdout.replay(ctx, stdout) && t.stderr.replay(ctx, stderr) {
			s.noteSendError(t.join(s.out))
		}
	})
	return nil
}
