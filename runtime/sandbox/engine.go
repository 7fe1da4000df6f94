// Package sandbox runs one metered WebAssembly module to a task.Outcome, with
// the wazero engine and WASI preview 1. It owns no process and no socket: the
// caller decides where it runs.
//
// A guest gets arguments, environment, the three streams, a scratch file
// system, a clock and random bytes, and, if its task asks for it, HTTP requests
// that the caller makes for it; nothing else. Unless the task asks for
// real ones, clock and random bytes are deterministic, and so is the fuel.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dugnad/dugnad/runtime/meter"
)

// Features are the parts of WebAssembly that the engine accepts: the 2.0 core
// with SIMD, and extended constant expressions.
const Features = api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst

// Config says how an Engine compiles and how long a guest runs unobserved.
type Config struct {
	// CodeDir is wazero's compilation cache; "" means none. It may be
	// read-only when it holds the code of every module that is loaded.
	CodeDir string
	// CodeOnly makes Load return ErrNoCode where it would have to compile. It
	// needs CodeDir.
	CodeOnly bool
	// Interpreter selects wazero's interpreter, for differential tests.
	Interpreter bool
	// Unmetered admits modules without a fuel counter, for benchmarks and
	// differential tests. Nothing can stop such a guest in a loop.
	Unmetered bool
	// SliceFuel is the most work between two looks at deadline and
	// cancellation. It has no influence on results, but on the fuel of a guest
	// that traps: such a guest pays its whole slice.
	SliceFuel uint64
	// LinearBytes bounds the linear memory of all attempts together; 0 means
	// no bound.
	LinearBytes uint64
	// Throttle may be nil. It holds up the guests of all engines that have it.
	Throttle *Throttle
	// CompileWorkers is the number of goroutines that compile one module;
	// 0 means one.
	CompileWorkers int
}

// SliceFuelDefault is half a millisecond of the fastest guests, and one and a
// half of plain additions; what takes longer gets it in portions. It is part of
// the metering version, because a trap costs the whole slice.
const SliceFuelDefault = 12_000_000

// Default returns the configuration that a worker process starts from.
func Default() Config {
	return Config{SliceFuel: SliceFuelDefault}
}

// Slices below this cost more in host calls than in guest work.
const sliceFuelMin = 1_000

// Slices beyond this keep a cancelled guest running for more than a second.
const sliceFuelMax = meter.SliceFuelMax

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	if c.SliceFuel < sliceFuelMin || c.SliceFuel > sliceFuelMax {
		return fmt.Errorf("slice fuel is %d, from %d to %d", c.SliceFuel, sliceFuelMin, sliceFuelMax)
	}
	if c.CodeOnly && (c.CodeDir == "" || c.Interpreter) {
		return errors.New("code only needs a code folder and the compiler")
	}
	if c.CompileWorkers < 0 || c.CompileWorkers > 64 {
		return fmt.Errorf("compile workers are %d, from 0 to 64", c.CompileWorkers)
	}
	return nil
}

// ErrClosed is returned by Load, and its text by Run, when the Engine or the
// Module has been closed.
var ErrClosed = errors.New("sandbox is closed")

// Engine holds the host functions and the compiled code of loaded modules.
// Its methods are safe for concurrent use.
type Engine struct {
	config  Config
	cache   wazero.CompilationCache
	runtime wazero.Runtime
	offered offers
	pool    *pool

	mu     sync.Mutex
	closed bool
	// runs counts what must end before the engine may be closed.
	runs sync.WaitGroup
}

// Open returns an Engine that is ready to load modules.
func Open(ctx context.Context, config Config) (*Engine, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	e := &Engine{config: config, pool: newPool(config.LinearBytes)}
	var err error
	if config.CodeDir == "" {
		e.cache = wazero.NewCompilationCache()
	} else if e.cache, err = wazero.NewCompilationCacheWithDir(config.CodeDir); err != nil {
		return nil, fmt.Errorf("open code folder: %w", err)
	}
	rc := wazero.NewRuntimeConfigCompiler()
	if config.Interpreter {
		rc = wazero.NewRuntimeConfigInterpreter()
	}
	rc = rc.WithCoreFeatures(Features).WithDebugInfoEnabled(false).WithCompilationCache(e.cache)
	e.runtime = wazero.NewRuntimeWithConfig(ctx, rc)
	if err := e.link(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("link host functions: %w", err), e.Close())
	}
	return e, nil
}

// Close waits for every run to end and frees all code. Cancel the runs first.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	e.runs.Wait()
	e.pool.close()
	ctx := context.Background()
	return errors.Join(e.runtime.Close(ctx), e.cache.Close(ctx))
}

// enter keeps the engine open until leave; it reports false when it is closed.
func (e *Engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.runs.Add(1)
	return true
}

func (e *Engine) leave() { e.runs.Done() }
