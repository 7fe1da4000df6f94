package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/meter/bench/report"
	"github.com/dugnad/dugnad/runtime/sandbox"
)

// Static measures what happens to a module before it runs. Each time is the
// smallest of as many runs as fit into the budget, at least one.
func Static(w *Ready, budget time.Duration) (report.Module, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := report.Module{Subject: w.Name, Kind: string(w.Kind), FileBytes: len(w.Module), Licence: w.Licence, What: w.What}
	var rewritten []byte
	var err error
	m.Rewrite, err = shortest(budget/4, func() error {
		if _, err := lint.Check(w.Module, lint.Default()); err != nil {
			return err
		}
		r, err := meter.Rewrite(w.Module)
		rewritten = r.Module
		return err
	})
	if err != nil {
		return m, fmt.Errorf("rewrite %s: %w", w.Name, err)
	}
	if m.Bytes, err = size(w.Module); err != nil {
		return m, fmt.Errorf("measure %s: %w", w.Name, err)
	}
	if m.MeteredBytes, err = size(rewritten); err != nil {
		return m, fmt.Errorf("measure the metered %s: %w", w.Name, err)
	}
	// By turns, so that both see the same machine.
	for begin := time.Now(); m.Compile == 0 || time.Since(begin) < budget; {
		plain, err := compile(w.Module)
		if err != nil {
			return m, fmt.Errorf("compile %s: %w", w.Name, err)
		}
		metered, err := compile(rewritten)
		if err != nil {
			return m, fmt.Errorf("compile the metered %s: %w", w.Name, err)
		}
		if m.Compile == 0 {
			m.Compile, m.MeteredCompile = plain, metered
		}
		m.Compile, m.MeteredCompile = min(m.Compile, plain), min(m.MeteredCompile, metered)
	}
	return m, nil
}

// shortest repeats f and returns the shortest time that it took.
func shortest(budget time.Duration, f func() error) (nanos int64, err error) {
	for begin := time.Now(); nanos == 0 || time.Since(begin) < budget; {
		took, err := timed(f)
		if err != nil {
			return 0, err
		}
		if nanos == 0 || took < nanos {
			nanos = took
		}
	}
	return nanos, nil
}

// compile compiles a module on one core and forgets it.
func compile(module []byte) (nanos int64, err error) {
	ctx := experimental.WithCompilationWorkers(context.Background(), 1)
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(sandbox.Features).WithDebugInfoEnabled(false))
	defer func() { err = errors.Join(err, rt.Close(ctx)) }()
	return timed(func() error {
		_, err := rt.CompileModule(ctx, module)
		return err
	})
}
