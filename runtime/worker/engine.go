package worker

import (
	"context"

	"github.com/dugnad/dugnad/runtime/sandbox"
)

// engineConfig is what a child asks of its engine.
type engineConfig struct {
	codeDir   string
	sliceFuel uint64
	// linearBytes bounds the linear memory of all tasks together.
	linearBytes uint64
	// compile lets the engine compile; otherwise all code comes from codeDir.
	compile bool
	workers int
	// throttle may be nil.
	throttle *sandbox.Throttle
}

func openEngine(ctx context.Context, c engineConfig) (*sandbox.Engine, error) {
	sc := sandbox.Default()
	sc.CodeDir, sc.CodeOnly, sc.CompileWorkers = c.codeDir, !c.compile, c.workers
	sc.LinearBytes, sc.Throttle = c.linearBytes, c.throttle
	if c.sliceFuel != 0 {
		sc.SliceFuel = c.sliceFuel
	}
	return sandbox.Open(ctx, sc)
}

// loadModule loads a metered module, or its skeleton where the machine code is
// in the code folder.
func loadModule(ctx context.Context, e *sandbox.Engine, module []byte, t Traits) (*sandbox.Module, error) {
	return e.Load(ctx, sandbox.Image{Wasm: module, FunctionShift: t.FunctionShift, StartFuel: t.StartFuel})
}

// threadsExpected is how many threads a child is given room for. It has some 20
// when 16 tasks read, write and compute at a time.
const threadsExpected = 32

// linearBytes is how much of a child's private memory guests may have: the
// rest is for the Go runtime, which dies when it gets none.
func linearBytes(dataBytes uint64) uint64 {
	const spare = memoryBytesMin + threadBytes*threadsExpected
	if dataBytes < 2*spare {
		return dataBytes / 4
	}
	return dataBytes - spare
}
