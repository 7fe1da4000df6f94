// Package worker keeps guests out of the process that serves everybody else:
// modules are compiled and tasks run in child processes, which are the same
// binary started again, confined by package jail, and spoken to in
// length-bounded frames over a socket pair.
//
// A Cache turns a module into an Image: checked, metered, compiled in a child
// of its own, kept on disk, verified whenever it is used. A Worker is one child
// that runs the tasks of one tenant; several at once, each with its own
// streams. A child that dies, lies or hangs costs its own tasks, which end
// with task.WorkerLost, and nothing else.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/jail"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/prometheus/client_golang/prometheus"
)

// grace is how long a child may take to obey a deadline or a cancellation
// before it is killed.
const grace = time.Second

// loadTimeout bounds the loading of an image from the code cache: 100 times
// what it takes on an idle machine.
func loadTimeout(codeBytes int64) time.Duration {
	const bytesPerSecond = 8 << 20
	return 5*time.Second + time.Duration(codeBytes)*time.Second/bytesPerSecond
}

// Config says what a Worker may use.
type Config struct {
	// Executable is the program that is started as the child; it calls Main
	// when its first argument is ChildCommand. "" means this very program.
	Executable string
	// Dir is where the worker makes its private folder. On the file system of
	// the code cache, code is linked into it and not copied. "" means the
	// system's folder for temporary files.
	Dir string
	// ReadOnly lists the files and folders that tasks may name as inputs.
	ReadOnly []string
	// TasksMax bounds the tasks that run at the same time; more wait.
	TasksMax int
	// ImagesMax bounds the images that are loaded at the same time: the one
	// that was used least recently goes first, and when all are in use the
	// next one waits.
	ImagesMax int
	// MemoryBytes bounds the private memory of the whole process.
	MemoryBytes uint64
	// OpenFiles bounds the open files of the whole process.
	OpenFiles uint64
	// OrphanDir is where a later process finds this worker's child: with Adopt, when
	// this process was killed and tasks with keys are left in the child. The folder
	// belongs to one process at a time. "" means that the child ends with this
	// process.
	OrphanDir string
	// OrphanMax is how long the child waits for that process, at most OrphanMaxMax.
	OrphanMax time.Duration
	// Label is told whoever adopts the child.
	Label string
	// SliceFuel is the work between two looks at deadline and cancellation;
	// 0 means the sandbox's default.
	SliceFuel uint64
	// Nice is how much lower the child's priority is than this process's, from
	// 0 to 19, so that guests do not keep this process, or whatever else the
	// machine is for, from its turn.
	Nice int
	// Log receives losses and refusals; nil means nothing is logged.
	Log *slog.Logger
	// Registerer receives the metrics; nil means that nobody sees them.
	// Workers and caches may share one.
	Registerer prometheus.Registerer
}

// Default returns the configuration of a worker that has this machine's
// ordinary user's means.
func Default() Config {
	return Config{TasksMax: 64, ImagesMax: 32, MemoryBytes: 8 << 30, OpenFiles: 8192, Nice: 5}
}

// memoryBytesMin is what a child needs before it runs anything: below 240 MiB
// the Go runtime cannot always set up its heap.
const memoryBytesMin = 256 << 20

// niceMax is the lowest priority that Linux has.
const niceMax = 19

// OrphanMaxMax bounds Config.OrphanMax: nobody charges or stops a guest meanwhile.
const OrphanMaxMax = time.Hour

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.OrphanDir != "" && (c.OrphanMax <= 0 || c.OrphanMax > OrphanMaxMax):
		return fmt.Errorf("time without a parent is %s, more than 0 and at most %s", c.OrphanMax, OrphanMaxMax)
	case c.Nice < 0 || c.Nice > niceMax:
		return fmt.Errorf("nice is %d, from 0 to %d", c.Nice, niceMax)
	case c.TasksMax < 1 || c.TasksMax > 65536:
		return fmt.Errorf("tasks are %d, from 1 to 65536", c.TasksMax)
	case c.ImagesMax < 1 || c.ImagesMax > 65536:
		return fmt.Errorf("images are %d, from 1 to 65536", c.ImagesMax)
	case c.MemoryBytes < memoryBytesMin:
		return fmt.Errorf("memory is %d bytes, at least %d", c.MemoryBytes, memoryBytesMin)
	case c.OpenFiles < 64:
		return fmt.Errorf("open files are %d, at least 64", c.OpenFiles)
	}
	for _, p := range c.ReadOnly {
		if !filepath.IsAbs(p) {
			return fmt.Errorf("read-only path %q is not absolute", p)
		}
	}
	return nil
}

// ErrClosed is the cause of an outcome of kind WorkerLost when the Worker was
// closed.
var ErrClosed = errors.New("worker is closed")

// Streams are a guest's standard streams. A nil Stdin is at its end; a nil
// writer takes everything. Stdin is read only after the guest has asked for it.
//
// Reads and writes happen in goroutines of their own. A Read that does not
// return outlives Run. A Write that does not return holds Run up: until its
// context ends, and a second longer; after a deadline, a cancellation or the
// loss of the worker a second at most.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Interactive is passed to the sandbox: a read of stdin returns what has
	// arrived.
	Interactive bool
	// Outbound answers the guest's HTTP requests, if the task asks for them; nil
	// refuses them. Nothing of them is left when Run returns.
	Outbound Outbound
}

// Worker is one child process. Its methods are safe for concurrent use.
type Worker struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	process *process
	report  jail.Report
	dir     *tempDir
	trace   *trace
	slots   chan struct{}
	images  imageTable

	// pace is how much of the processors the tasks may use.
	pace pace

	mu      sync.Mutex
	tasks   map[uint32]*run
	nextID  uint32
	closed  bool
	lostErr error
	// seen are tasks with keys whose outcomes have come, and the child does not know.
	seen []uint32
	// gone is closed when the child has ended and lostErr is set.
	gone chan struct{}
}

