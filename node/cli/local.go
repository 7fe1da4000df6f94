package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/dugnad/dugnad/node/outbound"
	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// workerSpareBytes is what a worker process may use beyond its guests' memory.
const workerSpareBytes = 1 << 30

// local is the runner of dugnad run: the user's code cache and a worker
// process of its own.
type local struct {
	cache  *worker.Cache
	config worker.Config
	// outbound is nil when no task may ask for it.
	outbound *outbound.Gate
	// compilers is how many functions are compiled at the same time.
	compilers int
	module    []byte
	// opened is closed when the first worker is there or openErr is set.
	opened  chan struct{}
	openErr error
	// giveUp ends the opening of the first worker, if it still goes on.
	giveUp context.CancelFunc

	mu     sync.Mutex
	worker *worker.Worker
	image  worker.Image
}

// openLocal opens the cache in cfg.DataDir and begins to start the worker
// process.
func openLocal(ctx context.Context, cfg runnerConfig) (runner, error) {
	cacheConfig := worker.DefaultCache()
	cacheConfig.Dir = filepath.Join(cfg.DataDir, "cache")
	cache, err := worker.OpenCache(ctx, cacheConfig)
	if err != nil {
		return nil, err
	}
	config := worker.Default()
	config.Dir, config.ReadOnly, config.TasksMax = cache.TempDir(), cfg.ReadOnly, cfg.Parallel
	config.Nice = 0 // whoever types dugnad run waits for it
	config.MemoryBytes = max(config.MemoryBytes, uint64(cfg.Parallel)*cfg.MemoryBytes+workerSpareBytes)
	ctx, cancel := context.WithCancel(ctx)
	l := &local{cache: cache, config: config, compilers: cacheConfig.CompileWorkers, opened: make(chan struct{}), giveUp: cancel}
	if len(cfg.Outbound.Ports) > 0 {
		if l.outbound, err = outbound.Open(ctx, cfg.Outbound); err != nil {
			cancel()
			return nil, errors.Join(err, cache.Close())
		}
	}
	go func() {
		defer close(l.opened)
		l.worker, l.openErr = worker.Open(ctx, config)
	}()
	return l, nil
}

func (l *local) Prepare(ctx context.Context, module []byte, compiling func(time.Duration)) error {
	l.module = module
	image, err := l.cache.Image(ctx, module, func(p worker.Progress) {
		if p.Phase == worker.PhaseCompile {
			// The estimate is processor time.
			compiling(p.Estimate / time.Duration(min(l.compilers, runtime.NumCPU())))
		}
	})
	if err != nil {
		return refusalError(err)
	}
	l.image = image
	<-l.opened
	return l.openErr
}

func (l *local) Run(ctx context.Context, spec task.Spec, s streams) task.Outcome {
	w, image, err := l.current(ctx)
	if err != nil {
		return task.Outcome{Kind: task.WorkerLost, Message: fmt.Sprintf("starting another worker process: %v", err)}
	}
	given := worker.Streams{Stdin: s.In, Stdout: s.Out, Stderr: s.Err, Interactive: s.Interactive}
	if spec.HTTP != nil {
		given.Outbound = l.outbound.For(outbound.Attempt{HTTP: *spec.HTTP})
	}
	return w.Run(ctx, image, spec, given)
}

// current returns the worker, a new one when the last has died, so that one
// bad task of many costs only those that ran beside it.
func (l *local) current(ctx context.Context) (*worker.Worker, worker.Image, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.worker.Gone():
	default:
		return l.worker, l.image, nil
	}
	image, err := l.cache.Image(ctx, l.module, nil)
	if err != nil {
		return nil, worker.Image{}, err
	}
	w, err := worker.Open(ctx, l.config)
	if err != nil {
		return nil, worker.Image{}, err
	}
	err = l.worker.Close()
	l.worker, l.image = w, image
	return w, image, err
}

func (l *local) Close() error {
	l.giveUp()
	<-l.opened
	if l.worker == nil {
		return errors.Join(l.outbound.Close(), l.cache.Close())
	}
	return errors.Join(l.worker.Close(), l.outbound.Close(), l.cache.Close())
}

// refusalError makes a *refusedError of an error that blames the module.
func refusalError(err error) error {
	code, help, refused := worker.Refusal(err)
	if !refused {
		return err
	}
	out := &refusedError{err: err, detail: &refusal{Code: code, Help: help}}
	var r *lint.Refusal
	var invalid *worker.InvalidError
	switch {
	case errors.As(err, &r):
		out.err = r
		out.detail.Limit, out.detail.Found, out.detail.Max = r.Limit, r.Found, r.Max
		out.detail.Section, out.detail.Offset = r.Section, r.Offset
		if r.Function >= 0 {
			out.detail.Function = &r.Function
		}
	case errors.As(err, &invalid):
		out.err = errors.New(invalid.Message)
	case help != "":
		out.err = fmt.Errorf("%w: %s", err, help)
	}
	return out
}
