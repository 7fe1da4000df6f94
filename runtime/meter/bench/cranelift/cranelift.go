// Package cranelift runs workloads on Wasmtime, plain and with each of its two
// ways to interrupt a guest.
package cranelift

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/dugnad/dugnad/runtime/meter/bench/measure"
	"github.com/dugnad/dugnad/runtime/meter/bench/report"
)

// Engine compiles with Wasmtime. Nobody moves the epoch on while a guest runs:
// what is measured is that it looks.
type Engine struct {
	// Column is report.Cranelift, report.Fuel or report.Epochs.
	Column string
	// CodeDir keeps machine code from one process to the next.
	CodeDir string
}

// Variant is the name of the column.
func (e *Engine) Variant() string { return e.Column }

// stackBytes is what a guest's calls may nest into: the default, half a
// megabyte, is not enough for deep recursion.
const stackBytes = 16 << 20

type job struct {
	workload *measure.Ready
	column   string
	engine   *wasmtime.Engine
	module   *wasmtime.Module
	linker   *wasmtime.Linker
	dir      string
	step     measure.Step
	guest    *guest
}

// Open compiles a workload and, when it is a library, makes an instance.
func (e *Engine) Open(w *measure.Ready) (measure.Job, error) {
	config := wasmtime.NewConfig()
	config.SetConsumeFuel(e.Column == report.Fuel)
	config.SetEpochInterruption(e.Column == report.Epochs)
	config.SetMaxWasmStack(stackBytes)
	j := &job{workload: w, column: e.Column, engine: wasmtime.NewEngineWithConfig(config)}
	if err := j.open(e.CodeDir); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", w.Name, err), j.Close())
	}
	return j, nil
}

