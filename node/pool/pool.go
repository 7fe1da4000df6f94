// Package pool keeps a worker process for each tenant that runs tasks on this
// node, and the modules that they run in one cache. No process ever runs code of
// two tenants.
package pool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

const (
	// imageFresh is how long an image that was found in the cache is taken as
	// found: the cache keeps what was used lately.
	imageFresh = 10 * time.Second
	// imagesKept bounds the images that are remembered.
	imagesKept = 4096
	// workerSpareBytes is what a worker process may use beyond its guests' memory.
	workerSpareBytes = 1 << 30
	cacheFolder      = "cache"
	inputFolder      = "inputs"
	workerFolder     = "workers"
)

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("pool of workers is closed")
	// ErrTenant is returned for a tenant whose name cannot be that of a folder.
	ErrTenant = errors.New("tenant has no proper name")
)

// Image is a module that is ready to run.
type Image = worker.Image

// RefusedError says that a module is to blame for not being ready to run.
type RefusedError struct {
	// Code is stable: that of lint, "engine" or "compile_limit".
	Code string
	// Help is what to do about it, or empty.
	Help string
	Err  error
}

func (e *RefusedError) Error() string { return e.Err.Error() }

// Refusal is the error in a sentence, with what to do about it.
func (e *RefusedError) Refusal() string {
	if e.Help == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + ": " + e.Help
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Config says what workers may take.
type Config struct {
	// Dir is the pool's own folder: compiled modules, and what guests may read.
	Dir string
	// Executable is this program's file; empty is found out.
	Executable string
	// Slots is the number of tasks of one tenant at the same time.
	Slots int
	// MemoryBytes bounds the memory of the guests of one tenant together.
	MemoryBytes uint64
	// IdleMax is how long a worker without tasks is kept.
	IdleMax time.Duration
	// WorkersMax bounds the worker processes, and so the tenants that run tasks
	// at the same time.
	WorkersMax int
	// OrphanMax is how long tasks with keys go on when this process is killed, for
	// the next one that opens the pool; 0 is that they end with it.
	OrphanMax time.Duration
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer
}

// Default returns the configuration of a pool on dir.
func Default(dir string) Config {
	return Config{Dir: dir, Slots: runtime.NumCPU(), MemoryBytes: 8 << 30, IdleMax: 2 * time.Minute, WorkersMax: 64}
}

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("pool has no folder")
	case c.Slots < 1:
		return fmt.Errorf("slots are %d, at least 1", c.Slots)
	case c.IdleMax <= 0:
		return fmt.Errorf("idle time is %s, more than 0", c.IdleMax)
	case c.WorkersMax < 1:
		return fmt.Errorf("workers are %d, at least 1", c.WorkersMax)
	}
	return nil
}

// Pool is an open pool. Its methods are safe for concurrent use.
type Pool struct {
	config  Config
	log     *slog.Logger
	cache   *worker.Cache
	metrics *metrics
	// inputs is the folder of what guests may read: this process's own, as guests of
	// an earlier one may still read theirs.
	inputs string

	mu     sync.Mutex
	closed bool
	crews  map[string]*crew
	// freed is closed, and replaced, when a crew has nothing to do any more.
	freed  chan struct{}
	images map[[sha256.Size]byte]found
	// adopted are the workers of an earlier process.
	adopted  []*worker.Adopted
	governor governor
	ending   sync.WaitGroup
}

// found is an image and when it was last seen in the cache.
type found struct {
	image Image
	at    time.Time
}

