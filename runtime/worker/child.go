package worker

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/dugnad/dugnad/runtime/jail"
	"github.com/dugnad/dugnad/runtime/sandbox"
)

// Main is the whole life of a child process: it reads what it is for from the
// socket that its parent left as file descriptor 3, closes the jail around
// itself and serves until the parent closes the connection. It returns the
// process's exit status.
func Main(ctx context.Context) int {
	if err := childMain(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "dugnad worker:", err)
		return 1
	}
	return 0
}

func childMain(ctx context.Context) error {
	if err := syscall.SetNonblock(socketFD, true); err != nil {
		return fmt.Errorf("open the parent's socket: %w (%s is started by dugnad itself)", err, ChildCommand)
	}
	socket := os.NewFile(socketFD, "socket")
	defer socket.Close()
	// Its stderr goes to the parent, which may be gone before it.
	signal.Ignore(syscall.SIGPIPE)
	in, out := newFrameReader(socket), &sender{w: socket}
	f, err := in.next()
	if err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	var s setup
	if f.kind != frameSetup {
		return fmt.Errorf("%w: frame of type %d, want setup", ErrProtocol, f.kind)
	} else if err := f.decode(&s); err != nil {
		return err
	}
	serve, h := confine(ctx, s, socket, in, out)
	if err := out.sendJSON(frameHello, 0, h); err != nil || serve == nil {
		return err
	}
	return serve()
}

// confine opens what the mode needs, closes the jail, and returns the function
// that serves, or nil when the hello carries an error.
func confine(ctx context.Context, s setup, socket io.Closer, in *frameReader, out *sender) (func() error, hello) {
	fail := func(err error) (func() error, hello) {
		return nil, hello{Version: protocolVersion, Error: err.Error()}
	}
	if s.Version != protocolVersion {
		return fail(fmt.Errorf("%w: parent speaks version %d, want %d", ErrProtocol, s.Version, protocolVersion))
	}
	// When memory runs out the kernel shall take a worker and not its parent.
	// Where that is not allowed the kernel chooses by itself.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	if s.Mode != modeRun && s.Mode != modeCompile {
		return fail(fmt.Errorf("%w: mode %q is not known", ErrProtocol, s.Mode))
	}
	var l *listener
	if s.OrphanMax > 0 {
		var err error
		if l, err = openListener(); err != nil {
			return fail(err)
		}
		s.Policy.Listener = l.fd
	}
	// The engine opens while the jail closes: it needs nothing that the jail
	// takes away, and this is on the way of every cold start.
	var eng *sandbox.Engine
	var opening sync.WaitGroup
	var openErr error
	throttle := sandbox.NewThrottle()
	if s.Mode == modeRun {
		opening.Go(func() {
			eng, openErr = openEngine(ctx, engineConfig{
				codeDir: filepath.Join(s.Dir, codeFolder), sliceFuel: s.SliceFuel,
				linearBytes: linearBytes(s.Policy.DataBytes), throttle: throttle,
			})
		})
	}
	report, err := jail.Apply(s.Policy)
	opening.Wait()
	if err != nil {
		return fail(fmt.Errorf("close the jail: %w", err))
	}
	if openErr != nil {
		return fail(openErr)
	}
	h := hello{Version: protocolVersion, Jail: report}
	if s.Mode == modeCompile {
		return func() error { return compileServe(ctx, s, in, out) }, h
	}
	sv := &server{
		dir: s.Dir, in: in, out: out, engine: eng, throttle: throttle, parts: map[uint32][]byte{},
		images: map[uint32]*childImage{}, tasks: map[uint32]*childTask{},
		ended:  endedTasks{tasks: map[uint32]*childTask{}},
		socket: socket, listener: l, orphanMax: s.OrphanMax, report: report,
	}
	return func() error { return sv.serve(ctx) }, h
}

// messageBytesMax bounds a message for people.
const messageBytesMax = 16 << 10

func shorten(s string) string {
	if len(s) > messageBytesMax {
		return s[:messageBytesMax] + "…"
	}
	return s
}
