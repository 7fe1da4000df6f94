package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ChildCommand is the first argument of a child process: a program that uses
// this package must call Main, and nothing before it, when os.Args[1] is this.
const ChildCommand = "worker-child"

// socketFD is the child's end of the socket pair.
const socketFD = 3

// stderrBytesMax bounds what is kept of a child's stderr: one half from the
// beginning, where a Go program says why it dies, and one half from the end.
const stderrBytesMax = 4 << 10

// helloTimeout bounds the start of a child, which takes milliseconds.
const helloTimeout = 30 * time.Second

var errHello = fmt.Errorf("worker process did not start within %s", helloTimeout)

// process is a child process and the parent's end of its socket.
type process struct {
	socket io.Closer
	in     *frameReader
	out    *sender
	stderr tail
	// exited is closed when the process is gone.
	exited chan struct{}
	pid    int
	// cmd is nil for a process that another one has started, pidfd stands for that.
	cmd *exec.Cmd
	// mu guards pidfd, which is -1 when the process is gone.
	mu    sync.Mutex
	pidfd int
	// blame is why the parent killed the process, when it did.
	blame atomic.Pointer[error]
}

// startProcess starts a child. The kernel ends it with its parent, unless it is
// given a socket on which it may wait for another one.
func startProcess(executable string, heapBytes int64, nice int, listener *os.File) (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "worker socket")
	defer theirs.Close()
	ours := os.NewFile(uintptr(fds[0]), "worker socket")
	p := &process{socket: ours, exited: make(chan struct{}), in: newFrameReader(ours), out: &sender{w: ours}}
	p.cmd = exec.Command(executable, ChildCommand)
	// The child inherits nothing: what is in the environment of the parent is
	// none of a guest's business. The garbage collector is set up here because
	// it is cheaper than changing it in a running program; one processor more
	// than there are cores keeps the child responsive while guests spin.
	p.cmd.Env = []string{
		"GOMAXPROCS=" + strconv.Itoa(runtime.GOMAXPROCS(0)+1),
		"GOGC=off",
		"GOMEMLIMIT=" + strconv.FormatInt(heapBytes, 10),
		"GOTRACEBACK=single",
	}
	p.cmd.Dir = "/"
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if listener != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, listener)
		p.cmd.SysProcAttr.Pdeathsig = 0
	}
	started := make(chan error, 1)
	go p.supervise(started, nice)
	if err := <-started; err != nil {
		p.socket.Close()
		return nil, fmt.Errorf("start worker process: %w", err)
	}
	p.pid = p.cmd.Process.Pid
	return p, nil
}

// supervise starts the process and waits for its end, on one thread: Linux
// sends the parent-death signal when the thread that started a process ends,
// and a process inherits that thread's priority. The thread stays locked, so
// that it ends with this goroutine and nothing else gets its priority.
func (p *process) supervise(started chan<- error, nice int) {
	runtime.LockOSThread()
	defer close(p.exited)
	lowerPriority(nice)
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	// How it ended is in ProcessState; another error cannot be helped.
	_ = p.cmd.Wait()
}

// lowerPriority makes this thread nicer. It does not matter when that is
// refused: the child then competes as an equal.
func lowerPriority(nice int) {
	// The system call returns 20 minus the nice value.
	if p, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil && nice > 0 {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, min(20-p+nice, niceMax))
	}
}

// setup sends the first frame and waits for the answer.
func (p *process) setup(ctx context.Context, s setup) (hello, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, helloTimeout, errHello)
	defer cancel()
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	s.Version = protocolVersion
	if err := p.out.sendJSON(frameSetup, 0, s); err != nil {
		return hello{}, p.lost(ctx, err)
	}
	f, err := p.in.next()
	if err != nil {
		return hello{}, p.lost(ctx, err)
	}
	var h hello
	if f.kind != frameHello {
		return h, fmt.Errorf("%w: frame of type %d, want hello", ErrProtocol, f.kind)
	}
	if err := f.decode(&h); err != nil {
		return h, err
	}
	switch {
	case h.Error != "":
		return h, fmt.Errorf("worker process: %s", h.Error)
	case h.Version != protocolVersion:
		return h, fmt.Errorf("%w: worker process speaks version %d, want %d", ErrProtocol, h.Version, protocolVersion)
	}
	return h, nil
}

// kill ends the process at once. It may be called at any time.
func (p *process) kill() {
	// An error means that it has ended already.
	if p.cmd == nil {
		p.killOther()
		return
	}
	_ = p.cmd.Process.Kill()
}

// killFor ends the process at once and remembers the first reason for it.
func (p *process) killFor(reason error) {
	p.blame.CompareAndSwap(nil, &reason)
	p.kill()
}

// end kills the process, waits for it and closes the socket.
func (p *process) end() {
	p.kill()
	<-p.exited
	p.socket.Close()
}

// lost kills the process and returns an error that tells how it ended and, if
// known, why.
func (p *process) lost(ctx context.Context, cause error) error {
	// A process that closed its socket by dying shall die its own death, whose
	// status is the interesting one.
	if errors.Is(cause, ErrProtocol) || ctx.Err() != nil {
		p.kill()
	}
	select {
	case <-p.exited:
	case <-time.After(grace):
		p.kill()
		<-p.exited
	}
	if ctx.Err() != nil {
		cause = context.Cause(ctx)
	} else if blame := p.blame.Load(); blame != nil {
		cause = *blame
	}
	return &LostError{Status: p.status(), Stderr: p.stderr.String(), Cause: cause}
}

// status says how the process ended: "exit status 2", "signal: killed".
func (p *process) status() string {
	switch {
	case p.cmd == nil:
		return "a status that only its first parent could have known"
	case p.cmd.ProcessState == nil:
		return "not started"
	}
	return p.cmd.ProcessState.String()
}

// LostError tells how a child process ended before its work was done.
type LostError struct {
	// Status is "exit status N" or "signal: NAME".
	Status string
	// Stderr is what the process wrote at its beginning and end, shortened.
	Stderr string
	// Cause is what the parent noticed: a protocol error, the end of the
	// connection, the end of a context.
	Cause error
}

func (e *LostError) Error() string {
	s := "worker process ended with " + e.Status
	// The end of the connection is what every death looks like.
	if !errors.Is(e.Cause, io.EOF) && !errors.Is(e.Cause, syscall.ECONNRESET) && !errors.Is(e.Cause, syscall.EPIPE) {
		s += " (" + e.Cause.Error() + ")"
	}
	if e.Stderr != "" {
		s += ": " + strings.TrimSpace(e.Stderr)
	}
	return s
}

func (e *LostError) Unwrap() error { return e.Cause }

// outOfMemory tells whether the process died because it got no more memory.
func (e *LostError) outOfMemory() bool {
	return strings.Contains(e.Stderr, "out of memory") || strings.Contains(e.Stderr, "cannot allocate memory")
}

// tail keeps the beginning and the end of what is written to it.
type tail struct {
	mu         sync.Mutex
	head, last []byte
	dropped    bool
}

func (t *tail) Write(p []byte) (int, error) {
	const half = stderrBytesMax / 2
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(p), half-len(t.head))
	t.head = append(t.head, p[:n]...)
	t.last = append(t.last, p[n:]...)
	if over := len(t.last) - half; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
		t.dropped = true
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped {
		return string(t.head) + "\n[…]\n" + string(t.last)
	}
	return string(t.head) + string(t.last)
}
