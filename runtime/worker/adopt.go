package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/jail"
	"github.com/dugnad/dugnad/runtime/task"
	"golang.org/x/sys/unix"
)

// adoptTimeout bounds the wait for what a child says of itself.
const adoptTimeout = 30 * time.Second

// Adopted is a worker whose first process was killed while tasks with keys ran in
// it. It runs these to their end, and no others. Its methods are safe for concurrent
// use.
type Adopted struct {
	w      *Worker
	record record

	mu sync.Mutex
	// waiting are the tasks that nobody has asked for.
	waiting map[string]waiting
	// asked counts those of which somebody waits for the end.
	asked int
}

// waiting is a task that a child keeps.
type waiting struct {
	id    uint32
	begun time.Time
	moved uint64
}

// Adopt returns the workers that a process which is dead has left in
// config.OrphanDir with tasks that run or whose outcomes nobody has read. It is
// called before Open is with the same folder. What is left of others is removed, and
// a child ended that speaks another version of the protocol, or does not answer: its
// tasks begin again, then. Of config Adopt uses OrphanDir, Log and Registerer.
func Adopt(ctx context.Context, config Config) ([]*Adopted, error) {
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	metrics, err := newMetrics(config.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	traces, err := findTraces(config.OrphanDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for workers: %w", err)
	}
	found := make([]*Adopted, len(traces))
	var all sync.WaitGroup
	for i, t := range traces {
		all.Go(func() {
			a, err := adopt(ctx, t, log, metrics)
			if found[i] = a; err != nil {
				log.Info("worker of an earlier process is ended", "reason", err)
			}
		})
	}
	all.Wait()
	return slices.DeleteFunc(found, func(a *Adopted) bool { return a == nil }), nil
}

// Reasons for ending a worker instead of adopting it.
var (
	errOtherVersion = errors.New("it speaks another version of the protocol")
	errNothingKept  = errors.New("it has no task")
)

// adopt adopts the child of a trace. It returns nil when there is none, and an error
// when it had to be ended; then nothing of it is left.
func adopt(ctx context.Context, t *trace, log *slog.Logger, m *metrics) (*Adopted, error) {
	r, whole := t.read()
	if !whole {
		// Its process was killed before the child had a task: it has ended by itself.
		t.remove()
		return nil, nil
	}
	a := &Adopted{record: r, waiting: map[string]waiting{}}
	a.w = &Worker{log: log, metrics: m, trace: t, tasks: map[uint32]*run{}, gone: make(chan struct{})}
	if lock, err := lockDir(r.Dir); err == nil {
		a.w.dir = &tempDir{path: r.Dir, lock: lock}
	}
	conn, err := t.dial()
	if err != nil {
		// Nobody listens: it has ended.
		return nil, a.abandon(nil)
	}
	if a.w.process, err = otherProcess(conn); err != nil {
		_ = conn.Close()
		return nil, a.abandon(nil)
	}
	if err := a.meet(ctx, conn); err != nil {
		a.w.process.end()
		m.orphansEnded.Inc()
		return nil, a.abandon(err)
	}
	m.adoptions.Inc()
	log.Info("worker of an earlier process is adopted", "pid", a.w.PID(), "tasks", len(a.waiting))
	go a.w.read()
	return a, nil
}

// abandon removes what a child has left that has ended.
func (a *Adopted) abandon(err error) error {
	a.w.trace.remove()
	return errors.Join(err, a.w.dir.remove())
}

// otherProcess returns the process that listens at the other end of a connection.
// That it was the one, and not another with the same number, is certain when
// something could be sent to it afterwards.
func otherProcess(conn *net.UnixConn) (*process, error) {
	who, err := peerOf(conn)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(int(who.Pid), 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", who.Pid, err)
	}
	p := &process{
		socket: conn, in: newFrameReader(conn), out: &sender{w: conn},
		exited: make(chan struct{}), pid: int(who.Pid), pidfd: fd,
	}
	return p, nil
}

// meet asks the child what it has.
func (a *Adopted) meet(ctx context.Context, conn *net.UnixConn) error {
	p := a.w.process
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(adoptTimeout)); err != nil {
		return err
	}
	if err := p.out.sendJSON(frameAdopt, 0, adoption{Version: protocolVersion}); err != nil {
		// It may be another process by now: it is not to be killed.
		_ = unix.Close(p.pidfd)
		p.pidfd = -1
		close(p.exited)
		return fmt.Errorf("it has ended: %w", err)
	}
	go p.watch()
	if a.record.Version != protocolVersion {
		return fmt.Errorf("%w: %d, not %d", errOtherVersion, a.record.Version, protocolVersion)
	}
	var err error
	if a.waiting, a.w.report, err = readKept(p.in); err != nil {
		return err
	}
	if len(a.waiting) == 0 {
		return errNothingKept
	}
	return conn.SetDeadline(time.Time{})
}

// keptMax bounds the tasks that a child may say to have.
const keptMax = 1 << 17

