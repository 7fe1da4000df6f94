package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/sandbox"
	"github.com/dugnad/dugnad/runtime/task"
)

// Sandboxed runs commands as a worker does, with metering or without, and
// libraries on Bare.
type Sandboxed struct {
	Bare
}

// Open compiles a workload.
func (s *Sandboxed) Open(w *Ready) (Job, error) {
	if w.Begin != nil {
		return s.Bare.Open(w)
	}
	config := sandbox.Default()
	config.CodeDir, config.Unmetered = s.CodeDir, !s.Metered
	engine, err := sandbox.Open(context.Background(), config)
	if err != nil {
		return nil, err
	}
	image := sandbox.Image{Wasm: w.Module}
	if s.Metered {
		r, err := meter.Rewrite(w.Module)
		if err != nil {
			return nil, errors.Join(err, engine.Close())
		}
		image = sandbox.Image{Wasm: r.Module, FunctionShift: r.FunctionShift, StartFuel: r.StartFuel}
	}
	module, err := engine.Load(context.Background(), image)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", w.Name, err), engine.Close())
	}
	return &sandboxed{engine: engine, module: module, workload: w, startFuel: image.StartFuel}, nil
}

type sandboxed struct {
	engine    *sandbox.Engine
	module    *sandbox.Module
	workload  *Ready
	startFuel uint64
}

// memoryBytes is enough for every program.
const memoryBytes = 1 << 30

// Do runs the command in a fresh instance. The fuel is without that of making
// the instance.
func (s *sandboxed) Do() (string, uint64, error) {
	var out, complaint bytes.Buffer
	spec := task.Spec{Args: s.workload.Args, Limits: task.Limits{MemoryBytes: memoryBytes}}
	o := s.module.Run(context.Background(), spec, sandbox.Streams{
		Stdin: bytes.NewReader(s.workload.Input), Stdout: &out, Stderr: &complaint,
	})
	if o.Kind != task.Exited || o.ExitCode != 0 {
		return "", 0, fmt.Errorf("%s ended with %s, code %d: %s %s", s.workload.Name, o.Kind, o.ExitCode, o.Message, complaint.String())
	}
	return s.workload.result(out.String()), o.Usage.Fuel - min(s.startFuel, o.Usage.Fuel), nil
}

func (s *sandboxed) Close() error { return errors.Join(s.module.Close(), s.engine.Close()) }