// Open opens a pool. Its first worker starts with the first task.
func Open(ctx context.Context, config Config) (*Pool, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	p := &Pool{config: config, log: config.Log, crews: map[string]*crew{}, freed: make(chan struct{}), images: map[[sha256.Size]byte]found{}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if p.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	if p.config.Dir, err = filepath.Abs(config.Dir); err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	p.governor.init()
	if err := p.open(ctx); err != nil {
		p.closeAdopted()
		return nil, fmt.Errorf("open pool: %w", err)
	}
	p.ending.Go(p.govern)
	return p, nil
}

// open adopts the workers of an earlier process, and then removes what that has
// left for others.
func (p *Pool) open(ctx context.Context) error {
	var err error
	if p.adopted, err = p.adopt(ctx); err != nil {
		return err
	}
	for _, a := range p.adopted {
		p.governor.hire(a)
	}
	if err := p.openInputs(); err != nil {
		return err
	}
	config := &p.config
	c := worker.DefaultCache()
	c.CompileNice = compileNice
	c.Dir, c.Executable, c.Log, c.Registerer = filepath.Join(config.Dir, cacheFolder), config.Executable, config.Log, config.Registerer
	p.cache, err = worker.OpenCache(ctx, c)
	return err
}

// Close ends all workers, and with them what they run.
func (p *Pool) Close() error {
	p.mu.Lock()
	if !p.closed {
		close(p.governor.stop)
	}
	p.closed = true
	for _, c := range p.crews {
		p.removeLocked(c)
	}
	p.ending.Go(p.closeAdopted)
	close(p.freed)
	p.freed = make(chan struct{})
	p.mu.Unlock()
	p.ending.Wait()
	return p.cache.Close()
}

// Prepare returns the module with the given hash ready to run: from the cache,
// or from what open returns, which is checked, metered and compiled. The error
// is a *RefusedError when the module is to blame. The cache is the same for all
// tenants: nothing of theirs is in it but the module.
func (p *Pool) Prepare(ctx context.Context, _ string, hash [sha256.Size]byte, open func() (io.ReadCloser, error)) (Image, error) {
	if i, ok := p.known(hash); ok {
		return i, nil
	}
	i, ok := p.cache.Find(hash)
	if !ok {
		module, err := readAll(open)
		if err != nil {
			return Image{}, fmt.Errorf("read module %x: %w", hash, err)
		}
		if i, err = p.cache.Image(ctx, module, nil); err != nil {
			return Image{}, refused(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.images) >= imagesKept {
		clear(p.images)
	}
	p.images[hash] = found{i, time.Now()}
	return i, nil
}

func (p *Pool) known(hash [sha256.Size]byte) (Image, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.images[hash]
	return f.image, ok && time.Since(f.at) < imageFresh
}

func readAll(open func() (io.ReadCloser, error)) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	limit := int64(lint.Default().ModuleBytes)
	module, err := io.ReadAll(io.LimitReader(r, limit+1))
	return module, errors.Join(err, r.Close())
}

// refused tells a module's fault from this node's.
func refused(err error) error {
	if code, help, ok := worker.Refusal(err); ok {
		return &RefusedError{Code: code, Help: help, Err: err}
	}
	return err
}

// InputDir returns the folder that the guests of a tenant may read. Whoever puts
// something there removes it.
func (p *Pool) InputDir(tenant string) (string, error) {
	if tenant == "" || tenant == "." || tenant == ".." || filepath.Base(tenant) != tenant {
		return "", fmt.Errorf("%w: %q", ErrTenant, tenant)
	}
	dir := filepath.Join(p.inputs, tenant)
	return dir, os.MkdirAll(dir, 0o700)
}

// RunSeries runs an image as several tasks, one after the other in the tenant's
// worker: see worker.RunSeries. A task that an earlier process has begun goes on
// where it is.
func (p *Pool) RunSeries(ctx context.Context, tenant string, image Image, tasks []worker.Task, ended func(i int, o task.Outcome), back func(from, to int)) {
	i, a := p.firstAdopted(tenant, tasks)
	if a != nil && max(i, 1) < len(tasks) {
		back(max(i, 1), len(tasks))
		tasks = tasks[:max(i, 1)]
	}
	if a != nil && i == 0 {
		if o, ok := p.runAdopted(ctx, a, tasks[0]); ok {
			ended(0, o)
			return
		}
	}
	c, err := p.join(ctx, tenant)
	if err != nil {
		for i := range tasks {
			ended(i, task.Outcome{Kind: task.WorkerLost, Message: fmt.Sprintf("start a worker process: %v", err)})
		}
		return
	}
	defer p.leave(c)
	c.worker.RunSeries(ctx, image, tasks, ended, back)
}