func (j *job) open(codeDir string) error {
	var err error
	if j.dir, err = os.MkdirTemp("", "guest"); err != nil {
		return err
	}
	if err := os.WriteFile(j.file("stdin"), j.workload.Input, 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(j.file("root"), 0o700); err != nil {
		return err
	}
	if j.module, err = j.load(codeDir); err != nil {
		return err
	}
	j.linker = wasmtime.NewLinker(j.engine)
	if err := j.linker.DefineWasi(); err != nil {
		return err
	}
	if err := j.standIns(); err != nil {
		return err
	}
	if j.workload.Begin == nil {
		return nil
	}
	if err := j.instantiate(); err != nil {
		return err
	}
	if j.guest.instance.GetFunc(j.guest.store, "_initialize") != nil {
		if _, err := j.guest.Call("_initialize"); err != nil {
			return err
		}
	}
	j.step, err = j.workload.Begin(j.guest)
	return err
}

func (j *job) file(name string) string { return filepath.Join(j.dir, name) }

// load takes the machine code from the folder, or compiles and leaves it there.
func (j *job) load(codeDir string) (*wasmtime.Module, error) {
	name := filepath.Join(codeDir, fmt.Sprintf("%x-%s.cwasm", sha256.Sum256(j.workload.Module), j.column))
	if b, err := os.ReadFile(name); err == nil {
		// Code of another version of the engine is refused and made again.
		if m, err := wasmtime.NewModuleDeserialize(j.engine, b); err == nil {
			return m, nil
		}
	}
	m, err := wasmtime.NewModule(j.engine, j.workload.Module)
	if err != nil || codeDir == "" {
		return m, err
	}
	b, err := m.Serialize()
	if err == nil {
		err = os.WriteFile(name, b, 0o600)
	}
	return m, err
}

// standIns define every import that is not WASI's.
func (j *job) standIns() error {
	for _, i := range j.module.Imports() {
		t := i.Type().FuncType()
		if i.Module() == "wasi_snapshot_preview1" || t == nil || i.Name() == nil {
			continue
		}
		own, results := j.workload.Host[i.Module()+"."+*i.Name()], t.Results()
		err := j.linker.FuncNew(i.Module(), *i.Name(), t, func(_ *wasmtime.Caller, args []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
			r := uint64(0)
			if own != nil {
				r = own(j.guest, numbers(args))
			}
			out := make([]wasmtime.Val, len(results))
			for n, t := range results {
				out[n] = value(t.Kind(), r)
			}
			return out, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func numbers(args []wasmtime.Val) []uint64 {
	out := make([]uint64, len(args))
	for i, a := range args {
		switch a.Kind() {
		case wasmtime.KindI32:
			out[i] = uint64(uint32(a.I32()))
		case wasmtime.KindI64:
			out[i] = uint64(a.I64())
		case wasmtime.KindF32:
			out[i] = uint64(math.Float32bits(a.F32()))
		case wasmtime.KindF64:
			out[i] = math.Float64bits(a.F64())
		}
	}
	return out
}

func value(kind wasmtime.ValKind, v uint64) wasmtime.Val {
	switch kind {
	case wasmtime.KindI64:
		return wasmtime.ValI64(int64(v))
	case wasmtime.KindF32:
		return wasmtime.ValF32(math.Float32frombits(uint32(v)))
	case wasmtime.KindF64:
		return wasmtime.ValF64(math.Float64frombits(v))
	}
	return wasmtime.ValI32(int32(v))
}

// instantiate makes a fresh store and instance.
func (j *job) instantiate() error {
	store := wasmtime.NewStore(j.engine)
	wasi := wasmtime.NewWasiConfig()
	wasi.SetArgv(j.workload.Args)
	err := errors.Join(wasi.SetStdinFile(j.file("stdin")), wasi.SetStdoutFile(j.file("stdout")), wasi.SetStderrFile(j.file("stderr")),
		wasi.PreopenDir(j.file("root"), "/", wasmtime.DIR_READ|wasmtime.DIR_WRITE, wasmtime.FILE_READ|wasmtime.FILE_WRITE))
	store.SetWasi(wasi)
	switch j.column {
	case report.Fuel:
		err = errors.Join(err, store.SetFuel(math.MaxInt64))
	case report.Epochs:
		store.SetEpochDeadline(math.MaxInt32)
	}
	if err != nil {
		store.Close()
		return err
	}
	instance, err := j.linker.Instantiate(store, j.module)
	if err != nil {
		store.Close()
		return err
	}
	j.guest = &guest{store: store, instance: instance}
	for _, e := range instance.Exports(store) {
		if m := e.Memory(); m != nil {
			j.guest.memory = m
		}
	}
	return nil
}

// Do repeats a library's step, or runs a command in a fresh instance.
func (j *job) Do() (string, uint64, error) {
	if j.step != nil {
		result, err := j.step()
		return result, 0, err
	}
	if err := j.instantiate(); err != nil {
		return "", 0, err
	}
	defer j.guest.store.Close()
	_, err := j.guest.Call("_start")
	var exit *wasmtime.Error
	if errors.As(err, &exit) {
		if code, ok := exit.ExitStatus(); ok && code == 0 {
			err = nil
		}
	}
	if err != nil {
		complaint, _ := os.ReadFile(j.file("stderr"))
		return "", 0, fmt.Errorf("%w: %s", err, complaint)
	}
	out, err := os.ReadFile(j.file("stdout"))
	if err != nil {
		return "", 0, err
	}
	if j.workload.Result != nil {
		return j.workload.Result(string(out)), 0, nil
	}
	return string(out), 0, nil
}

// Close frees code and memory.
func (j *job) Close() error {
	if j.step != nil {
		j.guest.store.Close()
	}
	if j.linker != nil {
		j.linker.Close()
	}
	if j.module != nil {
		j.module.Close()
	}
	j.engine.Close()
	return os.RemoveAll(j.dir)
}

// guest is an instance.
type guest struct {
	store    *wasmtime.Store
	instance *wasmtime.Instance
	memory   *wasmtime.Memory
}

// Call calls an exported function.
func (g *guest) Call(name string, args ...uint64) (uint64, error) {
	f := g.instance.GetFunc(g.store, name)
	if f == nil {
		return 0, fmt.Errorf("the module exports no function %q", name)
	}
	params := f.Type(g.store).Params()
	if len(params) != len(args) {
		return 0, fmt.Errorf("the function %q takes %d arguments, not %d", name, len(params), len(args))
	}
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = value(params[i].Kind(), a)
	}
	result, err := f.Call(g.store, values...)
	switch r := result.(type) {
	case int32:
		return uint64(uint32(r)), err
	case int64:
		return uint64(r), err
	case float32:
		return uint64(math.Float32bits(r)), err
	case float64:
		return math.Float64bits(r), err
	}
	return 0, err
}

func (g *guest) Write(at uint32, data []byte) error {
	b, err := g.span(at, len(data))
	copy(b, data)
	return err
}

func (g *guest) Read(at, size uint32) ([]byte, error) {
	b, err := g.span(at, int(size))
	return bytes.Clone(b), err
}

func (g *guest) span(at uint32, size int) ([]byte, error) {
	all := g.memory.UnsafeData(g.store)
	if uint64(at)+uint64(size) > uint64(len(all)) {
		return nil, fmt.Errorf("%d bytes at %d are not in linear memory", size, at)
	}
	return all[at:][:size], nil
}
