package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dugnad/dugnad/runtime/jail"
	"github.com/dugnad/dugnad/runtime/sandbox"
	"github.com/dugnad/dugnad/runtime/task"
)

// gcPercent is the garbage collector's setting in a child once a module is
// loaded: most of a task's memory is not on the Go heap.
const gcPercent = 100

// ballastBytes is never touched, so that it takes no memory: with it on the heap
// the garbage collector lets so much garbage come together. A child that runs
// small tasks has next to nothing on its heap, and would collect some hundred
// times a second.
const ballastBytes = 16 << 20

// server is the child's side of a worker.
type server struct {
	dir    string
	in     *frameReader
	out    *sender
	engine *sandbox.Engine
	// throttle holds up all guests.
	throttle *sandbox.Throttle
	// parts are pieces of starts, open is the series to which the next start
	// belongs, or nil; both are the reading goroutine's own.
	parts map[uint32][]byte
	open  *childSeries

	// socket is the connection with the parent, listener where another one comes
	// when that is gone, orphanMax how long that may take. Without a listener the
	// process ends with its parent.
	socket    io.Closer
	listener  *listener
	orphanMax time.Duration
	report    jail.Report

	mu      sync.Mutex
	images  map[uint32]*childImage
	tasks   map[uint32]*childTask
	ended   endedTasks
	loading int
	work    sync.WaitGroup
}

// childImage is a module that is loaded or being loaded.
type childImage struct {
	// ready is closed when program or err is set.
	ready   chan struct{}
	program *sandbox.Module
	err     error
}

// childTask is a task that has not sent its outcome, or whose outcome is kept.
type childTask struct {
	id     uint32
	start  *start
	image  *childImage
	ctx    context.Context
	cancel context.CancelFunc
	// notice says that it has to give way.
	notice         atomic.Bool
	stdin          *childIn
	stdout, stderr *childOut
	outbound       *childOutbound
	// series is the one that it runs in.
	series *childSeries
	// bytes is what its outcome takes, guarded by server.mu.
	bytes int

	// mu is held while the outcome is sent, so that each parent gets it once.
	mu sync.Mutex
	// begun is when it began, or zero; frozen is for how long its process had been
	// frozen before.
	begun  time.Time
	frozen time.Duration
	// dropped says that nobody is told of it, away that no parent is: there is none,
	// or it has not been sent all that the task has put out. attached says that it is
	// being sent that.
	dropped, away, attached bool
	// outcome is nil while the task has not ended.
	outcome []byte
}

