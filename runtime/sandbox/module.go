package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dugnad/dugnad/runtime/meter"
)

// Image is a module as the meter made it.
type Image struct {
	// Wasm is the metered module, or its skeleton when the code comes from
	// Config.CodeDir.
	Wasm []byte
	// FunctionShift is the number of imports that the meter added: what the
	// engine calls function N was function N-FunctionShift.
	FunctionShift int
	// StartFuel is charged before the module is instantiated.
	StartFuel uint64
}

var (
	// ErrNoCode is returned by Load when Config.CodeOnly is set and the code
	// folder has no code for the module.
	ErrNoCode = errors.New("no compiled code for this module")
	// ErrRefused is wrapped by the errors of Load that are the module's fault.
	ErrRefused = errors.New("module refused")
)

// Module is compiled code, ready to run. Its methods are safe for concurrent
// use.
type Module struct {
	engine   *Engine
	compiled wazero.CompiledModule
	image    Image
	plan     *plan
	entry    string
	entryErr string

	mu     sync.Mutex
	closed bool
	runs   sync.WaitGroup
}

// Load checks what the module imports and compiles it, or takes its code from
// the code folder. The context is not looked at while a function compiles.
func (e *Engine) Load(ctx context.Context, image Image) (*Module, error) {
	if !e.enter() {
		return nil, ErrClosed
	}
	defer e.leave()
	p, err := scan(image.Wasm)
	if err != nil {
		return nil, err
	}
	if !p.metered && !e.config.Unmetered {
		return nil, fmt.Errorf("%w: it has no fuel counter", ErrRefused)
	}
	if err := e.offered.check(p.imports); err != nil {
		return nil, err
	}
	compiled, err := e.compile(ctx, image.Wasm)
	if err != nil {
		return nil, err
	}
	image.Wasm = nil
	m := &Module{engine: e, compiled: compiled, image: image, plan: p}
	m.entry, m.entryErr = p.entryPoint()
	return m, nil
}

func (e *Engine) compile(ctx context.Context, module []byte) (wazero.CompiledModule, error) {
	if !e.config.CodeOnly {
		ctx = experimental.WithCompilationWorkers(ctx, max(1, e.config.CompileWorkers))
		compiled, err := e.runtime.CompileModule(ctx, module)
		var disk *fs.PathError
		switch {
		case errors.As(err, &disk):
			return nil, fmt.Errorf("keep compiled code: %w", err)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return compiled, nil
	}
	// With more than one worker the engine looks at the context before the
	// first function: it takes code from the folder, or gives up here.
	done, cancel := context.WithCancel(ctx)
	cancel()
	compiled, err := e.runtime.CompileModule(experimental.WithCompilationWorkers(done, 2), module)
	if errors.Is(err, context.Canceled) {
		return nil, ErrNoCode
	} else if err != nil {
		return nil, fmt.Errorf("load code: %w", err)
	}
	return compiled, nil
}

// Close waits for the module's runs to end and frees its code.
func (m *Module) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	m.runs.Wait()
	return m.compiled.Close(context.Background())
}

func (m *Module) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !m.engine.enter() {
		return false
	}
	m.runs.Add(1)
	return true
}

func (m *Module) leave() {
	m.runs.Done()
	m.engine.leave()
}

// entryPoint returns the function that runs a module, or why there is none.
func (p *plan) entryPoint() (name, problem string) {
	for _, name := range []string{"_start", "_initialize"} {
		if slices.Contains(p.exports, name) {
			return name, ""
		}
	}
	const help = "build it as a WASI command, for example with GOOS=wasip1 GOARCH=wasm, or with clang --target=wasm32-wasi and a main function"
	if len(p.exports) == 0 {
		return "", "the module exports neither _start nor _initialize, nor anything else: " + help
	}
	return "", fmt.Sprintf("the module exports neither _start nor _initialize, only %s: %s", listNames(p.exports, 10), help)
}

// offers are the functions a module may import, by module and name.
type offers map[string]map[string]string

// check refuses imports that do not exist or have another type.
func (o offers) check(imports []wanted) error {
	var wrong []string
	for _, w := range imports {
		has, ok := o[w.module][w.name]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s %s", quoteImport(w), w.what))
		case has != w.what:
			wrong = append(wrong, fmt.Sprintf("%s is %s, not %s", quoteImport(w), has, w.what))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	more := ""
	if n := len(wrong) - importsShown; n > 0 {
		wrong, more = wrong[:importsShown], fmt.Sprintf("; and %d more", n)
	}
	return fmt.Errorf("%w: it imports what is not offered, %s%s: offered are the functions of %s, so build it for wasm32-wasip1 without other host functions",
		ErrRefused, strings.Join(wrong, "; "), more, o.names())
}

// importsShown bounds the imports that one message names.
const importsShown = 3

func (o offers) names() string {
	var names []string
	for name := range o {
		if name != meter.ImportModule {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func quoteImport(w wanted) string { return fmt.Sprintf("%s.%s", shorten(w.module), shorten(w.name)) }

// shorten makes a name from a module fit to print.
func shorten(name string) string {
	const most = 100
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
	if len(clean) > most {
		clean = strings.ToValidUTF8(clean[:most], "") + "…"
	}
	return clean
}

// listNames joins at most n names.
func listNames(names []string, n int) string {
	shown := make([]string, 0, n)
	for _, name := range names[:min(n, len(names))] {
		shown = append(shown, shorten(name))
	}
	list := strings.Join(shown, ", ")
	if rest := len(names) - len(shown); rest > 0 {
		list += fmt.Sprintf(" and %d more", rest)
	}
	return list
}