// Open starts the child and returns when it has closed its jail.
func Open(ctx context.Context, config Config) (*Worker, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open worker: %w", err)
	}
	w := &Worker{
		config: config, log: config.Log, slots: make(chan struct{}, config.TasksMax),
		tasks: map[uint32]*run{}, gone: make(chan struct{}),
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.images.init(config.ImagesMax)
	var err error
	if w.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if err := w.open(ctx); err != nil {
		return nil, fmt.Errorf("open worker: %w", err)
	}
	w.metrics.workerStarts.Inc()
	go w.read()
	return w, nil
}

func (w *Worker) open(ctx context.Context) (err error) {
	executable, err := childExecutable(w.config.Executable)
	if err != nil {
		return err
	}
	heap := int64(w.config.MemoryBytes / 2)
	var socket *os.File
	if w.config.OrphanDir != "" {
		if w.trace, socket, err = makeTrace(w.config.OrphanDir); err != nil {
			return err
		}
		defer socket.Close()
	}
	if w.process, err = startProcess(executable, heap, w.config.Nice, socket); err != nil {
		w.trace.remove()
		return err
	}
	defer func() {
		if err != nil {
			w.process.end()
			w.trace.remove()
			err = errors.Join(err, w.dir.remove())
		}
	}()
	// The child starts up while its folder is made.
	if w.dir, err = makeTempDir(w.config.Dir, privatePrefix); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(w.dir.path, codeFolder, wazeroFolder()), 0o700); err != nil {
		return err
	}
	h, err := w.process.setup(ctx, setup{
		Mode: modeRun, Dir: w.dir.path, HeapBytes: heap, SliceFuel: w.config.SliceFuel, OrphanMax: w.orphanMax(),
		Policy: jail.Policy{
			ReadOnly:  append([]string{w.dir.path}, w.config.ReadOnly...),
			DataBytes: w.config.MemoryBytes,
			// Every task may reserve its largest memory; what it touches is
			// bounded by DataBytes.
			AddressSpaceBytes: w.config.MemoryBytes + 16<<30 + uint64(w.config.TasksMax)*task.Max().MemoryBytes,
			OpenFiles:         w.config.OpenFiles,
			FileBytes:         1,
		},
	})
	w.report = h.Jail
	if err != nil {
		return err
	}
	return w.trace.write(record{Version: protocolVersion, Label: w.config.Label, Dir: w.dir.path, ReadOnly: w.config.ReadOnly})
}

// orphanMax is how long the child may be without a parent.
func (w *Worker) orphanMax() time.Duration {
	if w.trace == nil {
		return 0
	}
	return w.config.OrphanMax
}

func childExecutable(configured string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	return os.Executable()
}

// Report tells how the child is confined.
func (w *Worker) Report() jail.Report { return w.report }

// PID is the child's process id.
func (w *Worker) PID() int { return w.process.pid }

// Gone is closed when the child has ended, for whatever reason: then open
// another Worker.
func (w *Worker) Gone() <-chan struct{} { return w.gone }

// Close kills the child, waits for it and for every task's outcome, and
// removes the private folder.
func (w *Worker) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.process.kill()
	// The child has no use for its folder any more. What a task that is about
	// to start puts there meanwhile goes with the second removal.
	_ = w.dir.remove()
	<-w.gone
	return w.dir.remove()
}

// read handles the child's frames until the connection ends, and then gives
// every task that is left its outcome. It never waits for anything but the
// child.
func (w *Worker) read() {
	var cause error
	for cause == nil {
		f, err := w.process.in.next()
		if err == nil {
			err = w.handle(f)
		}
		cause = err
	}
	err := w.process.lost(context.Background(), cause)
	w.process.socket.Close()
	w.trace.remove()
	w.mu.Lock()
	if w.closed {
		err = ErrClosed
	} else {
		w.metrics.workerLosses.Inc()
		w.log.Error("worker lost", "pid", w.PID(), "error", err, "tasks", len(w.tasks))
	}
	if errors.Is(cause, ErrFrameTooLong) {
		w.metrics.limitReached("frame_bytes")
	}
	w.lostErr = err
	left := w.tasks
	w.tasks = nil
	close(w.gone)
	w.mu.Unlock()
	w.images.lost()
	for _, r := range left {
		r.finish(r.lostOutcome(err))
	}
}

func (w *Worker) handle(f frame) error {
	switch f.kind {
	case frameLoaded, frameRefused:
		return w.images.answered(f)
	case frameStdout, frameStderr, frameStdinCredit, frameOutcome, frameReturned, frameAttached:
	case frameHTTPOpen, frameHTTPBody, frameHTTPBodyEnd, frameHTTPCredit, frameHTTPClose:
	default:
		return fmt.Errorf("%w: frame of type %d is not for a parent", ErrProtocol, f.kind)
	}
	w.mu.Lock()
	r := w.tasks[f.id]
	last := f.kind == frameOutcome || f.kind == frameReturned
	if last {
		delete(w.tasks, f.id)
		if r != nil && r.keyed {
			w.seen = append(w.seen, f.id)
		}
	}
	w.mu.Unlock()
	if r == nil {
		return fmt.Errorf("%w: frame of type %d for task %d, which does not run", ErrProtocol, f.kind, f.id)
	}
	err := r.handle(f)
	if err != nil && last {
		// The task is no longer in the table; it gets its outcome with the others.
		w.mu.Lock()
		w.tasks[f.id] = r
		w.mu.Unlock()
	}
	return err
}