// serve reads frames until the parent closes the connection, or, when something
// may outlive the parent, the last of them. It never waits for a task or for the
// engine.
func (s *server) serve(ctx context.Context) error {
	ballast := make([]byte, ballastBytes)
	defer runtime.KeepAlive(&ballast)
	ctx, cancel := context.WithCancel(ctx)
	defer s.work.Wait()
	defer cancel()
	for {
		f, err := s.in.next()
		if gone(err) {
			if s.orphaned() {
				continue
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.handle(ctx, f); err != nil {
			return err
		}
	}
}

func (s *server) handle(ctx context.Context, f frame) error {
	switch f.kind {
	case frameStartPart:
		return s.part(f)
	case frameLoad:
		return s.load(ctx, f)
	case frameUnload:
		return s.unload(f.id)
	case frameStart, frameStartMore:
		return s.start(ctx, f)
	case frameShare:
		share, err := f.share()
		if err == nil {
			s.throttle.Set(share)
		}
		return err
	}
	t := s.find(f.id)
	if t == nil {
		// The outcome and this frame have crossed.
		return nil
	}
	switch f.kind {
	case frameAttach:
		return s.attach(ctx, t)
	case frameForget:
		s.drop(t)
		return nil
	}
	return t.handle(f)
}

// handle takes one frame for a task.
func (t *childTask) handle(f frame) error {
	switch f.kind {
	case frameCancel:
		t.cancel()
	case frameNotice:
		t.notice.Store(true)
	case frameStdin:
		return t.stdin.arrive(f.payload)
	case frameStdinEnd:
		t.stdin.end()
	case frameHTTPBodyCredit, frameHTTPBodyGone, frameHTTPHead, frameHTTPData, frameHTTPEnd, frameHTTPDone:
		return t.outbound.handle(f)
	case frameStdoutGone:
		t.stdout.close()
	case frameStderrGone:
		t.stderr.close()
	case frameStdoutCredit, frameStderrCredit:
		n, err := f.credit()
		if err != nil {
			return err
		}
		to := t.stdout
		if f.kind == frameStderrCredit {
			to = t.stderr
		}
		if !to.grant(n) {
			return fmt.Errorf("%w: task %d has more credit than a window", ErrProtocol, f.id)
		}
	default:
		return fmt.Errorf("%w: frame of type %d is not for a child that runs tasks", ErrProtocol, f.kind)
	}
	return nil
}

func (s *server) load(ctx context.Context, f frame) error {
	var l load
	if err := f.decode(&l); err != nil {
		return err
	}
	img := &childImage{ready: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images[f.id] != nil {
		return fmt.Errorf("%w: image %d is loaded twice", ErrProtocol, f.id)
	}
	s.images[f.id] = img
	if s.loading++; s.loading == 1 {
		debug.SetGCPercent(-1)
	}
	s.work.Go(func() { s.loadImage(ctx, f.id, img, l) })
	return nil
}

// loadImage loads with the garbage collector off: decoding a module of a few
// megabytes makes little garbage and takes a few milliseconds.
func (s *server) loadImage(ctx context.Context, id uint32, img *childImage, l load) {
	img.program, img.err = s.openImage(ctx, l)
	close(img.ready)
	var err error
	if img.err != nil {
		s.mu.Lock()
		delete(s.images, id)
		s.mu.Unlock()
		err = s.out.sendJSON(frameRefused, id, refusal{Message: shorten(img.err.Error())})
	} else {
		err = s.out.send(frameLoaded, id, nil)
	}
	s.mu.Lock()
	if s.loading--; s.loading == 0 {
		debug.SetGCPercent(gcPercent)
	}
	s.mu.Unlock()
	s.noteSendError(err)
}

func (s *server) openImage(ctx context.Context, l load) (*sandbox.Module, error) {
	if filepath.Base(l.File) != l.File {
		return nil, fmt.Errorf("%w: %q is not a file name", ErrProtocol, l.File)
	}
	module, err := os.ReadFile(filepath.Join(s.dir, l.File))
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return loadModule(ctx, s.engine, module, l.Traits)
}

func (s *server) unload(id uint32) error {
	s.mu.Lock()
	img := s.images[id]
	delete(s.images, id)
	s.mu.Unlock()
	if img == nil {
		return nil
	}
	s.work.Go(func() {
		if <-img.ready; img.program != nil {
			// The memory is lost to this worker if this fails, nothing else.
			_ = img.program.Close()
		}
	})
	return nil
}

// part keeps a piece of a start.
func (s *server) part(f frame) error {
	if len(s.parts[f.id])+len(f.payload) > startBytesMax {
		return fmt.Errorf("%w: start of task %d is longer than %d bytes", ErrProtocol, f.id, startBytesMax)
	}
	s.parts[f.id] = append(s.parts[f.id], f.payload...)
	return nil
}

func (s *server) start(ctx context.Context, f frame) error {
	if whole := s.parts[f.id]; whole != nil {
		delete(s.parts, f.id)
		f.payload = append(whole, f.payload...)
	}
	var st start
	if err := f.decode(&st); err != nil {
		return err
	}
	if st.Spec == nil || len(st.Key) > KeyBytesMax {
		return fmt.Errorf("%w: start of task %d has no task, or a key of %d bytes", ErrProtocol, f.id, len(st.Key))
	}
	s.read(st.Read)
	keeps := s.listener != nil && len(st.Key) > 0
	own, cancel := context.WithCancel(ctx)
	t := &childTask{
		id: f.id, start: &st, ctx: own, cancel: cancel,
		stdin:  newChildIn(s.out, f.id, keeps),
		stdout: newChildOut(s.out, frameStdout, f.id, keeps),
		stderr: newChildOut(s.out, frameStderr, f.id, keeps), outbound: newChildOutbound(s.out, f.id),
	}
	if !st.Stdin {
		t.stdin.end()
	}
	s.mu.Lock()
	if s.tasks[f.id] != nil {
		s.mu.Unlock()
		cancel()
		return fmt.Errorf("%w: task %d is started twice", ErrProtocol, f.id)
	}
	s.tasks[f.id] = t
	t.image = s.images[st.Image]
	s.mu.Unlock()
	s.queue(ctx, t, f.kind == frameStartMore)
	return nil
}

// run runs a task and returns its outcome.
func (s *server) run(t *childTask) task.Outcome {
	defer t.cancel()
	o := t.image.run(t.ctx, t, t.start)
	s.leave(t)
	t.stdout.close()
	t.stderr.close()
	t.stdin.close()
	o.Message = shorten(o.Message)
	return o
}

func (s *server) forget(t *childTask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, t.id)
}

// run waits until the image is loaded and runs the task.
func (img *childImage) run(ctx context.Context, t *childTask, st *start) task.Outcome {
	if img == nil {
		return task.Outcome{Kind: task.Refused, Message: "the image is not loaded"}
	}
	select {
	case <-img.ready:
	case <-ctx.Done():
		return task.Outcome{Kind: task.Cancelled, Message: "cancelled while the module was loaded"}
	}
	if img.err != nil {
		return task.Outcome{Kind: task.Refused, Message: img.err.Error()}
	}
	if !t.begin() {
		return task.Outcome{Kind: task.Cancelled, Message: "cancelled before it began"}
	}
	return img.program.Run(ctx, *st.Spec, sandbox.Streams{
		Stdin: t.stdin, Stdout: t.stdout, Stderr: t.stderr, Interactive: st.Interactive, Notice: t.notice.Load, Outbound: t.outbound,
	})
}

// noteSendError reports what cannot be told to the parent; the reader will see
// the end of the connection and stop.
func (s *server) noteSendError(err error) {
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		fmt.Fprintln(os.Stderr, "dugnad worker: send:", err)
	}
}
