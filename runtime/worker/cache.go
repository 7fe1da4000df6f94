package worker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/prometheus/client_golang/prometheus"
)

// CacheConfig says where compiled code is kept and what compiling may cost.
type CacheConfig struct {
	// Dir is the cache's folder; it is made when it does not exist. Several
	// processes may share it.
	Dir string
	// Executable is the program that compiles; see Config.Executable.
	Executable string
	// Limits are what a module is held to before it reaches the compiler.
	Limits lint.Limits
	// CompileTimeout bounds the wall time of one compilation, CompileCPU its
	// processor time.
	CompileTimeout, CompileCPU time.Duration
	// CompileMemoryBytes bounds the address space of the process that compiles.
	CompileMemoryBytes uint64
	// CompileWorkers is the number of functions that are compiled at once.
	CompileWorkers int
	// CompileNice is how much lower the priority of what compiles is than this
	// process's, from 0 to 19.
	CompileNice int
	// CompilesMax bounds the compilations at the same time; more wait.
	CompilesMax int
	// CacheBytesMax bounds the size of the cache. The entries that were used
	// least recently make room, except those of the last minute.
	CacheBytesMax uint64
	// Log receives what happens to damaged entries; nil means nothing is logged.
	Log *slog.Logger
	// Registerer receives the metrics; nil means that nobody sees them.
	Registerer prometheus.Registerer
}

// DefaultCache returns the configuration of a cache; Dir is left to fill in.
func DefaultCache() CacheConfig {
	return CacheConfig{
		Limits:             lint.Default(),
		CompileTimeout:     240 * time.Second,
		CompileCPU:         120 * time.Second,
		CompileMemoryBytes: 4 << 30,
		CompileWorkers:     2,
		CompilesMax:        1,
		CacheBytesMax:      10 << 30,
	}
}

// Validate reports the first field that cannot be used.
func (c *CacheConfig) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("no folder for the code cache is given")
	case c.CompileTimeout <= 0 || c.CompileCPU < time.Second:
		return fmt.Errorf("time to compile is %s and %s of processor time, more than 0 and at least 1s", c.CompileTimeout, c.CompileCPU)
	case c.CompileMemoryBytes < 256<<20:
		return fmt.Errorf("memory to compile is %d bytes, at least %d", c.CompileMemoryBytes, 256<<20)
	case c.CompileWorkers < 1 || c.CompileWorkers > 64:
		return fmt.Errorf("compile workers are %d, from 1 to 64", c.CompileWorkers)
	case c.CompileNice < 0 || c.CompileNice > niceMax:
		return fmt.Errorf("nice to compile is %d, from 0 to %d", c.CompileNice, niceMax)
	case c.CompilesMax < 1 || c.CompilesMax > 64:
		return fmt.Errorf("compilations at once are %d, from 1 to 64", c.CompilesMax)
	case c.CacheBytesMax < 1<<20:
		return fmt.Errorf("size of the code cache is %d bytes, at least %d", c.CacheBytesMax, 1<<20)
	}
	return nil
}

// Phase is a step on the way from a module to an Image.
type Phase string

// The phases, in order. A module whose code is in the cache has none.
const (
	PhaseLint    Phase = "lint"
	PhaseMeter   Phase = "meter"
	PhaseCompile Phase = "compile"
)

// Progress tells how far Image is.
type Progress struct {
	Phase Phase
	// Elapsed is the time since the phase began.
	Elapsed time.Duration
	// Estimate is how long compiling is expected to take on the reference
	// machine; 0 when that is not known.
	Estimate time.Duration
	// Done is set in the last report of each phase.
	Done bool
}

