// Package calibration measures how much fuel a core of this machine burns in a
// second, which is what an offer promises, and remembers it.
package calibration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

const (
	// fileName is where a data folder keeps what was measured.
	fileName = "calibration.json"
	// fileBytesMax bounds that file.
	fileBytesMax = 4 << 10
	// AgeMax is how long a measurement is good for: machines get other
	// processors, neighbours and clock speeds.
	AgeMax = 7 * 24 * time.Hour

	// fuelFirst is burnt to learn how much fuelling the measurement takes: a few
	// milliseconds.
	fuelFirst = 20_000_000
	// span is the processor time that the measurement takes, about.
	span = 100 * time.Millisecond
	// timeout bounds one run of the kernel, on a machine that is busy.
	timeout = time.Minute
	// memoryBytes bounds the worker process: what it needs at least.
	memoryBytes = 512 << 20
)

// ErrKernel is returned by Rate when the kernel did not run as it should.
var ErrKernel = errors.New("calibration did not end as it should")

// Config says what is measured, and where that is kept.
type Config struct {
	// Dir is the data folder.
	Dir string
	// Engine names the versions that decide how fast a module runs: with another
	// one it is measured anew.
	Engine string
	// Executable is the program that runs modules; see worker.Config.
	Executable string
}

// measurement is what is kept.
type measurement struct {
	Kernel   int       `json:"kernel"`
	Engine   string    `json:"engine"`
	At       time.Time `json:"at"`
	FuelRate uint64    `json:"fuel_rate"`
}

// Rate returns the fuel per second of processor time that a task burns on one core.
// It measures for about a tenth of a second, unless it has done so within AgeMax
// with the same engine.
func Rate(ctx context.Context, c Config) (uint64, error) {
	path := filepath.Join(c.Dir, fileName)
	kept, err := load(path)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	if age := now.Sub(kept.At); kept.FuelRate > 0 && kept.Kernel == kernelVersion && kept.Engine == c.Engine && age >= 0 && age < AgeMax {
		return kept.FuelRate, nil
	}
	rate, err := measure(ctx, c)
	if err != nil {
		return 0, err
	}
	return rate, store(path, measurement{kernelVersion, c.Engine, now.UTC(), rate})
}

// load returns what was measured before; a damaged file holds nothing.
func load(path string) (m measurement, err error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return measurement{}, nil
	case err != nil:
		return measurement{}, fmt.Errorf("read calibration: %w", err)
	case len(b) > fileBytesMax || json.Unmarshal(b, &m) != nil:
		return measurement{}, nil //nolint:nilerr // whatever damaged it, it is measured anew
	}
	return m, nil
}

// store replaces the file as a whole. It may be lost: it is measured again then.
func store(path string, m measurement) error {
	b, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("keep calibration: %w", err)
	}
	return nil
}

// measure compiles the kernel and runs it in a worker process of its own, both in a
// folder that is gone afterwards.
func measure(ctx context.Context, c Config) (rate uint64, err error) {
	dir, err := os.MkdirTemp(c.Dir, "calibration-")
	if err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	config := worker.DefaultCache()
	config.Dir, config.Executable = dir, c.Executable
	cache, err := worker.OpenCache(ctx, config)
	if err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	image, err := cache.Image(ctx, kernel, nil)
	if err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	own := worker.Default()
	own.Dir, own.Executable, own.TasksMax, own.ImagesMax, own.MemoryBytes = cache.TempDir(), c.Executable, 1, 1, memoryBytes
	w, err := worker.Open(ctx, own)
	if err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	first, err := burn(ctx, w, image, fuelFirst)
	if err != nil {
		return 0, err
	}
	return burn(ctx, w, image, max(uint64(float64(first)*span.Seconds()), fuelFirst))
}

// burn runs the kernel until it has used up its fuel, and returns the rate.
func burn(ctx context.Context, w *worker.Worker, image worker.Image, fuel uint64) (rate uint64, err error) {
	limits := task.Limits{Fuel: fuel, MemoryBytes: 1 << 20, Timeout: timeout}
	o := w.Run(ctx, image, task.Spec{Args: []string{"calibration.wasm"}, Limits: limits.WithDefaults()}, worker.Streams{})
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	if o.Kind != task.OutOfFuel || o.Usage.CPUTime <= 0 {
		return 0, fmt.Errorf("%w: it is %s after %s: %s", ErrKernel, o.Kind, o.Usage.CPUTime, o.Message)
	}
	return uint64(float64(o.Usage.Fuel) / o.Usage.CPUTime.Seconds()), nil
}