// readKept reads the answer to frameAdopt.
func readKept(in *frameReader) (map[string]waiting, jail.Report, error) {
	list := map[string]waiting{}
	for {
		f, err := in.next()
		if err != nil {
			return nil, jail.Report{}, err
		}
		if f.kind == frameHello {
			var h hello
			if err := f.decode(&h); err != nil {
				return nil, jail.Report{}, err
			}
			return list, h.Jail, nil
		}
		var k kept
		if f.kind != frameKept {
			return nil, jail.Report{}, fmt.Errorf("%w: frame of type %d, want kept", ErrProtocol, f.kind)
		} else if err := f.decode(&k); err != nil {
			return nil, jail.Report{}, err
		}
		if _, twice := list[string(k.Key)]; twice || len(k.Key) == 0 || len(k.Key) > KeyBytesMax || k.Elapsed < 0 || len(list) >= keptMax {
			return nil, jail.Report{}, fmt.Errorf("%w: task %d has a key that cannot be", ErrProtocol, f.id)
		}
		list[string(k.Key)] = waiting{id: f.id, begun: time.Now().Add(-k.Elapsed), moved: k.Moved}
	}
}

// watch waits for the end of a process that another one has started.
func (p *process) watch() {
	defer close(p.exited)
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Close(p.pidfd)
	p.pidfd = -1
}

// killOther kills a process that another one has started.
func (p *process) killOther() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		_ = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	}
}

// Label is Config.Label of the worker.
func (a *Adopted) Label() string { return a.record.Label }

// ReadOnly is Config.ReadOnly of the worker: it has to stay as long as the worker.
func (a *Adopted) ReadOnly() []string { return slices.Clone(a.record.ReadOnly) }

// PID is the child's process id.
func (a *Adopted) PID() int { return a.w.PID() }

// Gone is closed when the child has ended.
func (a *Adopted) Gone() <-chan struct{} { return a.w.gone }

// Keys are those of the tasks that nobody has asked for.
func (a *Adopted) Keys() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.waiting))
}

// Done reports whether nobody asks for anything any more, or can: then it is time to
// Close.
func (a *Adopted) Done() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting) == 0 && a.asked == 0
}

// Close kills the child, with the tasks that are left, and waits for it.
func (a *Adopted) Close() error { return a.w.Close() }

// Run waits for the task's outcome, as Worker.Run does. The task's output is written
// from its beginning. Its stdin is read from its beginning, too: it must be what it
// was. Spec must be what it was; of it the limits are used. It reports false when
// there is no task with the key, or somebody has asked for it.
func (a *Adopted) Run(ctx context.Context, t Task) (task.Outcome, bool) {
	a.mu.Lock()
	k, ok := a.waiting[t.Key]
	if ok {
		delete(a.waiting, t.Key)
		a.asked++
	}
	a.mu.Unlock()
	if !ok {
		return task.Outcome{}, false
	}
	o := a.w.attach(ctx, k, &t)
	a.w.metrics.outcome(&o)
	a.w.metrics.adoptedTasks.Inc()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked--
	return o, true
}

// Discard ends a task that nobody has asked for. Nothing is told of it.
func (a *Adopted) Discard(key string) {
	a.mu.Lock()
	k, ok := a.waiting[key]
	delete(a.waiting, key)
	a.mu.Unlock()
	if ok {
		// An error is the end of the child, and of the task.
		_ = a.w.process.out.send(frameForget, k.id, nil)
	}
}

// attach waits for the outcome of a task that the child keeps.
func (w *Worker) attach(ctx context.Context, k waiting, t *Task) task.Outcome {
	r := &run{worker: w, id: k.id, begin: k.begun, limits: t.Spec.Limits.WithDefaults(), started: true, done: make(chan struct{})}
	r.connect(&t.Streams)
	r.outbound.moved = k.moved
	w.mu.Lock()
	if w.lostErr != nil {
		defer w.mu.Unlock()
		return w.waitOutcome(w.lostErr, "waiting for a task")
	}
	w.tasks[k.id] = r
	w.mu.Unlock()
	out := w.process.out
	// An error is the end of the child, which its reader sees.
	_ = out.send(frameAttach, k.id, nil)
	stop := context.AfterFunc(ctx, r.cancel)
	defer stop()
	if t.Notice != nil {
		still := context.AfterFunc(t.Notice, r.giveNotice)
		defer still()
	}
	overdue := r.overdue(k.begun)
	defer overdue.Stop()
	<-r.done
	r.drain(ctx)
	_ = out.send(frameForget, k.id, nil)
	return r.outcome
}

// resume goes on with stdin where the child says that it is.
func (r *run) resume(f frame) error {
	var a attached
	if err := f.decode(&a); err != nil {
		return err
	}
	if r.series != nil || a.StdinBytes < 0 || a.Credit < 0 || a.Credit > windowBytes {
		return fmt.Errorf("%w: task %d is attached to at byte %d of stdin, with credit for %d", ErrProtocol, f.id, a.StdinBytes, a.Credit)
	}
	if r.input == nil {
		return nil
	}
	if !r.input.resume(a.StdinBytes, a.Credit) {
		return fmt.Errorf("%w: task %d is attached to twice", ErrProtocol, f.id)
	}
	return nil
}