// Errors of Image besides *lint.Refusal.
var (
	// ErrInvalid is returned by Image when the engine refuses a module that
	// lint has passed.
	ErrInvalid = errors.New("module is not valid")
	// ErrCompileTimeout is returned by Image when compiling took longer than
	// CacheConfig.CompileTimeout or CompileCPU.
	ErrCompileTimeout = errors.New("compiling took too long")
	// ErrCompileMemory is returned by Image when compiling took more memory
	// than CacheConfig.CompileMemoryBytes.
	ErrCompileMemory = errors.New("compiling took too much memory")
	// ErrCompilerLost is returned by Image when the process that compiles
	// ended in another way.
	ErrCompilerLost = errors.New("compiler process lost")
	// ErrCacheClosed is returned by Image after Close.
	ErrCacheClosed = errors.New("code cache is closed")
)

// InvalidError wraps ErrInvalid.
type InvalidError struct {
	// Message is what the engine or the meter says about the module: what is
	// wrong and what to do.
	Message string
}

func (e *InvalidError) Error() string { return ErrInvalid.Error() + ": " + e.Message }

func (e *InvalidError) Unwrap() error { return ErrInvalid }

// compileHelp is what to do about a module that takes too much to compile.
const compileHelp = "build it with less inlining, or split its largest functions"

// Refusal says whether an error of Cache.Image is the module's fault: by a stable
// code, with what to do about it where that is known.
func Refusal(err error) (code, help string, refused bool) {
	var r *lint.Refusal
	switch {
	case errors.As(err, &r):
		return r.Code, r.Help, true
	case errors.Is(err, ErrInvalid):
		return "engine", "", true
	case errors.Is(err, ErrCompileTimeout), errors.Is(err, ErrCompileMemory):
		return "compile_limit", compileHelp, true
	}
	return "", "", false
}

// Cache keeps compiled modules on disk. Its methods are safe for concurrent
// use, also by several processes on the same folder.
type Cache struct {
	config  CacheConfig
	log     *slog.Logger
	metrics *metrics
	slots   chan struct{}
	// compiling are the processes that compile now.
	compiling compilers

	mu      sync.Mutex
	closed  bool
	flights map[string]*flight
	work    sync.WaitGroup
}

// flight is one module being made into an entry, for all who ask for it.
type flight struct {
	done chan struct{}
	err  error
}

// Folders and files of the cache.
const (
	entriesFolder = "entries"
	tempFolder    = "tmp"
	codeFile      = "code"
	skeletonFile  = "skeleton"
	manifestFile  = "manifest.json"
)

// OpenCache opens the cache and removes what processes that were killed have
// left behind.
func OpenCache(ctx context.Context, config CacheConfig) (*Cache, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open code cache: %w", err)
	}
	var err error
	if config.Dir, err = filepath.Abs(config.Dir); err != nil {
		return nil, fmt.Errorf("open code cache: %w", err)
	}
	c := &Cache{
		config: config, log: config.Log,
		slots: make(chan struct{}, config.CompilesMax), flights: map[string]*flight{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	for _, folder := range []string{entriesFolder, tempFolder} {
		if err := os.MkdirAll(filepath.Join(config.Dir, folder), 0o700); err != nil {
			return nil, fmt.Errorf("open code cache: %w", err)
		}
	}
	n, err := removeStale(c.TempDir(), time.Now(), "")
	if err != nil {
		return nil, fmt.Errorf("open code cache: %w", err)
	}
	if n > 0 {
		c.log.Info("removed what earlier processes left in the code cache", "folders", n)
	}
	return c, ctx.Err()
}

// Close waits for what is under way.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.work.Wait()
	return nil
}

// TempDir is a folder on the cache's file system, good for Config.Dir.
func (c *Cache) TempDir() string { return filepath.Join(c.config.Dir, tempFolder) }

// Image returns the module ready to run: from the cache, or linted, metered
// and compiled in a child process, which can take minutes. The callback, if
// any, is called from one goroutine and must not block. The error is a
// *lint.Refusal when the module is refused, or wraps one of this package's.
func (c *Cache) Image(ctx context.Context, module []byte, progress func(Progress)) (Image, error) {
	if !c.enter() {
		return Image{}, ErrCacheClosed
	}
	defer c.work.Done()
	if progress == nil {
		progress = func(Progress) {}
	}
	hash := sha256.Sum256(module)
	key := entryKey(hash)
	for {
		if img, ok := c.lookUp(key, hash); ok {
			c.metrics.cacheHits.Inc()
			return img, nil
		}
		f, leads := c.join(key)
		if leads {
			c.metrics.cacheMisses.Inc()
			img, err := c.make(ctx, key, hash, module, progress)
			c.leave(key, f, err)
			return img, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Image{}, context.Cause(ctx)
		}
		// When the one that made it gave up, the next one tries.
		if f.err != nil && !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return Image{}, f.err
		}
	}
}

// Find returns the module with the given SHA-256 when it is in the cache, as
// Image does, but needs no bytes of it.
func (c *Cache) Find(hash [sha256.Size]byte) (Image, bool) {
	if !c.enter() {
		return Image{}, false
	}
	defer c.work.Done()
	img, ok := c.lookUp(entryKey(hash), hash)
	if ok {
		c.metrics.cacheHits.Inc()
	}
	return img, ok
}

func (c *Cache) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Add(1)
	return true
}

// join returns the flight for the key and whether the caller leads it.
func (c *Cache) join(key string) (f *flight, leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f = c.flights[key]; f != nil {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[key] = f
	return f, true
}

func (c *Cache) leave(key string, f *flight, err error) {
	c.mu.Lock()
	delete(c.flights, key)
	c.mu.Unlock()
	f.err = err
	close(f.done)
}

// prepared is a module that may be compiled.
type prepared struct {
	module, skeleton []byte
	traits           Traits
	report           lint.Report
}

// prepare lints and meters.
func prepare(module []byte, limits lint.Limits, tell func(Progress)) (prepared, error) {
	begin := time.Now()
	report, err := lint.Check(module, limits)
	if err != nil {
		return prepared{}, err
	}
	tell(Progress{Phase: PhaseLint, Elapsed: time.Since(begin), Done: true})
	begin = time.Now()
	m, err := meter.Rewrite(module)
	if err != nil {
		return prepared{}, &InvalidError{Message: err.Error()}
	}
	tell(Progress{Phase: PhaseMeter, Elapsed: time.Since(begin), Done: true})
	return prepared{
		module: m.Module, skeleton: m.Skeleton, report: report,
		traits: Traits{FunctionShift: m.FunctionShift, StartFuel: m.StartFuel},
	}, nil
}

// make makes the entry and returns the image from it.
func (c *Cache) make(ctx context.Context, key string, hash [sha256.Size]byte, module []byte, tell func(Progress)) (Image, error) {
	p, err := prepare(module, c.config.Limits, tell)
	var refusal *lint.Refusal
	switch {
	case errors.As(err, &refusal):
		c.metrics.refusals.WithLabelValues(reason(refusal)).Inc()
		return Image{}, err
	case err != nil:
		return Image{}, err
	}
	p.skeleton = stamp(p.skeleton, hash)
	select {
	case c.slots <- struct{}{}:
	default:
		c.metrics.limitReached("compilations")
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return Image{}, context.Cause(ctx)
		}
	}
	defer func() { <-c.slots }()
	begin := time.Now()
	img, err := c.compile(ctx, key, hash, p, tell)
	if err != nil {
		c.metrics.compileErrors.WithLabelValues(compileReason(err)).Inc()
		return Image{}, err
	}
	c.metrics.compileSeconds.Observe(time.Since(begin).Seconds())
	c.evict(key)
	return img, nil
}

// reason is the label of a refusal: the limit, or the code where it has none.
func reason(r *lint.Refusal) string {
	if r.Limit != "" {
		return r.Limit
	}
	return r.Code
}

func compileReason(err error) string {
	for e, name := range map[error]string{ErrInvalid: "invalid", ErrCompileTimeout: "timeout", ErrCompileMemory: "memory", ErrCompilerLost: "lost"} {
		if errors.Is(err, e) {
			return name
		}
	}
	return "other"
}
